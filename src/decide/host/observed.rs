//! A Docker host as it was observed: facts for the plan, without a decision.

use super::daemon_config::{DaemonFiles, ExistingConfig};
use super::daemon_state::Stage;
use crate::docker::engine::Engine;
use crate::pki::Certificate;
use k8s_openapi::jiff::Timestamp;
use std::net::SocketAddr;

/// An address that dockerd should serve, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerState {
    /// The address.
    pub address: SocketAddr,
    /// It is none of this host's at the moment.
    pub absent: bool,
    /// Fingerprint of the leaf that was served.
    pub leaf: Option<String>,
    /// The generation whose client certificate was let in.
    pub accepts: Option<u64>,
    /// Why nothing was served.
    pub error: Option<String>,
}

/// The files that dockerd is to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedFiles {
    /// Their generation.
    pub generation: u64,
    /// Fingerprint of the leaf.
    pub leaf: String,
    /// Whom the host should trust.
    pub anchors: Vec<Certificate>,
}

/// A Docker host as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedDaemon {
    /// What others wrote.
    pub found: ExistingConfig,
    /// What stands there of ours, and daemon.json.
    pub written: DaemonFiles,
    /// dockerd runs.
    pub running: bool,
    /// systemd has not read all unit files.
    pub stale: bool,
    /// The binary that guards dockerd is in its place.
    pub guarded: bool,
    /// What dockerd says of itself.
    pub engine: Option<Engine>,
    /// TCP listeners that answer without a certificate.
    pub exposed: Vec<SocketAddr>,
    /// The addresses that it should serve.
    pub listeners: Vec<ListenerState>,
    /// Generation that `current` names.
    pub current: Option<u64>,
    /// The files to serve.
    pub files: Option<WantedFiles>,
    /// Anchors that dockerd loaded, where that is known.
    pub loaded: Option<Vec<Certificate>>,
    /// Anchors in the CA file that others told dockerd to use.
    pub trusted_before: Vec<Certificate>,
    /// End of the certificate that is served.
    pub served_until: Option<Timestamp>,
    /// It runs this node's pods.
    pub kubelet: bool,
    /// systemd tried to start dockerd, and gave up.
    pub failed: bool,
    /// A change has begun and not ended.
    pub unfinished: Option<Stage>,
}
