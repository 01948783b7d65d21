//! Which environment of a server is a host's, by id, tag, name and address. It never takes one that is not ours.

use super::desired::{ADOPTED, MARK};
use super::problem::RegistrationProblem;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::portainer::{DOCKER_API, Environment, same_address};

/// What the server has for a host.
#[derive(Clone, Debug, PartialEq)]
pub enum FoundEnvironment<'a> {
    /// No environment: one has to be made.
    Nothing,
    /// Our environment, and the ids of duplicates that we made.
    Ours(&'a Environment, Vec<i64>),
    /// One that someone else made and that may be adopted.
    Adoptable(&'a Environment),
}

/// Finds the environment of a host in that namespace.
///
/// # Errors
/// The [`RegistrationProblem`] of a name that someone else's environment has.
pub fn find<'a>(
    desired: &DesiredEnvironment,
    namespace: &str,
    snapshot: &'a ServerSnapshot,
    report: &EnvironmentReport,
) -> Result<FoundEnvironment<'a>, RegistrationProblem> {
    let family = desired.family(namespace);
    let duplicates = duplicates(desired, snapshot);
    let known = reported(snapshot, report)
        .filter(|found| snapshot.tags_beginning(found, &family).next().is_some() || unmarked(desired, snapshot, found));
    match (known, duplicates.split_first()) {
        (Some(known), _) if duplicates.iter().all(|duplicate| duplicate.id != known.id) => {
            return Ok(FoundEnvironment::Ours(known, Vec::new()));
        }
        // If several processes made one at the same time, all keep the one with the lowest id.
        (_, Some((lowest, others))) => {
            return Ok(FoundEnvironment::Ours(lowest, others.iter().map(|other| other.id).collect()));
        }
        (_, None) => {}
    }
    let same_url = |environment: &&Environment| same_address(&environment.url, &desired.url());
    let marked = |environment: &&Environment| same_url(environment) && is_marked(desired, snapshot, environment);
    if let Some(environment) = snapshot.environments.values().find(marked) {
        return Ok(FoundEnvironment::Ours(environment, Vec::new()));
    }
    let same_name = snapshot.environments.values().find(|environment| environment.name == desired.name);
    if let Some(found) = same_name {
        return adoptable(desired, snapshot, found).ok_or_else(|| conflict(desired, snapshot, found));
    }
    let mut candidates =
        snapshot.environments.values().filter(same_url).filter_map(|found| adoptable(desired, snapshot, found));
    Ok(candidates.next().unwrap_or(FoundEnvironment::Nothing))
}

/// The environment of the reported id, if the report is about this server.
fn reported<'a>(snapshot: &'a ServerSnapshot, report: &EnvironmentReport) -> Option<&'a Environment> {
    let same_server = report.instance_id.as_ref() == Some(&snapshot.instance);
    snapshot.environments.get(&report.id.filter(|_| same_server)?).filter(|found| found.kind == DOCKER_API)
}

/// Our environment after someone removed our tag: it still has its id and address, and no tag of another PortainerClient.
fn unmarked(desired: &DesiredEnvironment, snapshot: &ServerSnapshot, environment: &Environment) -> bool {
    let marked = snapshot.tags_beginning(environment, MARK).next().is_some();
    !marked && same_address(&environment.url, &desired.url())
}

/// It has our tag with the authority that signs now: another cluster's objects may have the same names.
fn is_marked(desired: &DesiredEnvironment, snapshot: &ServerSnapshot, environment: &Environment) -> bool {
    environment.kind == DOCKER_API && snapshot.tags_beginning(environment, &desired.marker).next().is_some()
}

/// Those of the desired name and address with our tag, lowest id first; several if several processes made one each.
fn duplicates<'a>(desired: &DesiredEnvironment, snapshot: &'a ServerSnapshot) -> Vec<&'a Environment> {
    let same = |found: &&Environment| found.name == desired.name && same_address(&found.url, &desired.url());
    let made_here =
        |found: &&Environment| is_marked(desired, snapshot, found) && !is_adopted(&desired.marker, snapshot, found);
    snapshot.environments.values().filter(same).filter(made_here).collect()
}

/// Someone else made it and we adopted it. `family` is the beginning of the markers of its PortainerClient.
pub fn is_adopted(family: &str, snapshot: &ServerSnapshot, environment: &Environment) -> bool {
    snapshot.tags_beginning(environment, family).any(|tag| tag.name.ends_with(ADOPTED))
}

fn adoptable<'a>(
    desired: &DesiredEnvironment,
    snapshot: &ServerSnapshot,
    environment: &'a Environment,
) -> Option<FoundEnvironment<'a>> {
    let of_another = snapshot.tags_beginning(environment, MARK).any(|tag| !tag.name.starts_with(&desired.marker));
    let fits = environment.kind == DOCKER_API && same_address(&environment.url, &desired.url()) && !of_another;
    (desired.adopt && fits).then_some(FoundEnvironment::Adoptable(environment))
}

fn conflict(desired: &DesiredEnvironment, snapshot: &ServerSnapshot, environment: &Environment) -> RegistrationProblem {
    let name = &desired.name;
    let other = snapshot.tags_beginning(environment, MARK).next();
    let why = match other {
        Some(tag) if !tag.name.starts_with(&desired.marker) => {
            format!("its tag {} is that of another PortainerClient", tag.name)
        }
        _ if environment.kind != DOCKER_API => {
            "it is of another kind (an agent, an edge agent or a Kubernetes cluster)".to_owned()
        }
        _ if !same_address(&environment.url, &desired.url()) => {
            format!("its address is {}, not {}", environment.url, desired.url())
        }
        _ => "it does not have our tag; set adoption: MatchingURL in the PortainerClient to take it over".to_owned(),
    };
    let message = format!(
        "Portainer already has an environment {name} (id {}), and {why}; or set another name in spec.portainer.name",
        environment.id
    );
    RegistrationProblem::new(Reason::NameConflict, message)
}
