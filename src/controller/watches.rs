//! The watches: four kinds, our Secrets and our ConfigMaps. Streams, no periodic lists.

use super::account_watches;
use super::secret_refs::Queues;
use super::watch_errors::words;
use super::worker::ControllerState;
use crate::adapters::kube::store::{owner, place};
use crate::api::{
    DockerCA, DockerClientCert, DockerHostCert, Kind, MANAGED_LABEL, NamespacedName, Object, ObjectRef, PortainerClient,
};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The namespaces that are watched.
pub struct Scope(pub(super) Vec<Option<String>>);

impl Scope {
    /// Those namespaces; all of them where none is named.
    pub fn new(namespaces: &[String]) -> Scope {
        if namespaces.is_empty() {
            return Scope(vec![None]);
        }
        let unique: HashSet<&String> = namespaces.iter().collect();
        Scope(unique.into_iter().cloned().map(Some).collect())
    }
}

/// Counts the watches that have not shown everything yet.
#[derive(Default)]
pub struct InitialSync {
    missing: AtomicUsize,
    news: Notify,
}

impl InitialSync {
    /// Waits until every watch has shown what there is.
    pub async fn wait(&self) {
        loop {
            let news = self.news.notified();
            if self.missing.load(Ordering::SeqCst) == 0 {
                return;
            }
            news.await;
        }
    }

    fn arrived(&self) {
        self.missing.fetch_sub(1, Ordering::SeqCst);
        self.news.notify_waiters();
    }
}

/// Starts every watch.
pub fn start(
    client: &Client,
    scope: &Scope,
    cluster: &Arc<ControllerState>,
    tasks: &mut JoinSet<()>,
) -> Arc<InitialSync> {
    let synced = Arc::new(InitialSync::default());
    let parts = account_watches::wanted(scope, cluster);
    synced.missing.store(scope.0.len() * 6 + parts.len(), Ordering::SeqCst);
    account_watches::start(client, parts, cluster, &synced, tasks);
    for namespace in &scope.0 {
        let namespace = namespace.as_deref();
        objects::<DockerCA>(client, namespace, Kind::DockerCA, cluster, &synced, tasks);
        objects::<DockerHostCert>(client, namespace, Kind::DockerHostCert, cluster, &synced, tasks);
        objects::<DockerClientCert>(client, namespace, Kind::DockerClientCert, cluster, &synced, tasks);
        objects::<PortainerClient>(client, namespace, Kind::PortainerClient, cluster, &synced, tasks);
        secrets(client, namespace, cluster, &synced, tasks);
        config_maps(client, namespace, cluster, &synced, tasks);
    }
    synced
}

/// What a watch does with its events.
pub(super) trait EventHandler<K>: Send {
    fn apply(&mut self, item: K);
    fn delete(&mut self, item: K);
    /// A new beginning: what is not applied until the end of it is gone.
    fn begin(&mut self);
    fn end(&mut self);
}

/// Runs a watch for ever.
pub(super) async fn follow<K>(api: Api<K>, config: Config, mut sink: impl EventHandler<K>, synced: Arc<InitialSync>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut stream = watcher(api, config.streaming_lists()).default_backoff().boxed();
    let mut first = true;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => sink.begin(),
            Ok(Event::Apply(item) | Event::InitApply(item)) => sink.apply(item),
            Ok(Event::Delete(item)) => sink.delete(item),
            Ok(Event::InitDone) => {
                sink.end();
                if std::mem::take(&mut first) {
                    synced.arrived();
                }
            }
            Err(error) => tracing::warn!(error = words(&error), "a watch failed and is started again"),
        }
    }
}

pub(super) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn objects<K>(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    cluster: &Arc<ControllerState>,
    synced: &Arc<InitialSync>,
    tasks: &mut JoinSet<()>,
) where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    Object: From<K>,
{
    let sink = ObjectHandler {
        cluster: Arc::clone(cluster),
        client: client.clone(),
        kind,
        namespace: namespace.map(str::to_owned),
        seen: None,
    };
    let api: Api<DeserializeGuard<K>> = api(client, namespace);
    tasks.spawn(follow(api, Config::default(), sink, Arc::clone(synced)));
}

struct ObjectHandler {
    cluster: Arc<ControllerState>,
    client: Client,
    kind: Kind,
    namespace: Option<String>,
    seen: Option<HashSet<ObjectRef>>,
}

impl ObjectHandler {
    fn in_scope(&self, at: &ObjectRef) -> bool {
        covers(self.namespace.as_deref(), &at.namespace)
    }

    fn references(&self) {
        if matches!(self.kind, Kind::DockerCA | Kind::PortainerClient) {
            let cluster = &self.cluster;
            let (walks, registrations) = (Arc::clone(&cluster.queue), Arc::clone(&cluster.registration_queue));
            cluster.references.follow(&self.client, &cluster.index, &Queues { walks, registrations });
        }
    }
}

