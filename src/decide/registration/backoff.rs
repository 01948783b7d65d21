//! When what failed is tried again: later each time, and latest where each try leaves a key on Portainer's disk.

pub use crate::decide::delays::{LOGIN_RETRY_INTERVAL, PORTAINER_INTERVAL as INTERVAL};

use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::decide::delays::{CREATE_BACKOFF, LOGIN_BAN_BACKOFF, PORTAINER_BACKOFF};
use k8s_openapi::jiff::SignedDuration;

/// How long to wait after the `failures`th failure in a row, from 1, for that reason.
pub fn retry_delay(reason: Reason, failures: u32) -> SignedDuration {
    let backoff = match reason {
        Reason::EnvironmentUnreachable => CREATE_BACKOFF,
        Reason::LoginBanned => LOGIN_BAN_BACKOFF,
        Reason::CredentialsRefused => return LOGIN_RETRY_INTERVAL,
        _ => PORTAINER_BACKOFF,
    };
    SignedDuration::try_from(backoff.delay(failures)).unwrap_or(SignedDuration::MAX)
}

/// The same after a visit that ended so. One for an environment that is there makes none, and leaves no key.
pub fn after_visit(report: &EnvironmentReport, failures: u32) -> SignedDuration {
    match Reason::parse(&report.reason).unwrap_or(Reason::NotRegistered) {
        Reason::EnvironmentUnreachable if report.id.is_some() => retry_delay(Reason::HostUnreachable, failures),
        reason => retry_delay(reason, failures),
    }
}
