//! Which environment of a server is a host's: by number, mark and name. None is taken that is not ours to take.

use super::order::{ADOPTED, MARK, marker_family};
use super::plan::Fault;
use super::{Ground, Order};
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::api::{Kind, ObjectRef};
use crate::portainer::{
    Environment,
    environment::{DOCKER_API, same_address},
};

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'a> {
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
    order: &Order,
    namespace: &str,
    ground: &'a Ground,
    report: &EnvironmentReport,
) -> Result<Found<'a>, Fault> {
    let client = ObjectRef::new(Kind::PortainerClient, namespace, &order.client);
    let family = marker_family(&client);
    let ours = |environment: &&Environment| ground.tags_beginning(environment, &family).next().is_some();
    if let Some(environment) = reported(ground, report).filter(|found| ours(found) || unmarked(order, ground, found)) {
        // Of those that several made at a time, all keep the same one.
        let twins = twins(order, ground, environment, &family);
        return Ok(match twins.iter().min() {
            Some(lowest) if *lowest < environment.id && environment.name == order.name => {
                let others = twins.iter().filter(|id| *id != lowest).copied().chain([environment.id]).collect();
                Found::Ours(&ground.environments[lowest], others)
            }
            _ => Found::Ours(environment, twins),
        });
    }
    let mut named = ground.environments.values().filter(|environment| environment.name == order.name).peekable();
    if named.peek().is_some() {
        let mut named: Vec<&Environment> = named.collect();
        named.sort_by_key(|environment| (!ours(environment), environment.id));
        let first = named[0];
        return match ours(&first) && first.kind == DOCKER_API {
            true => Ok(Found::Ours(first, twins(order, ground, first, &family))),
            false => consented(order, ground, first).ok_or_else(|| conflict(order, ground, first)),
        };
    }
    let same_url = |environment: &&Environment| same_address(&environment.url, &order.url());
    let mine = |environment: &&Environment| {
        same_url(environment) && ours(environment) && is_adopted(&family, ground, environment)
    };
    if let Some(environment) = ground.environments.values().find(mine) {
        return Ok(Found::Ours(environment, Vec::new()));
    }
    let mut candidates =
        ground.environments.values().filter(same_url).filter_map(|found| consented(order, ground, found));
    Ok(candidates.next().unwrap_or(Found::Nothing))
}

/// The environment of the number that was reported, on the server that it was reported of.
fn reported<'a>(ground: &'a Ground, report: &EnvironmentReport) -> Option<&'a Environment> {
    let same_server = report.instance_id.as_ref() == Some(&ground.instance);
    ground.environments.get(&report.id.filter(|_| same_server)?).filter(|found| found.kind == DOCKER_API)
}

/// One that was ours and lost its mark by hand: number and address still say so, and nobody else marked it.
fn unmarked(order: &Order, ground: &Ground, environment: &Environment) -> bool {
    let foreign = ground.tags_beginning(environment, MARK).next().is_some();
    !foreign && same_address(&environment.url, &order.url())
}

/// Others of the same name with our mark: more than one was made at a time.
fn twins(order: &Order, ground: &Ground, one: &Environment, family: &str) -> Vec<i64> {
    let others = ground.environments.values().filter(|other| other.id != one.id && other.name == order.name);
    let ours = |other: &&Environment| ground.tags_beginning(other, family).next().is_some();
    others.filter(ours).filter(|other| !is_adopted(family, ground, other)).map(|other| other.id).collect()
}

/// Somebody else made it. `family` is what the marks of its PortainerClient begin with.
pub fn is_adopted(family: &str, ground: &Ground, environment: &Environment) -> bool {
    ground.tags_beginning(environment, family).any(|tag| tag.name.ends_with(ADOPTED))
}

fn consented<'a>(order: &Order, ground: &Ground, environment: &'a Environment) -> Option<Found<'a>> {
    let foreign = ground.tags_beginning(environment, MARK).next().is_some();
    let fits = environment.kind == DOCKER_API && same_address(&environment.url, &order.url()) && !foreign;
    (order.adopt && fits).then_some(Found::Adoptable(environment))
}

fn conflict(order: &Order, ground: &Ground, environment: &Environment) -> Fault {
    let name = &order.name;
    let other = ground.tags_beginning(environment, MARK).next();
    let why = match other {
        Some(tag) => format!("it belongs to another PortainerClient, by its tag {}", tag.name),
        None if environment.kind != DOCKER_API => {
            "it is of another kind (an agent, an edge agent or a cluster)".to_owned()
        }
        None if !same_address(&environment.url, &order.url()) => {
            format!("its address is {}, not {}", environment.url, order.url())
        }
        None => "it was made by somebody else; adoption: MatchingURL in the PortainerClient takes it over".to_owned(),
    };
    let message = format!(
        "Portainer has an environment {name} (number {}) already, and {why}; or set spec.portainer.name",
        environment.id
    );
    Fault::new(Reason::NameConflict, message)
}
