//! Turns to restart dockerd: the hosts of an authority that wait come in, the next one goes out. One host restarts at a
//! time, the one that waits longest first.

use crate::api::condition::{ConditionType, Reason};
use crate::api::{Object, ObjectRef};
use crate::pki::lifecycle::{saturating, whole_seconds};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long a turn lasts.
pub const TURN_DURATION: SignedDuration = SignedDuration::from_mins(10);
/// After the end of a turn, before the next host gets one: a restart may have begun at the end, and clocks differ.
pub const TURN_GRACE: SignedDuration = SignedDuration::from_mins(1);

/// Since when a host waits for a turn; none where it does not.
pub fn waits_since(object: &Object) -> Option<Timestamp> {
    let serving = object.companion.condition(ConditionType::Serving)?;
    let waits = serving.status == "False" && serving.reason == Reason::AwaitingTurn.as_str();
    waits.then_some(serving.last_transition_time.0)
}

/// The end of a turn that begins now, at a whole second.
pub fn end(now: Timestamp) -> Timestamp {
    whole_seconds(saturating(now, TURN_DURATION))
}

/// When another host may have the turn after the one that ends at `turn`.
pub fn over(turn: Timestamp) -> Timestamp {
    saturating(turn, TURN_GRACE)
}

/// Whether a host keeps its turn, which ends at `turn`.
pub fn keeps(object: &Object, turn: Timestamp, now: Timestamp) -> bool {
    waits_since(object).is_some() && now < over(turn)
}

/// A host that waits for a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The DockerHostCert.
    pub at: ObjectRef,
    /// Since when it waits.
    pub since: Timestamp,
    /// When it last had a turn that it did not use.
    pub last: Option<Timestamp>,
}

/// The next host: one that did not use its turn goes to the end of the queue.
pub fn first(queue: impl IntoIterator<Item = Waiting>) -> Option<ObjectRef> {
    let waiting = queue.into_iter().min_by_key(|waiting| (Some(waiting.since).max(waiting.last), waiting.at.clone()));
    waiting.map(|waiting| waiting.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DockerHostCert, DockerHostCertSpec, Kind};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("an instant")
    }

    fn host(reason: &str) -> Object {
        let mut object = Object::from(DockerHostCert::new("pandora", DockerHostCertSpec::default()));
        object.companion.conditions = vec![Condition {
            type_: "Serving".into(),
            status: if reason == "Serving" { "True" } else { "False" }.into(),
            reason: reason.into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(at(0)),
        }];
        object
    }

    #[test]
    fn a_turn_is_kept_while_it_is_waited_for_and_no_longer_than_it_lasts() {
        let turn = end(at(0));
        assert_eq!(turn, at(600));
        for (reason, now, expected) in [
            ("AwaitingTurn", at(0), true),
            ("AwaitingTurn", at(659), true),
            ("AwaitingTurn", at(660), false),
            ("Serving", at(1), false),
            ("RolledBack", at(1), false),
        ] {
            assert_eq!(keeps(&host(reason), turn, now), expected, "{reason} at {now}");
        }
        assert_eq!(waits_since(&host("AwaitingTurn")), Some(at(0)));
        assert_eq!(waits_since(&host("RestartPending")), None);
    }

    #[test]
    fn the_host_that_waits_longest_is_first_and_one_that_did_not_use_its_turn_last() {
        let waiting = |name: &'static str, since: i64, last: Option<i64>| Waiting {
            at: ObjectRef::new(Kind::DockerHostCert, "home", name),
            since: at(since),
            last: last.map(at),
        };
        let name = |line: Vec<Waiting>| first(line).map(|at| at.name.to_string());
        assert_eq!(name(vec![]), None);
        assert_eq!(name(vec![waiting("b", 2, None), waiting("a", 3, None)]).as_deref(), Some("b"));
        assert_eq!(name(vec![waiting("b", 2, None), waiting("a", 2, None)]).as_deref(), Some("a"));
        assert_eq!(name(vec![waiting("b", 2, Some(9)), waiting("a", 3, None)]).as_deref(), Some("a"));
        assert_eq!(name(vec![waiting("b", 2, Some(9)), waiting("a", 3, Some(10))]).as_deref(), Some("b"));
    }
}
