//! What is told to an object's user once, as a Kubernetes Event.

use super::condition::Reason;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEvent {
    /// Type `Warning` of the Event, else `Normal`.
    pub warning: bool,
    /// Reason of the Event.
    pub reason: Reason,
    /// Note of the Event: what happened and, of a warning, what to do.
    pub message: String,
}
