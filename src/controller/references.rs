//! Secrets that DockerCAs refer to, each watched by its name: nobody else's Secret is ever read.

use super::work::Cluster;
use crate::api::{Kind, ObjectRef, Place};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use tokio::task::AbortHandle;

const UNPOISONED: &str = "nothing panics while it holds this lock";

/// The watches that run, by Secret. Dropped, they end.
#[derive(Default)]
pub struct References(Mutex<HashMap<Place, AbortHandle>>);

impl Drop for References {
    fn drop(&mut self) {
        self.0.lock().expect(UNPOISONED).values().for_each(AbortHandle::abort);
    }
}

/// Starts and ends watches so that they are those of the Secrets referred to now.
pub fn follow(client: &Client, cluster: &Arc<Cluster>) {
    let wanted: HashSet<Place> = {
        let index = cluster.index.read().expect(UNPOISONED);
        let authorities = index.of_kind(Kind::DockerCA).filter_map(|at| index.find(at));
        authorities.flat_map(|object| object.referenced_secrets()).collect()
    };
    let mut running = cluster.references.0.lock().expect(UNPOISONED);
    running.retain(|at, watch| {
        wanted.contains(at) || {
            watch.abort();
            false
        }
    });
    for at in wanted {
        running
            .entry(at.clone())
            .or_insert_with(|| tokio::spawn(watch(client.clone(), at, Arc::downgrade(cluster))).abort_handle());
    }
}

/// The term of office may end while a watch runs, so it holds the cluster only while it works.
async fn watch(client: Client, at: Place, cluster: Weak<Cluster>) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &at.namespace);
    let config = Config::default().fields(&format!("metadata.name={}", at.name)).streaming_lists();
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut presence = Presence::default();
    while let Some(event) = stream.next().await {
        let Some(cluster) = cluster.upgrade() else { return };
        match event {
            Ok(event) if presence.is_news(&event) => {
                referring(&cluster, &at).into_iter().for_each(|owner| cluster.queue.add(owner));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(secret = %at, %error, "a watch failed and is started again"),
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

fn referring(cluster: &Cluster, at: &Place) -> Vec<ObjectRef> {
    let index = cluster.index.read().expect(UNPOISONED);
    let refers = |owner: &&ObjectRef| index.find(owner).is_some_and(|object| object.referenced_secrets().contains(at));
    index.of_kind(Kind::DockerCA).filter(refers).cloned().collect()
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
