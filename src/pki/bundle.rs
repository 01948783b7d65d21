//! Trust bundles: certificates that are trusted, each once, in a stable order.

use super::certificate::{self, Certificate, CertificateError};
use super::file_kind::FileKind;
use super::pem_blocks::{self, PemBlock};
use der::Decode;
use der::asn1::AnyRef;
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

/// What Docker trusts in the file that `--tlscacert` names: it reads it as Go's `AppendCertsFromPEM` does, and says
/// nothing about what it passes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerTrust {
    /// The certificates that it trusts and that can be read here, each once.
    pub certificates: Vec<Certificate>,
    /// What it passes over, a sentence each.
    pub skipped: Vec<String>,
    /// What it may trust and cannot be read here, a sentence each. Where there is one, its trust is not known.
    pub unknown: Vec<String>,
}

impl DockerTrust {
    /// Reads the bytes of a file; `file` is its name, for the sentences.
    pub fn read(file: &str, bytes: &[u8]) -> DockerTrust {
        let mut trust = DockerTrust::default();
        match pem_blocks::exactly(bytes) {
            Err(limit) => trust.unknown.push(limit.to_string()),
            Ok(blocks) if blocks.is_empty() => {
                let kind = FileKind::of(bytes).map(|kind| kind.sentence(file));
                trust.skipped.push(kind.unwrap_or_else(|| "it holds no certificate in PEM".to_owned()));
            }
            Ok(blocks) => blocks.iter().for_each(|block| trust.add(block)),
        }
        trust.certificates = TrustBundle::new(trust.certificates).0;
        trust
    }

    fn add(&mut self, block: &PemBlock) {
        let (number, label) = (block.number, &block.label);
        if let Err(fault) = &block.contents {
            self.skipped.push(format!("block {number} ({label}): {fault}"));
        } else if label != "CERTIFICATE" {
            self.skipped.push(format!("block {number} is a {label}, and Docker reads CERTIFICATE alone"));
        } else if !block.headers.is_empty() {
            self.skipped.push(format!("block {number} has headers, and Docker reads certificates without them alone"));
        } else {
            match Certificate::from_block(block) {
                Ok(certificate) => self.certificates.push(certificate),
                Err(error) if !is_whole(block) => self.skipped.push(error.to_string()),
                Err(error) => self.unknown.push(error.to_string()),
            }
        }
    }
}

/// Whether a block holds one value of DER. A certificate that was cut or lost a line is none, so that nobody reads it.
fn is_whole(block: &PemBlock) -> bool {
    block.contents.as_ref().is_ok_and(|bytes| AnyRef::from_der(bytes).is_ok())
}
