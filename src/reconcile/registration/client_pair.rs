//! Portainer's client certificate and key, from the Secret that holds them.

use crate::api::condition::Reason;
use crate::decide::registration::RegistrationProblem;
use crate::pki::Certificate;
use crate::pki::material::Data;
use zeroize::Zeroizing;

/// Portainer's client certificate and its key, PEM.
#[derive(Clone)]
pub struct ClientPair {
    pub certificate: Vec<u8>,
    pub key: Zeroizing<Vec<u8>>,
    /// Fingerprint of the certificate.
    pub fingerprint: String,
}

impl std::fmt::Debug for ClientPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientPair({})", self.fingerprint)
    }
}

/// The client certificate in a Secret.
///
/// # Errors
/// The [`RegistrationProblem`] if there is none.
pub fn client_pair(data: Option<&Data>) -> Result<ClientPair, RegistrationProblem> {
    let found = data.and_then(|data| data.get("tls.crt").zip(data.get("tls.key")));
    let leaf = found.and_then(|(certificate, _)| Certificate::from_pem(certificate).ok());
    let missing =
        || RegistrationProblem::new(Reason::NotRegistered, "Portainer's client certificate is not issued yet");
    let ((certificate, key), leaf) = found.zip(leaf).ok_or_else(missing)?;
    Ok(ClientPair {
        certificate: certificate.to_vec(),
        key: Zeroizing::new(key.to_vec()),
        fingerprint: leaf.fingerprint(),
    })
}
