//! What a companion asks of the step that works on dockerd, and what it hears back: plain values, no keys.

use super::daemon_state::Rejected;
use crate::api::AssignedHost;
use crate::api::condition::Reason;
use crate::docker::listen::{Listen, ListenAddressError};
use crate::pki::sha256_hex;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRequest {
    /// The DockerHostCert and its wishes.
    pub host: AssignedHost,
    /// The generation of files that dockerd should serve; none while there is none.
    pub files: Option<u64>,
    /// SHA-256 of the keys that the host is to trust.
    #[serde(default)]
    pub trusts: BTreeSet<String>,
    /// The companion itself runs in a container of this dockerd, and would end with it.
    pub contained: bool,
}

impl StepRequest {
    /// What tells one spec from another: what is remembered against one is not held against the next.
    pub fn spec(&self) -> String {
        let host = &self.host;
        let desired = serde_json::to_string(&host.delivery).unwrap_or_default();
        sha256_hex(format!("{} {} {desired}", host.generation, host.port).as_bytes())
    }
}

/// Addresses that a host's dockerd is to listen on.
///
/// # Errors
/// [`ListenError`] of the first that is none.
pub fn listen_addresses(host: &AssignedHost) -> Result<Vec<Listen>, ListenAddressError> {
    let daemon = host.delivery.daemon.clone().unwrap_or_default();
    if daemon.listen.is_empty() {
        return Ok(vec![Listen::parse(&host.port.to_string())?]);
    }
    daemon.listen.iter().map(|text| Listen::parse(text)).collect()
}

/// What is heard back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The order that is answered.
    #[serde(rename = "order")]
    pub request: StepRequest,
    /// Serving: holds, reason, message.
    pub holds: bool,
    /// Its reason, by name.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// Fingerprint of the leaf that dockerd serves.
    pub served: Option<String>,
    /// Generation whose trust dockerd loaded.
    pub loaded: Option<u64>,
    /// What was tried, did not work and was taken back.
    pub rejected: Option<Rejected>,
    /// When to ask again though nothing changes.
    #[serde(rename = "wake")]
    pub requeue_at: Option<Timestamp>,
}

impl StepResult {
    /// The reason, where this version knows it.
    pub fn reason(&self) -> Reason {
        Reason::parse(&self.reason).unwrap_or(Reason::NotServed)
    }
}
