//! Whose clients dockerd admits: its arguments, its environment and daemon.json in, the file of their authorities out,
//! as dockerd 20.10 to 29 finds it. It reads no file.

use super::daemon_json::DaemonJson;
use super::unit::ExecLine;

/// Where dockerd finds the authorities of the clients that it admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// It asks for no certificate.
    Nobody,
    /// It does not start with such settings; why.
    DoesNotStart(String),
    /// A file: absolute, or relative to the directory that dockerd was started in.
    File(String),
    /// The authorities that the operating system trusts, since none is named.
    System,
}

/// What a process has in its environment, as far as that can be known. An error says why it cannot.
pub trait DaemonEnvironment {
    /// A variable; none where it is not set.
    ///
    /// # Errors
    /// Why it is not known, as a sentence.
    fn variable(&self, name: &str) -> Result<Option<String>, String>;

    /// The home directory of the user that the process runs as.
    ///
    /// # Errors
    /// Why it is not known, as a sentence.
    fn home(&self) -> Result<String, String>;
}

/// The source for a dockerd with these arguments (no variables are left in them), in this environment, with this
/// daemon.json.
///
/// # Errors
/// Why it is not known, as a sentence.
pub fn trust_source(
    arguments: &ExecLine,
    environment: &impl DaemonEnvironment,
    json: &DaemonJson,
) -> Result<TrustSource, String> {
    let flags = match TlsArguments::of(arguments, json) {
        Ok(flags) => flags,
        Err(why) => return Ok(TrustSource::DoesNotStart(why)),
    };
    let settings = json.tls();
    let flag_tls = if flags.verify.is_some() { Some(true) } else { flags.tls };
    // A tlsverify that is mentioned turns TLS on, even if it is false.
    let tls = if settings.tlsverify.is_some() { Some(true) } else { settings.tls.or(flag_tls) };
    let verify = settings.tlsverify.or(flags.verify).or(tls);
    if tls != Some(true) || verify != Some(true) {
        return Ok(TrustSource::Nobody);
    }
    if let Some(file) = settings.tlscacert.filter(|file| !file.is_empty()) {
        return Ok(TrustSource::File(file));
    }
    // A flag's path, and the default one, count only where a flag or the environment turns TLS on.
    let by_flags = flags.verify.is_some() || flags.tls == Some(true);
    if !by_flags && !is_set(environment.variable("DOCKER_TLS_VERIFY")?) {
        return Ok(TrustSource::System);
    }
    let file = match flags.ca {
        Some(file) => file,
        None => joined(&default_directory(environment)?, "ca.pem"),
    };
    Ok(if file.is_empty() { TrustSource::System } else { TrustSource::File(file) })
}

/// Where dockerd looks for TLS files that are not named.
fn default_directory(environment: &impl DaemonEnvironment) -> Result<String, String> {
    for name in ["DOCKER_CERT_PATH", "DOCKER_CONFIG"] {
        if let Some(directory) = environment.variable(name)?.filter(|directory| !directory.is_empty()) {
            return Ok(directory);
        }
    }
    let home = match environment.variable("HOME")?.filter(|home| !home.is_empty()) {
        Some(home) => home,
        None => environment.home()?,
    };
    Ok(joined(&home, ".docker"))
}

fn is_set(variable: Option<String>) -> bool {
    variable.is_some_and(|value| !value.is_empty())
}

/// The flags of TLS that count.
#[derive(Default)]
struct TlsArguments {
    tls: Option<bool>,
    verify: Option<bool>,
    ca: Option<String>,
}

