//! What becomes of an environment whose host or PortainerClient goes, or no longer selects it.

use super::find::is_adopted;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::status::EnvironmentReport;
use crate::portainer::{
    Environment,
    environment::{DOCKER_API, same_address},
};

/// A host that leaves a Portainer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeregisterRequest {
    /// What the environment was to be.
    pub order: DesiredEnvironment,
    /// The environment goes, where it is ours; else it stays without our mark.
    pub delete: bool,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deregistration {
    /// Nothing: there is nothing of ours.
    Nothing,
    /// It is removed.
    Delete(i64),
    /// It stays, with these tags.
    Untag(i64, Vec<i64>),
}

/// Decides. Only what carries our mark, under the name, the address or the number that are known, is touched.
pub fn part(
    leaving: &DeregisterRequest,
    namespace: &str,
    snapshot: &ServerSnapshot,
    report: &EnvironmentReport,
) -> Deregistration {
    let order = &leaving.order;
    let family = order.family(namespace);
    let reported = report.id.filter(|_| report.instance_id.as_ref() == Some(&snapshot.instance));
    let ours = |environment: &&Environment| {
        let (name, address) = (environment.name == order.name, same_address(&environment.url, &order.url()));
        let (told, mark) = match reported == Some(environment.id) {
            true => (name || address, family.as_str()),
            false => (name && address, order.marker.as_str()),
        };
        environment.kind == DOCKER_API && told && snapshot.tags_beginning(environment, mark).next().is_some()
    };
    let Some(environment) = snapshot.environments.values().find(ours) else { return Deregistration::Nothing };
    let adopted = is_adopted(&family, snapshot, environment) || (report.adopted && report.id == Some(environment.id));
    if leaving.delete && !adopted {
        return Deregistration::Delete(environment.id);
    }
    let marks: Vec<i64> = snapshot.tags_beginning(environment, &family).map(|tag| tag.id).collect();
    let kept = environment.tag_ids.iter().copied().filter(|id| !marks.contains(id)).collect();
    Deregistration::Untag(environment.id, kept)
}
