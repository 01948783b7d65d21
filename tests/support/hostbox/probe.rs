//! Asks TCP addresses, all the time and without a client certificate, whether anybody answers who should not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, crypto::aws_lc_rs};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsConnector;

const EVERY: Duration = Duration::from_millis(20);
/// A question may wait in systemd's socket until dockerd is up; its answer counts all the same.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// What Go's server says to plain HTTP where it speaks TLS: that is TLS at work, and cannot be had otherwise.
const TLS_AT_WORK: &str = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.";

/// What a probe has seen.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// Questions.
    pub asked: u64,
    /// Questions that were answered as they should: by a failed handshake, or by Go's fixed 400.
    pub denied: u64,
    /// Questions that got an answer over HTTP.
    pub leaked: u64,
    /// When, how and what the first such answer was.
    pub first_leak: Option<String>,
}

/// A thread that asks each address every 20 ms for `/_ping`, over plain HTTP and over TLS without a certificate.
pub struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    addresses: Mutex<Vec<SocketAddr>>,
    count: Mutex<Count>,
    stop: AtomicBool,
    began: Instant,
    tls: TlsConnector,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Plain,
    Tls,
}

impl Probe {
    /// Asks these, until it is finished.
    pub fn start(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Probe> {
        let shared = Arc::new(Shared {
            addresses: Mutex::new(addresses.into_iter().collect()),
            count: Mutex::default(),
            stop: AtomicBool::new(false),
            began: Instant::now(),
            tls: without_certificate()?,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("probe".into())
            .spawn(move || runtime.block_on(ask_all(of_thread)))
            .context("failed to start the probe")?;
        Ok(Probe { shared, thread: Some(thread) })
    }

    /// Asks this one too.
    pub fn add(&self, address: SocketAddr) {
        locked(&self.shared.addresses).push(address);
    }

    /// What it has seen so far.
    pub fn count(&self) -> Count {
        locked(&self.shared.count).clone()
    }

    /// Waits until it has seen that.
    pub fn until(&self, seen: impl Fn(&Count) -> bool, within: Duration) -> Result<Count> {
        let deadline = Instant::now() + within;
        loop {
            let count = self.count();
            if seen(&count) {
                return Ok(count);
            }
            ensure!(Instant::now() < deadline, "the probe has seen no more than {count:?} within {within:?}");
            std::thread::sleep(EVERY);
        }
    }

    /// Waits for the answers that are still to come, and says what it has seen, to stdout too.
    pub fn finish(mut self) -> Count {
        self.end();
        let count = self.count();
        println!("probe: asked {} times, answers without a certificate: {}", count.asked, count.leaked);
        count
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked; a probe that has not asked proves nothing.
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("the probe panicked");
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.end();
    }
}

async fn ask_all(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = JoinSet::new();
    while !shared.stop.load(Ordering::SeqCst) {
        tick.tick().await;
        for address in locked(&shared.addresses).clone() {
            for protocol in [Protocol::Plain, Protocol::Tls] {
                open.spawn(ask_and_count(Arc::clone(&shared), address, protocol));
            }
        }
        while open.try_join_next().is_some_and(|ended| ended.is_ok()) {}
    }
    open.join_all().await;
}

async fn ask_and_count(shared: Arc<Shared>, address: SocketAddr, protocol: Protocol) {
    locked(&shared.count).asked += 1;
    let mut answer = Vec::new();
    // Whatever came before the error or the end of the time is judged.
    let ended = tokio::time::timeout(ANSWER_WITHIN, ask(&shared, address, protocol, &mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    let mut count = locked(&shared.count);
    if answer.starts_with("HTTP/") && !(matches!(protocol, Protocol::Plain) && answer.trim_end() == TLS_AT_WORK) {
        count.leaked += 1;
        let first = || format!("{protocol:?} {address} after {:.1?}: {answer}", shared.began.elapsed());
        count.first_leak.get_or_insert_with(first);
    } else if !answer.is_empty() || matches!(ended, Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData) {
        count.denied += 1;
    }
}

async fn ask(shared: &Shared, address: SocketAddr, protocol: Protocol, answer: &mut Vec<u8>) -> std::io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    match protocol {
        Protocol::Plain => ping(stream, answer).await,
        Protocol::Tls => ping(shared.tls.connect(ServerName::from(address.ip()), stream).await?, answer).await,
    }
}

async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &mut Vec<u8>) -> std::io::Result<()> {
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").await?;
    stream.take(64 * 1024).read_to_end(answer).await?;
    Ok(())
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// TLS as anyone on the network speaks it: any server, and no client certificate.
fn without_certificate() -> Result<TlsConnector> {
    // Named, since the process under test may install another provider, or none.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("failed to set up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
