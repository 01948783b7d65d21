//! A ping of a Docker host as Portainer makes it: over TLS, with a client certificate in, who answers out. It changes
//! nothing.

use super::request::{TIMEOUT, docker_version, may_be_docker, ping_over_tls};
use crate::adapters::net::http_get::HttpAnswer;
use crate::adapters::net::tcp::{DialError, dial};
use crate::adapters::net::tls_client::{ClientKeyPair, client_config, tls_error};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::pki::sha256_hex;
use crate::portainer::sanitize::sanitize;
use rustls::DEFAULT_VERSIONS;
use rustls::pki_types::ServerName;
use std::io;
use tokio::time::timeout;

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
    /// The host's certificate does not verify.
    #[error("failed to trust the host's certificate: {0}")]
    NotTrusted(String),
    /// The host does not accept the client certificate, or ends the handshake.
    #[error("failed to agree on TLS with the host: {0}")]
    Refused(String),
    /// The host does not speak TLS.
    #[error("failed to speak TLS with the host: it does not speak TLS")]
    Plain,
    /// Anything else.
    #[error("failed to ping the host: {0}")]
    Other(String),
}

/// Pings dockerd at `address` with a client certificate and its key, both PEM. The host is verified by `trust_pem`;
/// without it, any certificate is accepted.
///
/// # Errors
/// Why Docker does not answer within five seconds.
pub async fn docker_ping(
    address: &DockerAddress,
    trust_pem: Option<&[u8]>,
    cert_pem: &[u8],
    key_pem: &[u8],
) -> Result<Pinged, PingError> {
    let client = ClientKeyPair { cert: cert_pem.to_vec(), key: key_pem.to_vec().into() };
    let late = || PingError::Closed(format!("no answer within {} seconds", TIMEOUT.as_secs()));
    timeout(TIMEOUT, ping(address, trust_pem, &client)).await.unwrap_or_else(|_| Err(late()))
}

async fn ping(address: &DockerAddress, trust_pem: Option<&[u8]>, client: &ClientKeyPair) -> Result<Pinged, PingError> {
    let verifier = match trust_pem {
        Some(pem) => RecordingVerifier::from_pem(pem)
            .map_err(|why| PingError::Other(format!("the trusted certificates cannot be read: {why}")))?,
        None => RecordingVerifier::accept_any(),
    };
    let config = client_config(&verifier, Some(client), DEFAULT_VERSIONS).map_err(PingError::Other)?;
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| PingError::Other(format!("{} is neither a name nor an IP address", address.host)))?;
    let stream = dial((&address.host, address.port), TIMEOUT).await.map_err(|error| match error {
        DialError::Unresolved(message) => PingError::Unresolved(message),
        DialError::Closed(_, message) => PingError::Closed(message),
    })?;
    let answer = ping_over_tls(stream, name, config).await.map_err(|error| of_tls(&error))?;
    let docker_version = version(&answer)?;
    let leaf = verifier.leaf().ok_or_else(|| PingError::Other("the host served no certificate".into()))?;
    Ok(Pinged { leaf_fingerprint: sha256_hex(&leaf), docker_version })
}

fn of_tls(error: &io::Error) -> PingError {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_)) => PingError::NotTrusted(sanitize(&error.to_string())),
        Some(rustls::Error::InvalidMessage(_)) => PingError::Plain,
        _ => PingError::Refused(sanitize(&error.to_string())),
    }
}

/// Docker's version, where Docker answers with 200.
fn version(answer: &HttpAnswer) -> Result<Option<String>, PingError> {
    match answer.status_line().contains(" 200 ") && may_be_docker(answer) {
        true => Ok(docker_version(answer)),
        false => Err(PingError::Other(format!("it answers: {}", sanitize(answer.status_line())))),
    }
}

#[cfg(test)]
mod tests;
