//! Leaf certificates, of hosts, clients and Portainers: what is wanted, what must be done, what is reported.

pub mod desired;
pub mod host_name;
pub mod plan;
pub mod status;

pub use desired::{DesiredLeaf, desired};
pub use plan::{LeafPlan, LeafStep, ObservedLeaf, plan};

use crate::api::AuthorityIdentity;
use crate::pki::Certificate;
use crate::pki::material::bundle_digest;

/// What a leaf needs to know of its authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityView {
    /// The authority's newest certificate.
    pub certificate: Certificate,
    /// SHA-256 of its public key, hex.
    pub fingerprint: String,
    /// What hosts and clients trust, PEM.
    pub bundle_pem: String,
    /// SHA-256 of the bundle's PEM.
    pub bundle_digest: [u8; 32],
    /// The authority's identity, for the URI in clients' certificates.
    pub identity: Option<AuthorityIdentity>,
}

impl AuthorityView {
    /// The view of an authority whose newest certificate and bundle these are.
    pub fn new(certificate: Certificate, bundle_pem: String) -> AuthorityView {
        let bundle_digest = bundle_digest(bundle_pem.as_bytes());
        let fingerprint = certificate.key_fingerprint();
        AuthorityView { fingerprint, certificate, bundle_pem, bundle_digest, identity: None }
    }

    /// The same view, of an authority with that identity.
    pub fn with_identity(self, identity: Option<AuthorityIdentity>) -> AuthorityView {
        AuthorityView { identity, ..self }
    }
}

#[cfg(test)]
mod tests;
