//! A problem: the user must fix something before Dockseal can go on.

use crate::api::condition::{ConditionType, Reason};
use crate::api::{FieldFault, Object};

/// What is wrong, and in which condition it shows. It is a value that reaches the status; nothing is written to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `Accepted` where the spec is at fault, `Issued` where other objects are, `Delivered` where it cannot be delivered.
    pub condition: ConditionType,
    /// Reason of the condition that the problem sets to False.
    pub reason: Reason,
    /// What is wrong, with which object, and what to do.
    pub message: String,
}

impl Problem {
    /// The spec is at fault.
    pub fn spec(reason: Reason, message: impl Into<String>) -> Problem {
        Problem { condition: ConditionType::Accepted, reason, message: message.into() }
    }

    /// The spec could not be read.
    ///
    /// # Errors
    /// The problem of the field at fault.
    pub fn of_reading(object: &Object) -> Result<(), Problem> {
        let Some(FieldFault { field, message, .. }) = &object.fault else { return Ok(()) };
        let message = format!("{field}: {message}; nothing of this object is changed until that is corrected");
        Err(Problem::spec(Reason::InvalidSpec, message))
    }

    /// A field of the spec has a value that cannot be used.
    pub fn field(field: &str, message: impl std::fmt::Display) -> Problem {
        Problem::spec(Reason::InvalidSpec, format!("spec.{field}: {message}"))
    }

    /// Another object is at fault: no certificate can be issued for now.
    pub fn issue(reason: Reason, message: impl Into<String>) -> Problem {
        Problem { condition: ConditionType::Issued, reason, message: message.into() }
    }

    /// A certificate is issued and cannot be delivered for now.
    pub fn delivery(reason: Reason, message: impl Into<String>) -> Problem {
        Problem { condition: ConditionType::Delivered, reason, message: message.into() }
    }
}
