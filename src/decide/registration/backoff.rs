//! A reason and a number of failures in, the delay until the next attempt out: longer each time, and longest where each
//! attempt leaves a private key on Portainer's disk.

use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use k8s_openapi::jiff::SignedDuration;

/// How often a server is refreshed if nothing changes.
pub const INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// A refused credential is not tried again sooner, unless its Secret changes: Portainer bans an address after too many
/// logins.
pub const LOGIN_RETRY_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// The delay after the `failures`th failure in a row, counted from 1, for that reason.
pub fn retry_delay(reason: Reason, failures: u32) -> SignedDuration {
    let (first, longest) = match reason {
        // Each failed creation leaves a private key on Portainer's disk, which nothing removes.
        Reason::EnvironmentUnreachable => (SignedDuration::from_mins(2), SignedDuration::from_hours(1)),
        // Portainer bans for an hour.
        Reason::LoginBanned => (SignedDuration::from_mins(65), SignedDuration::from_mins(65)),
        Reason::CredentialsRefused => (LOGIN_RETRY_INTERVAL, LOGIN_RETRY_INTERVAL),
        _ => (SignedDuration::from_secs(15), INTERVAL),
    };
    doubled(first, longest, failures)
}

/// The delay after a sync with that report. If the environment exists, a retry leaves no key.
pub fn after_sync(report: &EnvironmentReport, failures: u32) -> SignedDuration {
    match Reason::parse(&report.reason).unwrap_or(Reason::NotRegistered) {
        Reason::EnvironmentUnreachable if report.id.is_some() => retry_delay(Reason::HostUnreachable, failures),
        reason => retry_delay(reason, failures),
    }
}

fn doubled(first: SignedDuration, longest: SignedDuration, failures: u32) -> SignedDuration {
    let doubled = first.as_secs().saturating_mul(1 << failures.saturating_sub(1).min(12));
    SignedDuration::from_secs(doubled).min(longest)
}
