//! The watches of the API server, for every kind alike: events come in, calls of a handler go out. It streams, without
//! periodic lists.

use super::watch_errors::message;
use crate::adapters::kube::store::place;
use crate::api::NamespacedName;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
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

/// What is done with the events of a watch.
pub trait EventHandler<K>: Send {
    /// An item is there, or changed; `listing` while the list of all is not complete.
    fn apply(&mut self, item: K, listing: bool);
    fn delete(&mut self, item: K);
    /// The list is complete: what it lacks is gone.
    fn listed(&mut self, list: &Listing);
}

/// What a watch has shown since it began, or began again.
#[derive(Debug, Default)]
pub struct Listing {
    /// The namespace that is watched; none: all.
    namespace: Option<String>,
    names: HashSet<NamespacedName>,
}

impl Listing {
    /// Whether the watch would have shown that item, if it were there.
    pub fn lacks(&self, at: &NamespacedName) -> bool {
        let watched = self.namespace.as_deref().is_none_or(|namespace| namespace == &*at.namespace);
        watched && !self.names.contains(at)
    }
}

/// A handler, and the list that is not complete yet.
pub struct Dispatcher<H> {
    pub handler: H,
    namespace: Option<String>,
    listing: Option<Listing>,
}

impl<H> Dispatcher<H> {
    pub fn new(handler: H, namespace: Option<&str>) -> Dispatcher<H> {
        Dispatcher { handler, namespace: namespace.map(str::to_owned), listing: None }
    }

    /// Handles an event; true where it completes a list.
    pub fn dispatch<K>(&mut self, event: Event<K>) -> bool
    where
        H: EventHandler<K>,
        K: Resource,
    {
        match event {
            Event::Init => {
                self.listing = Some(Listing { namespace: self.namespace.clone(), names: HashSet::new() });
            }
            Event::Apply(item) | Event::InitApply(item) => {
                if let Some(listing) = &mut self.listing {
                    listing.names.extend(place(item.meta()));
                }
                self.handler.apply(item, self.listing.is_some());
            }
            Event::Delete(item) => self.handler.delete(item),
            Event::InitDone => {
                self.listing.take().iter().for_each(|listing| self.handler.listed(listing));
                return true;
            }
        }
        false
    }
}

/// Counts the watches that have not shown everything yet.
#[derive(Default)]
pub struct InitialSync {
    missing: AtomicUsize,
    changed: Notify,
}

impl InitialSync {
    /// Waits until every watch that was started has shown what there is.
    pub async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            if self.missing.load(Ordering::SeqCst) == 0 {
                return;
            }
            changed.await;
        }
    }

    fn arrived(&self) {
        self.missing.fetch_sub(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }
}

/// Starts watches.
pub struct Informers<'a> {
    pub client: &'a Client,
    pub tasks: &'a mut JoinSet<()>,
    pub synced: Arc<InitialSync>,
}

impl Informers<'_> {
    /// Watches a namespace, or all of them.
    pub fn start<K>(&mut self, namespace: Option<&str>, config: Config, handler: impl EventHandler<K> + 'static)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let api = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        self.synced.missing.fetch_add(1, Ordering::SeqCst);
        let (dispatcher, mut synced) = (Dispatcher::new(handler, namespace), Some(Arc::clone(&self.synced)));
        self.tasks
            .spawn(watch(api, config, dispatcher, move || synced.take().iter().for_each(|synced| synced.arrived())));
    }
}

/// Watches for ever; calls `listed` whenever a list is complete.
pub async fn watch<K, H: EventHandler<K>>(
    api: Api<K>,
    config: Config,
    mut dispatcher: Dispatcher<H>,
    mut listed: impl FnMut() + Send,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let url = api.resource_url().to_owned();
    let selector = config.field_selector.clone().unwrap_or_default();
    let mut stream = watcher(api, config.streaming_lists()).default_backoff().boxed();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if dispatcher.dispatch(event) {
                    listed();
                }
            }
            Err(error) => tracing::warn!(url, selector, error = message(&error), "a watch failed and is started again"),
        }
    }
}
