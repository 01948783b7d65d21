//! A scan of a live address: an address and what should be accepted there in, the answer to each question out. Each
//! question is asked on a connection of its own. It changes nothing, and judges nothing.

mod client_hello;
mod unknown_client;

use super::request::{
    TIMEOUT, connect, docker_version, may_be_docker, ping, ping_over_tls, refuses_plain_http, within,
};
use crate::adapters::Clock;
use crate::adapters::net::http_get::HttpAnswer;
use crate::adapters::net::tcp::{DialError, dial};
use crate::adapters::net::tls_client::{ClientKeyPair, client_config, tls_error, tls_handshake};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::docker::scan::{
    Answers, PingAnswer, PlainAnswer, PlainHttpPort, PortState, ScanResult, TlsAnswer, TlsVersion, VersionSupport,
};
use crate::pki::Certificate;
use crate::portainer::sanitize::sanitize;
use client_hello::is_cut;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DEFAULT_VERSIONS, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;

/// Docker's port of plain HTTP.
const PLAIN_PORT: u16 = 2375;

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
    }
}

/// An open port, and the name by which it is asked.
struct Target {
    at: SocketAddr,
    name: ServerName<'static>,
}

impl Target {
    fn of(host: &str, at: SocketAddr) -> Target {
        // What TLS cannot ask for by name is asked for by address.
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| at.ip().into());
        Target { at, name }
    }
}

async fn answers(target: &Target, trust_pem: Option<&[u8]>, client: Option<&ClientKeyPair>, clock: &Clock) -> Answers {
    let now = clock.now();
    let unknown = unknown_client::self_signed(now);
    let old = |version| async move { (version, client_hello::offer(target.at, version).await) };
    let new = |version, only| async move { (version, version_support(target, client, only).await) };
    let our_client = async {
        match client {
            Some(client) => Some(tls(target, Some(client)).await.0),
            None => None,
        }
    };
    let ((no_certificate, chain), plain, (self_signed, _), our_client, distrust, plain_http_port, v10, v11, v12, v13) = tokio::join!(
        tls(target, None),
        plain(target.at),
        tls(target, Some(&unknown)),
        our_client,
        distrust(target, trust_pem),
        plain_http_port(target.at),
        old(TlsVersion::V10),
        old(TlsVersion::V11),
        new(TlsVersion::V12, &TLS12),
        new(TlsVersion::V13, &TLS13),
    );
    let leaf = chain.first().and_then(|der| Certificate::from_der(der).ok());
    let impostor = match leaf {
        Some(leaf) => Some(tls(target, Some(&unknown_client::impostor(&leaf, now))).await.0),
        None => None,
    };
    let versions = vec![v10, v11, v12, v13];
    Answers { plain, no_certificate, self_signed, impostor, our_client, chain, distrust, versions, plain_http_port }
}

/// Asks over plain HTTP.
async fn plain(at: SocketAddr) -> PlainAnswer {
    match plain_ping(at).await {
        Ok(answer) if !answer.0.starts_with(b"HTTP/") => PlainAnswer::HungUp,
        Ok(answer) if answer.status() == Some(400) && refuses_plain_http(&answer) => PlainAnswer::TlsRequired,
        Ok(answer) => PlainAnswer::Answered(sanitize(answer.status_line())),
        Err(error) if is_cut(error.kind()) => PlainAnswer::HungUp,
        Err(error) => PlainAnswer::Silence(error.to_string()),
    }
}

async fn plain_ping(at: SocketAddr) -> io::Result<HttpAnswer> {
    ping(&mut connect(at).await?).await
}

/// Asks over TLS, with a client certificate or without; any server certificate is accepted. And the chain that was
/// served, DER.
async fn tls(target: &Target, client: Option<&ClientKeyPair>) -> (TlsAnswer, Vec<Vec<u8>>) {
    let verifier = RecordingVerifier::accept_any();
    let answer = match client_config(&verifier, client, DEFAULT_VERSIONS) {
        Ok(config) => tls_ping(target, config).await.map_or_else(|error| failed(&error), |answer| answered(&answer)),
        Err(message) => TlsAnswer::Unusable(message),
    };
    (answer, verifier.chain())
}

async fn tls_ping(target: &Target, config: ClientConfig) -> io::Result<HttpAnswer> {
    ping_over_tls(connect(target.at).await?, target.name.clone(), config).await
}

fn answered(answer: &HttpAnswer) -> TlsAnswer {
    match answer.0.is_empty() {
        true => TlsAnswer::Refused("it hangs up".into()),
        false => TlsAnswer::Answered(PingAnswer {
            status: answer.status().unwrap_or_default(),
            is_docker: docker_version(answer).is_some() || answer.header("api-version").is_some(),
            version: docker_version(answer),
        }),
    }
}

fn failed(error: &io::Error) -> TlsAnswer {
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => TlsAnswer::NotTls,
        Some(error) => TlsAnswer::Refused(sanitize(&error.to_string())),
        None if is_cut(error.kind()) => TlsAnswer::Refused("it hangs up".into()),
        None => TlsAnswer::Silence(sanitize(&error.to_string())),
    }
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
    match connected.map_err(|error| failed(&error)) {
        Err(TlsAnswer::Refused(message)) => VersionSupport::No(message),
        Err(TlsAnswer::Silence(message)) => VersionSupport::Unknown(message),
        _ => VersionSupport::Unknown("it does not speak TLS".into()),
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
        PLAIN_PORT => return None,
        _ => SocketAddr::new(at.ip(), PLAIN_PORT),
    };
    let Ok(mut stream) = connect(at).await else { return Some(PlainHttpPort::Closed) };
    Some(match ping(&mut stream).await {
        Ok(answer) if may_be_docker(&answer) => PlainHttpPort::Docker,
        _ => PlainHttpPort::Other,
    })
}

#[cfg(test)]
mod tests;
