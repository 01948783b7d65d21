//! Questions to a dockerd, over TCP and its unix socket: who is answered, with which certificate. It changes nothing.

use crate::adapters::net::tls_verifier::{RecordingVerifier, builder};
use crate::docker::engine::Engine;
use rustls::ClientConfig;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// No question takes longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Answers are read no further.
const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// Go's answer to plain HTTP where TLS is spoken: TLS at work (net/http, server.go); in lower case.
const TLS_AT_WORK: &str = "client sent an http request to an https server.";

/// A client certificate and its key, DER.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

/// What a client got that spoke plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainProbe {
    /// No connection, and why.
    Closed(String),
    /// A connection and no answer of HTTP, or TLS's own refusal.
    Refused,
    /// Docker's API, without any certificate.
    Answered,
}

/// What a client got that spoke TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsProbe {
    /// No connection, and why.
    Closed(String),
    /// No answer, and why; DER of the leaf that was served until then, if any.
    Refused(Option<Vec<u8>>, String),
    /// Docker's API; DER of the leaf that was served.
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

/// Asks as a client that knows nothing of TLS.
pub async fn plain(address: SocketAddr) -> PlainProbe {
    let mut stream = match connect(address).await {
        Ok(stream) => stream,
        Err(error) => return PlainProbe::Closed(error.to_string()),
    };
    match ask(&mut stream, "/_ping").await {
        Ok(answer) if is_docker(&answer) => PlainProbe::Answered,
        _ => PlainProbe::Refused,
    }
}

/// Asks over TLS, with a client certificate or without. Whose certificate is served does not matter: it is given back.
pub async fn tls(address: SocketAddr, identity: Option<&Identity>) -> TlsProbe {
    let stream = match connect(address).await {
        Ok(stream) => stream,
        Err(error) => return TlsProbe::Closed(error.to_string()),
    };
    let seen = Arc::new(RecordingVerifier::whoever());
    let answer = match config(&seen, identity) {
        Ok(config) => within(exchange(stream, config)).await,
        Err(error) => Err(io::Error::other(error)),
    };
    let leaf = seen.leaf();
    match (answer, leaf) {
        (Ok(answer), Some(leaf)) if is_docker(&answer) => TlsProbe::Answered(leaf),
        (Ok(_), leaf) => TlsProbe::Refused(leaf, "it answered something else than Docker does".into()),
        (Err(error), leaf) => TlsProbe::Refused(leaf, error.to_string()),
    }
}

/// Asks over the unix socket.
///
/// # Errors
/// Where it does not answer, or not as Docker does.
pub async fn engine(socket: &Path) -> io::Result<Engine> {
    let mut stream = within(UnixStream::connect(socket)).await?;
    let answer = ask(&mut stream, "/info").await?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| &answer[at + 4..]);
    let engine = body.and_then(Engine::parse);
    engine.ok_or_else(|| io::Error::other("it answered something else than Docker does"))
}

/// Whether dockerd answers on its unix socket.
///
/// # Errors
/// Where it does not.
pub async fn ping(socket: &Path) -> io::Result<()> {
    let mut stream = within(UnixStream::connect(socket)).await?;
    match is_docker(&ask(&mut stream, "/_ping").await?) {
        true => Ok(()),
        false => Err(io::Error::other("it answered something else than Docker does")),
    }
}

/// Whether an address is one of this machine's at the moment.
pub fn is_local(ip: std::net::IpAddr) -> bool {
    std::net::TcpListener::bind((ip, 0)).is_ok()
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    within(TcpStream::connect(address)).await
}

async fn within<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(TIMEOUT, what).await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

async fn exchange(stream: TcpStream, config: ClientConfig) -> io::Result<Vec<u8>> {
    let name = ServerName::try_from("docker").expect("a constant name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    ask(&mut stream, "/_ping").await
}

/// One question in HTTP/1.0, so that the answer ends with the connection and comes in one piece.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> io::Result<Vec<u8>> {
    let asked = async {
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        match stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await {
            // Who hangs up without a word after it is no fault of the answer's.
            Err(_) if !answer.is_empty() => Ok(answer),
            done => done.map(|_| answer),
        }
    };
    within(asked).await
}

/// A header of an answer of HTTP.
pub(super) fn header(answer: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(4096)]);
    let headers = head.lines().skip(1).take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let mut named = headers.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim().to_owned())
}

/// Any answer of HTTP counts, but TLS's own refusal of plain HTTP, and that of dockerd's metrics, which know no such
/// page and are no door.
pub(super) fn is_docker(answer: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(1024)]).to_ascii_lowercase();
    let unknown = head.lines().next().is_some_and(|status| status.contains(" 404 "));
    let named = head.contains("\napi-version:") || head.contains("\nserver: docker/");
    head.starts_with("http/") && !head.contains(TLS_AT_WORK) && (named || !unknown)
}

fn config(seen: &Arc<RecordingVerifier>, identity: Option<&Identity>) -> Result<ClientConfig, rustls::Error> {
    let builder = builder(Arc::clone(seen) as _)?;
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let key = PrivateKeyDer::Pkcs8(identity.key.to_vec().into());
            builder.with_client_auth_cert(vec![identity.certificate.clone().into()], key)
        }
    }
}
