//! The Secrets that DockerCAs and PortainerClients refer to: one watch in each namespace where there is such an object
//! shows the names of its Secrets, not their contents. A change queues the objects that refer to the Secret.

use super::index::Index;
use super::informer::{Dispatcher, EventHandler, Listing, watch};
use super::workqueue::{RegistrationKey, WorkQueues};
use crate::adapters::kube::store::place;
use crate::api::{Kind, NamespacedName, ObjectName, ObjectRef};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The watches that run, by namespace. Dropped, they end.
#[derive(Default)]
pub struct SecretWatches(Mutex<HashMap<ObjectName, AbortHandle>>);

impl Drop for SecretWatches {
    fn drop(&mut self) {
        self.0.lock().values().for_each(AbortHandle::abort);
    }
}

impl SecretWatches {
    /// Starts and ends watches so that they are those of the namespaces in which Secrets are referred to now.
    pub fn update(&self, client: &Client, index: &Arc<RwLock<Index>>, queues: &WorkQueues) {
        let mut running = self.0.lock();
        let wanted = index.read().referring_namespaces();
        running.retain(|namespace, watch| {
            let wanted = wanted.contains(namespace);
            if !wanted {
                watch.abort();
            }
            wanted
        });
        for namespace in wanted {
            running.entry(namespace.clone()).or_insert_with(|| {
                let handler = ReferenceHandler { namespace, index: Arc::clone(index), queues: queues.clone() };
                tokio::spawn(watch_namespace(client.clone(), handler)).abort_handle()
            });
        }
    }
}

async fn watch_namespace(client: Client, handler: ReferenceHandler) {
    let namespace = handler.namespace.clone();
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &namespace);
    watch(api, Config::default(), Dispatcher::new(handler, Some(&namespace)), || {}).await;
}

/// Queues the objects that refer to a Secret which changed, or which a list lacks: it may have gone while no watch ran.
struct ReferenceHandler {
    namespace: ObjectName,
    index: Arc<RwLock<Index>>,
    queues: WorkQueues,
}

impl ReferenceHandler {
    fn changed(&self, secret: &NamespacedName) {
        let referring = self.index.read().referring(secret);
        referring.into_iter().for_each(|object| self.add(object));
    }

    fn add(&self, referrer: ObjectRef) {
        match referrer.kind {
            Kind::PortainerClient => self.queues.registrations.add(RegistrationKey::server(referrer)),
            _ => self.queues.objects.add(referrer),
        }
    }
}

impl EventHandler<PartialObjectMeta<Secret>> for ReferenceHandler {
    fn apply(&mut self, item: PartialObjectMeta<Secret>, _listing: bool) {
        place(&item.metadata).iter().for_each(|secret| self.changed(secret));
    }

    fn delete(&mut self, item: PartialObjectMeta<Secret>) {
        place(&item.metadata).iter().for_each(|secret| self.changed(secret));
    }

    fn listed(&mut self, list: &Listing) {
        let referenced = self.index.read().referenced_in(&self.namespace);
        referenced.iter().filter(|secret| list.lacks(secret)).for_each(|secret| self.changed(secret));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Object;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn authority(name: &str, references: &[&str]) -> Object {
        let trust: Vec<_> = references.iter().map(|name| json!({"secretRef": {"name": name}})).collect();
        let manifest = json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerCA",
            "metadata": {"namespace": "home", "name": name, "resourceVersion": "1"},
            "spec": {"subject": {"commonName": name}, "additionalTrust": trust}});
        Object::from_manifest(manifest).expect("it is a DockerCA")
    }

    fn secret(name: &str) -> PartialObjectMeta<Secret> {
        let (name, namespace) = (Some(name.to_owned()), Some("home".to_owned()));
        let metadata = ObjectMeta { name, namespace, ..ObjectMeta::default() };
        PartialObjectMeta { metadata, ..PartialObjectMeta::default() }
    }

    #[test]
    fn who_refers_to_a_secret_is_queued_when_it_came_changed_or_went() {
        let index = Arc::new(RwLock::new(Index::default()));
        for object in [authority("one", &["shared", "own"]), authority("two", &["shared"])] {
            index.write().put(object);
        }
        let queues = WorkQueues::default();
        let handler = ReferenceHandler { namespace: "home".into(), index, queues: queues.clone() };
        let mut dispatcher = Dispatcher::new(handler, Some("home"));
        for (event, expected) in [
            (Event::Init, &[][..]),
            (Event::InitApply(secret("own")), &["one"]),
            (Event::InitApply(secret("foreign")), &[]),
            (Event::InitDone, &["one", "two"]), // of the shared one, which is not there
            (Event::Apply(secret("shared")), &["one", "two"]),
            (Event::Apply(secret("foreign")), &[]),
            (Event::Delete(secret("own")), &["one"]),
            (Event::Init, &[]),
            (Event::InitApply(secret("shared")), &["one", "two"]),
            (Event::InitDone, &["one"]),
        ] {
            let what = format!("{event:?}");
            dispatcher.dispatch(event);
            let queued = queues.objects.drain().into_iter().map(|at| at.name.to_string()).collect::<Vec<_>>();
            assert_eq!(queued, expected, "{what}");
        }
    }

    #[test]
    fn what_nobody_refers_to_any_longer_is_watched_no_more() {
        let mut index = Index::default();
        index.put(authority("one", &["shared", "own"]));
        index.put(authority("two", &["shared"]));
        let shared = NamespacedName::new("home", "shared");
        assert_eq!(index.referring(&shared).len(), 2);
        index.remove(&ObjectRef::new(Kind::DockerCA, "home", "one"));
        assert_eq!(index.referring(&shared).len(), 1);
        assert_eq!(index.referenced_in(&"home".into()), [shared]);
        index.remove(&ObjectRef::new(Kind::DockerCA, "home", "two"));
        assert!(index.referring_namespaces().is_empty());
    }
}
