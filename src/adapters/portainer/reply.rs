//! An answer of Portainer in, its JSON or the reason of its failure out. Text that holds a secret is left out.

use super::error::PortainerError;
use crate::portainer::sanitize::sanitize;
use crate::portainer::{Answer, ErrorBody};
use hyper::StatusCode;

/// An answer: of a success what is read of it, of an error its beginning.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    /// It has a `Location` header.
    pub(super) redirects: bool,
    /// It is an HTML page, as a proxy in front of Portainer answers.
    pub(super) html: bool,
}

impl Reply {
    pub(super) fn parse<T: Answer>(&self) -> Result<T, PortainerError> {
        // Not the parser's words, which show what was there instead; and no place, which is one in the pruned text.
        serde_json::from_slice(&self.body).map_err(|error| {
            let what = if error.is_data() { "its JSON is not Portainer's" } else { "it is not JSON" };
            PortainerError::Unreadable(what.to_owned())
        })
    }

    /// Itself if it is a success, else its error. `has_secret` says of a text whether it holds a secret.
    pub(super) fn success(self, has_secret: impl Fn(&str) -> bool) -> Result<Reply, PortainerError> {
        if self.status.is_success() { Ok(self) } else { Err(self.error(has_secret)) }
    }

    pub(super) fn error(&self, has_secret: impl Fn(&str) -> bool) -> PortainerError {
        let message = self.message(has_secret);
        match self.status.as_u16() {
            303 if !self.redirects => PortainerError::NotInitialised,
            401 => PortainerError::CredentialsRefused,
            403 => PortainerError::Forbidden(message),
            // A proxy in front of Portainer answers 404 to any path: that says nothing about an id.
            404 if self.error_body().is_some() => PortainerError::NotFound,
            409 => PortainerError::NameInUse,
            status => PortainerError::Refused { status, message },
        }
    }

    /// Portainer's words, fit for a status and a log; of other servers, the status code's.
    pub(super) fn message(&self, has_secret: impl Fn(&str) -> bool) -> String {
        let text = match self.error_body() {
            Some(_) if !self.is_portainers() => String::new(),
            Some(ErrorBody { message, details }) if details.is_empty() || details == message => message,
            Some(ErrorBody { message, details }) => format!("{message}: {details}"),
            None if self.redirects => "a redirect to another address".to_owned(),
            None if self.html => "a web page that is not Portainer's".to_owned(),
            None => String::new(),
        };
        let clean = if has_secret(&text) { String::new() } else { sanitize(&text) };
        match clean.is_empty() {
            true => self.status.canonical_reason().unwrap_or("no message").to_owned(),
            false => clean,
        }
    }

    fn error_body(&self) -> Option<ErrorBody> {
        serde_json::from_slice(&self.body).ok().filter(|body: &ErrorBody| !body.message.is_empty())
    }

    /// Whether an error has the fields of Portainer's and no others, such as those of an API server.
    fn is_portainers(&self) -> bool {
        let fields: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&self.body).ok();
        fields.is_some_and(|fields| fields.keys().all(|name| ["message", "details", "err"].contains(&name.as_str())))
    }
}
