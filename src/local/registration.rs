//! Registration without a cluster: after the walks, each Portainer of the files is looked at and its hosts are visited.

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

/// A look may be followed by another one and its visits so often in a round.
const TURNS: u32 = 3;
/// A round does not wait for visits when none has ended for so long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The hosts and PortainerClients of the files, in their order.
pub struct Inventory {
    clients: Vec<Arc<Object>>,
    hosts: Vec<Arc<Object>>,
}

impl Inventory {
    /// Of those objects.
    pub fn of(objects: &[LoadedObject]) -> Inventory {
        let of_kind = |kind| {
            let found = objects.iter().filter(move |found| found.object.at.kind == kind);
            found.map(|found| Arc::new(found.object.clone())).collect()
        };
        Inventory { clients: of_kind(Kind::PortainerClient), hosts: of_kind(Kind::DockerHostCert) }
    }

    /// How far the registration of an object is.
    pub fn registration(&self, registrations: &Registrations, object: &Object) -> RegistrationStatus {
        match object.at.kind {
            Kind::DockerHostCert => {
                let beside = self.clients.iter().filter(|client| client.at.namespace == object.at.namespace);
                let (selecting, others): (Vec<_>, Vec<_>) = beside.cloned().partition(|client| selects(client, object));
                registrations.of_host(object, &selecting, &others)
            }
            Kind::PortainerClient => {
                let hosts: Vec<_> = self.hosts.iter().filter(|host| selects(object, host)).cloned().collect();
                registrations.of_client(object, &hosts)
            }
            _ => RegistrationStatus::default(),
        }
    }

    fn visits(&self, registrations: &Registrations, client: &Arc<Object>) -> Vec<HostSync> {
        let about = |host: &&Arc<Object>| {
            selects(client, host) || (host.at.namespace == client.at.namespace && names(host, client))
        };
        let visit = |host: &Arc<Object>| HostSync {
            client: Arc::clone(client),
            host: Arc::clone(host),
            deliverer: if host.delivery().is_some() { Deliverer::Here } else { Deliverer::Nobody },
            claims: self.claims(registrations, host),
            selected: selects(client, host),
            lent: false,
        };
        self.hosts.iter().filter(about).map(visit).collect()
    }

    fn claims(&self, registrations: &Registrations, host: &Object) -> Vec<Claim> {
        let selecting = self.clients.iter().filter(|client| selects(client, host));
        selecting.map(|client| Claim { created: None, ..registrations.claim(client, host) }).collect()
    }
}

/// Visits that are under way. One that waits for a host that says nothing takes minutes; nobody waits for it.
#[derive(Default)]
pub struct PendingSyncs {
    all: JoinSet<(At, SyncOutcome)>,
    ended: Vec<(At, SyncOutcome)>,
    under_way: HashSet<At>,
}

/// A PortainerClient, and a host of its.
type At = (ObjectRef, ObjectRef);

impl PendingSyncs {
    /// Begins one, unless that host is being visited.
    fn begin(&mut self, ctx: &Arc<Context<DiskStore>>, registrations: &Arc<Registrations>, visit: HostSync) {
        let at = (visit.client.at.clone(), visit.host.at.clone());
        if !self.under_way.insert(at.clone()) {
            return;
        }
        let (ctx, registrations) = (Arc::clone(ctx), Arc::clone(registrations));
        self.all.spawn(async move { (at, registrations.visit(&ctx, &visit).await) });
    }

    /// The next that has ended; none where none is under way.
    async fn next(&mut self) -> Option<(At, SyncOutcome)> {
        let next = match self.ended.pop() {
            Some(ended) => ended,
            None => self.all.join_next().await?.expect("a visit does not panic"),
        };
        self.under_way.remove(&next.0);
        Some(next)
    }

    /// Waits until one has ended.
    pub async fn wait(&mut self) {
        match self.all.join_next().await {
            Some(ended) => self.ended.push(ended.expect("a visit does not panic")),
            None => std::future::pending().await,
        }
    }
}

impl PendingSyncs {
    /// Looks at every Portainer that is due, and visits its hosts. True where a status says something else now.
    pub async fn register(&mut self, state: &LocalState, result: &mut RunResult) -> bool {
        let everything = Inventory::of(&state.objects);
        let mut news = false;
        for client in everything.clients.iter().filter(|client| client.has_server()) {
            for turn in 1..=TURNS {
                news |= look(state, client).await;
                let came = self.visit_all(state, &client.at, everything.visits(&state.registrations, client)).await;
                news |= came.news;
                result.requeue_by(came.requeue_at);
                if !came.look {
                    break;
                }
                // At once; later where Portainer answers each look, and fails after it.
                let now = state.ctx.clock.now();
                let wait = if turn < TURNS { SignedDuration::ZERO } else { retry_delay(Reason::PortainerFailed, turn) };
                state.registrations.look_again(&client.at, Some(saturating(now, wait)));
            }
            result.requeue_by(state.registrations.next_look(&client.at));
        }
        news
    }

    /// Visits those hosts, until all visits have ended or those that have not say nothing for a while.
    async fn visit_all(&mut self, state: &LocalState, client: &ObjectRef, visits: Vec<HostSync>) -> SyncOutcome {
        for visit in visits {
            self.begin(&state.ctx, &state.registrations, visit);
        }
        let mut whole = SyncOutcome::default();
        while let Ok(Some(((of, _), came))) = timeout(IDLE_TIMEOUT, self.next()).await {
            whole.news |= came.news;
            whole.requeue_at = [whole.requeue_at, came.requeue_at].into_iter().flatten().min();
            whole.look |= came.look && of == *client;
            if came.look && of != *client {
                state.registrations.look_again(&of, None);
            }
        }
        whole
    }

    /// Whether a visit is under way, or has ended after its run.
    pub fn is_syncing(&self) -> bool {
        !self.under_way.is_empty()
    }
}

async fn look(state: &LocalState, client: &Object) -> bool {
    if !state.registrations.is_look_due(client, state.ctx.clock.now()) {
        return false;
    }
    state.table.lock().draw();
    state.registrations.look(&state.ctx, client).await.news
}
