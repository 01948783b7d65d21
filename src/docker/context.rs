//! A context of the Docker CLI, as `docker context import` takes it: a tar archive with meta.json and the TLS files. No
//! entry begins with `./`, and it is not packed: the CLI refuses both.

use super::archive::{Entry, tar};
use serde_json::json;
use zeroize::Zeroizing;

/// The TLS files of a Docker client, PEM.
#[derive(Clone, Copy)]
pub struct ContextFiles<'a> {
    /// The authorities that verify the host.
    pub ca: &'a [u8],
    /// The client certificate.
    pub cert: &'a [u8],
    /// The key of the client certificate.
    pub key: &'a [u8],
}

/// The archive of a context with that name and description, for the daemon at `tcp://host:port`.
pub fn context(name: &str, description: &str, url: &str, files: ContextFiles<'_>, time: u64) -> Zeroizing<Vec<u8>> {
    let meta = json!({
        "Name": name,
        "Metadata": { "Description": description },
        "Endpoints": { "docker": { "Host": url, "SkipTLSVerify": false } },
    });
    let meta = meta.to_string();
    let file = |path, bytes| Entry { path, mode: 0o600, bytes };
    let entries = [
        Entry { path: "meta.json", mode: 0o644, bytes: meta.as_bytes() },
        file("tls/docker/ca.pem", files.ca),
        file("tls/docker/cert.pem", files.cert),
        file("tls/docker/key.pem", files.key),
    ];
    tar(&entries, time)
}

/// Whether the Docker CLI takes a context of that name: `^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$`, and `default` is its own.
pub fn is_context_name(name: &str) -> bool {
    let plain = |letter: &u8| letter.is_ascii_alphanumeric();
    let inner = |letter: &u8| plain(letter) || b"_.+-".contains(letter);
    let letters = name.as_bytes();
    name.len() > 1 && name != "default" && letters.first().is_some_and(plain) && letters.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_the_docker_cli_takes() {
        assert!(["pandora", "p1", "home_pandora.lan+x-y"].into_iter().all(is_context_name));
        assert!(!["p", "", "default", "-pandora", "a/b", "a b", "ä1"].into_iter().any(is_context_name));
    }
}
