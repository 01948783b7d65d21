//! One object of the four kinds, reduced to the parts that decisions need, and how it is referred to.

use super::docker_host_cert::Delivery;
use super::status::{CompanionStatus, ControllerStatus, EnvironmentReport, PortainerClientStatus};
use super::{
    API_VERSION, DockerCA, DockerCASpec, DockerClientCert, DockerClientCertSpec, DockerHostCert, DockerHostCertSpec,
    Kind, ObjectName, PortainerClient, PortainerClientSpec, READ_ANNOTATIONS, reference::DeletionPolicy,
};
use crate::text::clean;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes of an annotation that is read: the longest is a fingerprint or an instant.
const MAX_ANNOTATION: usize = 256;

/// An object, without what others wrote on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Kind, namespace and name.
    pub at: ObjectRef,
    /// `metadata.uid`; empty without a cluster.
    pub uid: String,
    /// `metadata.resourceVersion`; empty without a cluster.
    pub version: String,
    /// `metadata.generation`; conditions of an older one do not count.
    pub generation: i64,
    /// `metadata.creationTimestamp`; none without a cluster.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`; none while the object is not being deleted.
    pub deleted: Option<Timestamp>,
    /// Finalizers, all of them.
    pub finalizers: Vec<String>,
    /// Those of [`READ_ANNOTATIONS`] that it has.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.labels`, which selectors are matched with.
    pub labels: BTreeMap<String, String>,
    /// What the user wants; empty where there is a fault.
    pub spec: Spec,
    /// Why its spec could not be read.
    pub fault: Option<FieldFault>,
    /// What was last reported.
    pub previous: ControllerStatus,
    /// What the companion on the host reported; empty for all but hosts.
    pub companion: CompanionStatus,
}

/// A field that cannot be used, of an object that the schema of an older version let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// Path of the field. Example: spec.existing.secretRef.name
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// The spec is none that this version knows; else one of its values is over a bound, or no name.
    pub of_other_version: bool,
}

/// The spec of one of the four kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// The spec of a DockerCA.
    Authority(Box<DockerCASpec>),
    /// The spec of a DockerHostCert.
    Host(Box<DockerHostCertSpec>),
    /// The spec of a DockerClientCert.
    Client(Box<DockerClientCertSpec>),
    /// The spec of a PortainerClient.
    Portainer(Box<PortainerClientSpec>),
}

impl Spec {
    /// One that nothing is known of.
    pub fn empty(kind: Kind) -> Spec {
        match kind {
            Kind::DockerCA => Spec::Authority(Box::default()),
            Kind::DockerHostCert => Spec::Host(Box::default()),
            Kind::DockerClientCert => Spec::Client(Box::default()),
            Kind::PortainerClient => Spec::Portainer(Box::default()),
        }
    }

    /// As the user writes it.
    pub fn to_json(&self) -> serde_json::Value {
        let json = match self {
            Spec::Authority(spec) => serde_json::to_value(spec),
            Spec::Host(spec) => serde_json::to_value(spec),
            Spec::Client(spec) => serde_json::to_value(spec),
            Spec::Portainer(spec) => serde_json::to_value(spec),
        };
        json.expect("a spec is JSON")
    }
}

impl Object {
    fn new(kind: Kind, meta: ObjectMeta, spec: Spec, mut previous: ControllerStatus) -> Object {
        previous.conditions.shrink_to_fit(); // thousands of them are kept
        Object {
            at: place(kind, &meta),
            uid: meta.uid.unwrap_or_default(),
            version: meta.resource_version.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.map(|time| time.0),
            deleted: meta.deletion_timestamp.map(|time| time.0),
            finalizers: meta.finalizers.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default().into_iter().filter_map(read_annotation).collect(),
            labels: meta.labels.unwrap_or_default(),
            spec,
            fault: None,
            previous,
            companion: CompanionStatus::default(),
        }
    }

