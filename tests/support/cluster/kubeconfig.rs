//! Writes kubeconfig files; JSON, which is YAML too.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// How one authenticates.
#[derive(Clone, Copy)]
pub enum User<'a> {
    /// With the certificate of that name, where there is a directory of certificates.
    Certificate(&'a str),
    Token(&'a str),
}

/// `certificates` is the directory that trust and the user's certificate come from.
pub fn write(path: &Path, server: &str, certificates: Option<&Path>, who: User<'_>) -> Result<()> {
    let mut cluster = Map::from_iter([("server".to_owned(), json!(server))]);
    let mut user = Map::new();
    if let Some(dir) = certificates {
        cluster.insert("certificate-authority-data".to_owned(), encoded(dir, "ca.crt")?);
        if let User::Certificate(name) = who {
            user.insert("client-certificate-data".to_owned(), encoded(dir, &format!("{name}.crt"))?);
            user.insert("client-key-data".to_owned(), encoded(dir, &format!("{name}.key"))?);
        }
    }
    if let User::Token(token) = who {
        user.insert("token".to_owned(), json!(token));
    }
    let file = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": "test", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    });
    let text = serde_json::to_string_pretty(&file).context("failed to render a kubeconfig")?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

fn encoded(dir: &Path, name: &str) -> Result<Value> {
    let bytes = std::fs::read(dir.join(name)).with_context(|| format!("failed to read {name}"))?;
    Ok(Value::String(STANDARD.encode(bytes)))
}
