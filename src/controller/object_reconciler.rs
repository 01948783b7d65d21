//! Reconciles the objects of the four kinds: an object comes in, and what follows from the result is queued.

use super::state::ControllerState;
use super::worker::{QueueReconciler, UNREPORTED_FAILURES};
use super::workqueue::WorkQueue;
use crate::adapters::{Store, StoreError};
use crate::api::{Object, ObjectRef};
use crate::reconcile::{self, Permit, Reconciled, RelatedState};
use std::sync::Arc;
use std::time::Instant;

pub struct ObjectReconciler(pub Arc<ControllerState>);

impl QueueReconciler for ObjectReconciler {
    type Key = ObjectRef;
    const MAX_CONCURRENT: usize = 64;

    fn queue(&self) -> &WorkQueue<ObjectRef> {
        &self.0.queue
    }

    async fn reconcile(&self, at: &ObjectRef, permit: Permit) -> Result<(), StoreError> {
        let state = &self.0;
        let Some(object) = state.index.read().find(at) else {
            state.queue.done(at, None, || true);
            return Ok(());
        };
        let started = Instant::now();
        let result = reconcile_object(state, &object, &permit).await;
        drop(permit);
        let issued = result.as_ref().map(|reconciled| reconciled.issued);
        state.metrics.reconciled(at.kind.as_str(), issued, started.elapsed());
        match result {
            Ok(reconciled) => finish(state, &object, reconciled),
            Err(error) => {
                report(state, &object, &error).await;
                return Err(error);
            }
        }
        Ok(())
    }
}

async fn reconcile_object(state: &ControllerState, object: &Object, permit: &Permit) -> Result<Reconciled, StoreError> {
    let owner = state.ctx.store.leaf(&object.secret()).await?.and_then(|stored| stored.owner);
    let related = state.index.read().related(object, owner.as_ref());
    let (deliverer, registration) = (state.deliverer(object), state.registration(object));
    let related = RelatedState { deliverer, registration, ..related };
    reconcile::reconcile(&state.ctx, object, &related, permit).await
}

/// Queues what the result affects, and when this object comes again.
fn finish(state: &ControllerState, object: &Object, reconciled: Reconciled) {
    let at = &object.at;
    if let Some(reason) = reconciled.issued {
        tracing::info!(object = %at, reason = reason.as_str(), "issued");
    }
    if reconciled.authority_changed {
        state.enqueue_leaves(at);
    }
    object.account().into_iter().for_each(|account| state.account_queue.add(account));
    state.queue.done(at, reconciled.requeue_at, || {
        let secret_is_ours = state.ctx.store.leaves.is_as_written(&object.secret());
        let mut index = state.index.write();
        let written = reconciled.status;
        let status_is_ours = written.is_none_or(|status| index.set_status(at, &object.previous, status));
        secret_is_ours && status_is_ours
    });
    let now = state.index.read().find(at);
    now.iter().for_each(|object| state.enqueue_registrations(object));
}

/// Says in the object's status that it fails again and again.
async fn report(state: &ControllerState, object: &Object, error: &StoreError) {
    let repeated = state.queue.failures(&object.at) >= UNREPORTED_FAILURES && !matches!(error, StoreError::Gone(_));
    if repeated && reconcile::report_repeated_failure(&state.ctx, object, error).await {
        state.enqueue_leaves(&object.at);
    }
}