    /// The object as its user wrote it: what others wrote on it, and its status, left out.
    pub fn manifest(&self) -> serde_json::Value {
        let (name, namespace) = (&*self.at.name, &*self.at.namespace);
        serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.at.kind.as_str(),
            "metadata": {
                "name": name, "namespace": namespace, "labels": self.labels, "annotations": self.annotations
            },
            "spec": self.spec.to_json(),
        })
    }

    /// Reads such a manifest; none where it is no object of this version.
    pub fn from_manifest(manifest: serde_json::Value) -> Option<Object> {
        let kind = Kind::parse(manifest.get("kind")?.as_str()?)?;
        match kind {
            Kind::DockerCA => serde_json::from_value::<DockerCA>(manifest).ok().map(Object::from),
            Kind::DockerHostCert => serde_json::from_value::<DockerHostCert>(manifest).ok().map(Object::from),
            Kind::DockerClientCert => serde_json::from_value::<DockerClientCert>(manifest).ok().map(Object::from),
            Kind::PortainerClient => serde_json::from_value::<PortainerClient>(manifest).ok().map(Object::from),
        }
    }

    /// Name of the Secret that the object wants.
    pub fn secret_name(&self) -> ObjectName {
        let (given, suffix) = match &self.spec {
            Spec::Authority(spec) => (&spec.secret_name, "docker-ca"),
            Spec::Host(spec) => (&spec.secret_name, "docker-host"),
            Spec::Client(spec) => (&spec.secret_name, "docker-client"),
            Spec::Portainer(spec) => (&spec.secret_name, "portainer-client"),
        };
        given.clone().unwrap_or_else(|| ObjectName::joined(&format!("{}-{suffix}", self.at.name)))
    }

    /// Where that Secret is.
    pub fn secret(&self) -> NamespacedName {
        self.at.beside(self.secret_name())
    }

    /// Where the ConfigMap with an authority's public bundle is.
    pub fn bundle(&self) -> NamespacedName {
        self.at.beside(ObjectName::joined(&format!("{}-ca-bundle", self.at.name)))
    }

    /// The authority that signs for it; none for an authority, and where it is not known.
    pub fn authority(&self) -> Option<NamespacedName> {
        let name = match &self.spec {
            _ if self.fault.is_some() => return None,
            Spec::Authority(_) => return None,
            Spec::Host(spec) => &spec.ca_ref.name,
            Spec::Client(spec) => &spec.ca_ref.name,
            Spec::Portainer(spec) => &spec.ca_ref.name,
        };
        Some(self.at.beside(name))
    }

    /// What becomes of its Secret when it is deleted.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        match &self.spec {
            Spec::Authority(spec) => spec.secret_deletion_policy,
            Spec::Host(spec) => spec.secret_deletion_policy,
            Spec::Client(spec) => spec.secret_deletion_policy,
            Spec::Portainer(spec) => spec.secret_deletion_policy,
        }
    }

    /// How a host's certificate gets there, where its user says so.
    pub fn delivery(&self) -> Option<&Delivery> {
        match &self.spec {
            Spec::Host(spec) => spec.delivery.as_ref(),
            _ => None,
        }
    }

    /// Its environments in Portainer, as its status has them, for each registrar.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentReport> {
        self.previous.environments.iter().chain(&self.companion.environments)
    }

    /// The one of that PortainerClient.
    pub fn environment_in(&self, client: &ObjectRef) -> Option<&EnvironmentReport> {
        self.environments().find(|report| *report.portainer_client == *client.name)
    }

    /// A PortainerClient with a server.
    pub fn has_server(&self) -> bool {
        matches!(&self.spec, Spec::Portainer(spec) if spec.server.is_some())
    }

    /// Secrets that it refers to by name.
    pub fn referenced_secrets(&self) -> Vec<NamespacedName> {
        let names: Vec<&ObjectName> = match &self.spec {
            Spec::Authority(spec) => {
                let passphrase = spec.passphrase_secret_ref.iter().map(|reference| &reference.name);
                let existing = spec.existing.iter().map(|source| &source.secret_ref.name);
                let trust = spec.additional_trust.iter().map(|source| &source.secret_ref.name);
                passphrase.chain(existing).chain(trust).collect()
            }
            Spec::Portainer(spec) => {
                let server = spec.server.iter();
                server
                    .flat_map(|server| {
                        server.trust().map(|at| &at.name).into_iter().chain([&server.credentials_secret_ref.name])
                    })
                    .collect()
            }
            Spec::Host(_) | Spec::Client(_) => Vec::new(),
        };
        names.into_iter().map(|name| self.at.beside(name)).collect()
    }

    /// Our annotation of that name.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }
}

