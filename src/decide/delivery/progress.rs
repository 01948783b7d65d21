//! How far the delivery of a stored certificate is: what the companion reported comes in, a verdict for Ready goes out. A
//! report counts only for the certificate and the bundle whose fingerprints it names.

use super::Deliverer;
use crate::api::Object;
use crate::api::condition::{ConditionType, Reason};
use crate::api::docker_host_cert::Mode;
use crate::decide::status::Verdict;
use crate::pki::lifecycle::saturating;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long a companion may take to report a delivery.
pub const REPORT_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// The certificate and the bundle in the Secret, which are to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// SHA-256 of the certificate's DER, in hex.
    pub fingerprint: String,
    /// SHA-256 of the bundle, in hex.
    pub bundle: String,
    /// When the certificate was issued.
    pub issued_at: Timestamp,
}

/// How far a delivery is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryProgress {
    /// For Ready, of type Delivered or Serving; the companion writes the conditions of these types itself. None where
    /// nobody delivers.
    pub verdict: Option<Verdict>,
    /// When a companion that has not reported is late.
    pub requeue_at: Option<Timestamp>,
}

/// How far the delivery of `stored` is at `now`.
pub fn progress(
    object: &Object,
    deliverer: &Deliverer,
    stored: &StoredCertificate,
    now: Timestamp,
) -> DeliveryProgress {
    let verdict = match deliverer {
        Deliverer::Nobody => return DeliveryProgress::default(),
        Deliverer::Refused(problem) => Some(Verdict::new(problem.condition, false, problem.reason, &problem.message)),
        _ => reported(object, deliverer, stored),
    };
    match verdict {
        Some(verdict) => DeliveryProgress { verdict: Some(verdict), requeue_at: None },
        None => waiting(object, deliverer, stored, now),
    }
}

/// What the companion reported of the stored certificate; none where it has not reported it yet.
fn reported(object: &Object, deliverer: &Deliverer, stored: &StoredCertificate) -> Option<Verdict> {
    let (companion, host) = (&object.companion, &object.companion.host);
    if let Some(exposed) = exposure(object, deliverer) {
        return Some(exposed);
    }
    let delivered = current(object, companion.condition(ConditionType::Delivered)?)?;
    if delivered.status != "True" {
        return Some(fault(ConditionType::Delivered, deliverer, delivered));
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
        return Some(fault(ConditionType::Serving, deliverer, serving));
    }
    let served = host.served_fingerprint.as_ref() == Some(&stored.fingerprint);
    served.then(|| Verdict::new(ConditionType::Serving, true, Reason::Serving, &serving.message))
}

/// A port that lets strangers in counts in every mode, and before all that is still to come.
pub fn exposure(object: &Object, deliverer: &Deliverer) -> Option<Verdict> {
    let serving = object.companion.condition(ConditionType::Serving)?;
    let exposed = Reason::parse(&serving.reason).is_some_and(Reason::is_exposure);
    (serving.status != "True" && exposed).then(|| fault(ConditionType::Serving, deliverer, serving))
}

/// A condition about the spec as it is now.
fn current<'a>(object: &Object, condition: &'a Condition) -> Option<&'a Condition> {
    Some(condition).filter(|condition| condition.observed_generation == Some(object.generation))
}

/// The words are the companion's, and are told as such: the host that it runs on may be someone else's by now.
fn fault(type_: ConditionType, deliverer: &Deliverer, condition: &Condition) -> Verdict {
    let unknown = if type_ == ConditionType::Delivered { Reason::NotDelivered } else { Reason::NotServed };
    // A companion of another version may report a reason that is unknown here.
    let (reason, message) = match Reason::parse(&condition.reason) {
        Some(reason) => (reason, condition.message.clone()),
        None => (unknown, format!("{}: {}", condition.reason, condition.message)),
    };
    let message = match deliverer {
        Deliverer::Here => message,
        _ => format!("the companion says: {message}"),
    };
    Verdict::new(type_, false, reason, message)
}

fn waiting(object: &Object, deliverer: &Deliverer, stored: &StoredCertificate, now: Timestamp) -> DeliveryProgress {
    let late = saturating(since(object, stored, now), REPORT_TIMEOUT);
    let who = deliverer.name();
    let verdict = |reason, message| Some(Verdict::new(ConditionType::Delivered, false, reason, message));
    if now < late {
        let message = format!("waiting for {who}");
        return DeliveryProgress { verdict: verdict(Reason::NotDelivered, message), requeue_at: Some(late) };
    }
    let (minutes, remedy) = (REPORT_TIMEOUT.as_mins(), deliverer.remedy());
    let message = format!("{who} has not delivered the stored certificate within {minutes} minutes: {remedy}");
    DeliveryProgress { verdict: verdict(Reason::CompanionSilent, message), requeue_at: None }
}

