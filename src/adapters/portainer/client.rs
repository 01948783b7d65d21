//! One Portainer by one credential: a call in, its answer out. It decides nothing, follows no redirect and keeps no
//! cookie.

use super::access::{Access, ServerCredential};
use super::call::Call;
use super::connection::ServerAddress;
use super::error::{AccessError, PortainerError};
use super::reply::Reply;
use super::request_metrics::RequestMetrics;
use super::session::Session;
use crate::adapters::net::destinations::Destinations;
use crate::portainer::Answer;
use hyper::StatusCode;
use std::sync::Arc;
use zeroize::Zeroizing;

/// One Portainer by one credential. Copies share its session.
#[derive(Clone)]
pub struct PortainerApi(Arc<Client>);

struct Client {
    server: ServerAddress,
    session: Session,
}

impl std::fmt::Debug for PortainerApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PortainerApi({})", self.0.server.authority)
    }
}

impl PortainerApi {
    /// A client, which sends nothing yet.
    ///
    /// # Errors
    /// Where `access` or the credential cannot be parsed.
    pub fn new(access: &Access, credential: ServerCredential) -> Result<PortainerApi, AccessError> {
        PortainerApi::with_metrics(access, &Destinations::anywhere(), credential, Arc::default())
    }

    /// The same, which connects to `destinations` alone; its requests are counted in `metrics`.
    ///
    /// # Errors
    /// Where `access` or the credential cannot be parsed.
    pub fn with_metrics(
        access: &Access,
        destinations: &Destinations,
        credential: ServerCredential,
        metrics: Arc<RequestMetrics>,
    ) -> Result<PortainerApi, AccessError> {
        let server = ServerAddress::new(access, destinations.clone(), metrics)?;
        let client = Client { server, session: Session::new(credential)? };
        Ok(PortainerApi(Arc::new(client)))
    }

    /// Sends without a credential; an error answer is an error.
    pub(super) async fn send_anonymously(&self, call: Call) -> Result<Reply, PortainerError> {
        call.send(&self.0.server, None).await?.success(|text| self.has_secret(text))
    }

    /// Sends with the credential; an error answer is an error.
    pub(super) async fn send(&self, call: Call) -> Result<Reply, PortainerError> {
        self.send_in_session(call).await?.success(|text| self.has_secret(text))
    }

    pub(super) async fn read<T: Answer>(&self, call: Call) -> Result<T, PortainerError> {
        self.send(call.reading(T::SHAPE)).await?.parse()
    }

    /// The same without a credential.
    pub(super) async fn read_anonymously<T: Answer>(&self, call: Call) -> Result<T, PortainerError> {
        self.send_anonymously(call.reading(T::SHAPE)).await?.parse()
    }

    /// Sends with the credential and returns any answer: an error may be Docker's.
    pub(super) async fn send_once(&self, call: Call) -> Result<Reply, PortainerError> {
        let Client { server, session } = &*self.0;
        call.send(server, Some(&session.auth_header(server).await?)).await
    }

    /// The same; if the session has ended, once more with a new one.
    async fn send_in_session(&self, call: Call) -> Result<Reply, PortainerError> {
        let Client { server, session } = &*self.0;
        let header = session.auth_header(server).await?;
        let reply = call.send(server, Some(&header)).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let header = session.renew(server, &header).await?;
        let reply = call.send(server, Some(&header)).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            session.mark_refused(&header).await;
        }
        Ok(reply)
    }

    /// The body of a login, if the credential is a user.
    pub(super) fn login_body(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.0.session.login_body()
    }

    pub(super) fn has_secret(&self, text: &str) -> bool {
        self.0.session.appears_in(text)
    }
}
