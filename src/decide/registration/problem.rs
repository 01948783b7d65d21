//! Why a host is not registered, as a value that walks on to the status.

use crate::api::condition::Reason;

/// Why a host is not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationProblem {
    /// The reason.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl RegistrationProblem {
    /// That reason, in words.
    pub fn new(reason: Reason, message: impl Into<String>) -> RegistrationProblem {
        RegistrationProblem { reason, message: message.into() }
    }
}
