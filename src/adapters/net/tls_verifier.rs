//! Who is trusted over TLS: verifiers of servers by given authorities, by the system's, or of whoever answers.

use crate::pki::Certificate;
use crate::pki::certificate::SERVER_AUTH;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use std::error::Error;
use std::io;
use std::sync::Arc;

type Verifier = Arc<dyn ServerCertVerifier>;
type Verified = Result<ServerCertVerified, rustls::Error>;
type Signed = Result<HandshakeSignatureValid, rustls::Error>;

/// A client that verifies servers by `verifier`, up to the question of its own certificate.
pub(in crate::adapters) fn builder(
    verifier: Verifier,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    builder_of(verifier, rustls::DEFAULT_VERSIONS)
}

/// The same of those versions of TLS alone.
pub(in crate::adapters) fn builder_of(
    verifier: Verifier,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

/// With a client's certificate and its key, both PEM.
///
/// # Errors
/// Words, where they are of no use.
pub(in crate::adapters) fn as_client(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    cert_pem: &[u8],
    key_pem: &[u8],
) -> Result<ClientConfig, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert_pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or("the client certificate cannot be read")?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| "the client's key cannot be read")?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client certificate is of no use: {error}"))
}

/// Verifies by the certificates of `pem`. A server may also show one of them itself, as Go has it: what
/// `openssl req -x509` makes is authority and server at once.
///
/// # Errors
/// Words, where there is none among them.
pub(in crate::adapters) fn by_given(pem: &[u8]) -> Result<Verifier, String> {
    let given: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    let by_authority = by_roots(given.iter().cloned()).ok_or("there is no certificate among them")?;
    Ok(Arc::new(Given { by_authority, given }))
}

/// Verifies by the system's authorities.
///
/// # Errors
/// Words, where there are none.
pub(in crate::adapters) fn by_system() -> Result<Verifier, String> {
    let found = rustls_native_certs::load_native_certs();
    let first = found.errors.first().map(ToString::to_string);
    by_roots(found.certs).map(|verifier| verifier as Verifier).ok_or_else(|| match first {
        Some(error) => format!("the system has none: {error}"),
        None => "the system has none".to_owned(),
    })
}

/// The error of TLS behind an error of a stream, which keeps it out of its `source`.
pub(in crate::adapters) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match inner {
        Some(inner) => tls_error(inner),
        None => error.source().and_then(tls_error),
    }
}

fn by_roots(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[derive(Debug)]
struct Given {
    by_authority: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Verified {
        match self.by_authority.verify_server_cert(leaf, chain, name, ocsp, now) {
            Err(_) if self.given.contains(leaf) => itself(leaf, name, now),
            done => done,
        }
    }

    fn verify_tls12_signature(&self, text: &[u8], leaf: &CertificateDer<'_>, by: &DigitallySignedStruct) -> Signed {
        self.by_authority.verify_tls12_signature(text, leaf, by)
    }

    fn verify_tls13_signature(&self, text: &[u8], leaf: &CertificateDer<'_>, by: &DigitallySignedStruct) -> Signed {
        self.by_authority.verify_tls13_signature(text, leaf, by)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// A certificate that is trusted for itself still has a name, a life and a use.
fn itself(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Verified {
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

/// Keeps the leaf that is served, and takes it where `verifier` does; without one it takes every leaf whose key signs
/// the handshake: that is compared, not trusted.
#[derive(Debug)]
pub(in crate::adapters) struct RecordingVerifier {
    provider: Arc<CryptoProvider>,
    verifier: Option<Verifier>,
    chain: Mutex<Vec<Vec<u8>>>,
}

impl RecordingVerifier {
    /// Of whoever answers.
    pub(in crate::adapters) fn whoever() -> RecordingVerifier {
        RecordingVerifier::verified_by(None)
    }

    /// Of whom `verifier` takes.
    pub(in crate::adapters) fn verified_by(verifier: Option<Verifier>) -> RecordingVerifier {
        RecordingVerifier { provider: provider(), verifier, chain: Mutex::default() }
    }

    /// DER of the last leaf that was served, if any.
    pub(in crate::adapters) fn leaf(&self) -> Option<Vec<u8>> {
        self.chain().into_iter().next()
    }

    /// DER of what was served last, the leaf first.
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
        match &self.verifier {
            Some(verifier) => verifier.verify_server_cert(leaf, chain, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(&self, text: &[u8], leaf: &CertificateDer<'_>, by: &DigitallySignedStruct) -> Signed {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(text, leaf, by, algorithms)
    }

    fn verify_tls13_signature(&self, text: &[u8], leaf: &CertificateDer<'_>, by: &DigitallySignedStruct) -> Signed {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(text, leaf, by, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(in crate::adapters) mod tests;
