//! Portainer's workers: looks at servers and visits for hosts from a queue of their own, so that no server that hangs
//! keeps a certificate waiting.

use super::worker::ControllerState;
use crate::api::{Kind, Object, ObjectRef};
use crate::decide::deletion::FINALIZER_TIMEOUT;
use crate::decide::registration::RegistrationStatus;
use crate::decide::registration::backoff::INTERVAL;
use crate::decide::registration::conflict::Claim;
use crate::pki::lifecycle::saturating;
use crate::reconcile::registration::{HostSync, SyncOutcome};
use futures::FutureExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A PortainerClient, and a host to be visited; without one, its server is looked at.
pub type RegistrationKey = (ObjectRef, Option<ObjectRef>);

/// Counts of a PortainerClient are published no more often than that.
const COUNTING: Duration = Duration::from_secs(1);
/// A look that a visit asks for comes no sooner.
const MIN_REFRESH_DELAY: Duration = Duration::from_millis(500);

/// Objects that are gone and have still to be parted from Portainer, since no finalizer kept them.
#[derive(Default)]
pub struct Tombstones(Mutex<HashMap<ObjectRef, Arc<Object>>>);

impl Tombstones {
    fn find(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        self.0.lock().get(at).cloned()
    }

    /// It is there again.
    pub fn cancel(&self, at: &ObjectRef) {
        self.0.lock().remove(at);
    }

    fn of_kind(&self, kind: Kind, namespace: &str) -> Vec<Arc<Object>> {
        let gone = self.0.lock();
        gone.values().filter(|object| object.at.kind == kind && *object.at.namespace == *namespace).cloned().collect()
    }

    fn put(&self, object: Arc<Object>) {
        self.0.lock().insert(object.at.clone(), object);
    }
}

impl ControllerState {
    /// How far the registration of an object is.
    pub(super) fn registration(&self, object: &Object) -> RegistrationStatus {
        let index = self.index.read();
        match object.at.kind {
            Kind::DockerHostCert => {
                let selecting = index.clients_of(object);
                let selected = |client: &Arc<Object>| selecting.iter().any(|known| known.at == client.at);
                let others: Vec<_> =
                    index.clients_about(object).into_iter().filter(|client| !selected(client)).collect();
                drop(index);
                self.registrations.reports().of_host(object, &selecting, &others)
            }
            Kind::PortainerClient => {
                let hosts =
                    if object.deleted.is_some() { index.hosts_about(object) } else { index.hosts_of_client(object) };
                drop(index);
                self.registrations.reports().of_client(object, &hosts)
            }
            _ => RegistrationStatus::default(),
        }
    }

    /// An object was walked: what that means for Portainer.
    pub(super) fn follow_registration(&self, object: &Object) {
        match object.at.kind {
            Kind::PortainerClient if self.registrations.needs_refresh(object) => {
                self.registration_queue.add((object.at.clone(), None));
            }
            Kind::DockerHostCert => {
                let clients = self.index.read().clients_about(object);
                clients.into_iter().for_each(|client| self.visit(&client.at, &object.at));
            }
            _ => {}
        }
    }

    /// An object is gone.
    pub(super) fn part_from(&self, object: &Arc<Object>) {
        let pairs = self.left_of(object);
        if pairs.is_empty() {
            return self.registrations.forget(&object.at);
        }
        self.farewells.put(Arc::new(Object { deleted: Some(self.ctx.clock.now()), ..Object::clone(object) }));
        pairs.iter().for_each(|(client, host)| self.visit(&client.at, &host.at));
    }

    /// Lets go of an object that is gone, once nothing of it is left in Portainer, or for too long.
    fn end_farewell(&self, visit: &HostSync) {
        for object in [&visit.host, &visit.client] {
            let Some(gone) = self.farewells.find(&object.at) else { continue };
            let late = gone.deleted.is_some_and(|gone| self.ctx.clock.now() >= saturating(gone, FINALIZER_TIMEOUT));
            if late || self.left_of(object).is_empty() {
                self.farewells.cancel(&object.at);
                self.registrations.forget(&object.at);
            }
        }
    }

    /// The PortainerClients and hosts of which an object is one, where something of ours is still in Portainer.
    fn left_of(&self, object: &Arc<Object>) -> Vec<(Arc<Object>, Arc<Object>)> {
        let index = self.index.read();
        let mut pairs: Vec<(Arc<Object>, Arc<Object>)> = match object.at.kind {
            Kind::DockerHostCert => {
                let gone = self.farewells.of_kind(Kind::PortainerClient, &object.at.namespace);
                let clients = index.clients_about(object).into_iter().chain(gone);
                clients.map(|client| (client, Arc::clone(object))).collect()
            }
            Kind::PortainerClient => {
                index.hosts_about(object).into_iter().map(|host| (Arc::clone(object), host)).collect()
            }
            _ => Vec::new(),
        };
        drop(index);
        let registrations = &self.registrations;
        pairs.retain(|(client, host)| {
            registrations.reports().report(client, host).id.is_some()
                && !registrations.reports().is_deregistered(client, host)
        });
        pairs
    }

