//! A connection to a server: one for each call, so that whatever fails before the question is known to have asked
//! nothing. It follows no redirect.

use super::error::{AccessError, PortainerError};
use super::{Access, Patience, RequestMetrics};
use crate::adapters::net::tcp::dial;
use crate::adapters::net::tls_client::{client_config, tls_error, tls_handshake};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::portainer::sanitize::sanitize;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, DEFAULT_VERSIONS};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An answer, read whole.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// It sends us elsewhere.
    pub(super) redirects: bool,
    /// It is a page, as what stands in front of Portainer answers.
    pub(super) html: bool,
}

/// Where a server is.
pub(super) struct ServerAddress {
    host: String,
    port: u16,
    /// Host and port as they were written.
    pub(super) authority: String,
    /// Path that it stands behind, without a slash at the end.
    pub(super) prefix: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) patience: Patience,
    /// What is asked here is counted there.
    pub(super) tally: Arc<RequestMetrics>,
}

/// What belongs to an open connection.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// What moves the bytes; it ends when this is dropped.
    _driver: JoinSet<()>,
}

impl ServerAddress {
    pub(super) fn new(access: &Access, tally: Arc<RequestMetrics>) -> Result<ServerAddress, AccessError> {
        let url: Uri = access.url.trim().parse().map_err(|_| bad_url("it is no URL"))?;
        let authority = url.authority().ok_or_else(|| bad_url("it names no host"))?;
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad_url("it begins with neither https:// nor http://")),
        };
        if authority.as_str().contains('@') || url.query().is_some() {
            return Err(bad_url("it holds more than a host, a port and a path"));
        }
        let bare = authority.as_str().len() == authority.host().len();
        if !bare && authority.port_u16().is_none() {
            return Err(bad_url("its port is none"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = access.server_name.as_deref().unwrap_or(&host);
        let tls = if secure { Some((tls(access)?, server_name(name)?)) } else { None };
        Ok(ServerAddress {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            patience: access.patience,
            host,
            tls,
            tally,
        })
    }

    /// Asks once. The answer is waited for as long as `patience` and read to `limit` bytes.
    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
        limit: usize,
    ) -> Result<Reply, PortainerError> {
        let open = timeout(self.patience.connect, self.open()).await;
        let late = format!("no connection within {} seconds", self.patience.connect.as_secs());
        let open = open.unwrap_or(Err(PortainerError::Unreachable(late)))?;
        timeout(patience, answer(open, request, limit)).await.unwrap_or(Err(PortainerError::TimedOut))
    }

    async fn open(&self) -> Result<Open, PortainerError> {
        let unreachable = |words: String| PortainerError::Unreachable(words);
        let stream = dial((&self.host, self.port), self.patience.connect).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        // Questions are short and waited for.
        let _ = stream.set_nodelay(true);
        let Some((config, name)) = &self.tls else { return begin(stream).await };
        let stream = tls_handshake(stream, name.clone(), Arc::clone(config)).await;
        let stream = stream.map_err(|error| {
            let words = sanitize(&error.to_string());
            match tls_error(&error) {
                Some(rustls::Error::InvalidCertificate(_)) => PortainerError::Untrusted(words),
                Some(rustls::Error::InvalidMessage(_)) => unreachable("it speaks no TLS".into()),
                _ => unreachable(format!("TLS fails: {words}")),
            }
        })?;
        begin(stream).await
    }
}

fn bad_url(words: &str) -> AccessError {
    AccessError::Url(words.to_owned())
}

fn server_name(name: &str) -> Result<ServerName<'static>, AccessError> {
    let known = ServerName::try_from(name.to_owned());
    known.map_err(|_| AccessError::ServerName(format!("{} is neither a name nor an address", sanitize(name))))
}

fn tls(access: &Access) -> Result<Arc<ClientConfig>, AccessError> {
    let roots = access.roots.as_deref();
    let verifier = roots.map_or_else(RecordingVerifier::from_system, RecordingVerifier::from_pem);
    let config = verifier.and_then(|verifier| client_config(&verifier, None, DEFAULT_VERSIONS));
    let mut config = config.map_err(AccessError::Roots)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Open, PortainerError> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let mut driver = JoinSet::new();
    // Its end is told to the sender.
    driver.spawn(async move { drop(connection.await) });
    Ok(Open { sender, _driver: driver })
}

async fn answer(mut open: Open, request: Request<Full<Bytes>>, limit: usize) -> Result<Reply, PortainerError> {
    let response = open.sender.send_request(request).await.map_err(|error| broken(&error))?;
    let (status, redirects, html) = (response.status(), response.headers().contains_key(LOCATION), is_html(&response));
    let body = Limited::new(response.into_body(), limit).collect().await.map_err(|error| cut(&*error, limit))?;
    Ok(Reply { status, redirects, html, body: body.to_bytes() })
}

fn is_html(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
}

fn cut(error: &(dyn Error + Send + Sync + 'static), limit: usize) -> PortainerError {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) => broken(error),
        None if error.is::<LengthLimitError>() => {
            PortainerError::Unreadable(format!("it is longer than {} MiB", limit >> 20))
        }
        None => PortainerError::TimedOut,
    }
}

/// After TLS itself agreed, only its own refusal says that nothing was asked.
fn broken(error: &hyper::Error) -> PortainerError {
    match tls_error(error) {
        Some(error) => PortainerError::Unreachable(format!("TLS fails: {}", sanitize(&error.to_string()))),
        None if error.is_parse() => PortainerError::Unreadable("it is not HTTP".into()),
        None => PortainerError::TimedOut,
    }
}
