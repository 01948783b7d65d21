//! Which environment of a server is a host's: by number, mark and name. None is taken that is not ours to take.

use super::desired::{ADOPTED, MARK};
use super::problem::RegistrationProblem;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::portainer::{
    Environment,
    environment::{DOCKER_API, same_address},
};

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub enum FoundEnvironment<'a> {
    /// Nothing: it is to be made.
    Nothing,
    /// Ours; and further ones of ours that should not be.
    Ours(&'a Environment, Vec<i64>),
    /// Somebody's, with consent to take it over.
    Adoptable(&'a Environment),
}

/// Looks for the environment of an order in the namespace of its host.
///
/// # Errors
/// The [`Fault`] of a name that somebody else has.
pub fn find<'a>(
    order: &DesiredEnvironment,
    namespace: &str,
    snapshot: &'a ServerSnapshot,
    report: &EnvironmentReport,
) -> Result<FoundEnvironment<'a>, RegistrationProblem> {
    let family = order.family(namespace);
    let twins = twins(order, snapshot);
    let known = reported(snapshot, report)
        .filter(|found| snapshot.tags_beginning(found, &family).next().is_some() || unmarked(order, snapshot, found));
    match (known, twins.split_first()) {
        (Some(known), _) if twins.iter().all(|twin| twin.id != known.id) => {
            return Ok(FoundEnvironment::Ours(known, Vec::new()));
        }
        // Of those that several made at a time, all keep the same one.
        (_, Some((lowest, others))) => {
            return Ok(FoundEnvironment::Ours(lowest, others.iter().map(|other| other.id).collect()));
        }
        (_, None) => {}
    }
    let same_url = |environment: &&Environment| same_address(&environment.url, &order.url());
    let marked = |environment: &&Environment| same_url(environment) && is_marked(order, snapshot, environment);
    if let Some(environment) = snapshot.environments.values().find(marked) {
        return Ok(FoundEnvironment::Ours(environment, Vec::new()));
    }
    let namesake = snapshot.environments.values().find(|environment| environment.name == order.name);
    if let Some(namesake) = namesake {
        return consented(order, snapshot, namesake).ok_or_else(|| conflict(order, snapshot, namesake));
    }
    let mut candidates =
        snapshot.environments.values().filter(same_url).filter_map(|found| consented(order, snapshot, found));
    Ok(candidates.next().unwrap_or(FoundEnvironment::Nothing))
}

/// The environment of the number that was reported, on the server that it was reported of.
fn reported<'a>(snapshot: &'a ServerSnapshot, report: &EnvironmentReport) -> Option<&'a Environment> {
    let same_server = report.instance_id.as_ref() == Some(&snapshot.instance);
    snapshot.environments.get(&report.id.filter(|_| same_server)?).filter(|found| found.kind == DOCKER_API)
}

/// One that was ours and lost its mark by hand: number and address still say so, and nobody else marked it.
fn unmarked(order: &DesiredEnvironment, snapshot: &ServerSnapshot, environment: &Environment) -> bool {
    let foreign = snapshot.tags_beginning(environment, MARK).next().is_some();
    !foreign && same_address(&environment.url, &order.url())
}

/// It carries our mark, of the authority that signs now: another cluster's objects may have the same names.
fn is_marked(order: &DesiredEnvironment, snapshot: &ServerSnapshot, environment: &Environment) -> bool {
    environment.kind == DOCKER_API && snapshot.tags_beginning(environment, &order.marker).next().is_some()
}

/// Those of the order's name and address that carry our mark, lowest number first: more than one was made at a time.
fn twins<'a>(order: &DesiredEnvironment, snapshot: &'a ServerSnapshot) -> Vec<&'a Environment> {
    let same = |found: &&Environment| found.name == order.name && same_address(&found.url, &order.url());
    let made_here =
        |found: &&Environment| is_marked(order, snapshot, found) && !is_adopted(&order.marker, snapshot, found);
    snapshot.environments.values().filter(same).filter(made_here).collect()
}

/// Somebody else made it. `family` is what the marks of its PortainerClient begin with.
pub fn is_adopted(family: &str, snapshot: &ServerSnapshot, environment: &Environment) -> bool {
    snapshot.tags_beginning(environment, family).any(|tag| tag.name.ends_with(ADOPTED))
}

fn consented<'a>(
    order: &DesiredEnvironment,
    snapshot: &ServerSnapshot,
    environment: &'a Environment,
) -> Option<FoundEnvironment<'a>> {
    let foreign = snapshot.tags_beginning(environment, MARK).any(|tag| !tag.name.starts_with(&order.marker));
    let fits = environment.kind == DOCKER_API && same_address(&environment.url, &order.url()) && !foreign;
    (order.adopt && fits).then_some(FoundEnvironment::Adoptable(environment))
}

fn conflict(order: &DesiredEnvironment, snapshot: &ServerSnapshot, environment: &Environment) -> RegistrationProblem {
    let name = &order.name;
    let other = snapshot.tags_beginning(environment, MARK).next();
    let why = match other {
        Some(tag) if !tag.name.starts_with(&order.marker) => {
            format!("it belongs to another PortainerClient, by its tag {}", tag.name)
        }
        _ if environment.kind != DOCKER_API => {
            "it is of another kind (an agent, an edge agent or a cluster)".to_owned()
        }
        _ if !same_address(&environment.url, &order.url()) => {
            format!("its address is {}, not {}", environment.url, order.url())
        }
        _ => "it is not marked as ours, now or any longer; adoption: MatchingURL in the PortainerClient takes it over"
            .to_owned(),
    };
    let message = format!(
        "Portainer has an environment {name} (number {}) already, and {why}; or set spec.portainer.name",
        environment.id
    );
    RegistrationProblem::new(Reason::NameConflict, message)
}
