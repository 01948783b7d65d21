//! The watches of a leader: of the four kinds, of our Secrets and of our ConfigMaps. What they show goes into the state
//! and the work queues; nothing is decided here.

use super::account_watches;
use super::informer::{EventHandler, Informers, InitialSync, Listing};
use super::state::ControllerState;
use crate::adapters::kube::guard::Guarded;
use crate::adapters::kube::store::{owner, place};
use crate::api::{
    DockerCA, DockerClientCert, DockerHostCert, FieldFault, Kind, MANAGED_LABEL, Object, ObjectRef, PortainerClient,
};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Starts every watch, over those namespaces; over all of them where none is named.
pub fn start(
    client: &Client,
    namespaces: &[String],
    state: &Arc<ControllerState>,
    tasks: &mut JoinSet<()>,
) -> Arc<InitialSync> {
    let unique: HashSet<&str> = namespaces.iter().map(String::as_str).collect();
    let mut scope: Vec<Option<&str>> = unique.into_iter().map(Some).collect();
    if scope.is_empty() {
        scope.push(None);
    }
    let mut informers = Informers { client, tasks, synced: Arc::default() };
    let ours = Config::default().labels(&format!("{MANAGED_LABEL}=true"));
    account_watches::start(&mut informers, &scope, &ours, state);
    for namespace in scope {
        objects::<DockerCA>(&mut informers, namespace, Kind::DockerCA, state);
        objects::<DockerHostCert>(&mut informers, namespace, Kind::DockerHostCert, state);
        objects::<DockerClientCert>(&mut informers, namespace, Kind::DockerClientCert, state);
        objects::<PortainerClient>(&mut informers, namespace, Kind::PortainerClient, state);
        informers.start::<Secret>(namespace, ours.clone(), SecretHandler(Arc::clone(state)));
        informers.start::<PartialObjectMeta<ConfigMap>>(namespace, ours.clone(), ConfigMapHandler(Arc::clone(state)));
    }
    informers.synced
}

fn objects<K>(informers: &mut Informers<'_>, namespace: Option<&str>, kind: Kind, state: &Arc<ControllerState>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    Object: From<K>,
{
    let handler = ObjectHandler { state: Arc::clone(state), client: informers.client.clone(), kind };
    informers.start::<Guarded<K>>(namespace, Config::default(), handler);
}

struct ObjectHandler {
    state: Arc<ControllerState>,
    client: Client,
    kind: Kind,
}

impl ObjectHandler {
    /// Has the namespaces watched in which objects refer to Secrets now.
    fn watch_references(&self) {
        if matches!(self.kind, Kind::DockerCA | Kind::PortainerClient) {
            let state = &self.state;
            state.secret_watches.update(&self.client, &state.index, &state.queues());
        }
    }
}

impl<K> EventHandler<Guarded<K>> for ObjectHandler
where
    K: Resource<DynamicType = ()>,
    Object: From<K>,
{
    fn apply(&mut self, item: Guarded<K>, listing: bool) {
        if place(item.meta()).is_none() {
            return; // the API server gives no object such a name
        }
        let object = item.object();
        if let Some(FieldFault { field, message, .. }) = &object.fault {
            tracing::error!(object = %object.at, field, message, "failed to read an object: are the CRDs of this version?");
        }
        self.state.put(object);
        if !listing {
            self.watch_references(); // else once for all, when the list is complete
        }
    }

    fn delete(&mut self, item: Guarded<K>) {
        let Some(at) = place(item.meta()) else { return };
        self.state.remove(&ObjectRef::new(self.kind, &at.namespace, &at.name));
        self.watch_references();
    }

    fn listed(&mut self, list: &Listing) {
        let gone: Vec<ObjectRef> = {
            let index = self.state.index.read();
            index.of_kind(self.kind).filter(|at| list.lacks(&at.beside(&at.name))).cloned().collect()
        };
        gone.iter().for_each(|at| self.state.remove(at));
        self.watch_references();
    }
}

/// Keeps the facts of leaves' Secrets, and queues the objects whose Secret changed.
struct SecretHandler(Arc<ControllerState>);

impl EventHandler<Secret> for SecretHandler {
    fn apply(&mut self, item: Secret, _listing: bool) {
        let owners = self.0.ctx.store.notice(item);
        owners.into_iter().for_each(|owner| self.0.queue.add_unless_own_write(owner));
    }

    fn delete(&mut self, item: Secret) {
        let gone = place(&item.metadata).and_then(|at| self.0.ctx.store.leaves.notice_gone(&at));
        if let Some(owner) = gone {
            self.0.queue.add(owner);
        }
    }

    fn listed(&mut self, list: &Listing) {
        let gone = self.0.ctx.store.leaves.keep_only(|at| !list.lacks(at));
        gone.into_iter().for_each(|owner| self.0.queue.add(owner));
    }
}

/// Queues the objects whose ConfigMap changed; what it holds is read when they are reconciled.
struct ConfigMapHandler(Arc<ControllerState>);

impl EventHandler<PartialObjectMeta<ConfigMap>> for ConfigMapHandler {
    fn apply(&mut self, item: PartialObjectMeta<ConfigMap>, _listing: bool) {
        owner(&item.metadata).into_iter().for_each(|owner| self.0.queue.add(owner));
    }

    fn delete(&mut self, item: PartialObjectMeta<ConfigMap>) {
        self.apply(item, false);
    }

    fn listed(&mut self, _list: &Listing) {}
}
