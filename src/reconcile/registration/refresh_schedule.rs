//! When the server of one PortainerClient is refreshed next: the result of each refresh in, an instant out. No I/O.

use crate::api::condition::Reason;
use crate::decide::registration::RegistrationProblem;
use crate::decide::registration::backoff::{INTERVAL, LOGIN_RETRY_INTERVAL, retry_delay};
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::Timestamp;

#[derive(Default)]
pub struct RefreshSchedule {
    /// Digest of what the last refresh depended on.
    input: String,
    failures: u32,
    next: Option<Timestamp>,
    /// Since when the credential is refused.
    refused_since: Option<Timestamp>,
}

impl RefreshSchedule {
    pub fn has_input(&self, input: &str) -> bool {
        self.input == input
    }

    /// The input changed, or its time has come.
    pub fn is_due(&self, input: &str, now: Timestamp) -> bool {
        !self.has_input(input) || self.next.is_none_or(|next| now >= next)
    }

    /// The next refresh; `None` for at once.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    pub fn set_next(&mut self, at: Option<Timestamp>) {
        self.next = at;
    }

    /// A credential was refused so long ago that it may be tried again.
    pub fn may_retry_login(&self, now: Timestamp) -> bool {
        self.refused_since.is_some_and(|refused| now >= saturating(refused, LOGIN_RETRY_INTERVAL))
    }

    /// Takes the result of a refresh that began at `now`; returns when the next one is.
    pub fn note(&mut self, result: &Result<(), RegistrationProblem>, input: String, now: Timestamp) -> Timestamp {
        let refused = matches!(result, Err(problem) if problem.reason == Reason::CredentialsRefused);
        let kept = self.refused_since.filter(|_| !self.may_retry_login(now));
        self.refused_since = refused.then(|| kept.unwrap_or(now));
        self.input = input;
        self.failures = if result.is_ok() { 0 } else { self.failures + 1 };
        let delay = result.as_ref().err().map_or(INTERVAL, |problem| retry_delay(problem.reason, self.failures));
        let next = saturating(now, delay);
        self.next = Some(next);
        next
    }
}
