//! Why a host is not registered, as a value for the status.

use crate::api::condition::Reason;

/// Why a host is not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationProblem {
    /// Reason of the condition Registered.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl RegistrationProblem {
    /// A problem of that reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> RegistrationProblem {
        RegistrationProblem { reason, message: message.into() }
    }
}
