//! What goes with an object: a finalizer where something is to be deleted with it, and when it lets go.

use super::delivery::{Deliverer, progress};
use crate::api::condition::{ConditionType, Reason};
use crate::api::reference::DeletionPolicy;
use crate::api::{FINALIZER, FORCE_REMOVE_ANNOTATION, Object};
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// A finalizer holds an object no longer than this.
pub const FINALIZER_TIMEOUT: SignedDuration = SignedDuration::from_hours(24);

/// What to do about an object's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionStep {
    /// Nothing: go on with the object.
    Live,
    /// The object lives and its finalizers should be as its policies say.
    SetFinalizer(bool),
    /// The object is being deleted and is none of our business.
    Gone,
    /// Delete its Secret, then let go; with the flag, let go even where that fails.
    DeleteSecret(bool),
    /// It is still used: wait until then at most.
    Wait(Timestamp),
    /// What was delivered goes first: wait until then at most for its companion to say so.
    WaitForHost(Timestamp),
    /// Its environments go first: wait until then at most.
    WaitForPortainer(Timestamp),
    /// Let go, since its Secret is to stay.
    LetGo,
    /// Let go without having deleted anything, and say so.
    GiveUp,
}

/// The step, and what is left undone before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionPlan {
    /// The one step to apply now.
    pub step: DeletionStep,
    /// What was delivered should have gone, and stays.
    pub abandons: bool,
    /// Environments should have gone, and stay.
    pub orphans: bool,
}

impl From<DeletionStep> for DeletionPlan {
    fn from(step: DeletionStep) -> DeletionPlan {
        DeletionPlan { step, abandons: false, orphans: false }
    }
}

/// What else an object's end depends on.
#[derive(Clone, Copy, Debug)]
pub struct DeletionBlockers<'a> {
    /// Of an authority: it still has hosts or clients.
    pub in_use: bool,
    /// Of a host: who brings its certificate there.
    pub deliverer: &'a Deliverer,
    /// Environments in Portainer go with it.
    pub deregisters: bool,
    /// Some of them are still there.
    pub registered: bool,
}

impl Default for DeletionBlockers<'_> {
    fn default() -> Self {
        DeletionBlockers { in_use: false, deliverer: &Deliverer::Nobody, deregisters: false, registered: false }
    }
}

/// Decides what becomes of an object that is being deleted.
pub fn plan(object: &Object, blockers: &DeletionBlockers<'_>, now: Timestamp) -> DeletionPlan {
    let held = object.finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    let secret = object.deletion_policy() == DeletionPolicy::Delete;
    let wanted = secret || removes_delivery(object) || blockers.deregisters;
    let Some(deleted) = object.deleted else {
        return if held == wanted { DeletionStep::Live } else { DeletionStep::SetFinalizer(wanted) }.into();
    };
    if !held {
        return DeletionStep::Gone.into();
    }
    let end = saturating(deleted, FINALIZER_TIMEOUT);
    let last = now >= end || object.annotation(FORCE_REMOVE_ANNOTATION).is_some();
    if blockers.registered && !last {
        return DeletionStep::WaitForPortainer(end).into();
    }
    let left = what_is_left(object, blockers.deliverer);
    let until = left.map(|left| saturating(deleted, left.patience));
    if let Some(until) = until.filter(|until| !last && now < *until) {
        return DeletionStep::WaitForHost(until).into();
    }
    let step = match blockers.in_use {
        _ if !secret => DeletionStep::LetGo,
        false => DeletionStep::DeleteSecret(last),
        true if last => DeletionStep::GiveUp,
        true => DeletionStep::Wait(end),
    };
    DeletionPlan { step, abandons: left.is_some_and(|left| left.reported), orphans: blockers.registered }
}

fn removes_delivery(object: &Object) -> bool {
    let delivery = object.delivery().filter(|delivery| delivery.target.is_some());
    delivery.is_some_and(|delivery| delivery.deletion_policy == DeletionPolicy::Delete)
}

/// Something that should go and has not gone yet.
#[derive(Clone, Copy)]
struct Left {
    /// How long to wait for it, from when the object was deleted.
    patience: SignedDuration,
    /// The companion said once that it is there, or why it is not.
    reported: bool,
}

