//! The hallway: observe, desire, plan, apply, report. The same for every kind and behind every door.

pub mod accounts;
pub mod authority;
pub mod daemon;
pub mod delivery;
pub mod leaf;
pub mod registration;
pub mod registry;
pub mod removal;
pub mod slot;

use registry::Entry;
use removal::Way;

pub use registry::Authorities;
pub use slot::Slot;

use crate::api::condition::{ConditionType, Reason};
use crate::api::status::ControllerStatus;
use crate::api::{Kind, Object, ObjectRef};
use crate::decide::delivery::Courier;
use crate::decide::registration::Standing;
use crate::decide::status::{Event, Verdict, conditions, previous_reason};
use crate::world::entropy::KeyForge;
use crate::world::store::Announcement;
use crate::world::{Clock, Store, StoreError};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How often what is not ours is looked at again: nothing watches it.
const CONFLICT_PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// 2026-01-01T00:00:00Z: no clock that is right shows less.
const WRITTEN: i64 = 1_767_225_600;

/// What the rooms share.
pub struct House<S> {
    /// Where Secrets and statuses are kept.
    pub store: S,
    /// The time.
    pub clock: Clock,
    /// Where keys are made.
    pub forge: KeyForge,
    /// The authorities that can sign.
    pub authorities: Authorities,
}

impl<S: Store> House<S> {
    /// A house over that store and clock.
    pub fn new(store: S, clock: Clock) -> House<S> {
        House { store, clock, forge: KeyForge::new(), authorities: Authorities::default() }
    }
}

/// What stands around an object.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Another object that has its Secret.
    pub rival: Option<ObjectRef>,
    /// How far its registration in Portainer is.
    pub standing: Standing,
    /// There is a DockerCA of the name in `caRef`.
    pub authority_exists: bool,
    /// A DockerCA still has hosts or clients.
    pub in_use: bool,
    /// Who brings a host's certificate there.
    pub courier: Courier,
}

/// What came of a walk.
#[derive(Clone, Debug)]
pub struct Walk {
    /// When to walk again, if nothing changes.
    pub wake: Option<Timestamp>,
    /// The status as it is now; none while the authority has not been looked at, and for objects that are gone.
    pub status: Option<ControllerStatus>,
    /// Why a certificate was made.
    pub issued: Option<Reason>,
    /// An authority changed for its leaves.
    pub authority_changed: bool,
}

impl Walk {
    /// One that ends before anything was decided.
    fn over() -> Walk {
        Walk { wake: None, status: None, issued: None, authority_changed: false }
    }
}

/// Walks an object through all rooms.
///
/// # Errors
/// [`StoreError`] where the store fails: to be tried again, nothing half done stands in the way.
pub async fn walk<S: Store>(
    house: &House<S>,
    object: &Object,
    around: &Surroundings,
    slot: &Slot,
) -> Result<Walk, StoreError> {
    // A machine without a battery wakes in 1970, and would replace everything by certificates that have ended.
    let now = house.clock.now();
    if now.as_second() < WRITTEN {
        return Err(StoreError::ClockBehind(now));
    }
    let until = match removal::walk(house, object, around).await? {
        Way::Out(walk) => return Ok(*walk),
        Way::OnUntil(until) => Some(until),
        Way::On => None,
    };
    match object.at.kind {
        Kind::DockerCA => authority::walk(house, object, around, slot, until).await,
        _ => leaf::walk(house, object, around, slot).await,
    }
}

/// Tells the user, once, that an object's walk fails again and again, and why. The next walk that ends well takes it
/// back. What is stored is what it was. True where the leaves of an authority that was never opened should hear of it.
pub async fn tell<S: Store>(house: &House<S>, object: &Object, error: &StoreError) -> bool {
    let told = previous_reason(&object.previous, ConditionType::Ready) == Some(Reason::StoreFailed.as_str());
    if !told && object.deleted.is_none() {
        report_failure(house, object, error).await;
    }
    let at = object.at.beside(&object.at.name);
    let unopened = object.at.kind == Kind::DockerCA && house.authorities.find(&at).is_none();
    unopened && house.authorities.note(&at, Entry::Closed(error.to_string()))
}

async fn report_failure<S: Store>(house: &House<S>, object: &Object, error: &StoreError) {
    let message = format!("{error}; it is tried again and again");
    let verdict = Verdict::new(ConditionType::Ready, false, Reason::StoreFailed, message.clone());
    let ready = conditions(&[verdict], &object.previous.conditions, object.generation, house.clock.now());
    let others = object.previous.conditions.iter().filter(|known| known.type_ != ConditionType::Ready.as_str());
    let mut status = object.previous.clone();
    status.conditions = others.cloned().chain(ready).collect();
    let event = Event { warning: true, reason: Reason::StoreFailed, message };
    if let Err(error) = report(house, object, &status, &[event]).await {
        tracing::warn!(object = %object.at, %error, "failed to say so in its status, too");
    }
}

/// Publishes a status that differs from the last, then tells what happened.
async fn report<S: Store>(
    house: &House<S>,
    object: &Object,
    status: &ControllerStatus,
    events: &[Event],
) -> Result<(), StoreError> {
    if *status != object.previous {
        house.store.publish(object, status).await?;
    }
    for event in events {
        let what =
            Announcement { warning: event.warning, reason: event.reason.as_str(), message: event.message.clone() };
        house.store.announce(object, &what).await;
    }
    Ok(())
}
