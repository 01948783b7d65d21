//! When what failed is tried again: later each time, and latest where each try leaves a key on Portainer's disk.

use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use k8s_openapi::jiff::SignedDuration;

/// How often a server is looked at where nothing changes.
pub const INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// A credential that was refused is not tried again sooner, unless its Secret changes: too many logins are a ban.
pub const LOGIN_RETRY_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// How long to wait after the `failures`th failure in a row, from 1, for that reason.
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

/// The same after a visit that ended so. One for an environment that is there makes none, and leaves no key.
pub fn after_visit(report: &EnvironmentReport, failures: u32) -> SignedDuration {
    match Reason::parse(&report.reason).unwrap_or(Reason::NotRegistered) {
        Reason::EnvironmentUnreachable if report.id.is_some() => retry_delay(Reason::HostUnreachable, failures),
        reason => retry_delay(reason, failures),
    }
}

fn doubled(first: SignedDuration, longest: SignedDuration, failures: u32) -> SignedDuration {
    let doubled = first.as_secs().saturating_mul(1 << failures.saturating_sub(1).min(12));
    SignedDuration::from_secs(doubled).min(longest)
}
