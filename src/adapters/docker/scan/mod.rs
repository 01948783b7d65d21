//! A visit to a live address: each question is asked on a connection of its own, and the answers are written down. It
//! changes nothing, and judges nothing.

mod client_hello;
mod unknown_client;

use super::probe::{ask, header, is_docker};
use crate::adapters::Clock;
use crate::adapters::net::tcp::{DialError, dial};
use crate::adapters::net::tls_verifier::{RecordingVerifier, as_client, builder_of, by_given, tls_error};
use crate::docker::scan::{
    Answers, PingAnswer, PlainAnswer, PlainHttpPort, Port, ScanResult, TlsAnswer, Version, VersionSupport,
};
use crate::pki::Certificate;
use crate::portainer::sanitize::sanitize;
use client_hello::is_cut;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DEFAULT_VERSIONS, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// No question takes longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The port of Docker's plain HTTP.
const PLAIN_PORT: u16 = 2375;

/// A client certificate and its key, PEM.
#[derive(Clone)]
pub struct ClientKeyPair {
    /// The certificate, and what it is signed by where that is no root.
    pub cert: Vec<u8>,
    /// The key.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ClientKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair(redacted)")
    }
}

/// Visits `host`, a name or an IP address without brackets. `trust_pem` are the authorities that it should be verified
/// by, `client` is a pair that it should accept.
pub async fn visit(
    (host, port): (&str, u16),
    trust_pem: Option<&[u8]>,
    client: Option<&ClientKeyPair>,
    clock: &Clock,
) -> ScanResult {
    let reached = reach(host, port).await;
    let answers = match reached {
        Port::Open(at) => Some(answers(&Door::of(host, at), trust_pem, client, clock).await),
        _ => None,
    };
    ScanResult { host: host.to_owned(), port, reached, answers }
}

async fn reach(host: &str, port: u16) -> Port {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    match dial((host, port), TIMEOUT).await {
        Ok(stream) => stream.peer_addr().map_or_else(|error| Port::Failed(error.to_string()), Port::Open),
        Err(DialError::Unresolved(words)) => Port::Unresolved(words),
        Err(DialError::Closed(ConnectionRefused, words)) => Port::Refused(words),
        Err(DialError::Closed(HostUnreachable | NetworkUnreachable | NetworkDown, words)) => Port::NoRoute(words),
        Err(DialError::Closed(TimedOut, words)) => Port::TimedOut(words),
        Err(DialError::Closed(_, words)) => Port::Failed(words),
    }
}

/// An open port, and the name by which it is asked.
struct Door {
    at: SocketAddr,
    name: ServerName<'static>,
}

impl Door {
    fn of(host: &str, at: SocketAddr) -> Door {
        // What TLS cannot ask for by name is asked for by address.
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| at.ip().into());
        Door { at, name }
    }
}

async fn answers(door: &Door, trust_pem: Option<&[u8]>, client: Option<&ClientKeyPair>, clock: &Clock) -> Answers {
    let (stranger, now) = (unknown_client::self_signed(clock.now()), clock.now());
    let version = |version| async move { (version, client_hello::offer(door.at, version).await) };
    let newer =
        |version, one: &'static SupportedProtocolVersion| async move { (version, spoken(door, client, one).await) };
    let ((nobody, chain), plain, (self_signed, _), ours, distrust, beside, v10, v11, v12, v13) = tokio::join!(
        tls(door, None),
        plain(door.at),
        tls(door, Some(&stranger)),
        async {
            match client {
                Some(client) => Some(tls(door, Some(client)).await.0),
                None => None,
            }
        },
        distrust(door, trust_pem),
        beside(door.at),
        version(Version::V10),
        version(Version::V11),
        newer(Version::V12, &TLS12),
        newer(Version::V13, &TLS13),
    );
    let leaf = chain.first().and_then(|der| Certificate::from_der(der).ok());
    let impostor = match leaf {
        Some(leaf) => Some(tls(door, Some(&unknown_client::impostor(&leaf, now))).await.0),
        None => None,
    };
    Answers { plain, nobody, self_signed, impostor, ours, chain, distrust, versions: vec![v10, v11, v12, v13], beside }
}

/// Asks as a client that knows nothing of TLS.
async fn plain(at: SocketAddr) -> PlainAnswer {
    let answer = match timeout(TIMEOUT, plainly(at)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if is_cut(error.kind()) => return PlainAnswer::HungUp,
        Ok(Err(error)) => return PlainAnswer::Silence(error.to_string()),
        Err(_) => return PlainAnswer::Silence("no answer in time".into()),
    };
    match answer {
        answer if !answer.starts_with(b"HTTP/") => PlainAnswer::HungUp,
        answer if status(&answer) == 400 && is_tls_at_work(&answer) => PlainAnswer::TlsAtWork,
        answer => PlainAnswer::Answered(sanitize(first_line(&answer))),
    }
}

/// As Go's servers say it (net/http, server.go), and as nginx does.
fn is_tls_at_work(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    text.contains("http request to an https server") || text.contains("plain http request was sent to https port")
}

async fn plainly(at: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").await?;
    let mut answer = Vec::new();
    match stream.take(4096).read_to_end(&mut answer).await {
        Err(_) if !answer.is_empty() => Ok(answer),
        done => done.map(|_| answer),
    }
}

