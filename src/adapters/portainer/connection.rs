//! A connection to a server, a new one for each request: if it fails before the request is sent, Portainer received
//! nothing. It follows no redirect.

use super::access::{Access, RequestTimeouts};
use super::error::{AccessError, PortainerError};
use super::reply::Reply;
use super::request_metrics::RequestMetrics;
use crate::adapters::net::destinations::Destinations;
use crate::adapters::net::tcp::{DialError, dial_within};
use crate::adapters::net::tls_client::{client_config, tls_error, tls_handshake};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::portainer::prune::{Pruner, Shape};
use crate::portainer::sanitize::sanitize;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, DEFAULT_VERSIONS};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Bytes of an answer that pass by: an environment comes with the snapshot of its host.
const MAX_ANSWER: usize = 64 << 20;
/// Bytes of an answer of which no field is read, and of an error, that are kept.
const MAX_BEGINNING: usize = 64 << 10;
/// Bytes that a connection buffers: all headers of an answer, or a piece of its body.
const MAX_BUFFER: usize = 64 << 10;

/// Where a server is and how its certificate is verified.
pub(super) struct ServerAddress {
    host: String,
    port: u16,
    /// Host and port as they are in the URL.
    pub(super) authority: String,
    /// Path before that of each request, without a slash at the end.
    pub(super) prefix: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    destinations: Destinations,
    pub(super) timeouts: RequestTimeouts,
    pub(super) metrics: Arc<RequestMetrics>,
}

struct OpenConnection {
    sender: SendRequest<Full<Bytes>>,
    /// The task that moves the bytes; it ends when this is dropped.
    _driver: JoinSet<()>,
}

impl ServerAddress {
    pub(super) fn new(
        access: &Access,
        destinations: Destinations,
        metrics: Arc<RequestMetrics>,
    ) -> Result<ServerAddress, AccessError> {
        let url: Uri =
            access.url.trim().parse().map_err(|_| bad_url("it must look like https://portainer.example.com:9443"))?;
        let authority = url.authority().ok_or_else(|| bad_url("the host is missing"))?;
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad_url("it must begin with https:// or http://")),
        };
        if authority.as_str().contains('@') || url.query().is_some() {
            return Err(bad_url("it may hold only a host, a port and a path"));
        }
        let bare = authority.as_str().len() == authority.host().len();
        if !bare && authority.port_u16().is_none() {
            return Err(bad_url("the port must be a number from 0 to 65535"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = access.server_name.as_deref().unwrap_or(&host);
        let tls = if secure { Some((tls(access)?, server_name(name)?)) } else { None };
        Ok(ServerAddress {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            timeouts: access.timeouts,
            host,
            tls,
            destinations,
            metrics,
        })
    }

    /// The same for each way to write its address.
    pub(super) fn host_and_port(&self) -> String {
        format!("{}:{}", self.host.trim_end_matches('.').to_ascii_lowercase(), self.port)
    }

    /// Sends once; waits `answer_timeout` for the answer and reads `shape` of it.
    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        answer_timeout: Duration,
        shape: Option<Shape>,
    ) -> Result<Reply, PortainerError> {
        let open = timeout(self.timeouts.connect, self.open()).await;
        let late = format!("no connection within {} seconds", self.timeouts.connect.as_secs());
        let open = open.unwrap_or(Err(PortainerError::Unreachable(late)))?;
        timeout(answer_timeout, answer(open, request, shape)).await.unwrap_or(Err(PortainerError::TimedOut))
    }

    async fn open(&self) -> Result<OpenConnection, PortainerError> {
        let unreachable = |message: String| PortainerError::Unreachable(message);
        let stream = dial_within(&self.destinations, (&self.host, self.port), self.timeouts.connect).await;
        let stream = stream.map_err(|error| match error {
            DialError::NotAllowed => PortainerError::NotAllowed,
            error => unreachable(error.to_string()),
        })?;
        // Requests are short: send each packet at once.
        let _ = stream.set_nodelay(true);
        let Some((config, name)) = &self.tls else { return begin(stream).await };
        let stream = tls_handshake(stream, name.clone(), Arc::clone(config)).await;
        let stream = stream.map_err(|error| {
            let message = sanitize(&error.to_string());
            match tls_error(&error) {
                Some(rustls::Error::InvalidCertificate(_)) => PortainerError::Untrusted(message),
                Some(rustls::Error::InvalidMessage(_)) => unreachable("it does not speak TLS".into()),
                _ => unreachable(format!("the TLS handshake fails: {message}")),
            }
        })?;
        begin(stream).await
    }
}

