//! What every reconcile gets and gives: stores, clock and keys, the state of related objects, and what came of it.

use super::authority_cache::AuthorityCache;
use super::opened_secrets::OpenedSecrets;
use crate::adapters::slow_work::SlowWork;
use crate::adapters::{Clock, Store, StoreError};
use crate::api::condition::Reason;
use crate::api::status::ControllerStatus;
use crate::api::{Object, ObjectEvent, ObjectRef};
use crate::decide::delivery::Deliverer;
use crate::decide::registration::RegistrationStatus;
use k8s_openapi::jiff::Timestamp;

/// What every reconcile needs.
pub struct Context<S> {
    pub store: S,
    pub clock: Clock,
    pub slow: SlowWork,
    pub authorities: AuthorityCache,
    pub opened: OpenedSecrets,
}

impl<S: Store> Context<S> {
    pub fn new(store: S, clock: Clock) -> Context<S> {
        let (slow, authorities, opened) = Default::default();
        Context { store, clock, slow, authorities, opened }
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
    pub(super) fn ended() -> Reconciled {
        Reconciled { requeue_at: None, status: None, issued: None, authority_changed: false }
    }
}

/// Publishes a status that differs from the last one, then sends the events.
pub(super) async fn report<S: Store>(
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
