//! Tables: a host that is served well, one mutation each, and the step or the reason.

mod daemon_config;
mod daemon_plan;
mod files;
mod ownership;
mod restart_policy;

use super::daemon_config::{DaemonFiles, DesiredConfig, ExistingConfig, served};
use super::daemon_plan::paths;
use super::daemon_state::DaemonState;
use super::observed::{ListenerState, ObservedDaemon, WantedFiles};
use super::step_request::StepRequest;
use super::{Material, material};
use crate::api::docker_host_cert::{Daemon, Delivery, Mode, Restart};
use crate::api::{AssignedHost, HostClaim};
use crate::docker::engine::Engine;
use crate::docker::listen::Listen;
use crate::pki::material::Data;
use crate::pki::name::DistinguishedName;
use crate::pki::profile::Usage;
use crate::pki::sign::{Dates, LeafProfile, Serial, new_authority};
use crate::pki::{Authority, Certificate, PrivateKey};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Ed25519, 32 equal bytes each: for an authority, for leaves, for another authority.
const KEYS: [&str; 3] = [
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC\n-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD\n-----END PRIVATE KEY-----\n",
];
const STOCK: &str = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS";

fn key(number: usize) -> PrivateKey {
    PrivateKey::from_pem(KEYS[number].as_bytes(), None).expect("a key")
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().expect("an instant")
}

fn days(count: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * count)
}

/// From the day before now.
fn until(last_day: i64) -> Dates {
    Dates { not_before: days(-1), not_after: days(last_day) }
}

fn authority(number: usize, last_day: i64) -> Authority {
    let subject = DistinguishedName::of("Docker CA");
    new_authority(&subject, None, key(number), until(last_day), Serial([9; 16])).expect("a short name")
}

fn leaf(issuer: &Authority, usage: Usage, names: &[&str], last_day: i64) -> Certificate {
    let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = LeafProfile { common_name: "pandora".into(), dns_names, ip_addresses: Vec::new(), usage };
    issuer.sign_leaf(&leaf, &key(1), until(last_day), Serial([8; 16])).expect("short names")
}

fn secret(certificate: &Certificate, bundle: &[Certificate]) -> Data {
    let mut data = Data::default();
    data.insert("tls.crt", certificate.to_pem());
    data.insert("tls.key", KEYS[1]);
    data.insert("ca.crt", bundle.iter().map(Certificate::to_pem).collect::<String>());
    data
}

fn good_material() -> Material {
    let issuer = authority(0, 1825);
    let leaf = leaf(&issuer, Usage::Server, &["pandora"], 365);
    material::read("pandora-docker-host", &secret(&leaf, &[issuer.certificate]), now()).expect("good material")
}

/// What is asked for a host in Daemon mode, which may be restarted.
fn request() -> StepRequest {
    let daemon = Daemon { restart: Restart::Always, ..Daemon::default() };
    let delivery = Delivery { mode: Mode::Daemon, daemon: Some(daemon), ..Delivery::default() };
    let host = AssignedHost {
        namespace: "home".into(),
        name: "pandora".into(),
        uid: "uid".into(),
        generation: 1,
        secret_name: "pandora-docker-host".into(),
        delivery,
        port: 2376,
        turn: Some(Timestamp::MAX),
        restart_requested_at: None,
        removing: false,
        portainers: Vec::new(),
        claim: HostClaim::default(),
    };
    let trusts = material::valid_keys(&good_material().bundle, now());
    StepRequest { host, files: Some(1), trusts, proof: None, contained: false }
}

fn desired(request: &StepRequest) -> DesiredConfig {
    let take_over = request.host.delivery.take_over;
    DesiredConfig { listen: vec![Listen::all(2376)], paths: paths(request), live_restore: false, take_over }
}

/// A host as Debian makes it.
fn fresh() -> ExistingConfig {
    ExistingConfig { exec: STOCK.into(), streams: vec!["/run/docker.sock".into()], ..ExistingConfig::default() }
}

/// That host, served well.
fn good(request: &StepRequest) -> ObservedDaemon {
    let layout: DaemonFiles = served(&fresh(), &desired(request)).expect("nothing is in the way");
    let material = good_material();
    let files = WantedFiles { generation: 1, leaf: material.certificate.fingerprint(), anchors: material.bundle };
    let address = "127.0.0.1:2376".parse().expect("an address");
    let listeners =
        ListenerState { address, absent: false, leaf: Some(files.leaf.clone()), accepts: Some(1), error: None };
    ObservedDaemon {
        found: ExistingConfig { daemon_json: layout.daemon_json.clone(), ..fresh() },
        written: layout,
        running: true,
        guarded: true,
        engine: Some(Engine { live_restore: false, swarm: false, running: 3 }),
        listeners: vec![listeners],
        current: Some(1),
        loaded: Some(files.anchors.clone()),
        files: Some(files),
        ..ObservedDaemon::default()
    }
}

/// What is remembered of that host.
fn remembered(request: &StepRequest) -> DaemonState {
    let configured = Some(request.host.object().to_string());
    DaemonState { configured, spec: request.spec(), ..DaemonState::default() }
}
