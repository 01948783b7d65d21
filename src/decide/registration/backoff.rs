//! A reason and a number of failures in, the delay until the next attempt out: longer each time, and longest where each
//! attempt leaves a private key on Portainer's disk.

pub use crate::decide::delays::{LOGIN_RETRY_INTERVAL, PORTAINER_INTERVAL as INTERVAL};

use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::decide::delays::{CREATE_BACKOFF, LOGIN_BAN_BACKOFF, PORTAINER_BACKOFF};
use k8s_openapi::jiff::SignedDuration;

/// The delay after the `failures`th failure in a row, counted from 1, for that reason.
pub fn retry_delay(reason: Reason, failures: u32) -> SignedDuration {
    let backoff = match reason {
        Reason::EnvironmentUnreachable => CREATE_BACKOFF,
        Reason::LoginBanned => LOGIN_BAN_BACKOFF,
        Reason::CredentialsRefused => return LOGIN_RETRY_INTERVAL,
        _ => PORTAINER_BACKOFF,
    };
    SignedDuration::try_from(backoff.delay(failures)).unwrap_or(SignedDuration::MAX)
}

/// The delay after a sync with that report. If the environment exists, a retry leaves no key.
pub fn after_sync(report: &EnvironmentReport, failures: u32) -> SignedDuration {
    match Reason::parse(&report.reason).unwrap_or(Reason::NotRegistered) {
        Reason::EnvironmentUnreachable if report.id.is_some() => retry_delay(Reason::HostUnreachable, failures),
        reason => retry_delay(reason, failures),
    }
}
