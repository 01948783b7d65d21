//! What accounts ask about hosts: the objects of the cluster, behind the controller or a test.

use crate::api::assignment::AssignedPortainer;
use crate::api::{NamespacedName, Object, ObjectRef};
use std::sync::Arc;

/// The hosts, as far as accounts need them.
pub trait HostLookup: Sync {
    fn host(&self, at: &ObjectRef) -> Option<Arc<Object>>;
    /// The hosts whose spec names that account.
    fn hosts_of(&self, account: &str) -> Vec<Arc<Object>>;
    /// The hosts that wait for their turn to restart dockerd.
    fn waiting(&self) -> Vec<Arc<Object>>;
    /// Id of the cluster, for markers on hosts; none where it is not known.
    fn writer(&self) -> Option<String> {
        None
    }
    /// SHA-256 of the key of the authority that a user had replaced in that DockerCA.
    fn replaced_authority(&self, _ca: &NamespacedName) -> Option<String> {
        None
    }
    /// The Portainers that a host's companion registers it in; `_assigned` are those of its assignment now.
    fn portainers(&self, _host: &Object, _assigned: &[AssignedPortainer]) -> Vec<AssignedPortainer> {
        Vec::new()
    }
}