impl TlsArguments {
    /// Of several flags of one name the last one counts.
    fn of(arguments: &ExecLine, json: &DaemonJson) -> Result<TlsArguments, String> {
        let mut found = TlsArguments::default();
        for flag in arguments.tls_flags() {
            if json.mentions(flag.name) {
                return Err(format!("{} is in daemon.json and a flag", flag.name));
            }
            let value = flag.value.as_deref();
            match flag.name {
                "tls" => found.tls = Some(switch(flag.name, value)?),
                "tlsverify" => found.verify = Some(switch(flag.name, value)?),
                name => {
                    let file = unquoted(value.ok_or_else(|| format!("--{name} has no value"))?);
                    found.ca = if name == "tlscacert" { Some(file.to_owned()) } else { found.ca };
                }
            }
        }
        if arguments.listeners().iter().len() > 0 && json.hosts().is_some() {
            return Err("hosts is in daemon.json and a flag".to_owned());
        }
        Ok(found)
    }
}

/// A switch, as Go's strconv.ParseBool reads it.
fn switch(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("--{name}={other} is neither true nor false")),
    }
}

/// A path without the quotes around it, which dockerd takes away before 26.0.
fn unquoted(path: &str) -> &str {
    let within = |quote| path.strip_prefix(quote).and_then(|path| path.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(path)
}

/// A path and a name as Go's filepath.Join has them: without empty parts, `.`, and what `..` takes back.
fn joined(directory: &str, name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain([name]) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if directory.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let root = if directory.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Of<'a>(&'a [(&'a str, &'a str)]);

    impl DaemonEnvironment for Of<'_> {
        fn variable(&self, name: &str) -> Result<Option<String>, String> {
            match self.0.iter().find(|(known, _)| *known == name) {
                Some((_, "?")) => Err(format!("{name} is not known")),
                found => Ok(found.map(|(_, value)| (*value).to_owned())),
            }
        }

        fn home(&self) -> Result<String, String> {
            self.variable("its home")?.ok_or_else(|| "it has no home".to_owned())
        }
    }

    fn source(flags: &str, environment: &[(&str, &str)], json: &str) -> Result<TrustSource, String> {
        let words: Vec<String> = format!("dockerd {flags}").split_whitespace().map(str::to_owned).collect();
        let json = DaemonJson::parse(json.as_bytes()).expect("JSON");
        trust_source(&ExecLine::literal(&words), &Of(environment), &json)
    }

    /// Flags, environment, daemon.json, and the file.
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

    #[test]
    fn the_file_is_found_as_dockerd_finds_it() {
        const VERIFY: &str = r#"{"tlsverify": true}"#;
        const ROOT: [(&str, &str); 1] = [("its home", "/root")];
        let rows: [Row; 31] = [
            ("--tlsverify --tlscacert=/a", &[], "", "/a"),
            ("--tlsverify --tlscacert /a", &[], "", "/a"),
            ("--tlscacert=/a --tlsverify --tlscacert=/b", &[], "", "/b"),
            ("--tlsverify --tlscacert=ca.pem", &[], "", "ca.pem"),
            ("--tlsverify --tlscacert=\"/a\"", &[], "", "/a"),
            ("--tlsverify --tlscacert='/a'", &[], "", "/a"),
            ("--tlsverify --tlscacert=/100%$A$$", &[], "", "/100%$A$$"),
            ("--tls --tlscacert=/a", &[], "", "/a"),
            ("--tls=1 --tlscacert=/a", &[], "", "/a"),
            ("--tlsverify=T --tlscacert=/a --tls=false", &[], "", "/a"),
            ("--tlsverify=false --tlsverify --tlscacert=/a", &[], "", "/a"),
            ("--tlsverify", &ROOT, "", "/root/.docker/ca.pem"),
            ("--tlsverify", &[("HOME", "/srv/h")], "", "/srv/h/.docker/ca.pem"),
            ("--tlsverify", &[("HOME", ""), ROOT[0]], "", "/root/.docker/ca.pem"),
            ("--tlsverify", &[("DOCKER_CONFIG", "/c"), ("HOME", "?")], "", "/c/ca.pem"),
            ("--tlsverify", &[("DOCKER_CERT_PATH", "/p"), ("DOCKER_CONFIG", "?")], "", "/p/ca.pem"),
            ("--tlsverify", &[("DOCKER_CERT_PATH", "certs/../c/")], "", "c/ca.pem"),
            ("--tlsverify", &[("DOCKER_CERT_PATH", "../../c")], "", "../../c/ca.pem"),
            ("--tlsverify", &[("DOCKER_CERT_PATH", "/../c/./d")], "", "/c/d/ca.pem"),
            ("", &[], r#"{"tlsverify": true, "tlscacert": "/j"}"#, "/j"),
            ("", &[], r#"{"tls": true, "tlscacert": "j"}"#, "j"),
            ("", &[], r#"{"TLSVerify": true, "TlsCaCert": "/j", "tlscacert": null}"#, "/j"),
            ("", &[], r#"{"tls": false, "tlsverify": true, "tlscacert": "/j"}"#, "/j"),
            ("--tlsverify", &[], r#"{"tlscacert": "/j"}"#, "/j"),
            ("--tlscacert=/a", &[("DOCKER_TLS_VERIFY", "")], VERIFY, "the system"),
            ("--tlscacert=/a", &[], VERIFY, "the system"),
            ("", &[], VERIFY, "the system"),
            ("", &[], r#"{"tls": true, "tlscacert": ""}"#, "the system"),
            ("", &[("DOCKER_TLS_VERIFY", "0"), ("DOCKER_CERT_PATH", "/p")], VERIFY, "/p/ca.pem"),
            ("--tlscacert=/a", &[("DOCKER_TLS_VERIFY", "1")], VERIFY, "/a"),
            ("--tlsverify --tlscacert=", &[], "", "the system"),
        ];
        for (flags, environment, json, expected) in rows {
            let expected = match expected {
                "the system" => TrustSource::System,
                file => TrustSource::File(file.to_owned()),
            };
            assert_eq!(source(flags, environment, json), Ok(expected), "{flags} {environment:?} {json}");
        }
    }

    #[test]
    fn who_asks_for_no_certificate_admits_nobody_by_one() {
        let unknown = [("DOCKER_TLS_VERIFY", "?"), ("DOCKER_CERT_PATH", "?"), ("HOME", "?")];
        let rows = [
            ("", ""),
            ("--tlscacert=/a --tlscert=/b", ""),
            ("--tls=false", ""),
            ("--tlsverify=false --tlscacert=/a", ""),
            ("--tls --tlsverify=0", ""),
            ("", r#"{"tlscacert": "/j"}"#),
            ("", r#"{"tls": true, "tlsverify": false, "tlscacert": "/j"}"#),
            ("", r#"{"tls": false}"#),
        ];
        for (flags, json) in rows {
            assert_eq!(source(flags, &unknown, json), Ok(TrustSource::Nobody), "{flags} {json}");
        }
        let rows = [
            ("--tlsverify", r#"{"tlsverify": true}"#),
            ("--tlscacert=/a", r#"{"tlsverify": true, "tlscacert": "/a"}"#),
            ("--tlsverify=yes", ""),
            ("--tlsverify --tlscacert", ""),
            ("-H fd://", r#"{"hosts": ["tcp://0.0.0.0:2376"], "tls": true}"#),
        ];
        for (flags, json) in rows {
            let found = source(flags, &unknown, json);
            assert!(matches!(found, Ok(TrustSource::DoesNotStart(_))), "{flags} {json}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_known_and_counts_is_said() {
        let rows = [
            ("--tlsverify", [("DOCKER_CERT_PATH", "?")], ""),
            ("--tlsverify", [("DOCKER_CONFIG", "?")], ""),
            ("--tlsverify", [("HOME", "?")], ""),
            ("--tlsverify", [("its home", "?")], ""),
            ("", [("DOCKER_TLS_VERIFY", "?")], r#"{"tlsverify": true}"#),
        ];
        for (flags, environment, json) in rows {
            let why = source(flags, &environment, json).expect_err(flags);
            assert!(why.contains(environment[0].0), "{why}");
        }
    }
}
