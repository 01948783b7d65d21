//! Reconciles the accounts of companions: the name of an account comes in, and what follows from the result is queued.

use super::metrics::ACCOUNT;
use super::state::ControllerState;
use super::worker::{QueueReconciler, UNREPORTED_FAILURES};
use super::workqueue::WorkQueue;
use crate::adapters::StoreError;
use crate::api::assignment::AssignedPortainer;
use crate::api::{Kind, NamespacedName, Object, ObjectRef, REPLACE_AUTHORITY_ANNOTATION};
use crate::reconcile::Permit;
use crate::reconcile::accounts::HostLookup;
use std::sync::Arc;
use std::time::Instant;

pub struct AccountReconciler(pub Arc<ControllerState>);

impl QueueReconciler for AccountReconciler {
    type Key = String;
    const MAX_CONCURRENT: usize = 32;

    fn queue(&self) -> &WorkQueue<String> {
        &self.0.account_queue
    }

    async fn reconcile(&self, account: &String, _permit: Permit) -> Result<(), StoreError> {
        let (state, started) = (self.0.as_ref(), Instant::now());
        let repeated = state.account_queue.failures(account) >= UNREPORTED_FAILURES;
        let result = state.accounts.reconcile(&state.ctx, state, account, repeated).await;
        state.metrics.reconciled(ACCOUNT, result.failed.as_ref().map_or(Ok(None), Err), started.elapsed());
        result.hosts.into_iter().for_each(|at| state.queue.add(at));
        result.accounts.into_iter().for_each(|other| state.account_queue.add(other));
        if let Some(error) = result.failed {
            return Err(error);
        }
        state.account_queue.done(account, result.requeue_at, || true);
        Ok(())
    }
}

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

    fn writer(&self) -> Option<String> {
        self.writer.clone()
    }

    fn replaced_authority(&self, ca: &NamespacedName) -> Option<String> {
        let at = ObjectRef::new(Kind::DockerCA, &ca.namespace, &ca.name);
        let object = self.index.read().find(&at)?;
        object.annotation(REPLACE_AUTHORITY_ANNOTATION).map(str::to_owned)
    }

    fn portainers(&self, host: &Object, assigned: &[AssignedPortainer]) -> Vec<AssignedPortainer> {
        let (claims, _) = self.claims(host);
        let clients = self.index.read().clients_of(host);
        let known = |client: &Object| assigned.iter().find(|known| *known.order.client == *client.at.name);
        let lend =
            |client: Arc<Object>| self.registrations.assignment(&self.ctx, &client, host, &claims, known(&client));
        clients.into_iter().filter_map(lend).collect()
    }
}
