//! Each kind of listener that a Docker host may have, and the verdict on it.

use super::*;
use crate::adapters::docker::fake::{DOCKER, accept, serve};
use crate::adapters::net::tls_verifier::provider;
use crate::adapters::net::tls_verifier::tests::Signer;
use crate::docker::exposure::Stranger;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const OF_PLUGIN: &str =
    "HTTP/1.0 403 Forbidden\r\nApi-Version: 1.46\r\nServer: Docker/27.0.3 (linux)\r\n\r\nauthorization denied";
const OF_PROXY: &str = "HTTP/1.1 403 Forbidden\r\nServer: nginx\r\n\r\n<h1>403 Forbidden</h1>";
const OF_NGINX: &str =
    "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<center>No required SSL certificate was sent</center>";

/// A server that asks for client certificates, and believes what this says of them.
#[derive(Debug)]
struct Believer {
    /// The subject that issuers must have; empty: any.
    issuer: Vec<u8>,
    mandatory: bool,
}

impl ClientCertVerifier for Believer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let leaf = Certificate::from_der(leaf).unwrap();
        match self.issuer.is_empty() || leaf.issuer == self.issuer {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a listener is made of.
struct Kinds(Signer);

impl Kinds {
    fn verifies(&self) -> ServerConfig {
        self.0.server("docker.test", Some(&self.0))
    }

    fn asks_nothing(&self) -> ServerConfig {
        self.0.server("docker.test", None)
    }

    fn believes(&self, issuer: Vec<u8>, mandatory: bool) -> ServerConfig {
        let verifier = Arc::new(Believer { issuer, mandatory });
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        self.0.serve_by(builder.with_client_cert_verifier(verifier))
    }

    /// Verifies, in one version of TLS alone.
    fn verifies_in(&self, version: &'static rustls::SupportedProtocolVersion) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        self.0.serve_by(builder.with_client_cert_verifier(self.0.clients()))
    }
}

async fn verdict(port: u16) -> String {
    match exposure("docker.test", (HERE, port).into()).await {
        Exposure::Open(stranger) => format!("open to {stranger:?}"),
        Exposure::Unknown(stranger, why) => format!("unknown of {stranger:?}: {why}"),
        Exposure::Closed => "closed".into(),
        Exposure::Unreachable(_) => "unreachable".into(),
    }
}

#[tokio::test]
async fn each_kind_of_listener_has_its_verdict() {
    let kinds = Kinds(Signer::new());
    let issuer = Certificate::from_pem(&kinds.0.pem()).unwrap().subject;
    let (any, named) = (|mandatory| kinds.believes(Vec::new(), mandatory), kinds.believes(issuer, true));
    let open = |stranger: Stranger| format!("open to {stranger:?}");
    let table: [(String, Option<ServerConfig>, &'static str); 17] = [
        ("closed".into(), Some(kinds.verifies()), DOCKER),
        // In TLS 1.2 the refusal is part of the handshake, in 1.3 it follows.
        ("closed".into(), Some(kinds.verifies_in(&TLS12)), DOCKER),
        ("closed".into(), Some(kinds.verifies_in(&TLS13)), DOCKER),
        // dockerd --tls; dockerd -H tcp://
        (open(Stranger::NoCertificate), Some(kinds.asks_nothing()), DOCKER),
        (open(Stranger::PlainHttp), None, DOCKER),
        // A client certificate is asked for, and nothing depends on it.
        (open(Stranger::NoCertificate), Some(any(false)), DOCKER),
        (open(Stranger::SelfSigned), Some(any(true)), DOCKER),
        (open(Stranger::Impostor), Some(named), DOCKER),
        // An answer after the handshake, whatever it says.
        (open(Stranger::NoCertificate), Some(kinds.asks_nothing()), OF_PLUGIN),
        (open(Stranger::NoCertificate), Some(kinds.asks_nothing()), OF_PROXY),
        (open(Stranger::NoCertificate), Some(any(false)), "HTTP/1.1 404 Not Found\r\n\r\n404 page not found"),
        (open(Stranger::PlainHttp), None, OF_PLUGIN),
        // nginx with ssl_verify_client on.
        ("closed".into(), Some(any(false)), OF_NGINX),
        // The metrics of dockerd; a server of gRPC; a server that ends without a word; sshd.
        (
            "unknown of PlainHttp: a server answers that is not Docker: HTTP/1.0 404 Not Found".into(),
            None,
            "HTTP/1.0 404 Not Found\r\n\r\n404 page not found",
        ),
        ("unknown of NoCertificate: the answer is not HTTP".into(), Some(kinds.asks_nothing()), "\0\0\u{6}\u{4}"),
        ("unknown of NoCertificate: it hangs up without a reason".into(), Some(kinds.asks_nothing()), ""),
        ("unknown of PlainHttp: it speaks neither HTTP nor TLS".into(), None, "SSH-2.0-OpenSSH_9.2\r\n"),
    ];
    for (number, (expected, tls, answer)) in table.into_iter().enumerate() {
        let port = serve(HERE, 0, tls, answer).await;
        assert_eq!(verdict(port).await, expected, "{number}");
    }
    assert_eq!(verdict(1).await, "unreachable");
}

/// Bytes that are sent to everybody, before the connection ends.
async fn says(bytes: &'static [u8], reset: bool) -> u16 {
    accept(HERE, 0, move |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(bytes).await;
        if reset {
            let _ = stream.set_zero_linger();
        }
    })
    .await
}

#[tokio::test]
async fn what_ends_before_the_client_is_judged_refuses_nobody() {
    let alert = |number| -> &'static [u8] {
        match number {
            40 => &[21, 3, 3, 0, 2, 2, 40],
            _ => &[21, 3, 3, 0, 2, 2, 70],
        }
    };
    for (bytes, reset) in [(alert(40), false), (alert(70), false), (&[][..], false), (&[][..], true)] {
        let port = says(bytes, reset).await;
        let found = verdict(port).await;
        assert!(found.starts_with("unknown of PlainHttp"), "{found}: {bytes:?} {reset}");
        let seen = strangers(&Target::of("docker.test", (HERE, port).into()), Clock::system().now()).await.0;
        assert!(matches!(seen.no_certificate, TlsAnswer::Silence(_)), "{seen:?}");
    }
}

/// Shows its certificate, and resets each connection once the client has sent its own.
#[tokio::test]
async fn a_reset_is_no_refusal() {
    let signer = Signer::new();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(signer.server("docker.test", None)));
    let port = accept(HERE, 0, move |stream: TcpStream| {
        let tls = tls.clone();
        async move {
            if let Ok(stream) = tls.accept(stream).await {
                let _ = stream.get_ref().0.set_zero_linger();
            }
        }
    })
    .await;
    assert_eq!(verdict(port).await, "unknown of PlainHttp: it speaks neither HTTP nor TLS");
}
