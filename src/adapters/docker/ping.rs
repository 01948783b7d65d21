//! A ping of a Docker host as Portainer makes it: over TLS, with a client certificate in, who answers out. A host that
//! lets strangers in is not pinged, but told. It changes nothing.

use super::exposure::exposure;
use super::request::{TIMEOUT, docker_version, may_be_docker, ping_over_tls};
use crate::adapters::net::destinations::Destinations;
use crate::adapters::net::http_get::HttpAnswer;
use crate::adapters::net::tcp::{DialError, dial_within};
use crate::adapters::net::tls_client::{ClientKeyPair, client_config, tls_error};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::docker::exposure::{Exposure, PLAIN_HTTP_PORT, Stranger};
use crate::pki::sha256_hex;
use crate::portainer::sanitize::sanitize;
use rustls::DEFAULT_VERSIONS;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

const PLAIN_HTTP_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a dockerd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerAddress {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The Docker host that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinged {
    /// SHA-256 of the served leaf's DER, hex.
    pub leaf_fingerprint: String,
    /// Docker's version, where the answer names it.
    pub docker_version: Option<String>,
}

/// Why Docker did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// The name has no address.
    #[error("failed to find an address of {0}")]
    Unresolved(String),
    /// No connection, or no answer in time.
    #[error("failed to connect: {0}")]
    Closed(String),
    /// No connection may be made to its address.
    #[error("no connection may be made to that address")]
    NotAllowed,
    /// The host's certificate does not verify.
    #[error("failed to trust the host's certificate: {0}")]
    NotTrusted(String),
    /// The host does not accept the client certificate, or ends the handshake.
    #[error("failed to agree on TLS with the host: {0}")]
    Refused(String),
    /// The host does not speak TLS.
    #[error("failed to speak TLS with the host: it does not speak TLS")]
    Plain,
    /// The host lets in clients that it must refuse.
    #[error("{0} answers {clients}: whoever reaches it has root rights on the host. {remedy}", clients = .1.clients(), remedy = .1.remedy())]
    Exposed(SocketAddr, Stranger),
    /// The host answers, and may let such clients in.
    #[error("failed to find out whether the host refuses {clients}: {1}", clients = .0.clients())]
    Uncertain(Stranger, String),
    /// Anything else.
    #[error("failed to ping the host: {0}")]
    Other(String),
}

/// Pings dockerd at `address` with a client certificate and its key, both PEM. The host is verified by `trust_pem`;
/// without it, any certificate is accepted. A host that lets strangers in there, or on Docker's port of plain HTTP, is an
/// error, whatever it answers to the ping.
///
/// # Errors
/// Why Docker does not answer within five seconds, or to whom it does.
pub async fn docker_ping(
    address: &DockerAddress,
    trust_pem: Option<&[u8]>,
    (cert_pem, key_pem): (&[u8], &[u8]),
    destinations: &Destinations,
) -> Result<Pinged, PingError> {
    let client = ClientKeyPair { cert: cert_pem.to_vec(), key: key_pem.to_vec().into() };
    let verifier = match trust_pem {
        Some(pem) => RecordingVerifier::from_pem(pem)
            .map_err(|why| PingError::Other(format!("the trusted certificates cannot be read: {why}")))?,
        None => RecordingVerifier::accept_any(),
    };
    let config = client_config(&verifier, Some(&client), DEFAULT_VERSIONS).map_err(PingError::Other)?;
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| PingError::Other(format!("{} is neither a name nor an IP address", address.host)))?;
    let stream = dial_within(destinations, (&address.host, address.port), TIMEOUT).await;
    let stream = stream.map_err(|error| match error {
        DialError::Unresolved(message) => PingError::Unresolved(message),
        DialError::Closed(_, message) => PingError::Closed(message),
        DialError::NotAllowed => PingError::NotAllowed,
    })?;
    let at = stream.peer_addr().map_err(|error| PingError::Closed(error.to_string()))?;
    let pinged = async { pinged(ping_over_tls(stream, name, config).await, &verifier) };
    let (pinged, (), uncertain) = tokio::try_join!(
        async { Ok(pinged.await) },
        no_plain_http(&address.host, at),
        refuses_strangers(&address.host, at),
    )?;
    uncertain.map_or(pinged.clone(), |uncertain| pinged.and(Err(uncertain)))
}

/// Fails where strangers are let in; the doubt, where that is not certain.
async fn refuses_strangers(host: &str, at: SocketAddr) -> Result<Option<PingError>, PingError> {
    match exposure(host, at).await {
        Exposure::Open(stranger) => Err(PingError::Exposed(at, stranger)),
        Exposure::Unknown(stranger, why) => Ok(Some(PingError::Uncertain(stranger, why))),
        Exposure::Closed | Exposure::Unreachable(_) => Ok(None),
    }
}

/// Fails where Docker answers on its port of plain HTTP. Many firewalls drop what is sent there.
async fn no_plain_http(host: &str, at: SocketAddr) -> Result<(), PingError> {
    let at = SocketAddr::new(at.ip(), PLAIN_HTTP_PORT);
    match timeout(PLAIN_HTTP_TIMEOUT, exposure(host, at)).await {
        Ok(Exposure::Open(stranger)) => Err(PingError::Exposed(at, stranger)),
        _ => Ok(()),
    }
}

fn pinged(answer: io::Result<HttpAnswer>, verifier: &RecordingVerifier) -> Result<Pinged, PingError> {
    let docker_version = version(&answer.map_err(|error| of_tls(&error))?)?;
    let leaf = verifier.leaf().ok_or_else(|| PingError::Other("the host served no certificate".into()))?;
    Ok(Pinged { leaf_fingerprint: sha256_hex(&leaf), docker_version })
}

fn of_tls(error: &io::Error) -> PingError {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_)) => PingError::NotTrusted(sanitize(&error.to_string())),
        Some(rustls::Error::InvalidMessage(_)) => PingError::Plain,
        None if error.kind() == io::ErrorKind::TimedOut => PingError::Closed(error.to_string()),
        _ => PingError::Refused(sanitize(&error.to_string())),
    }
}

/// Docker's version, where Docker answers with 200.
fn version(answer: &HttpAnswer) -> Result<Option<String>, PingError> {
    match answer.status_line().contains(" 200 ") && may_be_docker(answer) {
        true => Ok(docker_version(answer)),
        false => Err(PingError::Other(match answer.status() {
            Some(code) => format!("it answers with HTTP status {code}, and not as Docker does"),
            None => "it does not answer as Docker does".to_owned(),
        })),
    }
}

#[cfg(test)]
mod tests;
