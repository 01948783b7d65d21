//! The one verifier of TLS servers: trust in, a verdict and the chain that was served out. It opens no connection.

use crate::pki::Certificate;
use crate::pki::certificate::SERVER_AUTH;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

type Verified = Result<ServerCertVerified, rustls::Error>;
type Signed = Result<HandshakeSignatureValid, rustls::Error>;

/// Whose certificate is accepted.
#[derive(Debug)]
enum Trust {
    /// Every server's whose key signs the handshake: what it served is compared later, not trusted.
    Any,
    /// What the authorities signed, and the `pinned` certificates themselves.
    Authorities { webpki: Arc<WebPkiServerVerifier>, pinned: Vec<CertificateDer<'static>> },
}

/// Verifies servers, and records the chain that the last one served, accepted or not.
#[derive(Debug)]
pub(in crate::adapters) struct RecordingVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    trust: Trust,
    chain: Mutex<Vec<Vec<u8>>>,
}

impl RecordingVerifier {
    /// Accepts every server.
    pub(in crate::adapters) fn accept_any() -> Arc<RecordingVerifier> {
        RecordingVerifier::new(Trust::Any)
    }

    /// Verifies by the certificates of `pem`. A server may also show one of them itself, as Go has it: what
    /// `openssl req -x509` makes is authority and server at once.
    ///
    /// # Errors
    /// A sentence, where `pem` holds no certificate.
    pub(in crate::adapters) fn from_pem(pem: &[u8]) -> Result<Arc<RecordingVerifier>, String> {
        let pinned: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        let webpki = webpki(pinned.iter().cloned()).ok_or("there is no certificate among them")?;
        Ok(RecordingVerifier::new(Trust::Authorities { webpki, pinned }))
    }

    /// Verifies by the system's authorities.
    ///
    /// # Errors
    /// A sentence, where the system has none.
    pub(in crate::adapters) fn from_system() -> Result<Arc<RecordingVerifier>, String> {
        let found = rustls_native_certs::load_native_certs();
        let first = found.errors.first().map(ToString::to_string);
        let webpki = webpki(found.certs).ok_or_else(|| match first {
            Some(error) => format!("the system has none: {error}"),
            None => "the system has none".to_owned(),
        })?;
        Ok(RecordingVerifier::new(Trust::Authorities { webpki, pinned: Vec::new() }))
    }

    fn new(trust: Trust) -> Arc<RecordingVerifier> {
        let algorithms = provider().signature_verification_algorithms;
        Arc::new(RecordingVerifier { algorithms, trust, chain: Mutex::default() })
    }

    /// DER of the leaf that was served last; none where no certificate was. Forgets the chain.
    pub(in crate::adapters) fn leaf(&self) -> Option<Vec<u8>> {
        self.chain().into_iter().next()
    }

    /// DER of the chain that was served last, the leaf first. Forgets it.
    pub(in crate::adapters) fn chain(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.chain.lock())
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Verified {
        *self.chain.lock() = [leaf].into_iter().chain(chain).map(|der| der.to_vec()).collect();
        let Trust::Authorities { webpki, pinned } = &self.trust else { return Ok(ServerCertVerified::assertion()) };
        match webpki.verify_server_cert(leaf, chain, name, ocsp, now) {
            Err(_) if pinned.contains(leaf) => verify_pinned(leaf, name, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(&self, text: &[u8], leaf: &CertificateDer<'_>, by: &DigitallySignedStruct) -> Signed {
        rustls::crypto::verify_tls12_signature(text, leaf, by, &self.algorithms)
    }

    fn verify_tls13_signature(&self, text: &[u8], leaf: &CertificateDer<'_>, by: &DigitallySignedStruct) -> Signed {
        rustls::crypto::verify_tls13_signature(text, leaf, by, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The crypto provider of every TLS connection.
pub(in crate::adapters) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn webpki(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()
}

/// A pinned certificate must still have the server's name, be valid at `now`, and be one for servers.
fn verify_pinned(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Verified {
    let read = Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).ok().and_then(|now| Timestamp::from_second(now).ok());
    let now = now.ok_or(rustls::Error::FailedToGetCurrentTime)?;
    if now < read.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > read.not_after {
        return Err(CertificateError::Expired.into());
    }
    if read.extended_usage.is_some_and(|usages| !usages.contains(&SERVER_AUTH)) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name).map(|()| ServerCertVerified::assertion())
}

#[cfg(test)]
pub(in crate::adapters) mod tests;
