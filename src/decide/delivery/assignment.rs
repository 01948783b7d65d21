//! The entry of a host in the assignment of its companion.

use super::{Allowlist, Deliverer, allowlist};
use crate::api::assignment::{AssignedHost, RESTART_REQUESTED_ANNOTATION};
use crate::api::docker_host_cert::DockerHostCertSpec;
use crate::api::marker::TAKE_FROM_ANNOTATION;
use crate::api::reference::DeletionPolicy;
use crate::api::{FINALIZER, HostClaim, Object, Spec};
use k8s_openapi::jiff::Timestamp;

/// Whether a host may stand in an assignment, other hosts of the same account left aside.
pub fn assignable(object: &Object, allowed: &Allowlist) -> bool {
    let served = matches!(allowlist::deliverer(object, allowed), Deliverer::Node(_) | Deliverer::Enrolled);
    served && (object.deleted.is_none() || is_removing(object))
}

/// The object is deleted, and the delivered files must be removed from the host before it goes.
pub fn is_removing(object: &Object) -> bool {
    object.deleted.is_some()
        && object.finalizers.iter().any(|held| held == FINALIZER)
        && object.delivery().is_some_and(|delivery| delivery.deletion_policy == DeletionPolicy::Delete)
}

/// The entry of an object, with the end of its turn to restart dockerd. None where it is not delivered.
pub fn entry(object: &Object, turn: Option<Timestamp>) -> Option<AssignedHost> {
    let Spec::Host(spec) = &object.spec else { return None };
    Some(AssignedHost {
        namespace: object.at.namespace.clone(),
        name: object.at.name.clone(),
        uid: object.uid.clone(),
        generation: object.generation,
        secret_name: object.secret_name(),
        delivery: spec.delivery.clone()?,
        port: port(spec),
        turn,
        restart_requested_at: object.annotation(RESTART_REQUESTED_ANNOTATION).map(str::to_owned),
        removing: is_removing(object),
        portainers: Vec::new(),
        claim: claim(object),
    })
}

/// What the object itself says of it. Its front end knows the rest.
fn claim(object: &Object) -> HostClaim {
    HostClaim {
        take_from: object.annotation(TAKE_FROM_ANNOTATION).map(str::to_owned),
        ca: object.authority().map(|ca| ca.name.to_string()),
        ..HostClaim::default()
    }
}

fn port(spec: &DockerHostCertSpec) -> u16 {
    spec.address.clone().unwrap_or_default().port.try_into().unwrap_or_default()
}
