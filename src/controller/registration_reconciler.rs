//! Reconciles what stands in Portainer: a PortainerClient whose server is to be listed, or one of its hosts, comes in,
//! and what follows from the result is queued. No Portainer that hangs keeps a certificate waiting: the queue is its own.

use super::state::ControllerState;
use super::worker::QueueReconciler;
use super::workqueue::{RegistrationKey, WorkQueue};
use crate::adapters::StoreError;
use crate::api::{Object, ObjectRef};
use crate::decide::delays::{COUNT_DELAY, PORTAINER_BACKOFF, REFRESH_DELAY};
use crate::reconcile::Permit;
use crate::reconcile::registration::{HostSync, SyncOutcome};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

pub struct RegistrationReconciler {
    state: Arc<ControllerState>,
    /// The PortainerClients whose counts are about to be published.
    counting: Arc<Mutex<HashSet<ObjectRef>>>,
}

impl RegistrationReconciler {
    pub fn new(state: Arc<ControllerState>) -> RegistrationReconciler {
        RegistrationReconciler { state, counting: Arc::default() }
    }
}

impl QueueReconciler for RegistrationReconciler {
    type Key = RegistrationKey;
    /// Each server has a limit of its own; a server that hangs holds these for minutes.
    const MAX_CONCURRENT: usize = 128;
    const PANIC_DELAY: Duration = PORTAINER_BACKOFF.longest();

    fn queue(&self) -> &WorkQueue<RegistrationKey> {
        &self.state.registration_queue
    }

    async fn reconcile(&self, key: &RegistrationKey, _permit: Permit) -> Result<(), StoreError> {
        let client = self.state.find(&key.client);
        let outcome = match (client, &key.host) {
            (Some(client), None) => self.refresh(&client).await,
            (Some(client), Some(host)) => match self.state.find(host) {
                Some(host) => self.sync(client, host).await,
                None => SyncOutcome::default(),
            },
            (None, _) => SyncOutcome::default(),
        };
        self.queue().done(key, outcome.requeue_at, || true);
        Ok(())
    }
}

impl RegistrationReconciler {
    /// Lists a server.
    async fn refresh(&self, client: &Object) -> SyncOutcome {
        let state = &self.state;
        if !client.has_server() {
            state.enqueue_hosts(client, false);
            return SyncOutcome::default();
        }
        let outcome = state.registrations.refresh(&state.ctx, client).await;
        if outcome.changed {
            match state.registrations.last_refresh(&client.at) {
                Some(Err(problem)) => {
                    tracing::warn!(client = %client.at, reason = problem.reason.as_str(), "{}", problem.message)
                }
                _ => tracing::info!(client = %client.at, "Portainer answers"),
            }
            state.queue.add(client.at.clone());
        }
        state.enqueue_hosts(client, outcome.changed);
        outcome
    }

    /// Registers a host, or removes its registration.
    async fn sync(&self, client: Arc<Object>, host: Arc<Object>) -> SyncOutcome {
        let state = &self.state;
        let (claims, selecting) = state.claims(&host);
        let selected = selecting.contains(&client.at);
        let delegated = state.accounts.is_lent(&host.at, &client.at.name);
        let deliverer = state.deliverer(&host);
        let sync = HostSync { deliverer, client, host, claims, selected, delegated };
        let outcome = state.registrations.sync_host(&state.ctx, &sync).await;
        let (client, host) = (&sync.client.at, &sync.host.at);
        if outcome.changed {
            let report = state.registrations.reports().report(&sync.client, &sync.host);
            tracing::info!(object = %host, %client, reason = report.reason, "{}", report.message);
            state.queue.add(host.clone());
            self.count_later(client.clone());
        }
        state.cancel_tombstone(host);
        state.cancel_tombstone(client);
        if outcome.refresh {
            self.refresh_later(client.clone());
        }
        outcome
    }

    /// Has the counts of a PortainerClient published, once for many hosts.
    fn count_later(&self, client: ObjectRef) {
        if !self.counting.lock().insert(client.clone()) {
            return;
        }
        let (state, counting) = (Arc::downgrade(&self.state), Arc::clone(&self.counting));
        tokio::spawn(async move {
            tokio::time::sleep(COUNT_DELAY).await;
            counting.lock().remove(&client);
            state.upgrade().iter().for_each(|state| state.queue.add(client.clone()));
        });
    }

    fn refresh_later(&self, client: ObjectRef) {
        let state = Arc::downgrade(&self.state);
        tokio::spawn(async move {
            tokio::time::sleep(REFRESH_DELAY).await;
            let key = RegistrationKey::server(client);
            state.upgrade().iter().for_each(|state| state.registration_queue.add(key.clone()));
        });
    }
}
