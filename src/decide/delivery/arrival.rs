//! Whether what is stored has arrived on its host, from what the companion reports; nothing there is believed that
//! does not name the very certificate and bundle.

use super::Courier;
use crate::api::Object;
use crate::api::condition::{ConditionType, Reason};
use crate::api::docker_host_cert::Mode;
use crate::decide::status::Verdict;
use crate::pki::lifecycle::saturating;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long a companion may take.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// What is stored, and has to arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Fingerprint of the certificate.
    pub fingerprint: String,
    /// SHA-256 of the bundle, hex.
    pub bundle: String,
    /// When the certificate was issued.
    pub issued_at: Timestamp,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// For Ready: of type Delivered or Serving, whose conditions are the companion's own. None where nobody delivers.
    pub verdict: Option<Verdict>,
    /// When a companion that says nothing is late.
    pub wake: Option<Timestamp>,
}

/// Decides at `now`.
pub fn arrival(object: &Object, courier: &Courier, stored: &Stored, now: Timestamp) -> Arrival {
    let verdict = match courier {
        Courier::Nobody => return Arrival::default(),
        Courier::Refused(refusal) => Some(Verdict::new(refusal.condition, false, refusal.reason, &refusal.message)),
        _ => reported(object, stored),
    };
    match verdict {
        Some(verdict) => Arrival { verdict: Some(verdict), wake: None },
        None => waiting(object, courier, stored, now),
    }
}

/// What the companion says of what is stored; none where it has not spoken of it yet.
fn reported(object: &Object, stored: &Stored) -> Option<Verdict> {
    let (companion, host) = (&object.companion, &object.companion.host);
    let delivered = current(object, companion.condition(ConditionType::Delivered)?)?;
    if delivered.status != "True" {
        return Some(fault(ConditionType::Delivered, delivered));
    }
    let there = host.delivered_fingerprint.as_ref() == Some(&stored.fingerprint)
        && host.delivered_bundle.as_ref() == Some(&stored.bundle);
    if !there {
        return None;
    }
    if object.delivery().is_none_or(|delivery| delivery.mode == Mode::Files) {
        return Some(Verdict::new(ConditionType::Delivered, true, Reason::Delivered, &delivered.message));
    }
    let serving = current(object, companion.condition(ConditionType::Serving)?)?;
    if serving.status != "True" {
        return Some(fault(ConditionType::Serving, serving));
    }
    let served = host.served_fingerprint.as_ref() == Some(&stored.fingerprint);
    served.then(|| Verdict::new(ConditionType::Serving, true, Reason::Serving, &serving.message))
}

/// A condition about the spec as it is now.
fn current<'a>(object: &Object, condition: &'a Condition) -> Option<&'a Condition> {
    Some(condition).filter(|condition| condition.observed_generation == Some(object.generation))
}

fn fault(type_: ConditionType, condition: &Condition) -> Verdict {
    let unknown = if type_ == ConditionType::Delivered { Reason::NotDelivered } else { Reason::NotServed };
    // A companion of another version may have words that this one lacks.
    let (reason, message) = match Reason::parse(&condition.reason) {
        Some(reason) => (reason, condition.message.clone()),
        None => (unknown, format!("{}: {}", condition.reason, condition.message)),
    };
    Verdict::new(type_, false, reason, message)
}

fn waiting(object: &Object, courier: &Courier, stored: &Stored, now: Timestamp) -> Arrival {
    let late = saturating(since(object, stored, now), PATIENCE);
    let who = courier.words();
    let verdict = |reason, message| Some(Verdict::new(ConditionType::Delivered, false, reason, message));
    if now < late {
        let message = format!("waiting for {who}");
        return Arrival { verdict: verdict(Reason::NotDelivered, message), wake: Some(late) };
    }
    let (minutes, remedy) = (PATIENCE.as_mins(), courier.remedy());
    let message = format!("{who} has not delivered what is stored within {minutes} minutes: {remedy}");
    Arrival { verdict: verdict(Reason::CompanionSilent, message), wake: None }
}

/// Since when it is waited for. Ready says it, so that a restart forgets nothing: the instant at which it began to be
/// False for this is its lastTransitionTime, see [`begins_to_wait`].
fn since(object: &Object, stored: &Stored, now: Timestamp) -> Timestamp {
    match last_ready(object).filter(|ready| is_waiting(ready)) {
        Some(ready) => ready.last_transition_time.0.max(stored.issued_at),
        None => now,
    }
}

/// The wait begins with this verdict of Ready: whatever it said before is over.
pub fn begins_to_wait(object: &Object, ready: &Verdict) -> bool {
    ready.reason == Reason::NotDelivered && !last_ready(object).is_some_and(is_waiting)
}

fn last_ready(object: &Object) -> Option<&Condition> {
    object.previous.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str())
}

fn is_waiting(ready: &Condition) -> bool {
    let waits = [Reason::NotDelivered, Reason::CompanionSilent];
    ready.status == "False" && waits.iter().any(|reason| ready.reason == reason.as_str())
}
