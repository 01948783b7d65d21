//! A delivery: a Secret in; files on this host, a dockerd that serves them, and a status out. The same for a companion
//! in a cluster, one outside, and `up --host`. It never touches a host that its caller does not list.

pub mod daemon;
mod daemon_mode;
mod daemon_step;
mod files;
mod files_mode;
mod removal;

use crate::adapters::Clock;
use crate::adapters::host::Host;
use crate::adapters::host::cert_dir::DeliveryError;
use crate::api::AssignedHost;
use crate::api::condition::{ConditionType, Reason};
use crate::api::docker_host_cert::Mode;
use crate::api::status::CompanionStatus;
use crate::decide::host::report::{DeliveryOutcome, report};
use crate::decide::host::{Material, material};
use crate::decide::status::Verdict;
use crate::pki::lifecycle::saturating;
use crate::pki::material::Data;
use daemon_mode::deliver_to_daemon;
use files::{Placed, place};
use files_mode::deliver_files;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use removal::remove;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// How often a host is checked for changes that nobody told us of.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(10);
/// What failed for a reason that may pass is tried again, and dockerd asked again whether it serves.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// A host that is delivered to.
#[derive(Clone, Debug)]
pub struct HostDelivery {
    /// The DockerHostCert and its spec.
    pub host: AssignedHost,
    /// What its Secret holds; None where there is none.
    pub secret: Option<Arc<Data>>,
    /// Directories that may be delivered to.
    pub roots: Vec<PathBuf>,
    /// What was reported before.
    pub previous: CompanionStatus,
    /// This process runs in a container of the host's dockerd.
    pub contained: bool,
    /// Where this process reaches the host, if not on loopback.
    pub address: Option<IpAddr>,
}

/// What a delivery ended with.
#[derive(Clone, Debug)]
pub struct DeliveryResult {
    /// What is reported from now on.
    pub status: CompanionStatus,
    /// When to deliver again though nothing changes.
    pub requeue_at: Timestamp,
}

/// What is reported, and when to deliver again.
type Outcome = Result<(DeliveryOutcome, Option<Timestamp>), Verdict>;

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
pub fn refuse(delivery: &HostDelivery, why: String, clock: &Clock) -> DeliveryResult {
    let now = clock.now();
    let outcome = DeliveryOutcome { delivered: Some(verdict(false, Reason::NotListed, why)), ..kept(delivery) };
    let status = report(&outcome, &delivery.previous, delivery.host.generation, now);
    DeliveryResult { status, requeue_at: saturating(now, CHECK_INTERVAL) }
}

/// What was in place before, where nothing new was delivered.
fn kept(delivery: &HostDelivery) -> DeliveryOutcome {
    let host = &delivery.previous.host;
    DeliveryOutcome {
        in_place: host.delivered_fingerprint.clone().zip(host.delivered_bundle.clone()),
        served: host.served_fingerprint.clone(),
        ..DeliveryOutcome::default()
    }
}

fn verdict(holds: bool, reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict::new(ConditionType::Delivered, holds, reason, message)
}

fn problem(error: DeliveryError) -> Verdict {
    let reason = match error {
        DeliveryError::FileExists(_) | DeliveryError::TakeOver { .. } => Reason::FileConflict,
        DeliveryError::Claimed { .. } => Reason::HostConflict,
        DeliveryError::Outside { .. } => Reason::NotListed,
        _ => Reason::DirectoryUnusable,
    };
    verdict(false, reason, error.to_string())
}

fn read_material(delivery: &HostDelivery, now: Timestamp) -> Result<Material, Verdict> {
    let name = &delivery.host.secret_name;
    let missing = || verdict(false, Reason::SecretMissing, format!("Secret {name} is not there yet"));
    material::read(name, delivery.secret.as_ref().ok_or_else(missing)?, now)
}

fn in_place(material: &Material) -> (String, String) {
    (material.certificate.fingerprint(), material.bundle_digest())
}

/// Places the files, and gives the directory back.
async fn place_files<H: Host>(
    directory: H::Directory,
    delivery: &HostDelivery,
    material: &Material,
    now: Timestamp,
) -> Result<(H::Directory, Placed), Verdict> {
    let (host, material) = (delivery.host.clone(), material.clone());
    blocking(move || place(&directory, &host, &material, now).map(|placed| (directory, placed))).await
}

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
