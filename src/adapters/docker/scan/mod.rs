//! A scan of a live address: an address and what should be accepted there in, the answer to each question out. Each
//! question is asked on a connection of its own. It changes nothing, and judges nothing.

mod client_hello;

use super::exposure::{Target, exposure, strangers, tls};
use super::request::{TIMEOUT, connect, is_cut, within};
use crate::adapters::Clock;
use crate::adapters::net::tcp::{DialError, dial};
use crate::adapters::net::tls_client::{ClientKeyPair, client_config, tls_error, tls_handshake};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::docker::exposure::{Exposure, PLAIN_HTTP_PORT};
use crate::docker::scan::{Answers, PlainHttpPort, PortState, ScanResult, TlsVersion, VersionSupport};
use crate::portainer::sanitize::sanitize;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DEFAULT_VERSIONS, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;

/// Scans `host`, a name or an IP address without brackets. `trust_pem` are the authorities that it should be verified
/// by, `client` is a key pair that it should accept.
pub async fn scan(
    (host, port): (&str, u16),
    trust_pem: Option<&[u8]>,
    client: Option<&ClientKeyPair>,
    clock: &Clock,
) -> ScanResult {
    let port_state = port_state(host, port).await;
    let answers = match port_state {
        PortState::Open(at) => Some(answers(&Target::of(host, at), trust_pem, client, clock).await),
        _ => None,
    };
    ScanResult { host: host.to_owned(), port, port_state, answers }
}

async fn port_state(host: &str, port: u16) -> PortState {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    match dial((host, port), TIMEOUT).await {
        Ok(stream) => stream.peer_addr().map_or_else(|error| PortState::Failed(error.to_string()), PortState::Open),
        Err(DialError::Unresolved(message)) => PortState::Unresolved(message),
        Err(DialError::Closed(ConnectionRefused, message)) => PortState::Refused(message),
        Err(DialError::Closed(HostUnreachable | NetworkUnreachable | NetworkDown, message)) => {
            PortState::NoRoute(message)
        }
        Err(DialError::Closed(TimedOut, message)) => PortState::TimedOut(message),
        Err(DialError::Closed(_, message)) => PortState::Failed(message),
        Err(DialError::NotAllowed) => PortState::Failed(DialError::NotAllowed.to_string()),
    }
}

async fn answers(target: &Target, trust_pem: Option<&[u8]>, client: Option<&ClientKeyPair>, clock: &Clock) -> Answers {
    let old = |version| async move { (version, client_hello::offer(target.at, version).await) };
    let new = |version, only| async move { (version, version_support(target, client, only).await) };
    let our_client = async {
        match client {
            Some(client) => Some(tls(target, Some(client)).await.0),
            None => None,
        }
    };
    let ((strangers, chain), our_client, distrust, plain_http_port, v10, v11, v12, v13) = tokio::join!(
        strangers(target, clock.now()),
        our_client,
        distrust(target, trust_pem),
        plain_http_port(target.at),
        old(TlsVersion::V10),
        old(TlsVersion::V11),
        new(TlsVersion::V12, &TLS12),
        new(TlsVersion::V13, &TLS13),
    );
    let versions = vec![v10, v11, v12, v13];
    Answers { strangers, our_client, chain, distrust, versions, plain_http_port }
}

/// Only a handshake.
async fn connect_tls(target: &Target, config: ClientConfig) -> io::Result<()> {
    let stream = connect(target.at).await?;
    within(tls_handshake(stream, target.name.clone(), config)).await.map(drop)
}

/// Whether the host serves its certificate where `version` alone is offered.
async fn version_support(
    target: &Target,
    client: Option<&ClientKeyPair>,
    version: &'static SupportedProtocolVersion,
) -> VersionSupport {
    let verifier = RecordingVerifier::accept_any();
    let config = match client_config(&verifier, client, &[version]) {
        Ok(config) => config,
        Err(message) => return VersionSupport::Unknown(message),
    };
    let connected = connect_tls(target, config).await;
    if !verifier.chain().is_empty() {
        return VersionSupport::Yes;
    }
    let not_tls = || VersionSupport::Unknown("it does not speak TLS".into());
    let Err(error) = connected else { return not_tls() };
    match tls_error(&error) {
        Some(rustls::Error::InvalidMessage(_)) => not_tls(),
        Some(error) => VersionSupport::No(sanitize(&error.to_string())),
        None if is_cut(error.kind()) => VersionSupport::No("it hangs up".into()),
        None => VersionSupport::Unknown(sanitize(&error.to_string())),
    }
}

/// Why a client that verifies by `trust_pem` ends the handshake. Names, dates and usage are left out: the certificate
/// itself shows them.
async fn distrust(target: &Target, trust_pem: Option<&[u8]>) -> Option<String> {
    let verifier = match RecordingVerifier::from_pem(trust_pem?) {
        Ok(verifier) => verifier,
        Err(message) => return Some(message),
    };
    let config = client_config(&verifier, None, DEFAULT_VERSIONS).ok()?;
    let error = connect_tls(target, config).await.err()?;
    match tls_error(&error)? {
        rustls::Error::InvalidCertificate(error) if !is_its_own(error) => Some(sanitize(&error.to_string())),
        _ => None,
    }
}

/// What the certificate itself shows.
fn is_its_own(error: &CertificateError) -> bool {
    use CertificateError::{
        Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext,
    };
    matches!(
        error,
        Expired
            | ExpiredContext { .. }
            | InvalidPurpose
            | InvalidPurposeContext { .. }
            | NotValidForName
            | NotValidForNameContext { .. }
            | NotValidYet
            | NotValidYetContext { .. }
    )
}

async fn plain_http_port(at: SocketAddr) -> Option<PlainHttpPort> {
    let at = match at.port() {
        PLAIN_HTTP_PORT => return None,
        _ => SocketAddr::new(at.ip(), PLAIN_HTTP_PORT),
    };
    Some(match exposure("docker", at).await {
        Exposure::Unreachable(_) => PlainHttpPort::Closed,
        Exposure::Open(_) => PlainHttpPort::Docker,
        Exposure::Unknown(..) | Exposure::Closed => PlainHttpPort::Other,
    })
}

#[cfg(test)]
mod tests;
