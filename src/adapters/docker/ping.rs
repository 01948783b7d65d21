//! A ping of a Docker host the way Portainer will do it: over TLS, with a client certificate. It changes nothing.

use super::probe::{ask, header, is_docker};
use crate::adapters::net::tcp::{DialError, dial};
use crate::adapters::net::tls_verifier::{RecordingVerifier, as_client, builder, by_given, tls_error};
use crate::pki::sha256_hex;
use crate::portainer::sanitize::sanitize;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Everything is done within it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a dockerd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerAddress {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinged {
    /// SHA-256 of the served leaf's DER, hex.
    pub leaf_fingerprint: String,
    /// Docker's version, where it says so.
    pub docker_version: Option<String>,
}

/// Why nothing did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// The name has no address.
    #[error("failed to find an address of {0}")]
    Unresolved(String),
    /// Nobody listens, or nobody answers in time.
    #[error("failed to connect: {0}")]
    Closed(String),
    /// The host's certificate does not verify.
    #[error("failed to trust the host's certificate: {0}")]
    NotTrusted(String),
    /// The host does not take our certificate, or breaks the handshake off.
    #[error("failed to agree on TLS with the host: {0}")]
    Refused(String),
    /// The host speaks no TLS.
    #[error("failed to speak TLS with the host: it speaks none")]
    Plain,
    /// Anything else.
    #[error("failed to ping the host: {0}")]
    Other(String),
}

/// Pings dockerd at `address` with a client certificate and its key, both PEM. The host is verified by `trust_pem`; by
/// nothing where there is none.
///
/// # Errors
/// Why there is no answer of Docker's within five seconds.
pub async fn docker_ping(
    address: &DockerAddress,
    trust_pem: Option<&[u8]>,
    cert_pem: &[u8],
    key_pem: &[u8],
) -> Result<Pinged, PingError> {
    let client = (cert_pem, key_pem);
    let late = || PingError::Closed(format!("no answer within {} seconds", TIMEOUT.as_secs()));
    timeout(TIMEOUT, ping(address, trust_pem, client)).await.unwrap_or_else(|_| Err(late()))
}

async fn ping(address: &DockerAddress, trust_pem: Option<&[u8]>, client: (&[u8], &[u8])) -> Result<Pinged, PingError> {
    let other = |words: String| PingError::Other(words);
    let verifier = trust_pem.map(by_given).transpose();
    let verifier = verifier.map_err(|words| other(format!("the authorities cannot be read: {words}")))?;
    let seen = Arc::new(RecordingVerifier::verified_by(verifier));
    let config = config(&seen, client).map_err(other)?;
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| other(format!("{} is neither a name nor an address", address.host)))?;
    let docker_version = read(&exchange(address, name, config).await?)?;
    let leaf = seen.leaf().ok_or_else(|| other("it served no certificate".into()))?;
    Ok(Pinged { leaf_fingerprint: sha256_hex(&leaf), docker_version })
}

fn config(seen: &Arc<RecordingVerifier>, (cert_pem, key_pem): (&[u8], &[u8])) -> Result<ClientConfig, String> {
    let builder = builder(Arc::clone(seen) as _).map_err(|error| error.to_string())?;
    as_client(builder, cert_pem, key_pem)
}

async fn exchange(
    address: &DockerAddress,
    name: ServerName<'static>,
    config: ClientConfig,
) -> Result<Vec<u8>, PingError> {
    let stream = dial((&address.host, address.port), TIMEOUT).await.map_err(|error| match error {
        DialError::Unresolved(words) => PingError::Unresolved(words),
        DialError::Closed(_, words) => PingError::Closed(words),
    })?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let mut stream = connected.map_err(|error| judged(&error))?;
    // With TLS 1.3 the host's opinion of our certificate comes after the handshake.
    ask(&mut stream, "/_ping").await.map_err(|error| judged(&error))
}

fn judged(error: &io::Error) -> PingError {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_)) => PingError::NotTrusted(sanitize(&error.to_string())),
        Some(rustls::Error::InvalidMessage(_)) => PingError::Plain,
        _ => PingError::Refused(sanitize(&error.to_string())),
    }
}

/// Docker's version, where it is Docker that answers, and well.
fn read(answer: &[u8]) -> Result<Option<String>, PingError> {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(4096)]);
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") || !is_docker(answer) {
        return Err(PingError::Other(format!("it answers: {}", sanitize(status))));
    }
    let server = header(answer, "server");
    let version = server.as_deref().and_then(|server| server.strip_prefix("Docker/"));
    Ok(version.and_then(|version| version.split_whitespace().next()).map(sanitize))
}

#[cfg(test)]
mod tests;
