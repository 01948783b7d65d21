//! Where a Portainer is and what it knows us by: settings only, nothing is sent.

use std::time::Duration;
use zeroize::Zeroizing;

/// Where a Portainer is, and how its certificate is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `https://` or `http://`, host, port, and a path if a proxy serves it below one.
    pub url: String,
    /// CA certificates (PEM) that verify its certificate; `None` for the system's.
    pub roots: Option<Vec<u8>>,
    /// Name in its certificate, if that is not the host of `url`.
    pub server_name: Option<String>,
    pub timeouts: RequestTimeouts,
}

/// How long requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTimeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For an answer.
    pub answer: Duration,
    /// For the answer to a login, of which there is one at a time for each server.
    pub login_answer: Duration,
    /// For an answer that Portainer gives after it asked a host: it tries twice, a minute each.
    pub host: Duration,
    /// Between two logins.
    pub login: Duration,
}

impl Default for RequestTimeouts {
    fn default() -> RequestTimeouts {
        RequestTimeouts {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            login_answer: Duration::from_secs(10),
            host: Duration::from_secs(150),
            login: Duration::from_secs(60),
        }
    }
}

/// What Portainer knows us by.
#[derive(Clone, PartialEq, Eq)]
pub enum ServerCredential {
    /// An API key, `ptr_…`.
    ApiKey(Zeroizing<String>),
    /// A user who logs in.
    Password { username: String, password: Zeroizing<String> },
}

impl std::fmt::Debug for ServerCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ServerCredential::ApiKey(_) => "ApiKey(redacted)",
            ServerCredential::Password { .. } => "Password(redacted)",
        })
    }
}
