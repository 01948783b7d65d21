//! Secrets that DockerCAs refer to, each watched by its name: nobody else's Secret is ever read.

use super::index::Index;
use super::queue::Queue;
use super::watch_faults::words;
use crate::api::{Kind, ObjectRef, Place};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, RwLock};
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

impl References {
    /// Starts and ends watches so that they are those of the Secrets that DockerCAs refer to now.
    pub fn follow(&self, client: &Client, index: &Arc<RwLock<Index>>, queue: &Arc<Queue<ObjectRef>>) {
        let wanted: HashSet<Place> = {
            let index = index.read().expect(UNPOISONED);
            let authorities = index.of_kind(Kind::DockerCA).filter_map(|at| index.find(at));
            authorities.flat_map(|object| object.referenced_secrets()).collect()
        };
        let mut running = self.0.lock().expect(UNPOISONED);
        running.retain(|at, watch| {
            let wanted = wanted.contains(at);
            if !wanted {
                watch.abort();
            }
            wanted
        });
        for at in wanted {
            running.entry(at.clone()).or_insert_with(|| {
                tokio::spawn(watch(client.clone(), at, Arc::clone(index), Arc::clone(queue))).abort_handle()
            });
        }
    }
}

async fn watch(client: Client, at: Place, index: Arc<RwLock<Index>>, queue: Arc<Queue<ObjectRef>>) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &at.namespace);
    let config = Config::default().fields(&format!("metadata.name={}", at.name)).streaming_lists();
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut presence = Presence::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) if presence.is_news(&event) => {
                referring(&index, &at).into_iter().for_each(|owner| queue.add(owner));
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

fn referring(index: &RwLock<Index>, at: &Place) -> Vec<ObjectRef> {
    let index = index.read().expect(UNPOISONED);
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