impl<K> EventHandler<DeserializeGuard<K>> for ObjectHandler
where
    K: Resource<DynamicType = ()>,
    Object: From<K>,
{
    fn apply(&mut self, item: DeserializeGuard<K>) {
        match item.0 {
            Ok(item) => {
                let object = Object::from(item);
                self.seen.iter_mut().for_each(|seen| {
                    seen.insert(object.at.clone());
                });
                self.cluster.put(object);
                if self.seen.is_none() {
                    self.references(); // else the end of the beginning does it once for all
                }
            }
            // One object of another version must not stop the watch of all, and is not gone either.
            Err(error) => {
                let at = place(&error.metadata);
                self.seen.iter_mut().for_each(|seen| {
                    seen.insert(ObjectRef::new(self.kind, &at.namespace, &at.name));
                });
                tracing::error!(kind = %self.kind, name = error.metadata.name, error = error.error, "failed to read an object: are the CRDs of this version?")
            }
        }
    }

    fn delete(&mut self, item: DeserializeGuard<K>) {
        let at = place(item.meta());
        self.cluster.remove(&ObjectRef::new(self.kind, &at.namespace, &at.name));
        self.references();
    }

    fn begin(&mut self) {
        self.seen = Some(HashSet::new());
    }

    fn end(&mut self) {
        let Some(seen) = self.seen.take() else { return };
        let gone: Vec<ObjectRef> = {
            let index = self.cluster.index.read();
            index.of_kind(self.kind).filter(|at| self.in_scope(at) && !seen.contains(at)).cloned().collect()
        };
        gone.iter().for_each(|at| self.cluster.remove(at));
        self.references();
    }
}

fn secrets(
    client: &Client,
    namespace: Option<&str>,
    cluster: &Arc<ControllerState>,
    synced: &Arc<InitialSync>,
    tasks: &mut JoinSet<()>,
) {
    let sink = Secrets { cluster: Arc::clone(cluster), namespace: namespace.map(str::to_owned), seen: None };
    tasks.spawn(follow(api::<Secret>(client, namespace), ours(), sink, Arc::clone(synced)));
}

/// Whether a watch over a namespace, or over all of them, shows what is in that one.
pub(super) fn covers(watched: Option<&str>, namespace: &str) -> bool {
    watched.is_none_or(|watched| watched == namespace)
}

/// The label by which our Secrets and ConfigMaps are watched.
pub(super) fn ours() -> Config {
    Config::default().labels(&format!("{MANAGED_LABEL}=true"))
}

struct Secrets {
    cluster: Arc<ControllerState>,
    namespace: Option<String>,
    seen: Option<HashSet<NamespacedName>>,
}

impl EventHandler<Secret> for Secrets {
    fn apply(&mut self, item: Secret) {
        if let Some(seen) = &mut self.seen {
            seen.insert(place(&item.metadata));
        }
        self.cluster
            .ctx
            .store
            .notice(item)
            .into_iter()
            .for_each(|owner| self.cluster.queue.add_unless_own_write(owner));
    }

    fn delete(&mut self, item: Secret) {
        if let Some(owner) = self.cluster.ctx.store.leaves.notice_gone(&place(&item.metadata)) {
            self.cluster.queue.add(owner);
        }
    }

    fn begin(&mut self) {
        self.seen = Some(HashSet::new());
    }

    fn end(&mut self) {
        let Some(seen) = self.seen.take() else { return };
        let elsewhere = |at: &NamespacedName| !covers(self.namespace.as_deref(), &at.namespace);
        let gone = self.cluster.ctx.store.leaves.keep_only(|at| elsewhere(at) || seen.contains(at));
        gone.into_iter().for_each(|owner| self.cluster.queue.add(owner));
    }
}

fn config_maps(
    client: &Client,
    namespace: Option<&str>,
    cluster: &Arc<ControllerState>,
    synced: &Arc<InitialSync>,
    tasks: &mut JoinSet<()>,
) {
    let sink = ConfigMaps { cluster: Arc::clone(cluster) };
    tasks.spawn(follow(api::<PartialObjectMeta<ConfigMap>>(client, namespace), ours(), sink, Arc::clone(synced)));
}

/// Only what changed is of interest: the walk reads it.
struct ConfigMaps {
    cluster: Arc<ControllerState>,
}

impl EventHandler<PartialObjectMeta<ConfigMap>> for ConfigMaps {
    fn apply(&mut self, item: PartialObjectMeta<ConfigMap>) {
        owner(&item.metadata).into_iter().for_each(|owner| self.cluster.queue.add(owner));
    }

    fn delete(&mut self, item: PartialObjectMeta<ConfigMap>) {
        self.apply(item);
    }

    fn begin(&mut self) {}

    fn end(&mut self) {}
}
