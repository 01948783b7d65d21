//! The workers of companions' accounts: an account from the queue, a walk, and what follows from it.

use super::metrics::ACCOUNT;
use super::worker::{ControllerState, UNTOLD_FAILURES};
use crate::adapters::StoreError;
use crate::api::assignment::AssignedPortainer;
use crate::api::{Object, ObjectRef};
use crate::reconcile::accounts::HostLookup;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Walks at the same time.
const MAX_CONCURRENT: usize = 16;

impl HostLookup for ControllerState {
    fn host(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        self.index.read().find(at)
    }

    fn hosts_of(&self, account: &str) -> Vec<Arc<Object>> {
        self.index.read().hosts_of(account)
    }

    fn waiting(&self) -> Vec<Arc<Object>> {
        self.index.read().waiting()
    }

    fn portainers(&self, host: &Object, told: &[AssignedPortainer]) -> Vec<AssignedPortainer> {
        let (claims, _) = self.claims(host);
        let clients = self.index.read().clients_of(host);
        let told = |client: &Object| told.iter().find(|told| *told.order.client == *client.at.name);
        let lend =
            |client: Arc<Object>| self.registrations.assignment(&self.ctx, &client, host, &claims, told(&client));
        clients.into_iter().filter_map(lend).collect()
    }
}

/// Walks whichever account is next, several at a time.
pub async fn workers(cluster: Arc<ControllerState>) {
    let places = Arc::new(Semaphore::new(MAX_CONCURRENT));
    let mut walks = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let account = cluster.account_queue.next().await;
        walks.spawn(guarded(Arc::clone(&cluster), account, place));
        while walks.try_join_next().is_some() {}
    }
}

/// A walk that panics is a fault of ours with one account, which must not keep the others waiting.
async fn guarded(cluster: Arc<ControllerState>, account: String, _place: OwnedSemaphorePermit) {
    let walk = AssertUnwindSafe(one(Arc::clone(&cluster), account.clone()));
    if walk.catch_unwind().await.is_err() {
        tracing::error!(account, "its walk panicked, which is a fault of Dockseal: please report it");
        again(&cluster, account, Duration::ZERO);
    }
}

async fn one(cluster: Arc<ControllerState>, account: String) {
    let started = Instant::now();
    let telling = cluster.account_queue.failures(&account) >= UNTOLD_FAILURES;
    let walk = cluster.accounts.walk(&cluster.ctx, cluster.as_ref(), &account, telling).await;
    cluster.metrics.walked(ACCOUNT, walk.failed.as_ref().map_or(Ok(None), Err), started.elapsed());
    walk.hosts.into_iter().for_each(|at| cluster.queue.add(at));
    walk.accounts.into_iter().for_each(|other| cluster.account_queue.add(other));
    match walk.failed {
        None => cluster.account_queue.done(&account, walk.requeue_at, || true),
        Some(error) => retry(&cluster, account, &error),
    }
}

fn retry(cluster: &Arc<ControllerState>, account: String, error: &StoreError) {
    let told = match error {
        StoreError::Failed { retry_after, .. } => *retry_after,
        _ => None,
    };
    let delay = again(cluster, account.clone(), told.unwrap_or_default());
    tracing::warn!(account, %error, retry_in = ?delay, "failed");
}

/// Another try, after `told` at least and later each time. The term of office may end until then.
fn again(cluster: &Arc<ControllerState>, account: String, told: Duration) -> Duration {
    let delay = cluster.account_queue.failed(&account).max(told.min(super::worker::MAX_RETRY_DELAY_ONCE_REPORTED));
    let cluster = Arc::downgrade(cluster);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        if let Some(cluster) = cluster.upgrade() {
            cluster.account_queue.add(account);
        }
    });
    delay
}
