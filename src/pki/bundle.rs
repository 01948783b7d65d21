//! Trust bundles: certificates that are trusted, each once, in a stable order.

use super::certificate::{self, Certificate, CertificateError};
use k8s_openapi::jiff::Timestamp;

/// Certificates that are trusted. It signs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustBundle(Vec<Certificate>);

impl TrustBundle {
    /// The certificates, each once, in the order in which they came.
    pub fn new(certificates: impl IntoIterator<Item = Certificate>) -> TrustBundle {
        let mut bundle = TrustBundle::default();
        for certificate in certificates {
            if !bundle.0.iter().any(|known| known.der == certificate.der) {
                bundle.0.push(certificate);
            }
        }
        bundle
    }

    /// Reads every certificate of `pem`.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_pem(pem: &[u8]) -> Result<TrustBundle, CertificateError> {
        Ok(TrustBundle::new(certificate::all_from_pem(pem)?))
    }

    /// The bundle without what has ended at `now`.
    pub fn unexpired(self, now: Timestamp) -> TrustBundle {
        TrustBundle(self.0.into_iter().filter(|certificate| now < certificate.not_after).collect())
    }

    /// The certificates in the order of the PEM.
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// The bundle in PEM, one certificate after the other.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(Certificate::to_pem).collect()
    }
}
