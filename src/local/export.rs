//! A state directory as manifests, for the day it moves into a cluster. It holds private keys and reads only.

use super::LocalError;
use crate::adapters::disk::state_directory::DirectoryError;
use crate::adapters::disk::store::{StoredRecord, read_all, read_writer};
use crate::adapters::store::StoredKind;
use crate::api::marker::TAKE_FROM_ANNOTATION;
use crate::api::{AUTHORITY_ANNOTATION, IDENTITY_ANNOTATION, MANAGED_LABEL, OWNER_ANNOTATION};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::io::Write;
use std::path::Path;
use zeroize::Zeroizing;

const HEADER: &str = "\
# Secrets and ConfigMaps of a dockseal state directory. They hold private keys.
# Apply these first, into a cluster where Dockseal is installed, and then the YAML that `dockseal up` was given:
# the objects find their Secrets and go on with the certificates in them.
";

/// Prints every Secret and ConfigMap of the state directory `state` as a YAML document.
///
/// # Errors
/// [`LocalError`] where the directory is none of ours or cannot be read, or `out` cannot be written.
pub fn export(state: &Path, out: &mut dyn Write) -> Result<(), LocalError> {
    let kept = read_all(state)?;
    let writer = read_writer(state).map_err(DirectoryError::from)?;
    let header = HEADER.to_owned() + &writer.map(|writer| successor(&writer)).unwrap_or_default();
    out.write_all(header.as_bytes()).map_err(LocalError::Print)?;
    for item in &kept {
        let text = match &item.owner {
            Some(owner) => manifest(item, owner)?,
            None => Zeroizing::new(format!("# {} {} is not Dockseal's and is left out.\n", kind(item), item.at)),
        };
        out.write_all(text.as_bytes()).map_err(LocalError::Print)?;
    }
    out.flush().map_err(LocalError::Print)
}

/// What lets a cluster deliver to the hosts of this state directory.
fn successor(writer: &str) -> String {
    format!(
        "# Hosts that {writer} delivered to, this state directory, accept the cluster once the objects say so, and this \
         directory no longer:\n#   kubectl annotate dockerhostcerts --all -A {TAKE_FROM_ANNOTATION}={writer}\n"
    )
}

fn kind(item: &StoredRecord) -> &'static str {
    match item.shelf {
        StoredKind::Secrets => "Secret",
        StoredKind::ConfigMaps => "ConfigMap",
    }
}

/// Everything is quoted as JSON, which is YAML, and one line is one field.
fn manifest(item: &StoredRecord, owner: &str) -> Result<Zeroizing<String>, LocalError> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut lines = Zeroizing::new(String::new());
    let mut line = |text: String| {
        lines.push_str(&text);
        lines.push('\n');
    };
    line("---".into());
    line("apiVersion: v1".into());
    line(format!("kind: {}", kind(item)));
    line("metadata:".into());
    line(format!("  name: {}", quoted(&item.at.name)));
    line(format!("  namespace: {}", quoted(&item.at.namespace)));
    line(format!("  labels: {{{}: \"true\"}}", quoted(MANAGED_LABEL)));
    line("  annotations:".into());
    line(format!("    {}: {}", quoted(OWNER_ANNOTATION), quoted(owner)));
    if let Some(authority) = &item.authority {
        line(format!("    {}: {}", quoted(AUTHORITY_ANNOTATION), quoted(authority)));
    }
    if let Some(identity) = &item.identity {
        line(format!("    {}: {}", quoted(IDENTITY_ANNOTATION), quoted(identity)));
    }
    if let Some(type_) = item.type_.as_deref().filter(|_| item.shelf == StoredKind::Secrets) {
        line(format!("type: {}", quoted(type_)));
    }
    line("data:".into());
    for (key, bytes) in item.data.iter() {
        let value = match item.shelf {
            StoredKind::Secrets => BASE64_STANDARD.encode(bytes),
            StoredKind::ConfigMaps => String::from_utf8_lossy(bytes).into_owned(),
        };
        line(format!("  {}: {}", quoted(key), quoted(&value)));
    }
    Ok(lines)
}
