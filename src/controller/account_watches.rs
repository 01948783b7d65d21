//! The watches of companions' accounts: what is there of them, so that nothing is asked and drift is seen.

use super::watches::{EventHandler, InitialSync, Scope, api, covers, follow, ours};
use super::worker::ControllerState;
use crate::adapters::kube::accounts::{PartResource, part_key, seen_part};
use crate::adapters::kube::store::place;
use crate::api::NamespacedName;
use crate::api::account::{PartKey, PartKind, SeenPart};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Client;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// One watch: of what, and in which namespace; all of them where none is named.
pub type PartWatch = (PartKind, Option<String>);

/// The watches that are needed: accounts and assignments in their namespace, rights wherever there are objects, too.
pub fn wanted(scope: &Scope, cluster: &ControllerState) -> Vec<PartWatch> {
    let Some(companions) = cluster.accounts.namespace().map(str::to_owned) else { return Vec::new() };
    let mut namespaces = scope.0.clone();
    if !namespaces.iter().any(|namespace| namespace.as_ref().is_none_or(|name| *name == companions)) {
        namespaces.push(Some(companions.clone()));
    }
    let rights = [PartKind::Role, PartKind::RoleBinding];
    let rights = rights.iter().flat_map(|kind| namespaces.iter().map(|namespace| (*kind, namespace.clone())));
    let own = [PartKind::ServiceAccount, PartKind::ConfigMap].map(|kind| (kind, Some(companions.clone())));
    rights.chain(own).collect()
}

/// Starts them.
pub fn start(
    client: &Client,
    watches: Vec<PartWatch>,
    cluster: &Arc<ControllerState>,
    synced: &Arc<InitialSync>,
    tasks: &mut JoinSet<()>,
) {
    for (kind, namespace) in watches {
        let sink = Parts { cluster: Arc::clone(cluster), kind, namespace: namespace.clone(), seen: None };
        let (namespace, synced) = (namespace.as_deref(), Arc::clone(synced));
        match kind {
            PartKind::ServiceAccount => {
                tasks.spawn(follow(api::<ServiceAccount>(client, namespace), ours(), sink, synced));
            }
            PartKind::ConfigMap => {
                tasks.spawn(follow(api::<ConfigMap>(client, namespace), ours(), sink, synced));
            }
            PartKind::Role => {
                tasks.spawn(follow(api::<Role>(client, namespace), ours(), sink, synced));
            }
            PartKind::RoleBinding => {
                tasks.spawn(follow(api::<RoleBinding>(client, namespace), ours(), sink, synced));
            }
        }
    }
}

struct Parts {
    cluster: Arc<ControllerState>,
    kind: PartKind,
    namespace: Option<String>,
    seen: Option<HashSet<NamespacedName>>,
}

impl Parts {
    fn notice(&self, key: &PartKey, part: Option<SeenPart>) {
        let account = self.cluster.accounts.notice(key, part);
        account.into_iter().for_each(|account| self.cluster.account_queue.add(account));
    }
}

impl<K: PartResource> EventHandler<K> for Parts {
    fn apply(&mut self, item: K) {
        if let Some(seen) = &mut self.seen {
            seen.insert(place(item.meta()));
        }
        self.notice(&part_key(&item), Some(seen_part(&item)));
    }

    fn delete(&mut self, item: K) {
        self.notice(&part_key(&item), None);
    }

    fn begin(&mut self) {
        self.seen = Some(HashSet::new());
    }

    fn end(&mut self) {
        let Some(seen) = self.seen.take() else { return };
        let elsewhere = |at: &NamespacedName| !covers(self.namespace.as_deref(), &at.namespace);
        let gone = self.cluster.accounts.keep_only(self.kind, |at| elsewhere(at) || seen.contains(at));
        gone.into_iter().for_each(|account| self.cluster.account_queue.add(account));
    }
}
