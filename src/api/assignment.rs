//! An assignment: what the controller tells a companion, as JSON in a ConfigMap that has the name of the companion's
//! account.

use super::account::{of_host, of_node};
use super::docker_host_cert::{Delivery, Target};
use super::object::{Object, ObjectRef};
use super::{Kind, ObjectName};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::{ENROLLED_ANNOTATION, RESTART_REQUESTED_ANNOTATION};

/// Key of the assignment in its ConfigMap.
pub const ASSIGNMENT_KEY: &str = "assignment.json";
/// All hosts and registrations of one companion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The hosts, by namespace and name.
    pub hosts: Vec<AssignedHost>,
}

/// One DockerHostCert that a companion delivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedHost {
    /// Namespace of the DockerHostCert and of its Secret.
    pub namespace: ObjectName,
    /// Name of the DockerHostCert.
    pub name: ObjectName,
    /// Its UID; empty without a cluster.
    pub uid: String,
    /// Its generation, for the conditions' observedGeneration.
    pub generation: i64,
    /// Name of its Secret.
    pub secret_name: ObjectName,
    /// `spec.delivery` of the DockerHostCert.
    pub delivery: Delivery,
    /// TCP port that clients dial, for a daemon that is told no address to listen on.
    pub port: u16,
    /// Until when dockerd may be restarted: one host of an authority at a time. None: not now. A companion asks for it
    /// with Serving=False, AwaitingTurn, until the restart is over; any other reason gives it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Timestamp>,
    /// The user's consent to a restart, as the annotation has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_requested_at: Option<String>,
    /// The object is being deleted, and what was delivered is to be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removing: bool,
    /// The Portainers that the companion registers it in itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub portainers: Vec<AssignedPortainer>,
    /// Who delivers, and what of others may be replaced.
    #[serde(default, skip_serializing_if = "HostClaim::is_empty")]
    pub claim: HostClaim,
}

/// Who delivers to a host, with which authority, and what that may replace there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostClaim {
    /// Id of the cluster or of the state directory; none where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// The annotation [`super::marker::TAKE_FROM_ANNOTATION`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take_from: Option<String>,
    /// Name of the DockerCA that the object names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// SHA-256 of the key of the authority that a user had replaced, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

impl HostClaim {
    /// Whether an assignment need not mention it.
    pub fn is_empty(&self) -> bool {
        *self == HostClaim::default()
    }
}

/// One Portainer that a companion registers its host in. Which Secrets it reads is said here; what they hold is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedPortainer {
    /// The environment as it should be.
    pub order: DesiredEnvironment,
    /// Address of the server.
    pub url: String,
    /// Name in its certificate, where that is not the one in the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Certificates that are trusted for it, PEM; none: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Name of the Secret with Portainer's client certificate, in the host's namespace.
    pub client_secret: ObjectName,
    /// Name of the Secret with the credential, in the host's namespace.
    pub credentials_secret: ObjectName,
    /// The first administrator of a fresh server may be made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initialize_admin: bool,
}

/// One environment as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredEnvironment {
    /// Name of the PortainerClient; its namespace is the host's.
    pub client: ObjectName,
    /// Tag by which the PortainerClient knows its environments.
    pub marker: String,
    /// Name of the environment.
    pub name: String,
    /// Name or IP address that Portainer dials.
    pub host: String,
    /// TCP port that it dials.
    pub port: u16,
    /// Address that Portainer's page links published ports to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Name of its group; none to leave it where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Names of its tags, beside the marker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Portainer verifies the host's certificate.
    pub verify_server: bool,
    /// An environment of the same URL may be taken over.
    pub adopt: bool,
}

impl Assignment {
    /// The host of that object.
    pub fn find(&self, at: &ObjectRef) -> Option<&AssignedHost> {
        self.hosts.iter().find(|host| *host.namespace == *at.namespace && *host.name == *at.name)
    }

    /// Reads what a ConfigMap holds; none where it is not readable.
    pub fn parse(text: &str) -> Option<Assignment> {
        serde_json::from_str(text).ok()
    }

    /// What a ConfigMap is to hold.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("an assignment is JSON")
    }
}

impl AssignedPortainer {
    /// The PortainerClient, beside that host.
    pub fn object(&self, host: &ObjectRef) -> ObjectRef {
        ObjectRef::new(Kind::PortainerClient, &host.namespace, &self.order.client)
    }
}

impl AssignedHost {
    /// The DockerHostCert that this is about.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(Kind::DockerHostCert, &self.namespace, &self.name)
    }
}

impl Object {
    /// Name of the account of the companion that delivers this host's certificate, where one does.
    pub fn account(&self) -> Option<String> {
        account(&self.at, self.delivery()?)
    }
}

/// Name of the account of the companion that delivers an object, and of its assignment. None where no companion does.
pub fn account(object: &ObjectRef, delivery: &Delivery) -> Option<String> {
    match (delivery.target?, &delivery.node_name) {
        (Target::Node, Some(node)) => Some(of_node(node)),
        (Target::Node, None) => None,
        (Target::Enrolled, _) => Some(of_host(&object.namespace, &object.name)),
    }
}
