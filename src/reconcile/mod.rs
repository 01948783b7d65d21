//! Reconciles one object: what the user wrote and what there is come in; Secrets, files, registrations and a status go
//! out. The steps are the same behind every front end: observe, desired, plan, apply, status, publish. What should
//! happen is decided in `decide`; an object of someone else is never overwritten.

pub mod accounts;
pub mod authority;
pub mod authority_cache;
pub mod finalizer;
pub mod host;
pub mod leaf;
pub mod permit;
pub mod registration;

use authority_cache::CachedAuthority;
use finalizer::Finalization;

pub use authority_cache::AuthorityCache;
pub use permit::Permit;

use crate::adapters::random::KeyGenerator;
use crate::adapters::{Clock, Store, StoreError};
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::ControllerStatus;
use crate::api::{Kind, Object, ObjectEvent, ObjectRef};
use crate::decide::delivery::Deliverer;
use crate::decide::registration::RegistrationStatus;
use crate::decide::status::{Verdict, conditions, previous_reason};
use k8s_openapi::jiff::Timestamp;

/// 2026-01-01T00:00:00Z: a clock that shows less is wrong.
const MIN_UNIX_TIME: i64 = 1_767_225_600;

/// What every reconcile needs.
pub struct Context<S> {
    pub store: S,
    pub clock: Clock,
    pub keys: KeyGenerator,
    pub authorities: AuthorityCache,
}

impl<S: Store> Context<S> {
    pub fn new(store: S, clock: Clock) -> Context<S> {
        Context { store, clock, keys: KeyGenerator::new(), authorities: AuthorityCache::default() }
    }
}

/// The state of the objects that an object depends on.
#[derive(Clone, Debug, Default)]
pub struct RelatedState {
    /// Another object that has its Secret.
    pub rival: Option<ObjectRef>,
    /// How far its registration in Portainer is.
    pub registration: RegistrationStatus,
    /// The DockerCA in `caRef` exists.
    pub authority_exists: bool,
    /// A DockerCA has hosts or clients.
    pub in_use: bool,
    /// Who delivers a host's certificate.
    pub deliverer: Deliverer,
}

/// What came of a reconcile.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// When to reconcile again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// The status as it is now; none before the authority was reconciled, and for an object that is gone.
    pub status: Option<ControllerStatus>,
    /// Why a certificate was issued, if one was.
    pub issued: Option<Reason>,
    /// An authority changed in a way that its leaves depend on.
    pub authority_changed: bool,
}

impl Reconciled {
    /// One that ended before anything was decided.
    fn ended() -> Reconciled {
        Reconciled { requeue_at: None, status: None, issued: None, authority_changed: false }
    }
}

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

/// Publishes a status that differs from the last one, then sends the events.
async fn report<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    status: &ControllerStatus,
    events: &[ObjectEvent],
) -> Result<(), StoreError> {
    if *status != object.previous {
        ctx.store.publish(object, status).await?;
    }
    for event in events {
        ctx.store.announce(object, event).await;
    }
    Ok(())
}
