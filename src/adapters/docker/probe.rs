//! Questions to a dockerd, over TCP and its unix socket: an address and perhaps a client certificate in, whether it
//! answers and what it serves out. It trusts nothing that is served, and changes nothing.

use super::request::{connect, info, may_be_docker, ping_over_tls, within};
use crate::adapters::net::tls_client::{ClientKeyPair, client_config};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::docker::engine::Engine;
use rustls::DEFAULT_VERSIONS;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::UnixStream;

const NOT_DOCKER: &str = "the answer is not Docker's";

/// What came of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsProbe {
    /// No connection, and why.
    Closed(String),
    /// No answer, and why; DER of the leaf that was served before that, if any.
    Refused(Option<Vec<u8>>, String),
    /// Docker's API answered; DER of the leaf that was served.
    Answered(Vec<u8>),
}

impl TlsProbe {
    /// DER of the leaf that was served.
    pub fn leaf(&self) -> Option<&[u8]> {
        match self {
            TlsProbe::Closed(_) => None,
            TlsProbe::Refused(leaf, _) => leaf.as_deref(),
            TlsProbe::Answered(leaf) => Some(leaf),
        }
    }
}

/// Asks over TLS, with a client certificate or without. Any server certificate is accepted, and returned.
pub async fn tls(address: SocketAddr, client: Option<&ClientKeyPair>) -> TlsProbe {
    let stream = match connect(address).await {
        Ok(stream) => stream,
        Err(error) => return TlsProbe::Closed(error.to_string()),
    };
    let verifier = RecordingVerifier::accept_any();
    let name = ServerName::try_from("docker").expect("a constant name");
    let answer = match client_config(&verifier, client, DEFAULT_VERSIONS) {
        Ok(config) => ping_over_tls(stream, name, config).await,
        Err(error) => Err(io::Error::other(error)),
    };
    match (answer, verifier.leaf()) {
        (Ok(answer), Some(leaf)) if may_be_docker(&answer) => TlsProbe::Answered(leaf),
        (Ok(_), leaf) => TlsProbe::Refused(leaf, NOT_DOCKER.into()),
        (Err(error), leaf) => TlsProbe::Refused(leaf, error.to_string()),
    }
}

/// Asks `GET /info` over the unix socket.
///
/// # Errors
/// Where it does not answer, or not as Docker does.
pub async fn engine(socket: &Path) -> io::Result<Engine> {
    let mut stream = within(UnixStream::connect(socket)).await?;
    let answer = info(&mut stream).await?;
    answer.body().and_then(Engine::parse).ok_or_else(|| io::Error::other(NOT_DOCKER))
}

/// Whether dockerd answers on its unix socket.
///
/// # Errors
/// Where it does not.
pub async fn ping(socket: &Path) -> io::Result<()> {
    let mut stream = within(UnixStream::connect(socket)).await?;
    match may_be_docker(&super::request::ping(&mut stream).await?) {
        true => Ok(()),
        false => Err(io::Error::other(NOT_DOCKER)),
    }
}

/// Whether an address is one of this machine's now.
pub fn is_local(ip: std::net::IpAddr) -> bool {
    std::net::TcpListener::bind((ip, 0)).is_ok()
}
