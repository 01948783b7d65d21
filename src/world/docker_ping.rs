//! A ping of a Docker host the way Portainer will do it: over TLS, with a client certificate. It changes nothing.

/// Where a dockerd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
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
    address: &Address,
    trust_pem: Option<&[u8]>,
    cert_pem: &[u8],
    key_pem: &[u8],
) -> Result<Pinged, PingError> {
    let _ = (address, trust_pem, cert_pem, key_pem);
    Err(PingError::Other("not yet".into()))
}