fn bad_url(message: &str) -> AccessError {
    AccessError::Url(message.to_owned())
}

fn server_name(name: &str) -> Result<ServerName<'static>, AccessError> {
    let known = ServerName::try_from(name.to_owned());
    known.map_err(|_| AccessError::ServerName(format!("{} must be a DNS name or an IP address", sanitize(name))))
}

fn tls(access: &Access) -> Result<Arc<ClientConfig>, AccessError> {
    let roots = access.roots.as_deref();
    let verifier = roots.map_or_else(RecordingVerifier::from_system, RecordingVerifier::from_pem);
    let config = verifier.and_then(|verifier| client_config(&verifier, None, DEFAULT_VERSIONS));
    let mut config = config.map_err(AccessError::Roots)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<OpenConnection, PortainerError> {
    let handshake = Builder::new().max_buf_size(MAX_BUFFER).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| broken(&error))?;
    let mut driver = JoinSet::new();
    // The sender is told how it ends.
    driver.spawn(async move { drop(connection.await) });
    Ok(OpenConnection { sender, _driver: driver })
}

async fn answer(
    mut open: OpenConnection,
    request: Request<Full<Bytes>>,
    shape: Option<Shape>,
) -> Result<Reply, PortainerError> {
    let response = open.sender.send_request(request).await.map_err(|error| broken(&error))?;
    let (status, redirects, html) = (response.status(), response.headers().contains_key(LOCATION), is_html(&response));
    let body = match shape.filter(|_| status.is_success()) {
        Some(shape) => pruned(response.into_body(), shape).await?,
        None => beginning(response.into_body()).await?,
    };
    Ok(Reply { status, redirects, html, body })
}

/// What is read of a body, which may be long.
async fn pruned(mut body: Incoming, shape: Shape) -> Result<Vec<u8>, PortainerError> {
    let (mut pruner, mut taken) = (Pruner::new(shape), 0);
    while let Some(piece) = next(&mut body).await? {
        taken += piece.len();
        if taken > MAX_ANSWER {
            return Err(PortainerError::Unreadable(format!("it is longer than {} MiB", MAX_ANSWER >> 20)));
        }
        pruner.take(&piece).map_err(|error| PortainerError::Unreadable(error.to_string()))?;
    }
    Ok(pruner.finish())
}

/// The beginning of a body, whatever follows.
async fn beginning(mut body: Incoming) -> Result<Vec<u8>, PortainerError> {
    let mut kept = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        let room = MAX_BEGINNING - kept.len();
        kept.extend_from_slice(&piece[..piece.len().min(room)]);
        if kept.len() == MAX_BEGINNING {
            break;
        }
    }
    Ok(kept)
}

/// The next piece of a body; none at its end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, PortainerError> {
    match body.frame().await.transpose().map_err(|error| broken(&error))? {
        Some(frame) => Ok(Some(frame.into_data().unwrap_or_default())),
        None => Ok(None),
    }
}

fn is_html(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
}

/// After the TLS handshake, only an error of TLS itself says that Portainer received nothing.
fn broken(error: &hyper::Error) -> PortainerError {
    match tls_error(error) {
        Some(error) => {
            PortainerError::Unreachable(format!("the TLS handshake fails: {}", sanitize(&error.to_string())))
        }
        None if error.is_parse() => PortainerError::Unreadable("it is not HTTP".into()),
        None => PortainerError::TimedOut,
    }
}
