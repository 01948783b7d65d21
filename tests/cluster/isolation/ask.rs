//! A request as one line of a table, and what the API server says to it.

use kube::Client;
use serde_json::Value;
use std::fmt;

/// A request.
#[derive(Clone)]
pub struct Ask {
    method: &'static str,
    path: String,
    content: &'static str,
    body: Value,
}

/// What was said.
pub enum Answer {
    /// Yes, with this body.
    Allowed(String),
    /// No, in these words.
    Refused(String),
}

impl Ask {
    fn new(method: &'static str, path: &str, content: &'static str, body: Value) -> Ask {
        Ask { method, path: path.to_owned(), content, body }
    }

    /// Only tried: nothing is stored.
    pub fn dry(mut self) -> Ask {
        self.path += if self.path.contains('?') { "&dryRun=All" } else { "?dryRun=All" };
        self
    }

    /// Sends it.
    pub async fn send(&self, client: &Client) -> Answer {
        let mut request = http::Request::builder().method(self.method).uri(&self.path);
        if !self.content.is_empty() {
            request = request.header("content-type", self.content);
        }
        let body = if self.body.is_null() { Vec::new() } else { self.body.to_string().into_bytes() };
        let request = request.body(body).expect("paths in the tables are URIs");
        match client.request_text(request).await {
            Ok(body) => Answer::Allowed(body),
            Err(kube::Error::Api(status)) => Answer::Refused(format!("{} {}", status.code, status.message)),
            Err(error) => Answer::Refused(format!("no answer: {error:?}")),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.body.is_null() { Ok(()) } else { write!(f, " {}", self.body) }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Allowed(body) => write!(f, "allowed: {}", body.chars().take(300).collect::<String>()),
            Answer::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// Reads, lists or watches.
pub fn get(path: &str) -> Ask {
    Ask::new("GET", path, "", Value::Null)
}

/// Creates.
pub fn post(path: &str, body: Value) -> Ask {
    Ask::new("POST", path, "application/json", body)
}

/// Replaces.
pub fn put(path: &str, body: Value) -> Ask {
    Ask::new("PUT", path, "application/json", body)
}

/// Merges.
pub fn merge(path: &str, body: Value) -> Ask {
    Ask::new("PATCH", path, "application/merge-patch+json", body)
}

/// Patches step by step.
pub fn steps(path: &str, body: Value) -> Ask {
    Ask::new("PATCH", path, "application/json-patch+json", body)
}

/// Applies, server-side and with force, as a field manager.
pub fn apply(path: &str, manager: &str, body: Value) -> Ask {
    let path = format!("{path}?fieldManager={manager}&force=true");
    Ask::new("PATCH", &path, "application/apply-patch+yaml", body)
}

/// Deletes, one or all.
pub fn delete(path: &str) -> Ask {
    Ask::new("DELETE", path, "", Value::Null)
}
