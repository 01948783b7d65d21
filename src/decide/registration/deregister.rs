//! A host that is deleted or no longer selected in, what happens to its environment out.

use super::find::is_adopted;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::status::EnvironmentReport;
use crate::portainer::{DOCKER_API, Environment, same_address};

/// A host to be removed from a Portainer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeregisterRequest {
    /// The environment as it should have been.
    pub desired: DesiredEnvironment,
    /// Delete the environment if we made it; else it stays without our tags.
    pub delete: bool,
}

/// What happens to the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deregistration {
    /// Nothing: no environment is ours.
    Nothing,
    /// The environment of that id is deleted.
    Delete(i64),
    /// The environment of that id stays, with these tags.
    Untag(i64, Vec<i64>),
}

/// Decides. An environment is touched only if it has our tag and the known id, name or address.
pub fn plan_deregistration(
    request: &DeregisterRequest,
    namespace: &str,
    snapshot: &ServerSnapshot,
    report: &EnvironmentReport,
) -> Deregistration {
    let desired = &request.desired;
    let family = desired.family(namespace);
    let reported = report.id.filter(|_| report.instance_id.as_ref() == Some(&snapshot.instance));
    let ours = |environment: &&Environment| {
        let (name, address) = (environment.name == desired.name, same_address(&environment.url, &desired.url()));
        let (matches, marker) = match reported == Some(environment.id) {
            true => (name || address, family.as_str()),
            false => (name && address, desired.marker.as_str()),
        };
        environment.kind == DOCKER_API && matches && snapshot.tags_beginning(environment, marker).next().is_some()
    };
    let Some(environment) = snapshot.environments.values().find(ours) else { return Deregistration::Nothing };
    let adopted = is_adopted(&family, snapshot, environment) || (report.adopted && report.id == Some(environment.id));
    if request.delete && !adopted {
        return Deregistration::Delete(environment.id);
    }
    let marks: Vec<i64> = snapshot.tags_beginning(environment, &family).map(|tag| tag.id).collect();
    let kept = environment.tag_ids.iter().copied().filter(|id| !marks.contains(id)).collect();
    Deregistration::Untag(environment.id, kept)
}
