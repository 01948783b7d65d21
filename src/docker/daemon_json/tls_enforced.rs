//! Whether dockerd, started with a daemon.json, is certain to demand client certificates: bytes in, its files or the
//! doubt out. In doubt the answer is no.

use super::document::{DaemonJson, DaemonJsonError};
use super::document::{Member, Tokens, folded};
use super::settings::TlsPaths;

const TLS_KEYS: [&str; 5] = ["tls", "tlsverify", "tlscacert", "tlscert", "tlskey"];

/// Why it is not certain that dockerd demands client certificates.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotEnforced {
    /// Not an object in JSON.
    #[error(transparent)]
    Unreadable(#[from] DaemonJsonError),
    /// A required member is missing.
    #[error("daemon.json does not say {0}")]
    Missing(&'static str),
    /// A member appears twice: dockerd uses the last, other readers the first.
    #[error("daemon.json says {0} more than once")]
    Repeated(&'static str),
    /// A name with capitals or escapes, which Go reads as the same name.
    #[error("daemon.json writes {key} as {written}")]
    Disguised {
        /// The name that dockerd reads.
        key: &'static str,
        /// The name in JSON.
        written: String,
    },
    /// A nested member, which dockerd may read as its own, in no certain order.
    #[error("daemon.json says {key} once more, inside {parent}")]
    Nested {
        /// The name that dockerd reads.
        key: &'static str,
        /// The member that holds it, in JSON.
        parent: String,
    },
    /// Another value than the one that demands certificates.
    #[error("daemon.json says {key} is {value}, which must be {wanted}")]
    Wrong {
        /// The name of the member.
        key: &'static str,
        /// The value in JSON.
        value: String,
        /// The required value, in words.
        wanted: &'static str,
    },
}

/// The files by which dockerd demands and checks client certificates, if it is certain to do so with this daemon.json:
/// `tlsverify` is true and the three paths are absolute, each set once and by its plain name. Whether the files exist
/// is not checked: dockerd does not start without them.
///
/// # Errors
/// [`NotEnforced`]: the reason why it is not certain.
pub fn enforces_client_auth(text: &[u8]) -> Result<TlsPaths, NotEnforced> {
    let document = DaemonJson::parse(text)?;
    nothing_nested(&document)?;
    match only(&document, "tls")?.map(|member| member.value.as_str()) {
        None | Some("true" | "false") => {}
        Some(other) => return Err(NotEnforced::Wrong { key: "tls", value: other.into(), wanted: "true or false" }),
    }
    let verify = only(&document, "tlsverify")?.ok_or(NotEnforced::Missing("tlsverify"))?;
    if verify.value != "true" {
        return Err(NotEnforced::Wrong { key: "tlsverify", value: verify.value.clone(), wanted: "true" });
    }
    let path = |key| path(&document, key);
    Ok(TlsPaths { ca: path("tlscacert")?, cert: path("tlscert")?, key: path("tlskey")? })
}

/// The one member that dockerd reads as `key`.
fn only<'a>(document: &'a DaemonJson, key: &'static str) -> Result<Option<&'a Member>, NotEnforced> {
    let mut members = document.members.iter().filter(|member| member.is(key));
    match (members.next(), members.next()) {
        (_, Some(_)) => Err(NotEnforced::Repeated(key)),
        (Some(one), None) if !one.is_plainly(key) => Err(NotEnforced::Disguised { key, written: one.key.clone() }),
        (one, None) => Ok(one),
    }
}

fn path(document: &DaemonJson, key: &'static str) -> Result<String, NotEnforced> {
    let member = only(document, key)?.ok_or(NotEnforced::Missing(key))?;
    let path: Option<String> = serde_json::from_str(&member.value).ok();
    path.filter(|path| path.starts_with('/') && !path.chars().any(char::is_control)).ok_or_else(|| NotEnforced::Wrong {
        key,
        value: member.value.clone(),
        wanted: "an absolute path",
    })
}

/// dockerd flattens objects that it does not know and sets its switches from what it finds there (`configValuesSet`,
/// daemon/config/config.go), so a second `tlsverify` hides in any member.
fn nothing_nested(document: &DaemonJson) -> Result<(), NotEnforced> {
    for member in document.members.iter().filter(|member| member.value.starts_with('{')) {
        let Ok(Tokens(inner)) = serde_json::from_str(&member.value) else { continue };
        let ours = |name: String| TLS_KEYS.into_iter().find(|key| *key == name);
        if let Some(key) = inner.iter().find_map(|(key, _)| ours(folded(key.get()))) {
            return Err(NotEnforced::Nested { key, parent: member.key.clone() });
        }
    }
    Ok(())
}
