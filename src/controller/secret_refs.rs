//! Secrets that DockerCAs and PortainerClients refer to, each watched by its name: nobody else's Secret is ever read.

use super::index::Index;
use super::registration_worker::RegistrationKey;
use super::watch_errors::words;
use super::workqueue::WorkQueue;
use crate::api::{Kind, NamespacedName, Object, ObjectRef};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Whom a Secret wakes.
#[derive(Clone)]
pub struct Queues {
    /// Of walks.
    pub walks: Arc<WorkQueue<ObjectRef>>,
    /// Of looks at Portainer.
    pub registrations: Arc<WorkQueue<RegistrationKey>>,
}

impl Queues {
    fn requeue_at(&self, owner: ObjectRef) {
        match owner.kind {
            Kind::PortainerClient => self.registrations.add((owner, None)),
            _ => self.walks.add(owner),
        }
    }
}

/// The watches that run, by Secret. Dropped, they end.
#[derive(Default)]
pub struct References(Mutex<HashMap<NamespacedName, AbortHandle>>);

impl Drop for References {
    fn drop(&mut self) {
        self.0.lock().values().for_each(AbortHandle::abort);
    }
}

impl References {
    /// Starts and ends watches so that they are those of the Secrets that are referred to now.
    pub fn follow(&self, client: &Client, index: &Arc<RwLock<Index>>, queues: &Queues) {
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
                tokio::spawn(watch(client.clone(), at, Arc::clone(index), queues.clone())).abort_handle()
            });
        }
    }
}

async fn watch(client: Client, at: NamespacedName, index: Arc<RwLock<Index>>, queues: Queues) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &at.namespace);
    let config = Config::default().fields(&format!("metadata.name={}", at.name)).streaming_lists();
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut presence = Presence::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) if presence.is_news(&event) => {
                referring(&index, &at).into_iter().for_each(|owner| queues.requeue_at(owner));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(secret = %at, error = words(&error), "a watch failed and is started again"),
        }
    }
}

/// Whether the Secret is there. A watch that begins anew says nothing of what has gone meanwhile.
#[derive(Default)]
struct Presence {
    there: bool,
    missed: bool,
}

impl Presence {
    fn is_news<K>(&mut self, event: &Event<K>) -> bool {
        match event {
            Event::Init => {
                self.missed |= std::mem::take(&mut self.there);
                false
            }
            Event::InitDone => std::mem::take(&mut self.missed) && !self.there,
            Event::Apply(_) | Event::InitApply(_) => {
                self.there = true;
                true
            }
            Event::Delete(_) => {
                self.there = false;
                true
            }
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

    #[test]
    fn what_went_while_nobody_watched_is_news() {
        let mut presence = Presence::default();
        for (event, expected) in [
            (Event::Init, false),
            (Event::InitDone, false),
            (Event::Apply(()), true),
            (Event::Init, false),
            (Event::InitApply(()), true),
            (Event::InitDone, false),
            (Event::Init, false),
            (Event::Init, false),
            (Event::InitDone, true),
            (Event::Init, false),
            (Event::InitDone, false),
            (Event::Apply(()), true),
            (Event::Delete(()), true),
            (Event::Init, false),
            (Event::InitDone, false),
        ] {
            assert_eq!(presence.is_news(&event), expected, "{event:?}");
        }
    }
}
