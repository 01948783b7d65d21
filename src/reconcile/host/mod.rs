//! A delivery: a Secret in; files on this host, a dockerd that serves them, and a status out. The same for a companion
//! in a cluster, one outside, and `up --host`. It never touches a host that its caller does not list.

pub mod daemon;
mod daemon_mode;
mod daemon_step;
mod delivery;
mod files;
mod files_mode;
mod removal;

pub use delivery::HostDelivery;

use crate::adapters::Clock;
use crate::adapters::host::Host;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Mode;
use crate::api::status::CompanionStatus;
use crate::decide::host::report::{DeliveryOutcome, report};
use crate::pki::lifecycle::saturating;
use daemon_mode::deliver_to_daemon;
use delivery::{RETRY_INTERVAL, kept, verdict};
use files_mode::deliver_files;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use removal::remove;

/// How often a host is checked for changes that nobody told us of.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// What a delivery ended with.
#[derive(Clone, Debug)]
pub struct DeliveryResult {
    /// What is reported from now on.
    pub status: CompanionStatus,
    /// When to deliver again though nothing changes.
    pub requeue_at: Timestamp,
}

/// Delivers. A failure is in the status.
pub async fn deliver(host: &impl Host, delivery: &HostDelivery, clock: &Clock) -> DeliveryResult {
    let now = clock.now();
    let done = match (delivery.host.removing, delivery.host.delivery.mode) {
        (true, _) => remove(host, delivery, clock).await,
        (false, Mode::Files) => deliver_files(host, delivery, now).await,
        (false, Mode::Daemon) => deliver_to_daemon(host, delivery, now).await,
    };
    let (outcome, requeue_at) = done.unwrap_or_else(|verdict| {
        let again = verdict.reason == Reason::DirectoryUnusable;
        let kept = kept(delivery);
        (DeliveryOutcome { delivered: Some(verdict), ..kept }, again.then(|| saturating(now, RETRY_INTERVAL)))
    });
    let status = report(&outcome, &delivery.previous, delivery.host.generation, now);
    let check = saturating(now, CHECK_INTERVAL);
    DeliveryResult { status, requeue_at: requeue_at.map_or(check, |requeue_at| requeue_at.min(check)) }
}

/// Reports that a host may not be delivered here; nothing is touched.
pub fn refuse(delivery: &HostDelivery, reason: Reason, why: String, clock: &Clock) -> DeliveryResult {
    let now = clock.now();
    let outcome = DeliveryOutcome { delivered: Some(verdict(false, reason, why)), ..kept(delivery) };
    let status = report(&outcome, &delivery.previous, delivery.host.generation, now);
    let interval = if reason == Reason::HostConflict { RETRY_INTERVAL } else { CHECK_INTERVAL };
    DeliveryResult { status, requeue_at: saturating(now, interval) }
}