impl From<DockerCA> for Object {
    fn from(object: DockerCA) -> Object {
        let previous = object.status.unwrap_or_default();
        Object::new(Kind::DockerCA, object.metadata, Spec::Authority(Box::new(object.spec)), previous.into())
    }
}

impl From<DockerHostCert> for Object {
    fn from(object: DockerHostCert) -> Object {
        let (previous, companion) = object.status.unwrap_or_default().split();
        let spec = Spec::Host(Box::new(object.spec));
        Object { companion, ..Object::new(Kind::DockerHostCert, object.metadata, spec, previous) }
    }
}

impl From<DockerClientCert> for Object {
    fn from(object: DockerClientCert) -> Object {
        let previous = object.status.unwrap_or_default();
        Object::new(Kind::DockerClientCert, object.metadata, Spec::Client(Box::new(object.spec)), previous.into())
    }
}

impl From<PortainerClient> for Object {
    fn from(object: PortainerClient) -> Object {
        let PortainerClientStatus { certificate, server } = object.status.unwrap_or_default();
        let previous = ControllerStatus { certificate, server, ..ControllerStatus::default() };
        Object::new(Kind::PortainerClient, object.metadata, Spec::Portainer(Box::new(object.spec)), previous)
    }
}

/// An annotation that is read. One that is too long to mean anything is cut: it is still there, and wrong.
fn read_annotation((name, mut value): (String, String)) -> Option<(String, String)> {
    if !READ_ANNOTATIONS.contains(&name.as_str()) {
        return None;
    }
    if let Cow::Owned(cleaned) = clean(&value, MAX_ANNOTATION) {
        value = cleaned;
    }
    Some((name, value))
}

/// Without a cluster an object may have no namespace yet.
///
/// # Panics
/// Where a name is none: who reads an object checks them first.
fn place(kind: Kind, meta: &ObjectMeta) -> ObjectRef {
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or("default"), meta.name.as_deref().unwrap_or_default());
    ObjectRef::new(kind, ObjectName::joined(namespace), ObjectName::joined(name))
}

/// One object of ours. Cheap to clone, as the indexes do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// One of the four kinds.
    pub kind: Kind,
    /// `metadata.namespace` of the object.
    pub namespace: ObjectName,
    /// `metadata.name` of the object.
    pub name: ObjectName,
}

impl ObjectRef {
    /// The object of that kind, namespace and name.
    pub fn new(kind: Kind, namespace: impl Into<ObjectName>, name: impl Into<ObjectName>) -> ObjectRef {
        ObjectRef { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Reads `Kind/namespace/name`, as the owner annotation has it.
    pub fn parse(text: &str) -> Option<ObjectRef> {
        let mut parts = text.split('/');
        let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (namespace, name) = (ObjectName::parse(namespace).ok()?, ObjectName::parse(name).ok()?);
        parts.next().is_none().then_some(ObjectRef { kind: Kind::parse(kind)?, namespace, name })
    }

    /// The object of that kind in the same namespace, where the text is a name.
    pub fn named(&self, kind: Kind, name: &str) -> Option<ObjectRef> {
        Some(ObjectRef { kind, namespace: self.namespace.clone(), name: ObjectName::parse(name).ok()? })
    }

    /// Something in the same namespace.
    pub fn beside(&self, name: impl Into<ObjectName>) -> NamespacedName {
        NamespacedName { namespace: self.namespace.clone(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// Where a Secret or a ConfigMap is. Cheap to clone, as the indexes do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespacedName {
    /// `metadata.namespace` of it.
    pub namespace: ObjectName,
    /// `metadata.name` of it.
    pub name: ObjectName,
}

impl NamespacedName {
    /// The place of that namespace and name.
    pub fn new(namespace: impl Into<ObjectName>, name: impl Into<ObjectName>) -> NamespacedName {
        NamespacedName { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