/// Asks over TLS, with a certificate or without, whoever answers; and what was served.
async fn tls(door: &Door, client: Option<&ClientKeyPair>) -> (TlsAnswer, Vec<Vec<u8>>) {
    let seen = Arc::new(RecordingVerifier::whoever());
    let answer = match config(&seen, client, DEFAULT_VERSIONS) {
        Ok(config) => asked(door, config).await,
        Err(words) => TlsAnswer::Unusable(words),
    };
    (answer, seen.chain())
}

async fn asked(door: &Door, config: ClientConfig) -> TlsAnswer {
    let asked = async {
        let mut stream = connected(door, config).await?;
        ask(&mut stream, "/_ping").await
    };
    match timeout(TIMEOUT, asked).await {
        Ok(Ok(answer)) if answer.is_empty() => TlsAnswer::Refused("it hangs up".into()),
        Ok(Ok(answer)) => TlsAnswer::Answered(read(&answer)),
        Ok(Err(error)) => failed(&error),
        Err(_) => TlsAnswer::Silence("no answer in time".into()),
    }
}

async fn connected(door: &Door, config: ClientConfig) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(door.at).await?;
    TlsConnector::from(Arc::new(config)).connect(door.name.clone(), stream).await
}

fn failed(error: &io::Error) -> TlsAnswer {
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => TlsAnswer::NotTls,
        Some(error) => TlsAnswer::Refused(sanitize(&error.to_string())),
        None if is_cut(error.kind()) => TlsAnswer::Refused("it hangs up".into()),
        None => TlsAnswer::Silence(sanitize(&error.to_string())),
    }
}

fn config(
    seen: &Arc<RecordingVerifier>,
    client: Option<&ClientKeyPair>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, String> {
    let builder = builder_of(Arc::clone(seen) as _, versions).map_err(|error| error.to_string())?;
    let Some(client) = client else { return Ok(builder.with_no_client_auth()) };
    as_client(builder, &client.cert, &client.key)
}

/// Whether the handshake comes as far as the host's certificate in that version alone.
async fn spoken(
    door: &Door,
    client: Option<&ClientKeyPair>,
    version: &'static SupportedProtocolVersion,
) -> VersionSupport {
    let seen = Arc::new(RecordingVerifier::whoever());
    let config = match config(&seen, client, &[version]) {
        Ok(config) => config,
        Err(words) => return VersionSupport::Unknown(words),
    };
    let done = timeout(TIMEOUT, connected(door, config)).await;
    if !seen.chain().is_empty() {
        return VersionSupport::Yes;
    }
    match done.map(|done| done.map_err(|error| failed(&error))) {
        Ok(Err(TlsAnswer::Refused(words))) => VersionSupport::No(words),
        Ok(Err(TlsAnswer::Silence(words))) => VersionSupport::Unknown(words),
        Ok(_) => VersionSupport::Unknown("it does not speak TLS".into()),
        Err(_) => VersionSupport::Unknown("no answer in time".into()),
    }
}

/// Why a client that verifies by `trust_pem` ends the handshake; what its certificate itself says of names, dates and
/// usage is left to whoever reads it.
async fn distrust(door: &Door, trust_pem: Option<&[u8]>) -> Option<String> {
    let verifier = match by_given(trust_pem?) {
        Ok(verifier) => verifier,
        Err(words) => return Some(words),
    };
    let seen = Arc::new(RecordingVerifier::verified_by(Some(verifier)));
    let config = config(&seen, None, DEFAULT_VERSIONS).ok()?;
    let error = timeout(TIMEOUT, connected(door, config)).await.ok()?.err()?;
    match tls_error(&error)? {
        rustls::Error::InvalidCertificate(fault) if !is_its_own(fault) => Some(sanitize(&fault.to_string())),
        _ => None,
    }
}

fn is_its_own(fault: &CertificateError) -> bool {
    use CertificateError::{
        Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext,
    };
    matches!(
        fault,
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

async fn beside(at: SocketAddr) -> Option<PlainHttpPort> {
    if at.port() == PLAIN_PORT {
        return None;
    }
    let at = SocketAddr::new(at.ip(), PLAIN_PORT);
    if !matches!(timeout(TIMEOUT, TcpStream::connect(at)).await, Ok(Ok(_))) {
        return Some(PlainHttpPort::Closed);
    }
    let answer = timeout(TIMEOUT, plainly(at)).await;
    Some(match answer {
        Ok(Ok(answer)) if is_docker(&answer) => PlainHttpPort::Docker,
        _ => PlainHttpPort::Other,
    })
}

/// What an answer to `/_ping` says.
fn read(answer: &[u8]) -> PingAnswer {
    let server = header(answer, "server");
    let server = server.as_deref().and_then(|server| server.strip_prefix("Docker/"));
    PingAnswer {
        status: status(answer),
        is_docker: server.is_some() || header(answer, "api-version").is_some(),
        version: server.and_then(|version| version.split_whitespace().next()).map(sanitize),
    }
}

fn first_line(answer: &[u8]) -> &str {
    let end = answer.iter().position(|byte| *byte == b'\r' || *byte == b'\n').unwrap_or(answer.len());
    std::str::from_utf8(&answer[..end]).unwrap_or("HTTP")
}

fn status(answer: &[u8]) -> u16 {
    first_line(answer).split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
