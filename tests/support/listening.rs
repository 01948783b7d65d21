//! Servers in this process: listeners and what to do with a connection, in; a thread that does it until it is dropped, out.

use super::ports;
use anyhow::Context as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A running server; dropped, it cuts every connection and ends whatever was under way.
pub struct Listening {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Serves each connection of those listeners.
    pub fn start<F, S>(listeners: Vec<TcpListener>, serve: F) -> anyhow::Result<Listening>
    where
        F: Fn(TcpStream) -> S + Clone + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            runtime.block_on(async {
                for listener in listeners {
                    tokio::spawn(accept(listener, serve.clone()));
                }
                let _ = stopped.await;
            });
            // Not `drop`: a name that is being looked up must not hold it up.
            runtime.shutdown_background();
        })?;
        Ok(Listening { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has already been printed; a second one in drop would abort.
            let _ = thread.join();
        }
    }
}

async fn accept<F, S>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener).expect("a non-blocking socket, inside a runtime");
    loop {
        // An accept fails when the client has gone again, which tests do on purpose.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream));
    }
}

/// Listens there; where the port is 0, on a free one that it can be started on again. Whoever had it may need a moment to
/// let it go.
pub fn listen(mut address: SocketAddr) -> anyhow::Result<TcpListener> {
    if address.port() == 0 {
        address.set_port(ports::free()?);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            bound => return bound.with_context(|| format!("failed to listen on {address}")),
        }
    }
}

/// Takes TLS connections with that chain and key; with `clients`, only from who has a certificate of theirs.
pub fn acceptor(chain: &str, key: &str, clients: Option<&str>) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers plain HTTP on a TLS port with an error, as Go's servers do; a TLS client goes on.
pub async fn only_tls(mut stream: TcpStream) -> Option<TcpStream> {
    let mut first = [0];
    stream.peek(&mut first).await.ok().filter(|read| *read == 1)?;
    if first == [22] {
        return Some(stream);
    }
    let text = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
    None
}
