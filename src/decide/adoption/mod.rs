//! An existing openssl directory or a Portainer's environments in, manifests and findings out. It writes nothing.

pub mod openssl;
pub mod portainer;

use crate::api::{API_VERSION, Kind};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Manifests of what can be adopted, and findings about it.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Manifests, in the order in which they are applied. They hold keys.
    pub manifests: Vec<Value>,
    /// What the user should know, the most important first.
    pub findings: Vec<Finding>,
}

/// How important a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Something is insecure now.
    Insecure,
    /// Something is not in the manifests.
    LeftOut,
    /// Something to do, or to know.
    Note,
}

impl FindingKind {
    /// The word at the beginning of a printed line.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Insecure => "insecure",
            FindingKind::LeftOut => "left out",
            FindingKind::Note => "note",
        }
    }
}

/// One thing that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How important it is.
    pub kind: FindingKind,
    /// The file, environment or object that it is about.
    pub about: String,
    /// What is found, and what to do.
    pub text: String,
}

impl Adopted {
    fn say(&mut self, kind: FindingKind, about: &str, text: impl Into<String>) {
        self.findings.push(Finding { kind, about: about.to_owned(), text: text.into() });
    }
}

fn object(kind: Kind, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": kind.as_str(), "metadata": { "name": name }, "spec": spec })
}

/// A Secret with one text.
fn text_secret(name: &str, key: &str, text: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { key: text } })
}

/// Gives out object names, each only once.
#[derive(Debug, Default)]
struct UniqueNames(BTreeSet<String>);

impl UniqueNames {
    /// The first of the names that is still free; else the first with a number.
    fn take(&mut self, candidates: &[&str], otherwise: &str) -> String {
        let mut slugs: Vec<String> = candidates.iter().map(|wish| slug(wish)).filter(|name| !name.is_empty()).collect();
        slugs.push(otherwise.to_owned());
        let numbered = (2..).map(|number| format!("{}-{number}", slugs[0]));
        let mut free = slugs.iter().take(candidates.len()).cloned().chain(numbered);
        let name = free.find(|name| !self.0.contains(name)).expect("numbers do not end");
        self.0.insert(name.clone());
        name
    }
}

/// A text as a Kubernetes name: lower case letters, digits and hyphens, at most 50.
fn slug(text: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let plain: String = text.chars().map(plain).collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let joined = parts.join("-");
    joined.chars().take(50).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests;
