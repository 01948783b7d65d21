//! A simulation in memory: a store that counts, loses writes and fails on demand, a clock that jumps, and a runner that
//! reconciles.
#![allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]

pub mod host;
mod runner;
mod store;

#[allow(unused_imports, reason = "as above")]
pub use runner::{COMPANIONS, Simulation};
#[allow(unused_imports, reason = "as above")]
pub use store::Interruption;

use dockseal::api::{DockerCA, DockerClientCert, DockerHostCert, Kind, Object, ObjectRef, PortainerClient};
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

/// When every story here begins; off the second, as clocks are.
pub const START: &str = "2026-11-22T10:00:00.123456789Z";

/// A day.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// So many days.
pub fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// The authority that most stories have, by its name.
pub fn homelab() -> ObjectRef {
    ObjectRef::new(Kind::DockerCA, "home", "homelab")
}

/// A simulation of those objects in which nothing is left to do.
pub fn settled(objects: impl IntoIterator<Item = Object>) -> Simulation {
    let mut sim = Simulation::of(objects);
    sim.settle();
    sim
}

/// An object as a user would write it: kind, name and spec.
pub fn object(kind: &str, name: &str, spec: Value) -> Object {
    let metadata =
        json!({"namespace": "home", "name": name, "generation": 1, "creationTimestamp": "2026-11-22T10:00:00Z"});
    let api_version = dockseal::api::API_VERSION;
    let manifest = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec});
    let readable = "a manifest of the schema";
    match kind {
        "DockerCA" => serde_json::from_value::<DockerCA>(manifest).expect(readable).into(),
        "DockerHostCert" => serde_json::from_value::<DockerHostCert>(manifest).expect(readable).into(),
        "DockerClientCert" => serde_json::from_value::<DockerClientCert>(manifest).expect(readable).into(),
        _ => serde_json::from_value::<PortainerClient>(manifest).expect(readable).into(),
    }
}

/// The authority that most stories have.
pub fn authority(duration: &str) -> Object {
    object("DockerCA", "homelab", json!({"subject": {"commonName": "Docker CA"}, "duration": duration}))
}

/// A host of that authority which the companion on the node of its name delivers, in that mode.
pub fn delivered(name: &str, mode: &str) -> Object {
    delivered_as(name, json!({"target": "Node", "nodeName": name, "mode": mode}))
}

/// A host of that authority with that delivery.
pub fn delivered_as(name: &str, delivery: Value) -> Object {
    let spec = json!({"caRef": {"name": "homelab"}, "hostname": format!("{name}.bodkys.house"), "delivery": delivery});
    object("DockerHostCert", name, spec)
}

/// A host of that authority.
pub fn host(name: &str, duration: &str) -> Object {
    let hostname = format!("{name}.bodkys.house");
    let spec = json!({"caRef": {"name": "homelab"}, "hostname": hostname, "duration": duration});
    object("DockerHostCert", name, spec)
}