/// Since when the delivery is waited for: the lastTransitionTime of Ready, so that a restart forgets nothing, see
/// [`begins_to_wait`].
fn since(object: &Object, stored: &StoredCertificate, now: Timestamp) -> Timestamp {
    match last_ready(object).filter(|ready| is_waiting(ready)) {
        Some(ready) => ready.last_transition_time.0.max(stored.issued_at),
        None => now,
    }
}

/// Whether the wait for a delivery begins with this verdict of Ready, which then gets a new lastTransitionTime.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::docker_host_cert::{Delivery, Target};
    use crate::api::{DockerHostCert, DockerHostCertSpec};
    use crate::decide::Problem;
    use crate::decide::status::conditions;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    const ISSUED: &str = "2026-11-22T10:00:00Z";
    const NOW: &str = "2026-11-22T10:00:30Z";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn stored() -> StoredCertificate {
        StoredCertificate { fingerprint: "leaf".into(), bundle: "bundle".into(), issued_at: at(ISSUED) }
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: format!("{type_} says {reason}"),
            observed_generation: Some(3),
            last_transition_time: Time(at(ISSUED)),
        }
    }

    /// Delivered and served, in mode Daemon.
    fn good() -> Object {
        let delivery = Delivery {
            target: Some(Target::Node),
            node_name: Some("pandora".into()),
            mode: Mode::Daemon,
            ..Delivery::default()
        };
        let spec = DockerHostCertSpec { delivery: Some(delivery), ..DockerHostCertSpec::default() };
        let mut object = Object::from(DockerHostCert::new("pandora", spec));
        object.generation = 3;
        object.companion.conditions =
            vec![condition("Delivered", "True", "Delivered"), condition("Serving", "True", "Serving")];
        let host = &mut object.companion.host;
        (host.delivered_fingerprint, host.delivered_bundle) = (Some("leaf".into()), Some("bundle".into()));
        host.served_fingerprint = Some("leaf".into());
        object
    }

    fn files(object: &mut Object) {
        let crate::api::Spec::Host(spec) = &mut object.spec else { unreachable!("it is a host") };
        spec.delivery.as_mut().expect("a delivery").mode = Mode::Files;
    }

    fn says(change: impl FnOnce(&mut Object)) -> String {
        let mut object = good();
        change(&mut object);
        let progress = progress(&object, &Deliverer::asked(&object), &stored(), at(NOW));
        let verdict = progress.verdict.expect("a delivery");
        format!("{}{}", if verdict.holds { "" } else { "-" }, verdict.reason.as_str())
    }

    #[test]
    fn only_what_is_stored_counts_as_delivered_and_served() {
        type Change = fn(&mut Object);
        let table: [(&str, Change); 20] = [
            ("Serving", |_| {}),
            ("-NotDelivered", |object| object.companion = Default::default()),
            ("-NotDelivered", |object| object.companion.host.delivered_fingerprint = Some("older".into())),
            ("-NotDelivered", |object| object.companion.host.delivered_bundle = None),
            ("-NotDelivered", |object| object.companion.host.served_fingerprint = Some("older".into())),
            ("-NotDelivered", |object| object.generation = 4),
            ("-NotDelivered", |object| object.companion.conditions.truncate(1)),
            ("Delivered", |object| (files(object), object.companion.conditions.truncate(1)).0),
            ("Delivered", |object| {
                files(object);
                object.companion.conditions[1] = condition("Serving", "False", "NotServed");
            }),
            ("-NotDelivered", |object| {
                files(object);
                object.companion.host.delivered_fingerprint = None;
            }),
            ("-FileConflict", |object| {
                object.companion.conditions[0] = condition("Delivered", "False", "FileConflict")
            }),
            ("-RestartPending", |object| {
                object.companion.conditions[1] = condition("Serving", "False", "RestartPending");
            }),
            // What it says of a renewal that has not arrived goes before what it says of the one before.
            ("-NotDelivered", |object| {
                object.companion.conditions[1] = condition("Serving", "False", "RestartPending");
                object.companion.host.delivered_fingerprint = Some("older".into());
            }),
            ("-NotDelivered", |object| object.companion.conditions[0] = condition("Delivered", "False", "OfTomorrow")),
            ("-NotServed", |object| object.companion.conditions[1] = condition("Serving", "False", "OfTomorrow")),
            ("-NotServed", |object| object.companion.conditions[1] = condition("Serving", "Unknown", "NotServed")),
            // An open port counts in every mode, whatever else is missing.
            ("-ExposedByOthers", |object| {
                files(object);
                object.companion.conditions[1] = condition("Serving", "False", "ExposedByOthers");
            }),
            ("-ExposedByOthers", |object| {
                object.companion.conditions = vec![condition("Serving", "False", "ExposedByOthers")];
                (object.generation, object.companion.host) = (4, Default::default());
            }),
            ("-ExposureClosed", |object| {
                object.companion.conditions[1] = condition("Serving", "False", "ExposureClosed");
            }),
            // A fault of the spec before is none of the spec now.
            ("-NotDelivered", |object| {
                object.companion.conditions[0] = condition("Delivered", "False", "FileConflict");
                object.generation = 4;
            }),
        ];
        for (number, (expected, change)) in table.into_iter().enumerate() {
            assert_eq!(says(change), expected, "{number}");
        }
    }

    #[test]
    fn nobody_is_waited_for_where_nobody_delivers_and_a_refusal_says_so_at_once() {
        assert_eq!(progress(&good(), &Deliverer::Nobody, &stored(), at(NOW)), DeliveryProgress::default());
        let refusal = Problem::delivery(Reason::NotListed, "words");
        let refused = progress(&good(), &Deliverer::Refused(refusal), &stored(), at(NOW));
        assert_eq!(refused.verdict, Some(Verdict::new(ConditionType::Delivered, false, Reason::NotListed, "words")));
        assert_eq!(refused.requeue_at, None);
    }

    /// Walks an object with a silent companion, as its status remembers it.
    fn step(object: &mut Object, stored: &StoredCertificate, now: &str) -> (String, Option<Timestamp>) {
        let deliverer = Deliverer::asked(object);
        let DeliveryProgress { verdict, requeue_at } = progress(object, &deliverer, stored, at(now));
        let ready = Verdict { condition: ConditionType::Ready, ..verdict.expect("a delivery") };
        let mut before = object.previous.conditions.clone();
        before.retain(|_| !begins_to_wait(object, &ready));
        object.previous.conditions = conditions(std::slice::from_ref(&ready), &before, 3, at(now));
        (ready.reason.as_str().to_owned(), requeue_at)
    }

    #[test]
    fn a_companion_has_ten_minutes_from_when_the_wait_begins() {
        let mut object = good();
        object.companion = Default::default();
        let mut stored = stored();
        // Ready is False for another reason for a day: that is no silence of the companion's.
        object.previous.conditions = vec![condition("Ready", "False", "FileConflict")];
        let late = at("2026-11-23T10:10:00Z");
        let mut walk = |stored: &StoredCertificate, now: &str| step(&mut object, stored, now);
        assert_eq!(walk(&stored, "2026-11-23T10:00:00Z"), ("NotDelivered".into(), Some(late)));
        assert_eq!(walk(&stored, "2026-11-23T10:09:59Z"), ("NotDelivered".into(), Some(late)));
        assert_eq!(walk(&stored, "2026-11-23T10:10:00Z"), ("CompanionSilent".into(), None));
        assert_eq!(walk(&stored, "2026-11-24T10:10:00Z"), ("CompanionSilent".into(), None));
        // A renewal gives it another ten.
        stored.issued_at = at("2026-12-01T00:00:00Z");
        let late = at("2026-12-01T00:10:00Z");
        assert_eq!(walk(&stored, "2026-12-01T00:00:01Z"), ("NotDelivered".into(), Some(late)));
        assert_eq!(walk(&stored, "2026-12-01T00:10:00Z"), ("CompanionSilent".into(), None));
    }

    #[test]
    fn who_is_silent_is_said_with_what_to_look_at() {
        let mut object = good();
        object.companion = Default::default();
        object.previous.conditions = vec![condition("Ready", "False", "NotDelivered")];
        let message = |deliverer: Deliverer| {
            let progress = progress(&object, &deliverer, &stored(), at("2026-11-22T10:10:00Z"));
            progress.verdict.expect("a delivery").message
        };
        let node = message(Deliverer::Node("pandora".into()));
        assert!(node.contains("node pandora") && node.contains("dockseal.dev/companion=true"), "{node}");
        let enrolled = message(Deliverer::Enrolled);
        assert!(enrolled.contains("systemctl status dockseal-companion"), "{enrolled}");
    }
}
