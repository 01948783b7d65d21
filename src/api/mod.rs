//! What users write: the four kinds, their fields and their conditions. No behaviour beyond reading a field.
#![warn(missing_docs)]
#![allow(rustdoc::bare_urls, rustdoc::broken_intra_doc_links, reason = "fields are written for kubectl explain")]
#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type, and kube takes them one by one")]

pub mod account;
pub mod assignment;
pub mod condition;
pub mod docker_ca;
pub mod docker_client_cert;
pub mod docker_host_cert;
pub mod duration;
pub mod event;
pub mod identity;
pub mod key;
pub mod marker;
pub mod name;
pub mod object;
pub mod portainer_client;
pub mod reference;
pub mod registrar;
pub mod rules;
pub mod schema;
pub mod status;

pub use assignment::{AssignedHost, Assignment, HostClaim};
pub use docker_ca::{DockerCA, DockerCASpec};
pub use docker_client_cert::{DockerClientCert, DockerClientCertSpec};
pub use docker_host_cert::{DockerHostCert, DockerHostCertSpec};
pub use event::ObjectEvent;
pub use identity::AuthorityIdentity;
pub use name::ObjectName;
pub use object::{FieldFault, NamespacedName, Object, ObjectRef, Spec};
pub use portainer_client::{PortainerClient, PortainerClientSpec};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of every kind here.
pub const GROUP: &str = "dockseal.dev";
/// `apiVersion` of every kind here.
pub const API_VERSION: &str = "dockseal.dev/v1alpha1";
/// Label on every Secret and ConfigMap that Dockseal writes; Secrets are watched by it.
pub const MANAGED_LABEL: &str = "dockseal.dev/managed";
/// Annotation on them: `Kind/namespace/name` of the object they belong to. It, not the label, says whose they are.
pub const OWNER_ANNOTATION: &str = "dockseal.dev/owner";
/// Annotation on a DockerCA: SHA-256 of the public key of the authority that was made for it, in hex.
pub const AUTHORITY_ANNOTATION: &str = "dockseal.dev/authority";
/// Annotation on a DockerCA and on its Secret: the identity of its authority, which renewals and rollovers keep.
pub const IDENTITY_ANNOTATION: &str = "dockseal.dev/identity";
/// Annotation by which a user asks for a new authority in place of the lost one that it names.
pub const REPLACE_AUTHORITY_ANNOTATION: &str = "dockseal.dev/replace-authority";
/// Annotation by which a user asks for a renewal: an RFC 3339 instant.
pub const RENEW_REQUESTED_ANNOTATION: &str = "dockseal.dev/renew-requested-at";
/// Annotation on a DockerHostCert by which a user lets dockerd be restarted: an RFC 3339 instant.
pub const RESTART_REQUESTED_ANNOTATION: &str = "dockseal.dev/restart-requested-at";
/// Annotation on a DockerHostCert with `target: Enrolled`: a host is enrolled for it. `dockseal enroll` sets it, and
/// takes it away with `--revoke`.
pub const ENROLLED_ANNOTATION: &str = "dockseal.dev/enrolled";
/// Annotation on a DockerHostCert: what may be replaced by its delivery, once on each host. A writer's id, the id of a
/// marker without a writer, or the SHA-256 of an authority's key; after `/`, how often it was replaced so with this time.
pub const TAKE_FROM_ANNOTATION: &str = "dockseal.dev/take-from";
/// Annotation by which a user has a finalizer let go at once.
pub const FORCE_REMOVE_ANNOTATION: &str = "dockseal.dev/force-remove";
/// Finalizer of objects whose deletion removes something else: Secret, delivered files or environments.
pub const FINALIZER: &str = "dockseal.dev/secret";

/// The annotations of objects that are read; no other is kept.
pub const READ_ANNOTATIONS: [&str; 8] = [
    AUTHORITY_ANNOTATION,
    IDENTITY_ANNOTATION,
    REPLACE_AUTHORITY_ANNOTATION,
    RENEW_REQUESTED_ANNOTATION,
    FORCE_REMOVE_ANNOTATION,
    RESTART_REQUESTED_ANNOTATION,
    ENROLLED_ANNOTATION,
    TAKE_FROM_ANNOTATION,
];

/// One of the four kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A certificate authority.
    DockerCA,
    /// A host's server certificate.
    DockerHostCert,
    /// A person's or a tool's client certificate.
    DockerClientCert,
    /// Portainer's client certificate, and its registrations.
    PortainerClient,
}

impl Kind {
    /// All of them, authorities first.
    pub const ALL: [Kind; 4] = [Kind::DockerCA, Kind::DockerHostCert, Kind::DockerClientCert, Kind::PortainerClient];

    /// The name in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::DockerCA => "DockerCA",
            Kind::DockerHostCert => "DockerHostCert",
            Kind::DockerClientCert => "DockerClientCert",
            Kind::PortainerClient => "PortainerClient",
        }
    }

    /// The kind of that name, if it is one of ours.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The definitions of the four kinds, with the file name that each has in `crds/`.
pub fn definitions() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("dockercas.yaml", DockerCA::crd()),
        ("dockerclientcerts.yaml", DockerClientCert::crd()),
        ("dockerhostcerts.yaml", DockerHostCert::crd()),
        ("portainerclients.yaml", PortainerClient::crd()),
    ]
}
