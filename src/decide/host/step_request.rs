//! The request of a companion to the step that configures dockerd, and its result: values without keys. They are stored
//! as JSON: names on disk stay.

use super::daemon_state::Rejected;
use crate::api::AssignedHost;
use crate::api::condition::Reason;
use crate::docker::listen::{Listen, ListenAddressError};
use crate::pki::sha256_hex;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the step must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRequest {
    /// The DockerHostCert and its spec.
    pub host: AssignedHost,
    /// The generation of files that dockerd should serve; none before the first.
    pub files: Option<u64>,
    /// SHA-256 of the keys of the authorities that the host must trust.
    #[serde(default)]
    pub trusts: BTreeSet<String>,
    /// A client certificate of the authority for which nobody has a key, PEM, by which it is proved that dockerd admits the
    /// authority's clients; none where there is none to prove it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The companion runs in a container of this dockerd, and would stop with it.
    pub contained: bool,
}

impl StepRequest {
    /// The digest of the spec, by which [`super::DaemonState`] notices a new one.
    pub fn spec(&self) -> String {
        let host = &self.host;
        let desired = serde_json::to_string(&host.delivery).unwrap_or_default();
        sha256_hex(format!("{} {} {desired}", host.generation, host.port).as_bytes())
    }
}

/// The addresses that a host's dockerd must listen on.
///
/// # Errors
/// [`ListenAddressError`] of the first that cannot be used.
pub fn listen_addresses(host: &AssignedHost) -> Result<Vec<Listen>, ListenAddressError> {
    let daemon = host.delivery.daemon.clone().unwrap_or_default();
    if daemon.listen.is_empty() {
        return Ok(vec![Listen::parse(&host.port.to_string())?]);
    }
    daemon.listen.iter().map(|text| Listen::parse(text)).collect()
}

/// What the step did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The request that is answered.
    #[serde(rename = "order")]
    pub request: StepRequest,
    /// The status of the condition Serving.
    pub holds: bool,
    /// The name of its reason.
    pub reason: String,
    /// The message of the condition.
    pub message: String,
    /// Fingerprint of the leaf that dockerd serves.
    pub served: Option<String>,
    /// The generation whose authorities dockerd has loaded.
    pub loaded: Option<u64>,
    /// The change that was rolled back.
    pub rejected: Option<Rejected>,
    /// When to run the step again though nothing changes.
    #[serde(rename = "wake")]
    pub requeue_at: Option<Timestamp>,
}

impl StepResult {
    /// The reason, where this version knows it.
    pub fn reason(&self) -> Reason {
        Reason::parse(&self.reason).unwrap_or(Reason::NotServed)
    }
}
