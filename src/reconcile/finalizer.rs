//! Objects that go: what was delivered and their Secret go with them where the policies say so, else everything stays.

use super::{Context, Reconciled, RelatedState};
use crate::adapters::store::StoredKind;
use crate::adapters::{Store, StoreError};
use crate::api::condition::Reason;
use crate::api::status::ControllerStatus;
use crate::api::{Kind, Object, ObjectEvent};
use crate::decide::Problem;
use crate::decide::deletion::{self, DeletionBlockers, DeletionStep};
use crate::decide::delivery::Deliverer;
use crate::decide::leaf;
use k8s_openapi::jiff::Timestamp;

/// Where an object's walk leads.
#[derive(Clone, Debug)]
pub enum Finalization {
    /// On: the object lives.
    On,
    /// On until then: it is to be deleted, and others still need it.
    OnUntil(Timestamp),
    /// Out: nothing else is to be done.
    Out(Box<Reconciled>),
}

/// Does what goes with an object's end, or with its finalizer.
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
        let message = "removed although its environments could not be removed from Portainer: remove them there";
        let event = ObjectEvent { warning: true, reason: Reason::FinalizerForced, message: message.to_owned() };
        super::report(ctx, object, &object.previous, &[event]).await?;
    }
    if plan.abandons {
        let who = Deliverer::asked(object).words();
        let message = format!("removed although {who} has not removed what it delivered, which stays");
        let event = ObjectEvent { warning: true, reason: Reason::FinalizerForced, message };
        super::report(ctx, object, &object.previous, &[event]).await?;
    }
    match plan.step {
        DeletionStep::Live => Ok(Finalization::On),
        DeletionStep::SetFinalizer(held) => {
            ctx.store.set_finalizer(object, held).await?;
            Ok(Finalization::On)
        }
        DeletionStep::Gone => Ok(Finalization::Out(Box::new(Reconciled::over()))),
        DeletionStep::DeleteSecret(last) => match delete_secret(ctx, object).await {
            Err(error) if last => {
                tracing::warn!(object = %object.at, %error, "its Secret stays");
                give_up(ctx, object).await
            }
            done => {
                done?;
                let_go(ctx, object).await
            }
        },
        DeletionStep::Wait(until) => Ok(Finalization::OnUntil(until)),
        DeletionStep::WaitForHost(until) => {
            wait(ctx, object, leaf::status::removing(object, ctx.clock.now()), until).await
        }
        DeletionStep::WaitForPortainer(until) => {
            let status = leaf::status::deregistering(object, &related.registration, ctx.clock.now());
            wait(ctx, object, status, until).await
        }
        DeletionStep::LetGo => let_go(ctx, object).await,
        DeletionStep::GiveUp => give_up(ctx, object).await,
    }
}

/// What the user reads while it waits.
pub fn in_use() -> Problem {
    let message = "it is to be deleted with its Secret, and waits for the hosts and clients that it signs for: \
                   delete them first";
    Problem::spec(Reason::InUse, message)
}

async fn wait<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    status: ControllerStatus,
    until: Timestamp,
) -> Result<Finalization, StoreError> {
    super::report(ctx, object, &status, &[]).await?;
    Ok(Finalization::Out(Box::new(Reconciled { requeue_at: Some(until), status: Some(status), ..Reconciled::over() })))
}

async fn delete_secret<S: Store>(ctx: &Context<S>, object: &Object) -> Result<(), StoreError> {
    delete(ctx, object, StoredKind::Secrets, &object.secret_name()).await?;
    if object.at.kind == Kind::DockerCA {
        delete(ctx, object, StoredKind::ConfigMaps, &format!("{}-ca-bundle", object.at.name)).await?;
    }
    Ok(())
}

async fn give_up<S: Store>(ctx: &Context<S>, object: &Object) -> Result<Finalization, StoreError> {
    let message = format!("removed without deleting its Secret {}", object.secret_name());
    let event = ObjectEvent { warning: true, reason: Reason::FinalizerForced, message };
    super::report(ctx, object, &object.previous, &[event]).await?;
    let_go(ctx, object).await
}

async fn let_go<S: Store>(ctx: &Context<S>, object: &Object) -> Result<Finalization, StoreError> {
    ctx.store.set_finalizer(object, false).await?;
    Ok(Finalization::Out(Box::new(Reconciled::over())))
}

async fn delete<S: Store>(ctx: &Context<S>, object: &Object, shelf: StoredKind, name: &str) -> Result<(), StoreError> {
    let at = object.at.beside(name);
    match ctx.store.read(shelf, &at).await? {
        Some(stored) if stored.owner.as_ref() == Some(&object.at) => {
            ctx.store.delete(shelf, &at, &stored.version).await
        }
        _ => Ok(()),
    }
}
