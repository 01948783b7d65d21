//! A companion's account: the objects that it is made of, and the rights that it has, as plain values.

use super::{NamespacedName, ObjectName};
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use std::collections::BTreeMap;

/// Annotation on each of these objects: namespace and name of the account that it belongs to. It, not the label, says
/// that it is ours.
pub const ACCOUNT_ANNOTATION: &str = "dockseal.dev/account";
/// Beginning of the names of nodes' accounts.
pub const NODE_PREFIX: &str = "node-";
/// Beginning of the names of enrolled hosts' accounts.
pub const HOST_PREFIX: &str = "host-";

/// Name of a node's account: `node-NODE`.
pub fn of_node(node: &str) -> String {
    format!("{NODE_PREFIX}{node}")
}

/// Name of an enrolled host's account: `host-NAMESPACE.NAME` of its DockerHostCert (a namespace has no dot).
pub fn of_host(namespace: &str, name: &str) -> String {
    format!("{HOST_PREFIX}{namespace}.{name}")
}

/// Namespace of the DockerHostCert of an enrolled host's account; none for a node's.
pub fn namespace_of_host(account: &str) -> Option<&str> {
    let (namespace, _) = account.strip_prefix(HOST_PREFIX)?.split_once('.')?;
    Some(namespace)
}

/// Stands for an account where the rights of the DaemonSet's own are meant, which is no account of ours: to mint
/// tokens of the nodes' accounts.
pub const MINT: &str = "companion-mint";
/// Beginning of the names of Roles and RoleBindings.
const ROLE_PREFIX: &str = "dockseal-";

/// What one of these objects is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// The account itself, whose tokens the companion has.
    ServiceAccount,
    /// The companion's assignment, as JSON.
    ConfigMap,
    /// What it may do in a namespace.
    Role,
    /// Gives the account the Role of the same name.
    RoleBinding,
}

impl ResourceKind {
    /// The name in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            ResourceKind::ServiceAccount => "ServiceAccount",
            ResourceKind::ConfigMap => "ConfigMap",
            ResourceKind::Role => "Role",
            ResourceKind::RoleBinding => "RoleBinding",
        }
    }
}

/// One of these objects by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// ServiceAccount, ConfigMap, Role or RoleBinding.
    pub kind: ResourceKind,
    /// Namespace and name of the object.
    pub at: NamespacedName,
}

impl ResourceKey {
    /// The object of that kind, in that namespace, of a name that is made of an account's.
    ///
    /// # Panics
    /// Where one of the two is no name.
    pub fn new(kind: ResourceKind, namespace: &str, name: &str) -> ResourceKey {
        ResourceKey { kind, at: NamespacedName::new(ObjectName::joined(namespace), ObjectName::joined(name)) }
    }

    /// The account that an object of that name belongs to, if it is ours.
    pub fn account(&self) -> Option<&str> {
        match self.kind {
            ResourceKind::ServiceAccount | ResourceKind::ConfigMap => Some(&self.at.name),
            ResourceKind::Role | ResourceKind::RoleBinding => self.at.name.strip_prefix(ROLE_PREFIX),
        }
    }
}

impl std::fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.at)
    }
}

/// Name of the Roles and RoleBindings of an account.
pub fn role_name(account: &str) -> String {
    format!("{ROLE_PREFIX}{account}")
}

/// One of these objects as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountResource {
    /// Kind, namespace and name.
    pub key: ResourceKey,
    /// What stands in its annotation.
    pub owner: String,
    /// What the object has beside its metadata.
    pub body: ResourceBody,
}

/// What such an object says.
#[derive(Clone, Debug, PartialEq)]
pub enum ResourceBody {
    /// Whether its token is mounted into pods.
    ServiceAccount {
        /// `automountServiceAccountToken`, none where it is not set.
        automount: Option<bool>,
    },
    /// The ConfigMap's `data`.
    ConfigMap(BTreeMap<String, String>),
    /// The Role's `rules`.
    Role(Vec<PolicyRule>),
    /// Which Role, and for whom.
    RoleBinding(RoleRef, Vec<Subject>),
}

/// One of these objects as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedResource {
    /// `metadata.resourceVersion`, for updates.
    pub version: String,
    /// What stands in its annotation.
    pub owner: Option<String>,
    /// It carries our label, without which no watch sees it.
    pub labelled: bool,
    /// What the object has beside its metadata.
    pub body: ResourceBody,
}
