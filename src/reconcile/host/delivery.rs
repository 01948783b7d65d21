//! A delivery and its outcome, as the two modes and the removal share them: a Secret in, material and verdicts out.

use crate::adapters::host::cert_dir::DeliveryError;
use crate::api::AssignedHost;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::CompanionStatus;
use crate::decide::host::report::DeliveryOutcome;
use crate::decide::host::{Material, material};
use crate::decide::status::Verdict;
use crate::pki::material::Data;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What failed for a reason that may pass is tried again, and dockerd asked again whether it serves.
pub(super) const RETRY_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

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

/// What is reported, and when to deliver again.
pub(super) type Outcome = Result<(DeliveryOutcome, Option<Timestamp>), Verdict>;

/// What was in place before, where nothing new was delivered.
pub(super) fn kept(delivery: &HostDelivery) -> DeliveryOutcome {
    let host = &delivery.previous.host;
    DeliveryOutcome {
        in_place: host.delivered_fingerprint.clone().zip(host.delivered_bundle.clone()),
        served: host.served_fingerprint.clone(),
        ..DeliveryOutcome::default()
    }
}

pub(super) fn verdict(holds: bool, reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict::new(ConditionType::Delivered, holds, reason, message)
}

pub(super) fn problem(error: DeliveryError) -> Verdict {
    let reason = match error {
        DeliveryError::FileExists(_) | DeliveryError::TakeOver { .. } => Reason::FileConflict,
        DeliveryError::Claimed { .. } | DeliveryError::Held { .. } => Reason::HostConflict,
        DeliveryError::Outside { .. } => Reason::NotListed,
        _ => Reason::DirectoryUnusable,
    };
    verdict(false, reason, error.to_string())
}

pub(super) fn read_material(delivery: &HostDelivery, now: Timestamp) -> Result<Material, Verdict> {
    let name = &delivery.host.secret_name;
    let missing = || verdict(false, Reason::SecretMissing, format!("Secret {name} is not there yet"));
    material::read(name, delivery.secret.as_ref().ok_or_else(missing)?, now)
}

pub(super) fn in_place(material: &Material) -> (String, String) {
    (material.certificate.fingerprint(), material.bundle_digest())
}

/// Runs what blocks on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
