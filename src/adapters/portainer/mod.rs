//! Portainer over HTTP: one server by one credential. It asks and is answered; it decides nothing, follows no redirect
//! and keeps no cookie.

mod call;
mod connection;
mod environments;
mod error;
mod request_metrics;
mod server;
mod session;

pub use crate::portainer::TlsFiles;
pub use error::{AccessError, PortainerError};
pub use request_metrics::{BOUNDS, Counts, Durations, Operation, Outcome, RequestMetrics};

use crate::portainer::ErrorBody;
use crate::portainer::sanitize::sanitize;
use call::Call;
use connection::{Reply, ServerAddress};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use session::Session;
use std::sync::Arc;
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
pub enum ServerCredential {
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

impl std::fmt::Debug for ServerCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ServerCredential::ApiKey(_) => "ApiKey(redacted)",
            ServerCredential::Password { .. } => "Password(redacted)",
        })
    }
}

/// One server by one credential. Copies share its session.
#[derive(Clone)]
pub struct PortainerApi(Arc<Client>);

struct Client {
    server: ServerAddress,
    session: Session,
}

impl std::fmt::Debug for PortainerApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Portainer({})", self.0.server.authority)
    }
}

impl PortainerApi {
    /// A client, which asks nothing yet.
    ///
    /// # Errors
    /// Where `access` or the credential cannot be read.
    pub fn new(access: &Access, credential: ServerCredential) -> Result<PortainerApi, AccessError> {
        PortainerApi::counted(access, credential, Arc::default())
    }

    /// The same; its requests are counted there.
    ///
    /// # Errors
    /// Where `access` or the credential cannot be read.
    pub fn counted(
        access: &Access,
        credential: ServerCredential,
        tally: Arc<RequestMetrics>,
    ) -> Result<PortainerApi, AccessError> {
        let client = Client { server: ServerAddress::new(access, tally)?, session: Session::new(credential)? };
        Ok(PortainerApi(Arc::new(client)))
    }

    async fn stranger(&self, call: Call) -> Answer<Reply> {
        let reply = call.send(&self.0.server, None).await?;
        self.judge(reply)
    }

    async fn ask(&self, call: Call) -> Answer<Reply> {
        let reply = self.sent(call).await?;
        self.judge(reply)
    }

    /// Asks as the user, and takes the answer as it is: it may be Docker's.
    async fn as_it_is(&self, call: Call) -> Answer<Reply> {
        let Client { server, session } = &*self.0;
        call.send(server, Some(&session.pass(server).await?)).await
    }

    /// Asks as the user; where the session ended, once more with a new one.
    async fn sent(&self, call: Call) -> Answer<Reply> {
        let Client { server, session } = &*self.0;
        let pass = session.pass(server).await?;
        let reply = call.send(server, Some(&pass)).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let pass = session.renewed(server, &pass).await?;
        let reply = call.send(server, Some(&pass)).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            session.refuse(&pass).await;
        }
        Ok(reply)
    }

    async fn read<T: DeserializeOwned>(&self, call: Call) -> Answer<T> {
        read(&self.ask(call).await?)
    }

    fn judge(&self, reply: Reply) -> Answer<Reply> {
        match reply.status.is_success() {
            true => Ok(reply),
            false => Err(judged(&reply, |text| self.0.session.is_shown_in(text))),
        }
    }
}

fn read<T: DeserializeOwned>(reply: &Reply) -> Answer<T> {
    serde_json::from_slice(&reply.body).map_err(|error| PortainerError::Unreadable(sanitize(&error.to_string())))
}

/// Why a call failed, by its answer; words that show a secret are left out.
fn judged(reply: &Reply, shows_secret: impl Fn(&str) -> bool) -> PortainerError {
    let words = words(reply, shows_secret);
    match reply.status.as_u16() {
        303 if !reply.redirects => PortainerError::NotInitialised,
        401 => PortainerError::CredentialsRefused,
        403 => PortainerError::Forbidden(words),
        // What stands in front of Portainer knows no paths at all: that says nothing about an id.
        404 if refusal(reply).is_some() => PortainerError::NotFound,
        409 => PortainerError::NameInUse,
        status => PortainerError::Refused { status, words },
    }
}

fn refusal(reply: &Reply) -> Option<ErrorBody> {
    serde_json::from_slice(&reply.body).ok().filter(|refusal: &ErrorBody| !refusal.message.is_empty())
}

fn words(reply: &Reply, shows_secret: impl Fn(&str) -> bool) -> String {
    let text = match refusal(reply) {
        Some(ErrorBody { message, details }) if details.is_empty() || details == message => message,
        Some(ErrorBody { message, details }) => format!("{message}: {details}"),
        None if reply.redirects => "it sends us to another address".to_owned(),
        None if reply.html => "a page that is none of Portainer's".to_owned(),
        None => String::from_utf8_lossy(&reply.body[..reply.body.len().min(4096)]).into_owned(),
    };
    let fit = if shows_secret(&text) { String::new() } else { sanitize(&text) };
    match fit.is_empty() {
        true => reply.status.canonical_reason().unwrap_or("no words").to_owned(),
        false => fit,
    }
}

#[cfg(test)]
mod tests;