    fn visit(&self, client: &ObjectRef, host: &ObjectRef) {
        self.registration_queue.add((client.clone(), Some(host.clone())));
    }

    fn find(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        let found = self.index.read().find(at);
        found.or_else(|| self.farewells.find(at))
    }

    /// Who would register a host, the oldest first.
    pub(super) fn claims(&self, host: &Object) -> (Vec<Claim>, Vec<ObjectRef>) {
        let clients = self.index.read().clients_of(host);
        let claims = clients.iter().map(|client| self.registrations.reports().claim(client, host)).collect();
        (claims, clients.iter().map(|client| client.at.clone()).collect())
    }
}

/// Runs whatever is next; each server has places of its own.
pub async fn workers(cluster: Arc<ControllerState>) {
    let mut errands = JoinSet::new();
    loop {
        let errand = cluster.registration_queue.next().await;
        errands.spawn(guarded(Arc::clone(&cluster), errand));
        while errands.try_join_next().is_some() {}
    }
}

async fn guarded(cluster: Arc<ControllerState>, errand: RegistrationKey) {
    let done = AssertUnwindSafe(one(&cluster, &errand)).catch_unwind().await;
    let came = done.unwrap_or_else(|_| {
        tracing::error!(client = %errand.0, "registering panicked, which is a fault of Dockseal: please report it");
        SyncOutcome { requeue_at: Some(saturating(cluster.ctx.clock.now(), INTERVAL)), ..SyncOutcome::default() }
    });
    cluster.registration_queue.done(&errand, came.requeue_at, || true);
}

async fn one(cluster: &Arc<ControllerState>, (client, host): &RegistrationKey) -> SyncOutcome {
    let Some(client) = cluster.find(client) else { return SyncOutcome::default() };
    match host {
        None => look(cluster, &client).await,
        Some(host) => match cluster.find(host) {
            Some(host) => visit(cluster, client, host).await,
            None => SyncOutcome::default(),
        },
    }
}

async fn look(cluster: &Arc<ControllerState>, client: &Object) -> SyncOutcome {
    if !client.has_server() {
        visit_all(cluster, client, false);
        return SyncOutcome::default();
    }
    let came = cluster.registrations.refresh(&cluster.ctx, client).await;
    if came.changed {
        match cluster.registrations.last_refresh(&client.at) {
            Some(Err(fault)) => {
                tracing::warn!(client = %client.at, reason = fault.reason.as_str(), "{}", fault.message)
            }
            _ => tracing::info!(client = %client.at, "Portainer answers"),
        }
        cluster.queue.add(client.at.clone());
    }
    visit_all(cluster, client, came.changed);
    came
}

/// Visits every host of a PortainerClient, those that are gone too; with news they are walked as well.
fn visit_all(cluster: &ControllerState, client: &Object, news: bool) {
    let hosts = cluster.index.read().hosts_about(client);
    let gone = cluster.farewells.of_kind(Kind::DockerHostCert, &client.at.namespace);
    for host in hosts.into_iter().chain(gone) {
        if news {
            cluster.queue.add(host.at.clone());
        }
        cluster.visit(&client.at, &host.at);
    }
}

async fn visit(cluster: &Arc<ControllerState>, client: Arc<Object>, host: Arc<Object>) -> SyncOutcome {
    let (claims, selecting) = cluster.claims(&host);
    let selected = selecting.contains(&client.at);
    let (client_at, host_at) = (client.at.clone(), host.at.clone());
    let lent = cluster.accounts.is_lent(&host.at, &client.at.name);
    let deliverer = cluster.deliverer(&host);
    let visit = HostSync { deliverer, client, host, claims, selected, delegated: lent };
    let came = cluster.registrations.sync_host(&cluster.ctx, &visit).await;
    if came.changed {
        let report = cluster.registrations.reports().report(&visit.client, &visit.host);
        tracing::info!(object = %host_at, client = %client_at, reason = report.reason, "{}", report.message);
        cluster.queue.add(host_at);
        count_later(cluster, client_at.clone());
    }
    cluster.end_farewell(&visit);
    if came.refresh {
        let cluster = Arc::downgrade(cluster);
        tokio::spawn(async move {
            tokio::time::sleep(MIN_REFRESH_DELAY).await;
            cluster.upgrade().iter().for_each(|cluster| cluster.registration_queue.add((client_at.clone(), None)));
        });
    }
    came
}

/// Publishes the counts of a PortainerClient, once for many hosts.
fn count_later(cluster: &Arc<ControllerState>, client: ObjectRef) {
    if !cluster.counting.lock().insert(client.clone()) {
        return;
    }
    let cluster = Arc::downgrade(cluster);
    tokio::spawn(async move {
        tokio::time::sleep(COUNTING).await;
        if let Some(cluster) = cluster.upgrade() {
            cluster.counting.lock().remove(&client);
            cluster.queue.add(client);
        }
    });
}
