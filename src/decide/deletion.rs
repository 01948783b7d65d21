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
    /// Delete its Secret, then let go.
    DeleteSecret,
    /// It is still used: wait until then at most.
    Wait(Timestamp),
    /// Let go without having deleted anything.
    LetGo,
}

/// Decides at `now`; `in_use` for an authority that still has hosts or clients.
pub fn plan(object: &Object, in_use: bool, now: Timestamp) -> Step {
    let held = object.finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    let wanted = object.deletion_policy() == DeletionPolicy::Delete;
    let Some(deleted) = object.deleted else {
        return if held == wanted { Step::Live } else { Step::SetFinalizer(wanted) };
    };
    let end = crate::pki::lifecycle::saturating(deleted, PATIENCE);
    match (held, in_use) {
        (false, _) => Step::Gone,
        (true, _) if !wanted => Step::LetGo,
        (true, false) => Step::DeleteSecret,
        (true, true) if now >= end || object.annotation(FORCE_REMOVE_ANNOTATION).is_some() => Step::LetGo,
        (true, true) => Step::Wait(end),
    }
}
