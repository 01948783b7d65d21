//! Portainer over HTTP: one server by one credential. It asks and is answered; it decides nothing, follows no redirect
//! and keeps no cookie.

mod error;

pub use crate::portainer::Files;
pub use error::{AccessError, PortainerError};

use crate::portainer::{Change, Environment, File, Group, NewEnvironment, SystemStatus, Tag, User};
use std::time::Duration;
use zeroize::Zeroizing;

type Answer<T> = Result<T, PortainerError>;

/// Where a server is, and how it proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `https://` or `http://`, host, port, and a path where it stands behind one.
    pub url: String,
    /// PEM of the authorities that its certificate is verified by; none for the system's.
    pub roots: Option<Vec<u8>>,
    /// Name in its certificate, where that is not the host of `url`.
    pub server_name: Option<String>,
    /// How long it is waited for.
    pub patience: Patience,
}

/// How long is waited, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the answer to a question, a change or an upload.
    pub answer: Duration,
    /// For the answer where Portainer itself waits for a host: two tries of a minute each.
    pub host: Duration,
    /// Between two logins.
    pub login: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            host: Duration::from_secs(150),
            login: Duration::from_secs(60),
        }
    }
}

/// What a server knows us by.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key, `ptr_…`.
    ApiKey(Zeroizing<String>),
    /// A user, who logs in.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Zeroizing<String>,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credential::ApiKey(_) => "ApiKey(redacted)",
            Credential::Password { .. } => "Password(redacted)",
        })
    }
}

/// One server by one credential. Copies share its session.
#[derive(Clone, Debug)]
pub struct Portainer;

const NOT_YET: &str = "not yet";

#[allow(clippy::unused_async, missing_docs, reason = "signatures first")]
impl Portainer {
    pub fn new(access: &Access, credential: Credential) -> Result<Portainer, AccessError> {
        let _ = (access, credential);
        Ok(Portainer)
    }
    pub async fn status(&self) -> Answer<SystemStatus> {
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn has_administrator(&self) -> Answer<bool> {
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn initialize(&self) -> Answer<()> {
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn me(&self) -> Answer<User> {
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn environments(&self) -> Answer<Vec<Environment>> {
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn named(&self, name: &str) -> Answer<Vec<Environment>> {
        Err(PortainerError::Unreachable(name.into()))
    }
    pub async fn environment(&self, id: i64) -> Answer<Option<Environment>> {
        Err(PortainerError::Unreachable(id.to_string()))
    }
    pub async fn groups(&self) -> Answer<Vec<Group>> {
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn tags(&self) -> Answer<Vec<Tag>> {
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn create_tag(&self, name: &str) -> Answer<Tag> {
        Err(PortainerError::Unreachable(name.into()))
    }
    pub async fn create(&self, new: &NewEnvironment, files: &Files) -> Answer<Environment> {
        let _ = (new, files);
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn change(&self, id: i64, change: &Change) -> Answer<Environment> {
        let _ = (id, change);
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn upload(&self, id: i64, file: File, pem: &[u8]) -> Answer<()> {
        let _ = (id, file, pem);
        Err(PortainerError::Unreachable(NOT_YET.into()))
    }
    pub async fn ping(&self, id: i64) -> Answer<()> {
        Err(PortainerError::Unreachable(id.to_string()))
    }
    pub async fn snapshot(&self, id: i64) -> Answer<()> {
        Err(PortainerError::Unreachable(id.to_string()))
    }
    pub async fn delete(&self, id: i64) -> Answer<()> {
        Err(PortainerError::Unreachable(id.to_string()))
    }
}
