//! Deletes what belongs to a deleted object: the object comes in, and its registrations, delivered files and Secret are
//! removed where the policies say so; then its finalizer goes. What belongs to someone else is never deleted.

use super::context::{Context, Reconciled, RelatedState, report};
use crate::adapters::store::StoredKind;
use crate::adapters::{Store, StoreError};
use crate::api::condition::Reason;
use crate::api::status::ControllerStatus;
use crate::api::{Kind, NamespacedName, Object, ObjectEvent};
use crate::decide::Problem;
use crate::decide::deletion::{self, DeletionBlockers, DeletionStep};
use crate::decide::delivery::Deliverer;
use crate::decide::leaf;
use k8s_openapi::jiff::Timestamp;

/// How the reconcile of an object goes on.
#[derive(Clone, Debug)]
pub enum Finalization {
    /// The object is not deleted.
    Continue,
    /// It is deleted, but others still need it: reconcile it until then.
    ContinueUntil(Timestamp),
    /// There is nothing else to do.
    Done(Box<Reconciled>),
}

/// Sets the finalizer, or does what is due for a deleted object.
pub async fn finalize<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
) -> Result<Finalization, StoreError> {
    let blockers = DeletionBlockers {
        in_use: related.in_use,
        deliverer: &related.deliverer,
        deregisters: related.registration.deletes,
        registered: related.registration.left,
    };
    let plan = deletion::plan(object, &blockers, ctx.clock.now());
    if plan.orphans {
        let message = "removed, but its environments could not be removed from Portainer: remove them there";
        let event = ObjectEvent { warning: true, reason: Reason::FinalizerForced, message: message.to_owned() };
        report(ctx, object, &object.previous, &[event]).await?;
    }
    if plan.abandons {
        let who = Deliverer::asked(object).name();
        let message = format!("removed, but {who} has not removed the delivered files, which stay on the host");
        let event = ObjectEvent { warning: true, reason: Reason::FinalizerForced, message };
        report(ctx, object, &object.previous, &[event]).await?;
    }
    match plan.step {
        DeletionStep::Live => Ok(Finalization::Continue),
        DeletionStep::SetFinalizer(held) => {
            ctx.store.set_finalizer(object, held).await?;
            Ok(Finalization::Continue)
        }
        DeletionStep::Gone => Ok(Finalization::Done(Box::new(Reconciled::ended()))),
        DeletionStep::DeleteSecret(last) => match delete_secret(ctx, object).await {
            Err(error) if last => {
                tracing::warn!(object = %object.at, %error, "failed to delete its Secret, which stays");
                give_up(ctx, object).await
            }
            done => {
                done?;
                release(ctx, object).await
            }
        },
        DeletionStep::Wait(until) => Ok(Finalization::ContinueUntil(until)),
        DeletionStep::WaitForHost(until) => {
            wait(ctx, object, leaf::status::removing(object, ctx.clock.now()), until).await
        }
        DeletionStep::WaitForPortainer(until) => {
            let status = leaf::status::deregistering(object, &related.registration, ctx.clock.now());
            wait(ctx, object, status, until).await
        }
        DeletionStep::LetGo => release(ctx, object).await,
        DeletionStep::GiveUp => give_up(ctx, object).await,
    }
}

/// The problem of a DockerCA that waits for its leaves.
pub fn in_use() -> Problem {
    let message = "this DockerCA is being deleted, and waits for the hosts and clients that it signs for: delete them \
                   first";
    Problem::spec(Reason::InUse, message)
}

async fn wait<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    status: ControllerStatus,
    until: Timestamp,
) -> Result<Finalization, StoreError> {
    report(ctx, object, &status, &[]).await?;
    Ok(Finalization::Done(Box::new(Reconciled {
        requeue_at: Some(until),
        status: Some(status),
        ..Reconciled::ended()
    })))
}

async fn delete_secret<S: Store>(ctx: &Context<S>, object: &Object) -> Result<(), StoreError> {
    delete(ctx, object, StoredKind::Secrets, &object.secret()).await?;
    if object.at.kind == Kind::DockerCA {
        delete(ctx, object, StoredKind::ConfigMaps, &object.bundle()).await?;
    }
    Ok(())
}

async fn give_up<S: Store>(ctx: &Context<S>, object: &Object) -> Result<Finalization, StoreError> {
    let message = format!("removed without deleting its Secret {}", object.secret_name());
    let event = ObjectEvent { warning: true, reason: Reason::FinalizerForced, message };
    report(ctx, object, &object.previous, &[event]).await?;
    release(ctx, object).await
}

async fn release<S: Store>(ctx: &Context<S>, object: &Object) -> Result<Finalization, StoreError> {
    ctx.store.set_finalizer(object, false).await?;
    Ok(Finalization::Done(Box::new(Reconciled::ended())))
}

async fn delete<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    shelf: StoredKind,
    at: &NamespacedName,
) -> Result<(), StoreError> {
    match ctx.store.read(shelf, at).await? {
        Some(stored) if stored.owner.as_ref() == Some(&object.at) => ctx.store.delete(shelf, at, &stored.version).await,
        _ => Ok(()),
    }
}
