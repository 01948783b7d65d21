//! Clients of TLS servers: a verifier and a key pair in, a configuration or a connection out. It asks nothing.

use super::tls_verifier::{RecordingVerifier, provider};
use crate::pki::PrivateKey;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, DEFAULT_VERSIONS, SupportedProtocolVersion};
use std::error::Error;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// A client certificate and its key, PEM.
#[derive(Clone)]
pub struct ClientKeyPair {
    /// The certificate, and the intermediate ones that sign it.
    pub cert: Vec<u8>,
    /// PKCS#8, SEC1 or PKCS#1, without a password.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ClientKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientKeyPair(redacted)")
    }
}

/// A client that verifies servers by `verifier`, shows the certificate of `client` if there is one, and offers
/// `versions` alone.
///
/// # Errors
/// A sentence, where the certificate or the key cannot be used.
pub(in crate::adapters) fn client_config(
    verifier: &Arc<RecordingVerifier>,
    client: Option<&ClientKeyPair>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, String> {
    let builder = verified_by(verifier, versions)?;
    let Some(client) = client else { return Ok(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&client.cert).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or("the client certificate cannot be read")?;
    let key = PrivateKeyDer::from_pem_slice(&client.key).map_err(|_| "the client's key cannot be read")?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client certificate cannot be used: {error}"))
}

/// A client that accepts every server and shows `leaf` (DER), for which it has no key: it signs with another, so that no
/// server lets it in.
///
/// # Errors
/// A sentence, where the key cannot be used.
pub(in crate::adapters) fn client_config_of_another_key(
    verifier: &Arc<RecordingVerifier>,
    leaf: &[u8],
    key: &PrivateKey,
) -> Result<ClientConfig, String> {
    let builder = verified_by(verifier, DEFAULT_VERSIONS)?;
    let key = PrivatePkcs8KeyDer::from(key.to_pkcs8_der().to_vec());
    let key = provider().key_provider.load_private_key(key.into()).map_err(|error| error.to_string())?;
    let shown = CertifiedKey::new(vec![CertificateDer::from(leaf.to_vec())], key);
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown))))
}

fn verified_by(
    verifier: &Arc<RecordingVerifier>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    let builder = builder.map_err(|error| error.to_string())?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::clone(verifier) as _))
}

/// Makes TLS of a connection.
///
/// # Errors
/// That of the stream, with that of TLS in it: see [`tls_error`].
pub(in crate::adapters) async fn tls_handshake(
    stream: TcpStream,
    name: ServerName<'static>,
    config: impl Into<Arc<ClientConfig>>,
) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config.into()).connect(name, stream).await
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
