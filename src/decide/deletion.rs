//! What goes with an object: a finalizer where its Secret is to be deleted, and when it lets go.

use crate::api::reference::DeletionPolicy;
use crate::api::{FINALIZER, FORCE_REMOVE_ANNOTATION, Object};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// A finalizer holds an object no longer than this.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// What to do about an object's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: go on with the object.
    Live,
    /// The object lives and its finalizers should be as its policy says.
    SetFinalizer(bool),
    /// The object is being deleted and is none of our business.
    Gone,
    /// Delete its Secret, then let go; with the flag, let go even where that fails.
    DeleteSecret(bool),
    /// It is still used: wait until then at most.
    Wait(Timestamp),
    /// Let go, since its Secret is to stay.
    LetGo,
    /// Let go without having deleted anything, and say so.
    GiveUp,
}

/// Decides at `now`; `in_use` for an authority that still has hosts or clients.
pub fn plan(object: &Object, in_use: bool, now: Timestamp) -> Step {
    let held = object.finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    let wanted = object.deletion_policy() == DeletionPolicy::Delete;
    let Some(deleted) = object.deleted else {
        return if held == wanted { Step::Live } else { Step::SetFinalizer(wanted) };
    };
    let end = crate::pki::lifecycle::saturating(deleted, PATIENCE);
    let last = now >= end || object.annotation(FORCE_REMOVE_ANNOTATION).is_some();
    match (held, in_use) {
        (false, _) => Step::Gone,
        (true, _) if !wanted => Step::LetGo,
        (true, false) => Step::DeleteSecret(last),
        (true, true) if last => Step::GiveUp,
        (true, true) => Step::Wait(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DockerCA, DockerCASpec};

    fn object(policy: DeletionPolicy, held: bool, deleted: Option<i64>, forced: bool) -> Object {
        let mut object = DockerCA::new("ca", DockerCASpec { secret_deletion_policy: policy, ..Default::default() });
        object.metadata.finalizers = held.then(|| vec![FINALIZER.into()]);
        let mut object = Object::from(object);
        object.deleted = deleted.and_then(|second| Timestamp::from_second(second).ok());
        object.annotations.extend(forced.then(|| (FORCE_REMOVE_ANNOTATION.into(), "yes".into())));
        object
    }

    #[test]
    fn every_way_an_object_goes() {
        use DeletionPolicy::{Delete, Retain};
        let now = Timestamp::from_second(1_000_000).unwrap();
        let (lately, long_ago) = (Some(1_000_000 - 60), Some(1_000_000 - 25 * 3600));
        let end = Timestamp::from_second(1_000_000 - 60 + 24 * 3600).unwrap();
        for (object, in_use, expected) in [
            (object(Retain, false, None, false), false, Step::Live),
            (object(Delete, true, None, false), true, Step::Live),
            (object(Delete, false, None, false), false, Step::SetFinalizer(true)),
            (object(Retain, true, None, false), false, Step::SetFinalizer(false)),
            (object(Retain, false, lately, false), false, Step::Gone),
            (object(Retain, true, lately, false), true, Step::LetGo),
            (object(Delete, true, lately, false), false, Step::DeleteSecret(false)),
            (object(Delete, true, long_ago, false), false, Step::DeleteSecret(true)),
            (object(Delete, true, lately, false), true, Step::Wait(end)),
            (object(Delete, true, lately, true), true, Step::GiveUp),
            (object(Delete, true, long_ago, false), true, Step::GiveUp),
        ] {
            assert_eq!(plan(&object, in_use, now), expected, "{object:?}");
        }
    }
}
