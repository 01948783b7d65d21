//! Registration without a cluster: PortainerClients and hosts from files in, synced environments and reports out. Each
//! run refreshes the Portainers that are due and syncs their hosts.

use super::manifests::LoadedObject;
use super::state::{LocalState, RunResult};
use crate::adapters::DiskStore;
use crate::api::condition::Reason;
use crate::api::{Kind, Object, ObjectRef};
use crate::decide::delivery::Deliverer;
use crate::decide::registration::RegistrationStatus;
use crate::decide::registration::backoff::retry_delay;
use crate::decide::registration::conflict::Claim;
use crate::decide::registration::selection::{names, selects};
use crate::pki::lifecycle::saturating;
use crate::reconcile::Context;
use crate::reconcile::registration::{HostSync, Registrations, SyncOutcome};
use k8s_openapi::jiff::SignedDuration;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How often a round refreshes one Portainer and syncs its hosts.
const MAX_TURNS: u32 = 3;
/// A round stops waiting for syncs when none has ended for so long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The hosts and PortainerClients of the files, in their order.
pub struct Inventory {
    clients: Vec<Arc<Object>>,
    hosts: Vec<Arc<Object>>,
}

impl Inventory {
    pub fn of(objects: &[LoadedObject]) -> Inventory {
        let of_kind = |kind| {
            let found = objects.iter().filter(move |found| found.object.at.kind == kind);
            found.map(|found| Arc::new(found.object.clone())).collect()
        };
        Inventory { clients: of_kind(Kind::PortainerClient), hosts: of_kind(Kind::DockerHostCert) }
    }

    /// What an object's status says of its registration.
    pub fn registration(&self, registrations: &Registrations, object: &Object) -> RegistrationStatus {
        match object.at.kind {
            Kind::DockerHostCert => {
                let beside = self.clients.iter().filter(|client| client.at.namespace == object.at.namespace);
                let (selecting, others): (Vec<_>, Vec<_>) = beside.cloned().partition(|client| selects(client, object));
                registrations.reports().of_host(object, &selecting, &others)
            }
            Kind::PortainerClient => {
                let hosts: Vec<_> = self.hosts.iter().filter(|host| selects(object, host)).cloned().collect();
                registrations.reports().of_client(object, &hosts)
            }
            _ => RegistrationStatus::default(),
        }
    }

    fn syncs(&self, registrations: &Registrations, client: &Arc<Object>) -> Vec<HostSync> {
        let is_related = |host: &&Arc<Object>| {
            selects(client, host) || (host.at.namespace == client.at.namespace && names(host, client))
        };
        let sync = |host: &Arc<Object>| HostSync {
            client: Arc::clone(client),
            host: Arc::clone(host),
            deliverer: if host.delivery().is_some() { Deliverer::Here } else { Deliverer::Nobody },
            claims: self.claims(registrations, host),
            selected: selects(client, host),
            delegated: false,
        };
        self.hosts.iter().filter(is_related).map(sync).collect()
    }

    fn claims(&self, registrations: &Registrations, host: &Object) -> Vec<Claim> {
        let selecting = self.clients.iter().filter(|client| selects(client, host));
        selecting.map(|client| Claim { created: None, ..registrations.reports().claim(client, host) }).collect()
    }
}

/// Syncs that run. One that waits for a host that does not answer takes minutes; no round waits for it.
#[derive(Default)]
pub struct PendingSyncs {
    tasks: JoinSet<(SyncKey, SyncOutcome)>,
    ended: Vec<(SyncKey, SyncOutcome)>,
    pending: HashSet<SyncKey>,
}

/// A PortainerClient and one of its hosts.
type SyncKey = (ObjectRef, ObjectRef);

impl PendingSyncs {
    /// Begins a sync, unless one of that host runs.
    fn begin(&mut self, ctx: &Arc<Context<DiskStore>>, registrations: &Arc<Registrations>, sync: HostSync) {
        let key = (sync.client.at.clone(), sync.host.at.clone());
        if !self.pending.insert(key.clone()) {
            return;
        }
        let (ctx, registrations) = (Arc::clone(ctx), Arc::clone(registrations));
        self.tasks.spawn(async move { (key, registrations.sync_host(&ctx, &sync).await) });
    }

    /// The next sync that has ended; `None` if none runs.
    async fn next(&mut self) -> Option<(SyncKey, SyncOutcome)> {
        let next = match self.ended.pop() {
            Some(ended) => ended,
            None => self.tasks.join_next().await?.expect("a sync does not panic"),
        };
        self.pending.remove(&next.0);
        Some(next)
    }

    /// Waits until a sync has ended.
    pub async fn wait(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => self.ended.push(ended.expect("a sync does not panic")),
            None => std::future::pending().await,
        }
    }
}

impl PendingSyncs {
    /// Refreshes every Portainer that is due, and syncs its hosts. True if a status has to be published again.
    pub async fn register(&mut self, state: &LocalState, result: &mut RunResult) -> bool {
        let inventory = Inventory::of(&state.objects);
        let mut changed = false;
        for client in inventory.clients.iter().filter(|client| client.has_server()) {
            for turn in 1..=MAX_TURNS {
                changed |= refresh(state, client).await;
                let outcome = self.sync_all(state, &client.at, inventory.syncs(&state.registrations, client)).await;
                changed |= outcome.changed;
                result.requeue_by(outcome.requeue_at);
                if !outcome.refresh {
                    break;
                }
                // At once, but later if Portainer answers each refresh and fails after it.
                let now = state.ctx.clock.now();
                let wait =
                    if turn < MAX_TURNS { SignedDuration::ZERO } else { retry_delay(Reason::PortainerFailed, turn) };
                state.registrations.schedule_refresh(&client.at, Some(saturating(now, wait)));
            }
            result.requeue_by(state.registrations.next_refresh(&client.at));
        }
        changed
    }

    /// Syncs those hosts; waits until all syncs have ended, or none has for a while.
    async fn sync_all(&mut self, state: &LocalState, client: &ObjectRef, syncs: Vec<HostSync>) -> SyncOutcome {
        for sync in syncs {
            self.begin(&state.ctx, &state.registrations, sync);
        }
        let mut all = SyncOutcome::default();
        while let Ok(Some(((of, _), outcome))) = timeout(IDLE_TIMEOUT, self.next()).await {
            all.changed |= outcome.changed;
            all.requeue_at = [all.requeue_at, outcome.requeue_at].into_iter().flatten().min();
            all.refresh |= outcome.refresh && of == *client;
            if outcome.refresh && of != *client {
                state.registrations.schedule_refresh(&of, None);
            }
        }
        all
    }

    /// A sync runs, or has ended after its run: the statuses do not show its result yet.
    pub fn is_syncing(&self) -> bool {
        !self.pending.is_empty()
    }
}

async fn refresh(state: &LocalState, client: &Object) -> bool {
    if !state.registrations.is_refresh_due(client, state.ctx.clock.now()) {
        return false;
    }
    state.table.lock().draw();
    state.registrations.refresh(&state.ctx, client).await.changed
}
