//! Reconciles one object: what the user wrote and what there is come in; Secrets, files, registrations and a status go
//! out. The steps are the same behind every front end: observe, desired, plan, apply, status, publish. What should
//! happen is decided in `decide`; an object of someone else is never overwritten.

pub mod accounts;
pub mod authority;
pub mod authority_cache;
mod context;
pub mod finalizer;
pub mod host;
pub mod leaf;
mod opened_secrets;
pub mod permit;
pub mod registration;

use authority_cache::CachedAuthority;
use context::report;
use finalizer::Finalization;

pub use authority_cache::AuthorityCache;
pub use context::{Context, Reconciled, RelatedState};
pub use permit::Permit;

use crate::adapters::{Store, StoreError};
use crate::api::condition::{ConditionType, Reason};
use crate::api::{Kind, Object, ObjectEvent};
use crate::decide::status::{Verdict, conditions, previous_reason};

/// 2026-01-01T00:00:00Z: a clock that shows less is wrong.
const MIN_UNIX_TIME: i64 = 1_767_225_600;

/// Reconciles an object.
///
/// # Errors
/// [`StoreError`] where the store fails. Try again: what is half done is completed then.
pub async fn reconcile<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
    permit: &Permit,
) -> Result<Reconciled, StoreError> {
    // A machine without a battery starts in 1970, and would replace every certificate by one that has expired.
    let now = ctx.clock.now();
    if now.as_second() < MIN_UNIX_TIME {
        return Err(StoreError::ClockBehind(now));
    }
    let until = match finalizer::finalize(ctx, object, related).await? {
        Finalization::Done(reconciled) => return Ok(*reconciled),
        Finalization::ContinueUntil(until) => Some(until),
        Finalization::Continue => None,
    };
    match object.at.kind {
        Kind::DockerCA => authority::reconcile(ctx, object, related, permit, until).await,
        _ => leaf::reconcile(ctx, object, related, permit).await,
    }
}

/// Says in an object's status, once, that its reconcile fails again and again, and why; the next success removes that.
/// Nothing else is written. True where the leaves of an authority that was never opened should be reconciled.
pub async fn report_repeated_failure<S: Store>(ctx: &Context<S>, object: &Object, error: &StoreError) -> bool {
    let reported = previous_reason(&object.previous, ConditionType::Ready) == Some(Reason::StoreFailed.as_str());
    if !reported && object.deleted.is_none() {
        report_failure(ctx, object, error).await;
    }
    let at = object.at.beside(&object.at.name);
    let unopened = object.at.kind == Kind::DockerCA && ctx.authorities.find(&at).is_none();
    unopened && ctx.authorities.put(&at, CachedAuthority::Closed(error.to_string()))
}

async fn report_failure<S: Store>(ctx: &Context<S>, object: &Object, error: &StoreError) {
    let message = format!("{error}; Dockseal tries again");
    let verdict = Verdict::new(ConditionType::Ready, false, Reason::StoreFailed, message.clone());
    let ready = conditions(&[verdict], &object.previous.conditions, object.generation, ctx.clock.now());
    let others = object.previous.conditions.iter().filter(|known| known.type_ != ConditionType::Ready.as_str());
    let mut status = object.previous.clone();
    status.conditions = others.cloned().chain(ready).collect();
    let event = ObjectEvent { warning: true, reason: Reason::StoreFailed, message };
    if let Err(error) = report(ctx, object, &status, &[event]).await {
        tracing::warn!(object = %object.at, %error, "failed to publish that in its status");
    }
}
