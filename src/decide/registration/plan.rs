//! The next step towards an environment as it should be. Each is small, and after each it is asked again: so whatever
//! was interrupted, the next run goes on.

use super::desired::{Proof, RegistrationInput, adopted_marker};
use super::find::{FoundEnvironment, find, is_adopted};
use super::problem::RegistrationProblem;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::portainer::environment::same_address;
use crate::portainer::{Environment, EnvironmentChange, NewEnvironment, NewTls};

/// What is done next.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistrationStep {
    /// Nothing: Portainer reaches the host, as was proved.
    Done,
    /// Nothing, until something else changes.
    Wait(RegistrationProblem),
    /// Tags of these names are made.
    MakeTags(Vec<String>),
    /// The environment is made, after dockerd was asked.
    Create(NewEnvironment),
    /// Environments of ours that several made at a time: they are removed.
    Drop(Vec<i64>),
    /// The files are replaced, and then the proxy is made anew by this change.
    Upload(i64, EnvironmentChange),
    /// Fields are changed.
    Change(i64, EnvironmentChange),
    /// Portainer is asked to reach the host.
    Prove(i64),
}

/// Decides. `report` is what is known so far, of this run too.
pub fn plan(
    order: &DesiredEnvironment,
    namespace: &str,
    material: &RegistrationInput,
    snapshot: &ServerSnapshot,
    report: &EnvironmentReport,
) -> RegistrationStep {
    let group = match group(order, snapshot) {
        Ok(group) => group,
        Err(fault) => return RegistrationStep::Wait(fault),
    };
    let family = order.family(namespace);
    let (environment, twins, adopting) = match find(order, namespace, snapshot, report) {
        Err(fault) => return RegistrationStep::Wait(fault),
        Ok(FoundEnvironment::Nothing) => return create(order, material, snapshot, group),
        Ok(FoundEnvironment::Adoptable(environment)) => match unproved(material) {
            Some(fault) => return RegistrationStep::Wait(fault),
            None => (environment, Vec::new(), true),
        },
        Ok(FoundEnvironment::Ours(environment, twins)) => {
            let told = report.adopted && report.id == Some(environment.id);
            (environment, twins, told || is_adopted(&family, snapshot, environment))
        }
    };
    if !twins.is_empty() {
        return RegistrationStep::Drop(twins);
    }
    let marked = |mark| snapshot.tags_beginning(environment, mark).next().is_some();
    let replaced = marked(&family) && !marked(&order.marker);
    if let Some(fault) = unreached(order, material, environment, report, replaced) {
        return RegistrationStep::Wait(fault);
    }
    let names = tags(order, adopting);
    let missing: Vec<String> = names.iter().filter(|name| snapshot.tag(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return RegistrationStep::MakeTags(missing);
    }
    let change = fields(order, environment, &names, snapshot, group, adopting);
    let known = report.id == Some(environment.id) && report.instance_id.as_ref() == Some(&snapshot.instance);
    match known && holds(order, material, report) && files_there(order, environment) {
        false => RegistrationStep::Upload(environment.id, spoken_to(order, change)),
        true => settle(order, material, environment, report, change),
    }
}

/// What Portainer holds is what is wanted: its fields follow, and then the proof.
fn settle(
    order: &DesiredEnvironment,
    material: &RegistrationInput,
    environment: &Environment,
    report: &EnvironmentReport,
    change: EnvironmentChange,
) -> RegistrationStep {
    let otherwise = environment.tls.skip_verify == order.verify_server || change.url.is_some();
    let proved = report.is_registered() && !is_news(material, report) && environment.status != DOWN;
    match change == EnvironmentChange::default() {
        _ if otherwise => RegistrationStep::Change(environment.id, spoken_to(order, change)),
        false => RegistrationStep::Change(environment.id, change),
        true if proved => RegistrationStep::Done,
        true => RegistrationStep::Prove(environment.id),
    }
}

/// The four fields that have Portainer make its proxy anew, in every version, beside the others.
fn spoken_to(order: &DesiredEnvironment, change: EnvironmentChange) -> EnvironmentChange {
    EnvironmentChange { url: Some(order.url()), tls: Some(NewTls { verify_server: order.verify_server }), ..change }
}

/// Portainer's last snapshot failed.
pub const DOWN: i64 = 2;

/// Portainer was given what is wanted now.
fn holds(order: &DesiredEnvironment, material: &RegistrationInput, report: &EnvironmentReport) -> bool {
    let trust = !order.verify_server || report.trust_bundle.as_ref() == Some(&material.bundle);
    trust && report.client_fingerprint.as_ref() == Some(&material.client)
}

/// The host serves another certificate than the one that was proved.
pub fn is_news(material: &RegistrationInput, report: &EnvironmentReport) -> bool {
    match &material.proof {
        Proof::Serves(served) => report.proved_fingerprint.as_ref() != Some(served),
        Proof::Ask | Proof::Not(_) => false,
    }
}

fn files_there(order: &DesiredEnvironment, environment: &Environment) -> bool {
    let tls = &environment.tls;
    tls.on && tls.has_cert && tls.has_key && (tls.has_ca || !order.verify_server)
}

fn tags(order: &DesiredEnvironment, adopted: bool) -> Vec<String> {
    let adopted = adopted.then(|| adopted_marker(&order.marker));
    [order.marker.clone()].into_iter().chain(adopted).chain(order.tags.iter().cloned()).collect()
}

fn group(order: &DesiredEnvironment, snapshot: &ServerSnapshot) -> Result<Option<i64>, RegistrationProblem> {
    let Some(name) = &order.group else { return Ok(None) };
    let mut found = snapshot.groups.iter().filter(|group| group.name == *name);
    match (found.next(), found.count()) {
        (Some(group), 0) => Ok(Some(group.id)),
        (Some(_), _) => {
            let message = format!("Portainer has several environment groups {name}: rename all but one of them");
            Err(RegistrationProblem::new(Reason::GroupAmbiguous, message))
        }
        (None, _) => {
            let message = format!("Portainer has no environment group {name}: make it there, or leave group out");
            Err(RegistrationProblem::new(Reason::GroupNotFound, message))
        }
    }
}

fn create(
    order: &DesiredEnvironment,
    material: &RegistrationInput,
    snapshot: &ServerSnapshot,
    group: Option<i64>,
) -> RegistrationStep {
    if let Some(fault) = unproved(material) {
        return RegistrationStep::Wait(fault);
    }
    let names = tags(order, false);
    let missing: Vec<String> = names.iter().filter(|name| snapshot.tag(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return RegistrationStep::MakeTags(missing);
    }
    RegistrationStep::Create(NewEnvironment {
        name: order.name.clone(),
        url: order.url(),
        public_url: order.public_url.clone(),
        group_id: group,
        tag_ids: names.iter().filter_map(|name| snapshot.tag(name)).collect(),
        verify_server: order.verify_server,
    })
}

/// Why Portainer would not be let in yet. Whoever makes the environment has asked dockerd, where no companion did.
fn unproved(material: &RegistrationInput) -> Option<RegistrationProblem> {
    match &material.proof {
        Proof::Not(fault) => Some(fault.clone()),
        Proof::Serves(served) if *served != material.stored => Some(serves_another()),
        Proof::Serves(_) | Proof::Ask => None,
    }
}

/// Nothing is written for a host that does not answer, unless Portainer reached it when last asked, where it is still.
/// What carries the mark of an authority that was replaced is left as it is until dockerd serves what the new one signed:
/// Portainer reaches the host by the old one until then.
fn unreached(
    order: &DesiredEnvironment,
    material: &RegistrationInput,
    environment: &Environment,
    report: &EnvironmentReport,
    replaced: bool,
) -> Option<RegistrationProblem> {
    let moves = !same_address(&environment.url, &order.url());
    match &material.proof {
        Proof::Not(fault) if !report.is_registered() || moves || replaced => Some(fault.clone()),
        _ if replaced => unproved(material),
        _ => None,
    }
}

/// dockerd has not taken the certificate over yet.
pub fn serves_another() -> RegistrationProblem {
    let message = "the host is registered as soon as its dockerd serves the certificate that is stored; it serves \
                   another one: deliver the files to it and restart it";
    RegistrationProblem::new(Reason::AwaitingServing, message)
}

/// The fields that differ. Tags of others stay, and the name of what somebody else made.
fn fields(
    order: &DesiredEnvironment,
    environment: &Environment,
    names: &[String],
    snapshot: &ServerSnapshot,
    group: Option<i64>,
    adopted: bool,
) -> EnvironmentChange {
    let mut tag_ids = environment.tag_ids.clone();
    tag_ids.extend(names.iter().filter_map(|name| snapshot.tag(name)).filter(|id| !environment.tag_ids.contains(id)));
    EnvironmentChange {
        name: (environment.name != order.name && !adopted).then(|| order.name.clone()),
        url: (!same_address(&environment.url, &order.url())).then(|| order.url()),
        public_url: order.public_url.clone().filter(|wanted| *wanted != environment.public_url),
        group_id: group.filter(|wanted| *wanted != environment.group_id),
        tag_ids: (tag_ids.len() > environment.tag_ids.len()).then_some(tag_ids),
        tls: None,
    }
}
