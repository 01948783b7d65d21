//! The one question whether a port lets in clients that it must refuse: an address in, the answers that strangers get, or
//! the verdict on them, out. Each stranger has a connection of its own. It trusts nothing that is served, and changes
//! nothing.

mod unknown_client;

use super::request::{
    connect, connect_and_ping, docker_version, is_cut, may_be_docker, ping, refuses_certificate, refuses_plain_http,
};
use crate::adapters::Clock;
use crate::adapters::net::http_get::HttpAnswer;
use crate::adapters::net::tls_client::{ClientKeyPair, client_config, tls_error};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::docker::exposure::Exposure;
use crate::docker::scan::{PingAnswer, PlainAnswer, StrangerAnswers, TlsAnswer};
use crate::pki::Certificate;
use crate::portainer::sanitize::sanitize;
use k8s_openapi::jiff::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, DEFAULT_VERSIONS};
use std::io;
use std::net::SocketAddr;

/// How often a server that hangs up without a reason is asked. One that closes the connection while a request is on its
/// way resets it, and its alert may be lost.
const MAX_ATTEMPTS: usize = 3;

/// An open port, and the name by which TLS asks for it.
pub(super) struct Target {
    pub(super) at: SocketAddr,
    pub(super) name: ServerName<'static>,
}

impl Target {
    pub(super) fn of(host: &str, at: SocketAddr) -> Target {
        // What TLS cannot ask for by name is asked for by address.
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| at.ip().into());
        Target { at, name }
    }
}

/// Whether the listener at `at` lets strangers in. `host` is the name by which clients ask for it.
pub async fn exposure(host: &str, at: SocketAddr) -> Exposure {
    strangers(&Target::of(host, at), Clock::system().now()).await.0.exposure()
}

/// What strangers are answered, and the chain that is served to one without a certificate, DER.
pub(super) async fn strangers(target: &Target, now: Timestamp) -> (StrangerAnswers, Vec<Vec<u8>>) {
    let unknown = unknown_client::self_signed(now);
    let (plain, (no_certificate, chain), (self_signed, _)) =
        tokio::join!(plain(target.at), stranger(target, None), stranger(target, Some(&unknown)));
    let leaf = chain.first().and_then(|der| Certificate::from_der(der).ok());
    let impostor = match leaf {
        Some(leaf) => Some(stranger(target, Some(&unknown_client::impostor(&leaf, now))).await.0),
        None => None,
    };
    (StrangerAnswers { plain, no_certificate, self_signed, impostor }, chain)
}

async fn stranger(target: &Target, client: Option<&ClientKeyPair>) -> (TlsAnswer, Vec<Vec<u8>>) {
    let mut answer = tls(target, client).await;
    for _ in 1..MAX_ATTEMPTS {
        if answer.0 != TlsAnswer::HungUp {
            break;
        }
        answer = tls(target, client).await;
    }
    answer
}

/// Asks over plain HTTP.
async fn plain(at: SocketAddr) -> PlainAnswer {
    let mut stream = match connect(at).await {
        Ok(stream) => stream,
        Err(error) => return PlainAnswer::Closed(error.to_string()),
    };
    match ping(&mut stream).await {
        Ok(answer) if !answer.0.starts_with(b"HTTP/") => PlainAnswer::HungUp,
        Ok(answer) if answer.status() == Some(400) && refuses_plain_http(&answer) => PlainAnswer::TlsRequired,
        Ok(answer) if may_be_docker(&answer) => PlainAnswer::Answered(sanitize(answer.status_line())),
        Ok(answer) => PlainAnswer::NotDocker(sanitize(answer.status_line())),
        Err(error) if is_cut(error.kind()) => PlainAnswer::HungUp,
        Err(error) => PlainAnswer::Silence(error.to_string()),
    }
}

/// Asks over TLS, with a client certificate or without; any server certificate is accepted. And the chain that was
/// served, DER.
pub(super) async fn tls(target: &Target, client: Option<&ClientKeyPair>) -> (TlsAnswer, Vec<Vec<u8>>) {
    let verifier = RecordingVerifier::accept_any();
    let config = match client_config(&verifier, client, DEFAULT_VERSIONS) {
        Ok(config) => config,
        Err(message) => return (TlsAnswer::Unusable(message), Vec::new()),
    };
    let asked = connect_and_ping(target.at, target.name.clone(), config).await;
    let chain = verifier.chain();
    let answer = asked.map_or_else(|error| failed(&error, !chain.is_empty()), |answer| answered(&answer));
    (answer, chain)
}

fn answered(answer: &HttpAnswer) -> TlsAnswer {
    match answer.0.is_empty() {
        true => TlsAnswer::HungUp,
        false => TlsAnswer::Answered(PingAnswer {
            status: answer.status().unwrap_or_default(),
            is_docker: docker_version(answer).is_some() || answer.header("api-version").is_some(),
            refuses_certificate: answer.status() == Some(400) && refuses_certificate(answer),
            version: docker_version(answer),
        }),
    }
}

/// A server shows its certificate before it looks at the client's: what ends the handshake earlier refuses nobody.
fn failed(error: &io::Error, served: bool) -> TlsAnswer {
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => TlsAnswer::NotTls,
        Some(rustls::Error::AlertReceived(alert)) if served && is_about_certificate(*alert) => {
            TlsAnswer::Refused(sanitize(&error.to_string()))
        }
        None if is_cut(error.kind()) && served => TlsAnswer::HungUp,
        _ => TlsAnswer::Silence(sanitize(&error.to_string())),
    }
}

/// RFC 8446, 6.2, and RFC 5246, 7.2.2: what a server answers to a client certificate that it does not accept, or misses.
fn is_about_certificate(alert: AlertDescription) -> bool {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        DecryptError, HandshakeFailure, NoCertificate, UnknownCA, UnsupportedCertificate,
    };
    matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | HandshakeFailure
            | NoCertificate
            | UnknownCA
            | UnsupportedCertificate
    )
}

#[cfg(test)]
mod tests;
