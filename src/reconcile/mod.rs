//! The hallway: observe, desire, plan, apply, report. The same for every kind and behind every door.

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

/// 2026-01-01T00:00:00Z: no clock that is right shows less.
const WRITTEN: i64 = 1_767_225_600;

/// What the rooms share.
pub struct Context<S> {
    /// Where Secrets and statuses are kept.
    pub store: S,
    /// The time.
    pub clock: Clock,
    /// Where keys are made.
    pub keys: KeyGenerator,
    /// The authorities that can sign.
    pub authorities: AuthorityCache,
}

impl<S: Store> Context<S> {
    /// A house over that store and clock.
    pub fn new(store: S, clock: Clock) -> Context<S> {
        Context { store, clock, keys: KeyGenerator::new(), authorities: AuthorityCache::default() }
    }
}

/// What stands around an object.
#[derive(Clone, Debug, Default)]
pub struct RelatedState {
    /// Another object that has its Secret.
    pub rival: Option<ObjectRef>,
    /// How far its registration in Portainer is.
    pub registration: RegistrationStatus,
    /// There is a DockerCA of the name in `caRef`.
    pub authority_exists: bool,
    /// A DockerCA still has hosts or clients.
    pub in_use: bool,
    /// Who brings a host's certificate there.
    pub deliverer: Deliverer,
}

/// What came of a walk.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// When to walk again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// The status as it is now; none while the authority has not been looked at, and for objects that are gone.
    pub status: Option<ControllerStatus>,
    /// Why a certificate was made.
    pub issued: Option<Reason>,
    /// An authority changed for its leaves.
    pub authority_changed: bool,
}

impl Reconciled {
    /// One that ends before anything was decided.
    fn over() -> Reconciled {
        Reconciled { requeue_at: None, status: None, issued: None, authority_changed: false }
    }
}

/// Walks an object through all rooms.
///
/// # Errors
/// [`StoreError`] where the store fails: to be tried again, nothing half done stands in the way.
pub async fn reconcile<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
    permit: &Permit,
) -> Result<Reconciled, StoreError> {
    // A machine without a battery wakes in 1970, and would replace everything by certificates that have ended.
    let now = ctx.clock.now();
    if now.as_second() < WRITTEN {
        return Err(StoreError::ClockBehind(now));
    }
    let until = match finalizer::finalize(ctx, object, related).await? {
        Finalization::Out(reconciled) => return Ok(*reconciled),
        Finalization::OnUntil(until) => Some(until),
        Finalization::On => None,
    };
    match object.at.kind {
        Kind::DockerCA => authority::reconcile(ctx, object, related, permit, until).await,
        _ => leaf::reconcile(ctx, object, related, permit).await,
    }
}

/// Tells the user, once, that an object's walk fails again and again, and why. The next walk that ends well takes it
/// back. What is stored is what it was. True where the leaves of an authority that was never opened should hear of it.
pub async fn report_repeated_failure<S: Store>(ctx: &Context<S>, object: &Object, error: &StoreError) -> bool {
    let told = previous_reason(&object.previous, ConditionType::Ready) == Some(Reason::StoreFailed.as_str());
    if !told && object.deleted.is_none() {
        report_failure(ctx, object, error).await;
    }
    let at = object.at.beside(&object.at.name);
    let unopened = object.at.kind == Kind::DockerCA && ctx.authorities.find(&at).is_none();
    unopened && ctx.authorities.note(&at, CachedAuthority::Closed(error.to_string()))
}

async fn report_failure<S: Store>(ctx: &Context<S>, object: &Object, error: &StoreError) {
    let message = format!("{error}; it is tried again and again");
    let verdict = Verdict::new(ConditionType::Ready, false, Reason::StoreFailed, message.clone());
    let ready = conditions(&[verdict], &object.previous.conditions, object.generation, ctx.clock.now());
    let others = object.previous.conditions.iter().filter(|known| known.type_ != ConditionType::Ready.as_str());
    let mut status = object.previous.clone();
    status.conditions = others.cloned().chain(ready).collect();
    let event = ObjectEvent { warning: true, reason: Reason::StoreFailed, message };
    if let Err(error) = report(ctx, object, &status, &[event]).await {
        tracing::warn!(object = %object.at, %error, "failed to say so in its status, too");
    }
}

/// Publishes a status that differs from the last, then tells what happened.
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
