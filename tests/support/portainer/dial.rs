//! Dials Docker hosts as Portainer does, with the files on its disk: a TLS configuration in, a connection or Go's words out.

use super::state::Tls;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::error::Error;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A connection that takes requests.
pub type Line = SendRequest<Full<Bytes>>;

/// Where and how to dial.
#[derive(Clone)]
pub struct Target {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// As Docker's client reads an address: it demands a scheme.
    pub fn strict(url: &str, tls: &Tls) -> Result<Target, String> {
        if !url.contains("://") {
            return Err(format!("unable to parse docker host `{url}`"));
        }
        Target::lenient(url, tls)
    }

    /// As the proxy reads one.
    pub fn lenient(url: &str, tls: &Tls) -> Result<Target, String> {
        let config = tls.on.then(|| config(tls)).transpose()?;
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let port = if config.is_some() { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, number)) if !number.contains(']') => {
                (host, number.parse().map_err(|_| format!("parse {url:?}: invalid port {number:?} after host"))?)
            }
            _ => (authority, port),
        };
        Ok(Target { host: host.trim_matches(['[', ']']).to_owned(), port, tls: config })
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Line, String> {
        let said = |error: std::io::Error| in_go(&error, &self.host, self.port);
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(said)?;
        let _ = tcp.set_nodelay(true);
        let Some(config) = &self.tls else { return line(tcp).await.map_err(|error| self.words(&error)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(said)?;
        line(tls).await.map_err(|error| self.words(&error))
    }

    /// Asks for one thing on a new connection.
    pub async fn ask(&self, method: Method, path: &str) -> Result<Response<Bytes>, String> {
        let mut line = self.connect().await?;
        let answer = send(&mut line, self.request(method, path)).await.map_err(|error| self.words(&*error))?;
        Ok(answer)
    }

    /// A request without a body.
    pub fn request(&self, method: Method, path: &str) -> Request<Full<Bytes>> {
        let request =
            Request::builder().method(method).uri(path).header("host", format!("{}:{}", self.host, self.port));
        request.body(Full::default()).expect("a path that came in goes out")
    }

    /// An error as Docker's client words it.
    pub fn words(&self, error: &(dyn Error + 'static)) -> String {
        in_go(error, &self.host, self.port)
    }
}

/// `_ping`, as Docker's client begins: up, or why not.
pub async fn ping(url: &str, tls: &Tls) -> Result<Target, String> {
    let target = Target::strict(url, tls)?;
    let answer = target.ask(Method::GET, "/_ping").await?;
    match answer.status().as_u16() {
        200 => Ok(target),
        _ => Err(format!("Error response from daemon: {}", String::from_utf8_lossy(answer.body()).trim())),
    }
}

/// Sends a request on a connection, and collects the answer.
pub async fn send(line: &mut Line, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Box<dyn Error>> {
    line.ready().await?;
    let response: Response<Incoming> = line.send_request(request).await?;
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

async fn line<S>(stream: S) -> Result<Line, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (line, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(line)
}

/// What Go makes of the files; a CA file without a certificate trusts nobody and is not an error.
fn config(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider knows TLS 1.2 and 1.3");
    let builder = if tls.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        if !tls.ca.is_empty() {
            let pem = read(&tls.ca)?;
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        }
        builder.with_root_certificates(roots)
    };
    let mut config = if tls.cert.is_empty() || tls.key.is_empty() {
        builder.with_no_client_auth()
    } else {
        let (chain, key) = pair(&tls.cert, &tls.key)?;
        let mismatch = |_| "tls: private key does not match public key".to_owned();
        builder.with_client_auth_cert(chain, key).map_err(mismatch)?
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn pair(cert: &str, key: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let (cert, key) = (read(cert)?, read(key)?);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err("tls: failed to find any PEM data in certificate input".into());
    }
    let key = PrivateKeyDer::from_pem_slice(&key);
    Ok((chain, key.map_err(|_| "tls: failed to find any PEM data in key input".to_owned())?))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        _ => format!("open {path}: {error}"),
    })
}

fn in_go(error: &(dyn Error + 'static), host: &str, port: u16) -> String {
    let during = format!("error during connect: Head \"https://{host}:{port}/_ping\": ");
    let Some(tls) = of_tls(error) else {
        let text = error.to_string();
        return match refused(error) {
            true => {
                format!("Cannot connect to the Docker daemon at tcp://{host}:{port}. Is the docker daemon running?")
            }
            false if text.contains("lookup") => format!("{during}dial tcp: lookup {host}: no such host"),
            false => format!("{during}read tcp: connection reset by peer ({text})"),
        };
    };
    match tls {
        rustls::Error::InvalidCertificate(flaw) => {
            format!("{during}tls: failed to verify certificate: x509: {}", of_certificate(flaw, host))
        }
        // What Go's servers send to clients that they do not know; Docker's client then guesses.
        rustls::Error::AlertReceived(AlertDescription::BadCertificate) => format!(
            "The server probably has client authentication (--tlsverify) enabled. Please check your TLS client \
             certification settings: Get \"https://{host}:{port}/_ping\": remote error: tls: bad certificate"
        ),
        rustls::Error::AlertReceived(alert) => format!("{during}remote error: tls: {}", of_alert(*alert)),
        other => format!("{during}tls: {other}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "certificate required".into(),
        AlertDescription::CertificateExpired => "expired certificate".into(),
        AlertDescription::UnknownCA => "unknown certificate authority".into(),
        other => format!("{other:?}"),
    }
}

fn of_certificate(flaw: &CertificateError, host: &str) -> String {
    match flaw {
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<&str> = presented.iter().filter_map(|name| name.split(['(', ')', '"']).nth(1)).collect();
            format!("certificate is valid for {}, not {host}", names.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("cannot validate certificate for {host} because it doesn't contain any IP SANs")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid".into()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".into()
        }
        other => other.to_string(),
    }
}

/// The TLS error in a chain of errors.
fn of_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn refused(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// `InsecureSkipVerify`.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
