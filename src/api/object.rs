//! One object of the four kinds, reduced to the parts that decisions need, and how it is referred to.

use super::docker_host_cert::Delivery;
use super::status::{CompanionStatus, ControllerStatus, EnvironmentReport, PortainerClientStatus};
use super::{
    API_VERSION, DockerCA, DockerCASpec, DockerClientCert, DockerClientCertSpec, DockerHostCert, DockerHostCertSpec,
    Kind, PortainerClient, PortainerClientSpec, reference::DeletionPolicy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Annotations below `dockseal.dev/` alone, by their full name.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.labels`, which selectors are matched with.
    pub labels: BTreeMap<String, String>,
    /// What the user wants.
    pub spec: Spec,
    /// What was last reported.
    pub previous: ControllerStatus,
    /// What the companion on the host reported; empty for all but hosts.
    pub companion: CompanionStatus,
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

impl Object {
    fn new(kind: Kind, meta: ObjectMeta, spec: Spec, mut previous: ControllerStatus) -> Object {
        previous.conditions.shrink_to_fit(); // thousands of them are kept
        let ours = |annotation: &(String, String)| annotation.0.starts_with("dockseal.dev/");
        Object {
            at: ObjectRef::new(kind, &meta.namespace.unwrap_or_default(), &meta.name.unwrap_or_default()),
            uid: meta.uid.unwrap_or_default(),
            version: meta.resource_version.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.map(|time| time.0),
            deleted: meta.deletion_timestamp.map(|time| time.0),
            finalizers: meta.finalizers.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default().into_iter().filter(ours).collect(),
            labels: meta.labels.unwrap_or_default(),
            spec,
            previous,
            companion: CompanionStatus::default(),
        }
    }

    /// The object as its user wrote it: what others wrote on it, and its status, left out.
    pub fn manifest(&self) -> serde_json::Value {
        let spec = match &self.spec {
            Spec::Authority(spec) => serde_json::to_value(spec),
            Spec::Host(spec) => serde_json::to_value(spec),
            Spec::Client(spec) => serde_json::to_value(spec),
            Spec::Portainer(spec) => serde_json::to_value(spec),
        };
        let (name, namespace) = (&*self.at.name, &*self.at.namespace);
        serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.at.kind.as_str(),
            "metadata": {
                "name": name, "namespace": namespace, "labels": self.labels, "annotations": self.annotations
            },
            "spec": spec.expect("a spec is JSON"),
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
    pub fn secret_name(&self) -> String {
        let (given, suffix) = match &self.spec {
            Spec::Authority(spec) => (&spec.secret_name, "docker-ca"),
            Spec::Host(spec) => (&spec.secret_name, "docker-host"),
            Spec::Client(spec) => (&spec.secret_name, "docker-client"),
            Spec::Portainer(spec) => (&spec.secret_name, "portainer-client"),
        };
        given.clone().unwrap_or_else(|| format!("{}-{suffix}", self.at.name))
    }

    /// Where that Secret is.
    pub fn secret(&self) -> NamespacedName {
        self.at.beside(&self.secret_name())
    }

    /// The authority that signs for it; none for an authority.
    pub fn authority(&self) -> Option<NamespacedName> {
        let name = match &self.spec {
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
        let names: Vec<&String> = match &self.spec {
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

/// One object of ours. Cheap to clone, as the indexes do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// One of the four kinds.
    pub kind: Kind,
    /// `metadata.namespace` of the object.
    pub namespace: Arc<str>,
    /// `metadata.name` of the object.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// The object of that kind, namespace and name.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> ObjectRef {
        ObjectRef { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Reads `Kind/namespace/name`, as the owner annotation has it.
    pub fn parse(text: &str) -> Option<ObjectRef> {
        let mut parts = text.split('/');
        let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && !namespace.is_empty() && !name.is_empty();
        whole.then_some(ObjectRef::new(Kind::parse(kind)?, namespace, name))
    }

    /// Something in the same namespace.
    pub fn beside(&self, name: &str) -> NamespacedName {
        NamespacedName { namespace: Arc::clone(&self.namespace), name: name.into() }
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
    pub namespace: Arc<str>,
    /// `metadata.name` of it.
    pub name: Arc<str>,
}

impl NamespacedName {
    /// The place of that namespace and name.
    pub fn new(namespace: &str, name: &str) -> NamespacedName {
        NamespacedName { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
