//! What the controller tells a companion: an assignment, in a ConfigMap that bears the name of the companion's account.

use super::account::{of_host, of_node};
use super::docker_host_cert::{Delivery, Target};
use super::{Kind, ObjectRef};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Key of the assignment in its ConfigMap.
pub const ASSIGNMENT_KEY: &str = "assignment.json";
/// Annotation on a DockerHostCert by which a user lets dockerd be restarted: an RFC 3339 instant.
pub const RESTART_REQUESTED_ANNOTATION: &str = "dockseal.dev/restart-requested-at";

/// Annotation on a DockerHostCert with `target: Enrolled`: a host is enrolled for it. `dockseal enroll` sets it, and
/// takes it away with `--revoke`.
pub const ENROLLED_ANNOTATION: &str = "dockseal.dev/enrolled";

/// All that is a companion's business.
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
    pub namespace: String,
    /// Name of the DockerHostCert.
    pub name: String,
    /// Its UID; empty without a cluster.
    pub uid: String,
    /// Its generation, for the conditions' observedGeneration.
    pub generation: i64,
    /// Name of its Secret.
    pub secret_name: String,
    /// The wishes.
    pub delivery: Delivery,
    /// TCP port that clients dial, for a daemon that is told no address to listen on.
    pub port: u16,
    /// Until when dockerd may be restarted: one host of an authority at a time. None: not now. Who asks for it says
    /// Serving=False, AwaitingTurn, and goes on saying so until the restart is over: any other word gives it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Timestamp>,
    /// The user's consent to a restart, as the annotation has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_requested_at: Option<String>,
    /// The object is going, and what was delivered is to go with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removing: bool,
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

impl AssignedHost {
    /// The DockerHostCert.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(Kind::DockerHostCert, &self.namespace, &self.name)
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
