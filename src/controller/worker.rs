//! The workers: an object from the queue, a walk, and what follows from it.

use super::index::{Affected, Index};
use super::metrics::Metrics;
use super::registration_worker::{RegistrationKey, Tombstones};
use super::secret_refs::References;
use super::workqueue::WorkQueue;
use crate::adapters::kube::store::KubeStore;
use crate::adapters::{Clock, Store, StoreError};
use crate::api::{Kind, Object, ObjectRef};
use crate::decide::delivery::{Allowlist, Deliverer};
use crate::reconcile::accounts::Accounts;
use crate::reconcile::registration::Registrations;
use crate::reconcile::{self, Context, Permit, Reconciled, RelatedState};
use futures::FutureExt;
use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Walks at the same time, those that wait for a slow key left out.
const MAX_CONCURRENT: usize = 32;
/// A server that wants to be left alone for longer than that is asked again all the same.
pub(super) const MAX_RETRY_DELAY_ONCE_REPORTED: Duration = Duration::from_mins(5);
/// Failures in a row that are nobody's business but the log's.
pub(super) const UNTOLD_FAILURES: u32 = 2;

/// Everything that one term of office knows.
pub struct ControllerState {
    /// The rooms.
    pub ctx: Context<KubeStore>,
    /// All objects.
    pub index: Arc<RwLock<Index>>,
    /// Who is next.
    pub queue: Arc<WorkQueue<ObjectRef>>,
    /// The accounts of companions.
    pub accounts: Accounts,
    /// Which of them is next.
    pub account_queue: WorkQueue<String>,
    /// What is known of Portainers.
    pub registrations: Arc<Registrations>,
    /// Which of them, or of their hosts, is next.
    pub registration_queue: Arc<WorkQueue<RegistrationKey>>,
    pub(super) farewells: Tombstones,
    pub(super) counting: Mutex<HashSet<ObjectRef>>,
    /// Secrets watched by name.
    pub references: References,
    pub(super) metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
}

impl ControllerState {
    /// An empty cluster over that store, whose companions are told of what that listing lets through.
    pub fn new(store: KubeStore, clock: Clock, metrics: Arc<Metrics>, allowlist: Allowlist) -> ControllerState {
        ControllerState {
            ctx: Context::new(store, clock),
            index: Arc::default(),
            queue: Arc::default(),
            registrations: Arc::new(Registrations::new(allowlist.portainer)),
            accounts: Accounts::new(allowlist),
            account_queue: WorkQueue::default(),
            registration_queue: Arc::default(),
            farewells: Tombstones::default(),
            counting: Mutex::default(),
            references: References::default(),
            metrics,
            places: Arc::new(Semaphore::new(MAX_CONCURRENT)),
        }
    }

    /// Takes an object from a watch.
    pub fn put(&self, object: Object) {
        self.farewells.cancel(&object.at);
        let mut index = self.index.write();
        let before = index.find(&object.at).and_then(|before| before.account());
        let left = before.filter(|before| Some(before) != object.account().as_ref());
        let touched = index.put(object);
        drop(index);
        left.into_iter().for_each(|account| self.account_queue.add(account)); // the new one follows the object's walk
        match touched {
            Affected::Nobody => {}
            Affected::Status(at) => self.queue.add_unless_own_write(at),
            Affected::All(touched) => touched.into_iter().for_each(|at| self.queue.add(at)),
        }
    }

    /// Takes the end of an object from a watch.
    pub fn remove(&self, at: &ObjectRef) {
        let mut index = self.index.write();
        let object = index.find(at);
        let account = object.as_ref().and_then(|object| object.account());
        let touched = index.remove(at);
        drop(index);
        object.iter().for_each(|object| self.part_from(object));
        account.into_iter().for_each(|account| self.account_queue.add(account));
        if at.kind == Kind::DockerCA {
            self.ctx.authorities.forget(&at.beside(&at.name));
        }
        self.queue.forget(at);
        touched.into_iter().for_each(|at| self.queue.add(at));
    }

