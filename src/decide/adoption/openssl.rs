//! The files of a directory that openssl made in, manifests out. Certificates and keys are paired by their public key, not
//! by file name.

mod authorities;
mod leaves;
mod options;
mod weaknesses;

pub use options::{OpensslAdoption, PLACEHOLDER, Passphrase};

use super::Adopted;
use crate::pki::import::{FoundFile, read};
use authorities::Adoption;
use k8s_openapi::jiff::Timestamp;

/// The files whose keys are encrypted.
pub fn encrypted(files: &[FoundFile]) -> Vec<&str> {
    let keys = read(files, None).keys;
    keys.iter().filter(|key| key.is_encrypted).map(|key| files[key.file].path.as_str()).collect()
}

/// Why there is nothing to adopt: no certificate among the files. What they are instead, where it is known.
pub fn without_certificates(files: &[FoundFile]) -> Option<Vec<String>> {
    let imported = read(files, None);
    let sentences = || imported.unreadable.iter().map(|(file, why)| format!("{}: {why}", files[*file].path)).collect();
    imported.certificates.is_empty().then(sentences)
}

/// Makes manifests of the certificates and keys in those files, as they are at `now`.
pub fn adopt(files: &[FoundFile], options: &OpensslAdoption, now: Timestamp) -> Adopted {
    let passphrase = options.passphrase.as_ref().map(|passphrase| passphrase.text.as_bytes());
    let imported = read(files, passphrase);
    let mut adoption = Adoption::new(files, &imported, options, now);
    adoption.report_unreadable();
    adoption.report_keys();
    let adopted = adoption.adopt_authorities();
    leaves::adopt(&mut adoption, &adopted);
    let mut adopted = adoption.adopted;
    adopted.findings.sort_by_key(|finding| finding.kind);
    adopted
}
