//! A Docker host as it was observed: facts for the plan, without a decision.

use super::daemon_config::{DaemonFiles, ExistingConfig};
use super::daemon_state::Stage;
use super::old_trust::OldTrust;
use crate::docker::engine::Engine;
use crate::pki::Certificate;
use k8s_openapi::jiff::Timestamp;
use std::net::SocketAddr;

/// What answers on an address that dockerd should serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerState {
    /// The address that was asked.
    pub address: SocketAddr,
    /// This host does not have the address now.
    pub absent: bool,
    /// Fingerprint of the leaf that was served; none where none was.
    pub leaf: Option<String>,
    /// The generation whose client certificate was accepted.
    pub accepts: Option<u64>,
    /// Why no request was answered.
    pub error: Option<String>,
}

/// The files that dockerd is to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedFiles {
    /// The generation that holds them.
    pub generation: u64,
    /// Fingerprint of the host's leaf.
    pub leaf: String,
    /// The authorities that dockerd should trust.
    pub anchors: Vec<Certificate>,
}

/// A Docker host as it was observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedDaemon {
    /// The configuration that others wrote.
    pub found: ExistingConfig,
    /// Our files as they are, and daemon.json.
    pub written: DaemonFiles,
    /// docker.service is active.
    pub running: bool,
    /// When the dockerd that runs was started.
    pub started: Option<Timestamp>,
    /// systemd has not read all unit files.
    pub stale: bool,
    /// The binary that guards dockerd is installed.
    pub guarded: bool,
    /// The answer of `GET /info`; none where dockerd does not answer.
    pub engine: Option<Engine>,
    /// TCP listeners that answer without a certificate.
    pub exposed: Vec<SocketAddr>,
    /// TCP listeners that dockerd should have, of which it is not certain that they refuse such clients, and why.
    pub uncertain: Vec<(SocketAddr, String)>,
    /// Where dockerd refuses the clients of the authority that signed the leaf, and why.
    pub refused_authority: Option<(SocketAddr, String)>,
    /// What answers on each address that dockerd should serve.
    pub listeners: Vec<ListenerState>,
    /// The generation that `current` names.
    pub current: Option<u64>,
    /// The files that dockerd should serve.
    pub files: Option<WantedFiles>,
    /// The authorities that dockerd has loaded, where that is known.
    pub loaded: Option<Vec<Certificate>>,
    /// Whose clients dockerd admits by what others configured.
    pub old_trust: OldTrust,
    /// When the certificate that is served ends.
    pub served_until: Option<Timestamp>,
    /// dockerd runs this node's pods.
    pub kubelet: bool,
    /// systemd failed to start dockerd.
    pub failed: bool,
    /// The stage of a change that has begun and not ended.
    pub unfinished: Option<Stage>,
}