    /// Waits until nobody is left to walk.
    pub async fn settled(&self) {
        while !(self.queue.is_idle() && self.account_queue.is_idle()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Rings the alarms by the clock, which may jump.
pub async fn alarms(cluster: Arc<ControllerState>) {
    loop {
        cluster.queue.enqueue_due(cluster.ctx.clock.now());
        cluster.account_queue.enqueue_due(cluster.ctx.clock.now());
        cluster.registration_queue.enqueue_due(cluster.ctx.clock.now());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Walks whoever is next, several at a time.
pub async fn workers(cluster: Arc<ControllerState>) {
    let mut walks = tokio::task::JoinSet::new();
    loop {
        let permit = Permit::take(&cluster.places).await;
        let at = cluster.queue.next().await;
        walks.spawn(guarded(Arc::clone(&cluster), at, permit));
        while walks.try_join_next().is_some() {}
    }
}

/// A walk that panics is a fault of ours with one object, which must not keep the others waiting.
async fn guarded(cluster: Arc<ControllerState>, at: ObjectRef, permit: Permit) {
    let walk = AssertUnwindSafe(one(Arc::clone(&cluster), at.clone(), permit));
    if walk.catch_unwind().await.is_err() {
        tracing::error!(object = %at, "its walk panicked, which is a fault of Dockseal: please report it");
        again(&cluster, at, Duration::ZERO);
    }
}

async fn one(cluster: Arc<ControllerState>, at: ObjectRef, permit: Permit) {
    let Some(object) = cluster.index.read().find(&at) else {
        cluster.queue.done(&at, None, || true);
        return;
    };
    let started = Instant::now();
    let walked = walk(&cluster, &object, &permit).await;
    drop(permit);
    cluster.metrics.walked(at.kind.as_str(), walked.as_ref().map(|walk| walk.issued), started.elapsed());
    match walked {
        Ok(walk) => follow(&cluster, &object, walk),
        // Where it is gone, the watch will say so and the next walk end at once; else its alarm must not be lost.
        Err(StoreError::Gone(_)) => drop(again(&cluster, at, Duration::ZERO)),
        Err(error) => {
            let telling = cluster.queue.failures(&at) >= UNTOLD_FAILURES;
            if telling && reconcile::report_repeated_failure(&cluster.ctx, &object, &error).await {
                wake_leaves(&cluster, &at);
            }
            retry(&cluster, at, &error);
        }
    }
}

impl ControllerState {
    /// Who brings a host's certificate there.
    pub(super) fn deliverer(&self, object: &Object) -> Deliverer {
        let account = object.account();
        let hosts = account.map(|account| self.index.read().hosts_of(&account));
        self.accounts.deliverer(object, &hosts.unwrap_or_default())
    }
}

async fn walk(cluster: &ControllerState, object: &Object, permit: &Permit) -> Result<Reconciled, StoreError> {
    let owner = cluster.ctx.store.leaf(&object.secret()).await?.and_then(|stored| stored.owner);
    let related = cluster.index.read().surroundings(object, owner.as_ref());
    let (deliverer, registration) = (cluster.deliverer(object), cluster.registration(object));
    let related = RelatedState { deliverer, registration, ..related };
    reconcile::reconcile(&cluster.ctx, object, &related, permit).await
}

fn follow(cluster: &ControllerState, object: &Object, walk: Reconciled) {
    let at = &object.at;
    if let Some(reason) = walk.issued {
        tracing::info!(object = %at, reason = reason.as_str(), "issued");
    }
    if walk.authority_changed {
        wake_leaves(cluster, at);
    }
    object.account().into_iter().for_each(|account| cluster.account_queue.add(account));
    cluster.queue.done(at, walk.requeue_at, || {
        let secret_settled = cluster.ctx.store.leaves.is_as_written(&object.secret());
        let mut index = cluster.index.write();
        let status_settled = walk.status.is_none_or(|status| index.note_status(at, &object.previous, status));
        secret_settled && status_settled
    });
    let now = cluster.index.read().find(at);
    now.iter().for_each(|object| cluster.follow_registration(object));
}

fn wake_leaves(cluster: &ControllerState, authority: &ObjectRef) {
    let leaves = cluster.index.read().leaves_of(authority);
    leaves.into_iter().for_each(|leaf| cluster.queue.add(leaf));
}

fn retry(cluster: &Arc<ControllerState>, at: ObjectRef, error: &StoreError) {
    let told = match error {
        StoreError::Failed { retry_after, .. } => *retry_after,
        _ => None,
    };
    let delay = again(cluster, at.clone(), told.unwrap_or_default());
    tracing::warn!(object = %at, %error, retry_in = ?delay, "failed");
}

/// Another try, after `told` at least and later each time. The term of office may end until then.
fn again(cluster: &Arc<ControllerState>, at: ObjectRef, told: Duration) -> Duration {
    let delay = cluster.queue.failed(&at).max(told.min(MAX_RETRY_DELAY_ONCE_REPORTED));
    if !told.is_zero() {
        cluster.queue.rest(&at);
    }
    let cluster = Arc::downgrade(cluster);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        if let Some(cluster) = cluster.upgrade() {
            cluster.queue.rested(at);
        }
    });
    delay
}
