//! What a companion reports: the outcome of a delivery in, its part of the status out. It publishes nothing.

use super::material::Material;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::{CompanionStatus, HostReport};
use crate::decide::status::{Verdict, conditions};
use crate::docker::exposure::Stranger;
use crate::pki::lifecycle::whole_seconds;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::net::SocketAddr;

/// The outcome of a delivery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryOutcome {
    /// Fingerprint of the leaf and digest of the bundle on the host.
    pub in_place: Option<(String, String)>,
    /// Fingerprint of the leaf that dockerd serves.
    pub served: Option<String>,
    /// The verdict of the condition Delivered.
    pub delivered: Option<Verdict>,
    /// The verdict of the condition Serving.
    pub serving: Option<Verdict>,
}

/// Delivered=True.
pub fn delivered(directory: &str, material: &Material) -> Verdict {
    let message = format!("{directory} holds the certificate, valid until {}", material.certificate.not_after);
    Verdict::new(ConditionType::Delivered, true, Reason::Delivered, message)
}

/// Serving=False with a reason and a message.
pub fn serving(reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict::new(ConditionType::Serving, false, reason, message)
}

/// Serving=False: a listener that is not ours to close lets strangers in.
pub fn exposed(address: SocketAddr, stranger: Stranger) -> Verdict {
    let message = format!(
        "{address} answers {}: whoever reaches it has root rights on this host. {}",
        stranger.clients(),
        stranger.remedy()
    );
    serving(Reason::ExposedByOthers, message)
}

/// Serving=False: it could not be found out whether dockerd refuses strangers.
pub fn uncertain_exposure(address: SocketAddr, why: &str) -> Verdict {
    let message = format!(
        "dockerd serves {address}, but whether it refuses clients without a certificate is not certain ({why}); it is \
         asked again in a minute. If this stays, look for a proxy or a firewall before that port, and at dockerd's log"
    );
    serving(Reason::NotServed, message)
}

/// Serving=False: dockerd serves the certificate, and refuses the clients of its authority.
pub fn authority_refused(address: SocketAddr, why: &str) -> Verdict {
    let message = format!(
        "dockerd on {address} serves the certificate, but refuses the clients of the authority that signed it ({why}): its \
         ca.pem lacks that authority, or Docker does not accept the authority's certificate. Renew the authority, which \
         keeps its key (dockseal renew DockerCA/NAME), then restart dockerd"
    );
    serving(Reason::NotServed, message)
}

/// The report. An instant stays as long as the value that it belongs to.
pub fn report(
    outcome: &DeliveryOutcome,
    previous: &CompanionStatus,
    generation: i64,
    now: Timestamp,
) -> CompanionStatus {
    let verdicts: Vec<Verdict> = outcome.delivered.iter().chain(&outcome.serving).cloned().collect();
    let second = Time(whole_seconds(now));
    let before = &previous.host;
    let (leaf, bundle) = outcome.in_place.clone().unzip();
    let same_files = before.delivered_fingerprint == leaf && before.delivered_bundle == bundle;
    let same_served = before.served_fingerprint == outcome.served;
    let since = |same: bool, there: bool, at: &Option<Time>| {
        let kept = at.clone().filter(|_| same);
        there.then(|| kept.unwrap_or_else(|| second.clone()))
    };
    let host = HostReport {
        delivered_at: since(same_files, leaf.is_some(), &before.delivered_at),
        served_at: since(same_served, outcome.served.is_some(), &before.served_at),
        delivered_fingerprint: leaf,
        delivered_bundle: bundle,
        served_fingerprint: outcome.served.clone(),
    };
    let conditions = conditions(&verdicts, &previous.conditions, generation, now);
    CompanionStatus { host, conditions, environments: previous.environments.clone() }
}
