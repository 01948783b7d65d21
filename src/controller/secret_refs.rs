//! The Secrets that DockerCAs and PortainerClients refer to: each is watched by its name, so that no other Secret is
//! read. A change queues the objects that refer to it.

use super::index::Index;
use super::informer::{Dispatcher, EventHandler, Listing, watch};
use super::workqueue::{RegistrationKey, WorkQueue};
use crate::api::{Kind, NamespacedName, Object, ObjectRef};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The queues that a Secret's change adds to.
#[derive(Clone)]
pub struct Queues {
    pub objects: Arc<WorkQueue<ObjectRef>>,
    pub registrations: Arc<WorkQueue<RegistrationKey>>,
}

impl Queues {
    fn add(&self, referrer: ObjectRef) {
        match referrer.kind {
            Kind::PortainerClient => self.registrations.add(RegistrationKey::server(referrer)),
            _ => self.objects.add(referrer),
        }
    }
}

/// The watches that run, by Secret. Dropped, they end.
#[derive(Default)]
pub struct SecretWatches(Mutex<HashMap<NamespacedName, AbortHandle>>);

impl Drop for SecretWatches {
    fn drop(&mut self) {
        self.0.lock().values().for_each(AbortHandle::abort);
    }
}

impl SecretWatches {
    /// Starts and ends watches so that they are those of the Secrets that are referred to now.
    pub fn update(&self, client: &Client, index: &Arc<RwLock<Index>>, queues: &Queues) {
        let wanted: HashSet<NamespacedName> = {
            let index = index.read();
            referrers(&index).flat_map(|object| object.referenced_secrets()).collect()
        };
        let mut running = self.0.lock();
        running.retain(|at, watch| {
            let wanted = wanted.contains(at);
            if !wanted {
                watch.abort();
            }
            wanted
        });
        for at in wanted {
            running.entry(at.clone()).or_insert_with(|| {
                let (index, queues, secret) = (Arc::clone(index), queues.clone(), at.clone());
                let changed = move || referring(&index, &secret).into_iter().for_each(|object| queues.add(object));
                tokio::spawn(watch_one(client.clone(), at, changed)).abort_handle()
            });
        }
    }
}

async fn watch_one(client: Client, at: NamespacedName, changed: impl FnMut() + Send) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &at.namespace);
    let config = Config::default().fields(&format!("metadata.name={}", at.name));
    let handler = SecretHandler { at: at.clone(), exists: false, changed };
    watch(api, config, Dispatcher::new(handler, Some(&at.namespace)), || {}).await;
}

/// Tells of every change of one Secret, and of its end where a watch that began again no longer shows it.
struct SecretHandler<F> {
    at: NamespacedName,
    exists: bool,
    changed: F,
}

impl<F: FnMut() + Send> EventHandler<PartialObjectMeta<Secret>> for SecretHandler<F> {
    fn apply(&mut self, _item: PartialObjectMeta<Secret>, _listing: bool) {
        self.exists = true;
        (self.changed)();
    }

    fn delete(&mut self, _item: PartialObjectMeta<Secret>) {
        self.exists = false;
        (self.changed)();
    }

    fn listed(&mut self, list: &Listing) {
        if self.exists && list.lacks(&self.at) {
            self.exists = false;
            (self.changed)();
        }
    }
}

fn referring(index: &RwLock<Index>, at: &NamespacedName) -> Vec<ObjectRef> {
    let index = index.read();
    let refers = |object: &Arc<Object>| object.referenced_secrets().contains(at);
    referrers(&index).filter(refers).map(|object| object.at.clone()).collect()
}

/// Objects of the kinds that refer to Secrets by name.
fn referrers(index: &Index) -> impl Iterator<Item = Arc<Object>> {
    let kinds = [Kind::DockerCA, Kind::PortainerClient];
    kinds.into_iter().flat_map(|kind| index.of_kind(kind)).filter_map(|at| index.find(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::runtime::watcher::Event;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_secret_that_went_while_no_watch_ran_has_changed() {
        let at = NamespacedName::new("home", "passphrase");
        let secret = || {
            let metadata = ObjectMeta {
                name: Some(at.name.to_string()),
                namespace: Some(at.namespace.to_string()),
                ..ObjectMeta::default()
            };
            PartialObjectMeta::<Secret> { metadata, ..PartialObjectMeta::default() }
        };
        let count = AtomicUsize::new(0);
        let changed = || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        let mut dispatcher =
            Dispatcher::new(SecretHandler { at: at.clone(), exists: false, changed }, Some(&at.namespace));
        for (event, expected) in [
            (Event::Init, 0),
            (Event::InitDone, 0),
            (Event::Apply(secret()), 1),
            (Event::Init, 0),
            (Event::InitApply(secret()), 1),
            (Event::InitDone, 0),
            (Event::Init, 0),
            (Event::Init, 0),
            (Event::InitDone, 1),
            (Event::Init, 0),
            (Event::InitDone, 0),
            (Event::Apply(secret()), 1),
            (Event::Delete(secret()), 1),
            (Event::Init, 0),
            (Event::InitDone, 0),
        ] {
            let what = format!("{event:?}");
            dispatcher.dispatch(event);
            assert_eq!(count.swap(0, Ordering::SeqCst), expected, "{what}");
        }
    }
}
