//! What is there already, into manifests: somebody's openssl directory, or a Portainer's environments. It writes
//! nothing and says what is insecure.

pub mod openssl;
pub mod portainer;

use crate::api::{API_VERSION, Kind};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What can be taken over, and words about it.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Manifests, in the order in which they are applied. They hold keys.
    pub manifests: Vec<Value>,
    /// What a user should know.
    pub words: Vec<Finding>,
}

/// Why something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// It is insecure as it is.
    Insecure,
    /// It is not in the manifests.
    LeftOut,
    /// Something to do, or to know.
    Note,
}

impl Tone {
    /// The word in front of a line.
    pub fn word(self) -> &'static str {
        match self {
            Tone::Insecure => "insecure",
            Tone::LeftOut => "left out",
            Tone::Note => "note",
        }
    }
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Why it is said.
    pub tone: Tone,
    /// The file, environment or object.
    pub about: String,
    /// What, and what to do.
    pub text: String,
}

impl Adopted {
    fn say(&mut self, tone: Tone, about: &str, text: impl Into<String>) {
        self.words.push(Finding { tone, about: about.to_owned(), text: text.into() });
    }
}

fn object(kind: Kind, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": kind.as_str(), "metadata": { "name": name }, "spec": spec })
}

/// A Secret of texts.
fn text_secret(name: &str, key: &str, text: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { key: text } })
}

/// Names of objects, no two of which are the same.
#[derive(Debug, Default)]
struct UniqueNames(BTreeSet<String>);

impl UniqueNames {
    /// The first of the wishes that makes a name nobody has; else the first with a number.
    fn take(&mut self, wishes: &[&str], otherwise: &str) -> String {
        let mut wished: Vec<String> = wishes.iter().map(|wish| slug(wish)).filter(|name| !name.is_empty()).collect();
        wished.push(otherwise.to_owned());
        let numbered = (2..).map(|number| format!("{}-{number}", wished[0]));
        let mut free = wished.iter().take(wishes.len()).cloned().chain(numbered);
        let name = free.find(|name| !self.0.contains(name)).expect("numbers do not end");
        self.0.insert(name.clone());
        name
    }
}

/// A text as a Kubernetes name has it: lower case letters, digits and hyphens, at most 50.
fn slug(text: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let plain: String = text.chars().map(plain).collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let joined = parts.join("-");
    joined.chars().take(50).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests;