/// What was delivered and not removed. A companion that never said anything is not there, and one whose account cannot
/// be kept, since the namespace may be going, cannot say anything: those get as long as for a delivery.
fn what_is_left(object: &Object, deliverer: &Deliverer) -> Option<Left> {
    let delivered = object.companion.condition(ConditionType::Delivered);
    let removed = delivered.is_some_and(|said| said.status == "False" && said.reason == Reason::Removed.as_str());
    if removed || !removes_delivery(object) {
        return None;
    }
    let reported = delivered.is_some();
    let patience = match deliverer {
        Deliverer::Node(_) | Deliverer::Enrolled if reported => FINALIZER_TIMEOUT,
        Deliverer::Node(_) | Deliverer::Enrolled => progress::REPORT_TIMEOUT,
        Deliverer::Refused(problem) if problem.reason == Reason::StoreFailed => progress::REPORT_TIMEOUT,
        _ => SignedDuration::ZERO, // no companion is told of it
    };
    Some(Left { patience, reported })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::docker_host_cert::{Delivery, Target};
    use crate::api::{DockerCA, DockerCASpec, DockerHostCert, DockerHostCertSpec, Spec};
    use crate::decide::Problem;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    const NOW: i64 = 1_000_000;
    const LATELY: Option<i64> = Some(NOW - 60);
    const LONG_AGO: Option<i64> = Some(NOW - 25 * 3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("an instant")
    }

    fn marked(mut object: Object, held: bool, deleted: Option<i64>, forced: bool) -> Object {
        object.finalizers = held.then(|| FINALIZER.into()).into_iter().collect();
        object.deleted = deleted.map(at);
        object.annotations.extend(forced.then(|| (FORCE_REMOVE_ANNOTATION.into(), "yes".into())));
        object
    }

    fn object(policy: DeletionPolicy, held: bool, deleted: Option<i64>, forced: bool) -> Object {
        let ca = DockerCA::new("ca", DockerCASpec { secret_deletion_policy: policy, ..Default::default() });
        marked(Object::from(ca), held, deleted, forced)
    }

    #[test]
    fn every_way_an_object_goes() {
        use DeletionPolicy::{Delete, Retain};
        let end = at(NOW - 60 + 24 * 3600);
        for (object, in_use, expected) in [
            (object(Retain, false, None, false), false, DeletionStep::Live),
            (object(Delete, true, None, false), true, DeletionStep::Live),
            (object(Delete, false, None, false), false, DeletionStep::SetFinalizer(true)),
            (object(Retain, true, None, false), false, DeletionStep::SetFinalizer(false)),
            (object(Retain, false, LATELY, false), false, DeletionStep::Gone),
            (object(Retain, true, LATELY, false), true, DeletionStep::LetGo),
            (object(Delete, true, LATELY, false), false, DeletionStep::DeleteSecret(false)),
            (object(Delete, true, LONG_AGO, false), false, DeletionStep::DeleteSecret(true)),
            (object(Delete, true, LATELY, false), true, DeletionStep::Wait(end)),
            (object(Delete, true, LATELY, true), true, DeletionStep::GiveUp),
            (object(Delete, true, LONG_AGO, false), true, DeletionStep::GiveUp),
        ] {
            let blockers = DeletionBlockers { in_use, ..DeletionBlockers::default() };
            assert_eq!(plan(&object, &blockers, at(NOW)), DeletionPlan::from(expected), "{object:?}");
        }
    }

    fn node() -> Deliverer {
        Deliverer::Node("pandora".into())
    }

    /// A host of which the companion says that, and whose delivery is to go with it.
    fn host(secret: DeletionPolicy, said: Option<(&str, Reason)>, deleted: Option<i64>, forced: bool) -> Object {
        let delivery = Delivery {
            target: Some(Target::Node),
            node_name: Some("pandora".into()),
            deletion_policy: DeletionPolicy::Delete,
            ..Delivery::default()
        };
        let spec =
            DockerHostCertSpec { delivery: Some(delivery), secret_deletion_policy: secret, ..Default::default() };
        let mut host = Object::from(DockerHostCert::new("pandora", spec));
        host.companion.conditions.extend(said.map(|(status, reason)| Condition {
            type_: "Delivered".into(),
            status: status.into(),
            reason: reason.as_str().into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }));
        marked(host, true, deleted, forced)
    }

    #[test]
    fn environments_go_first_and_no_longer_than_a_day() {
        use DeletionPolicy::{Delete, Retain};
        let blockers = |registered| DeletionBlockers { deregisters: true, registered, ..DeletionBlockers::default() };
        let end = at(NOW - 60 + 24 * 3600);
        for (object, registered, step, orphans) in [
            (object(Retain, false, None, false), true, DeletionStep::SetFinalizer(true), false),
            (object(Retain, true, None, false), true, DeletionStep::Live, false),
            (object(Retain, true, LATELY, false), true, DeletionStep::WaitForPortainer(end), false),
            (object(Delete, true, LATELY, false), true, DeletionStep::WaitForPortainer(end), false),
            (object(Delete, true, LATELY, false), false, DeletionStep::DeleteSecret(false), false),
            (object(Retain, true, LONG_AGO, false), true, DeletionStep::LetGo, true),
            (object(Delete, true, LATELY, true), true, DeletionStep::DeleteSecret(true), true),
        ] {
            let expected = DeletionPlan { step, abandons: false, orphans };
            assert_eq!(plan(&object, &blockers(registered), at(NOW)), expected, "{object:?}");
        }
    }

    #[test]
    fn what_was_delivered_goes_before_the_secret() {
        use DeletionPolicy::{Delete, Retain};
        let (there, removed) = (Some(("True", Reason::Delivered)), Some(("False", Reason::Removed)));
        let broken = Some(("False", Reason::DirectoryUnusable));
        let (day, soon) = (at(NOW - 60 + 24 * 3600), at(NOW - 60 + 600));
        let refused = |reason| Deliverer::Refused(Problem::delivery(reason, "words"));
        for (host, deliverer, expected, abandons) in [
            (host(Retain, there, None, false), node(), DeletionStep::Live, false),
            (host(Delete, there, LATELY, false), node(), DeletionStep::WaitForHost(day), false),
            (host(Retain, broken, LATELY, false), node(), DeletionStep::WaitForHost(day), false),
            (host(Delete, None, LATELY, false), node(), DeletionStep::WaitForHost(soon), false),
            (host(Retain, None, Some(NOW - 600), false), node(), DeletionStep::LetGo, false),
            (host(Delete, removed, LATELY, false), node(), DeletionStep::DeleteSecret(false), false),
            (host(Retain, removed, LATELY, false), node(), DeletionStep::LetGo, false),
            (host(Delete, there, LATELY, true), node(), DeletionStep::DeleteSecret(true), true),
            (host(Retain, there, LONG_AGO, false), node(), DeletionStep::LetGo, true),
            // No companion is told of it, so nothing can be removed.
            (host(Retain, there, LATELY, false), refused(Reason::NotListed), DeletionStep::LetGo, true),
            (host(Retain, None, LATELY, false), refused(Reason::NotListed), DeletionStep::LetGo, false),
            // Its account cannot be kept for a moment, or for good.
            (host(Retain, there, LATELY, false), refused(Reason::StoreFailed), DeletionStep::WaitForHost(soon), false),
            (host(Retain, there, Some(NOW - 600), false), refused(Reason::StoreFailed), DeletionStep::LetGo, true),
        ] {
            let blockers = DeletionBlockers { deliverer: &deliverer, ..DeletionBlockers::default() };
            let expected = DeletionPlan { step: expected, abandons, orphans: false };
            assert_eq!(plan(&host, &blockers, at(NOW)), expected, "{host:?}");
        }
        let mut without = host(Retain, there, None, false);
        let Spec::Host(spec) = &mut without.spec else { unreachable!("it is a host") };
        spec.delivery = None;
        assert_eq!(
            plan(&without, &DeletionBlockers::default(), at(NOW)),
            DeletionPlan::from(DeletionStep::SetFinalizer(false))
        );
    }
}
