//! The watches of companions' accounts: what there is of them goes into the state, so that reconciling one asks for
//! nothing and sees what others changed.

use super::informer::{EventHandler, Informers, Listing};
use super::state::ControllerState;
use crate::adapters::kube::accounts::{ResourceType, observed_resource, resource_key};
use crate::api::account::{ObservedResource, ResourceKey};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::watcher::Config;
use std::sync::Arc;

/// Watches accounts and assignments in their namespace, and rights wherever there are objects as well. None where no
/// companions are served.
pub fn start(informers: &mut Informers<'_>, scope: &[Option<&str>], ours: &Config, state: &Arc<ControllerState>) {
    let Some(companions) = state.accounts.namespace() else { return };
    let handler = || AccountHandler(Arc::clone(state));
    let mut namespaces = scope.to_vec();
    if !namespaces.iter().any(|namespace| namespace.is_none_or(|name| name == companions)) {
        namespaces.push(Some(companions));
    }
    for namespace in namespaces {
        informers.start::<Role>(namespace, ours.clone(), handler());
        informers.start::<RoleBinding>(namespace, ours.clone(), handler());
    }
    informers.start::<ServiceAccount>(Some(companions), ours.clone(), handler());
    informers.start::<ConfigMap>(Some(companions), ours.clone(), handler());
}

struct AccountHandler(Arc<ControllerState>);

impl AccountHandler {
    fn notice(&self, key: Option<ResourceKey>, resource: Option<ObservedResource>) {
        let account = key.and_then(|key| self.0.accounts.notice(&key, resource));
        account.into_iter().for_each(|account| self.0.account_queue.add(account));
    }
}

impl<K: ResourceType> EventHandler<K> for AccountHandler {
    fn apply(&mut self, item: K, _listing: bool) {
        self.notice(resource_key(&item), Some(observed_resource(&item)));
    }

    fn delete(&mut self, item: K) {
        self.notice(resource_key(&item), None);
    }

    fn listed(&mut self, list: &Listing) {
        let gone = self.0.accounts.keep_only(K::KIND, |at| !list.lacks(at));
        gone.into_iter().for_each(|account| self.0.account_queue.add(account));
    }
}
