//! Turns to restart dockerd: one host of an authority at a time, the one that waits longest first.

use crate::api::condition::{ConditionType, Reason};
use crate::api::{Object, ObjectRef};
use crate::pki::lifecycle::{saturating, whole_seconds};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long a turn lasts.
pub const TURN_DURATION: SignedDuration = SignedDuration::from_mins(10);
/// How much longer it is nobody else's: for a restart that began at its end, and for clocks that differ.
pub const TURN_GRACE: SignedDuration = SignedDuration::from_mins(1);

/// Since when a host waits for a turn, if it does.
pub fn waits_since(object: &Object) -> Option<Timestamp> {
    let serving = object.companion.condition(ConditionType::Serving)?;
    let waits = serving.status == "False" && serving.reason == Reason::AwaitingTurn.as_str();
    waits.then_some(serving.last_transition_time.0)
}

/// The end of a turn that begins now, at a whole second.
pub fn end(now: Timestamp) -> Timestamp {
    whole_seconds(saturating(now, TURN_DURATION))
}

/// When a turn is another's.
pub fn over(turn: Timestamp) -> Timestamp {
    saturating(turn, TURN_GRACE)
}

/// Whether a host keeps the turn that it has.
pub fn keeps(object: &Object, turn: Timestamp, now: Timestamp) -> bool {
    waits_since(object).is_some() && now < over(turn)
}

/// Somebody in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who.
    pub at: ObjectRef,
    /// Since when.
    pub since: Timestamp,
    /// The last turn that it had, in vain.
    pub last: Option<Timestamp>,
}

/// Who is first: whoever had a turn in vain goes to the end.
pub fn first(line: impl IntoIterator<Item = Waiting>) -> Option<ObjectRef> {
    let waiting = line.into_iter().min_by_key(|waiting| (Some(waiting.since).max(waiting.last), waiting.at.clone()));
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
    fn whoever_waits_longest_is_first_and_whoever_had_a_turn_in_vain_goes_to_the_end() {
        let waiting = |name: &str, since: i64, last: Option<i64>| Waiting {
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
