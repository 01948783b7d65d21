//! The desired environment and what the server shows in, the next step out. Steps are small, and the plan is made again
//! after each: a run that was interrupted is continued by the next one.

use super::desired::{Proof, RegistrationInput, adopted_marker};
use super::find::{FoundEnvironment, find, is_adopted};
use super::problem::RegistrationProblem;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::portainer::{Environment, EnvironmentChange, NewEnvironment, NewTls, same_address};

/// The next step of a registration.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistrationStep {
    /// Nothing is left to do: it is proved that Portainer reaches the host.
    Done,
    /// Nothing can be done until something else changes.
    Wait(RegistrationProblem),
    /// Make tags of these names.
    MakeTags(Vec<String>),
    /// Make the environment.
    Create(NewEnvironment),
    /// Delete these environments: several processes made one each, and one stays.
    DeleteDuplicates(Vec<i64>),
    /// Replace the files; then this change makes Portainer use them.
    Upload(i64, EnvironmentChange),
    /// Change fields of the environment.
    Change(i64, EnvironmentChange),
    /// Ping the host through Portainer.
    Prove(i64),
}

/// Plans the next step. `report` includes what this run has found out so far.
pub fn plan(
    desired: &DesiredEnvironment,
    namespace: &str,
    input: &RegistrationInput,
    snapshot: &ServerSnapshot,
    report: &EnvironmentReport,
) -> RegistrationStep {
    let group = match group(desired, snapshot) {
        Ok(group) => group,
        Err(problem) => return RegistrationStep::Wait(problem),
    };
    let family = desired.family(namespace);
    let (environment, duplicates, adopting) = match find(desired, namespace, snapshot, report) {
        Err(problem) => return RegistrationStep::Wait(problem),
        Ok(FoundEnvironment::Nothing) => return create(desired, input, snapshot, group),
        Ok(FoundEnvironment::Adoptable(environment)) => match unproved(input) {
            Some(problem) => return RegistrationStep::Wait(problem),
            None => (environment, Vec::new(), true),
        },
        Ok(FoundEnvironment::Ours(environment, duplicates)) => {
            let reported = report.adopted && report.id == Some(environment.id);
            (environment, duplicates, reported || is_adopted(&family, snapshot, environment))
        }
    };
    if !duplicates.is_empty() {
        return RegistrationStep::DeleteDuplicates(duplicates);
    }
    let marked = |marker| snapshot.tags_beginning(environment, marker).next().is_some();
    let replaced = marked(&family) && !marked(&desired.marker);
    if let Some(problem) = unreached(desired, input, environment, report, replaced) {
        return RegistrationStep::Wait(problem);
    }
    let names = tags(desired, adopting);
    let missing: Vec<String> = names.iter().filter(|name| snapshot.tag(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return RegistrationStep::MakeTags(missing);
    }
    let change = fields(desired, environment, &names, snapshot, group, adopting);
    let same = report.id == Some(environment.id) && report.instance_id.as_ref() == Some(&snapshot.instance);
    match same && has_current_files(desired, input, report) && has_files(desired, environment) {
        false => RegistrationStep::Upload(environment.id, with_tls(desired, change)),
        true => after_upload(desired, input, environment, report, change),
    }
}

/// Portainer has the right files: its fields are next, then the proof.
fn after_upload(
    desired: &DesiredEnvironment,
    input: &RegistrationInput,
    environment: &Environment,
    report: &EnvironmentReport,
    change: EnvironmentChange,
) -> RegistrationStep {
    let connection_differs = environment.tls.skip_verify == desired.verify_server || change.url.is_some();
    let proved = report.is_registered() && !serves_unproved(input, report) && environment.status != DOWN;
    match change == EnvironmentChange::default() {
        _ if connection_differs => RegistrationStep::Change(environment.id, with_tls(desired, change)),
        false => RegistrationStep::Change(environment.id, change),
        true if proved => RegistrationStep::Done,
        true => RegistrationStep::Prove(environment.id),
    }
}

/// Adds the fields that make every version of Portainer reload its proxy and with it the files.
fn with_tls(desired: &DesiredEnvironment, change: EnvironmentChange) -> EnvironmentChange {
    EnvironmentChange { url: Some(desired.url()), tls: Some(NewTls { verify_server: desired.verify_server }), ..change }
}

/// Portainer's Status of an environment whose last snapshot failed.
pub const DOWN: i64 = 2;

/// Portainer was given the current files.
fn has_current_files(desired: &DesiredEnvironment, input: &RegistrationInput, report: &EnvironmentReport) -> bool {
    let trust = !desired.verify_server || report.trust_bundle.as_ref() == Some(&input.bundle);
    trust && report.client_fingerprint.as_ref() == Some(&input.client)
}

/// The host serves another certificate than the one that was proved.
fn serves_unproved(input: &RegistrationInput, report: &EnvironmentReport) -> bool {
    match &input.proof {
        Proof::Serves(served) => report.proved_fingerprint.as_ref() != Some(served),
        Proof::Ask | Proof::Not(_) => false,
    }
}

fn has_files(desired: &DesiredEnvironment, environment: &Environment) -> bool {
    let tls = &environment.tls;
    tls.on && tls.has_cert && tls.has_key && (tls.has_ca || !desired.verify_server)
}

fn tags(desired: &DesiredEnvironment, adopted: bool) -> Vec<String> {
    let adopted = adopted.then(|| adopted_marker(&desired.marker));
    [desired.marker.clone()].into_iter().chain(adopted).chain(desired.tags.iter().cloned()).collect()
}

fn group(desired: &DesiredEnvironment, snapshot: &ServerSnapshot) -> Result<Option<i64>, RegistrationProblem> {
    let Some(name) = &desired.group else { return Ok(None) };
    let mut found = snapshot.groups.iter().filter(|group| group.name == *name);
    match (found.next(), found.count()) {
        (Some(group), 0) => Ok(Some(group.id)),
        (Some(_), _) => {
            let message = format!("Portainer has several environment groups {name}: rename all but one of them");
            Err(RegistrationProblem::new(Reason::GroupAmbiguous, message))
        }
        (None, _) => {
            let message =
                format!("Portainer has no environment group {name}: make it there, or remove group from the spec");
            Err(RegistrationProblem::new(Reason::GroupNotFound, message))
        }
    }
}

fn create(
    desired: &DesiredEnvironment,
    input: &RegistrationInput,
    snapshot: &ServerSnapshot,
    group: Option<i64>,
) -> RegistrationStep {
    if let Some(problem) = unproved(input) {
        return RegistrationStep::Wait(problem);
    }
    let names = tags(desired, false);
    let missing: Vec<String> = names.iter().filter(|name| snapshot.tag(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return RegistrationStep::MakeTags(missing);
    }
    RegistrationStep::Create(NewEnvironment {
        name: desired.name.clone(),
        url: desired.url(),
        public_url: desired.public_url.clone(),
        group_id: group,
        tag_ids: names.iter().filter_map(|name| snapshot.tag(name)).collect(),
        verify_server: desired.verify_server,
    })
}

/// Why dockerd would not accept Portainer yet. If no companion says what it serves, it was asked before.
fn unproved(input: &RegistrationInput) -> Option<RegistrationProblem> {
    match &input.proof {
        Proof::Not(problem) => Some(problem.clone()),
        Proof::Serves(served) if *served != input.stored => Some(serves_another()),
        Proof::Serves(_) | Proof::Ask => None,
    }
}

/// Nothing is written for a host that does not answer, unless Portainer reached it last time at the same address. While an
/// environment has the tag of a replaced authority, it stays as it is until dockerd serves a certificate of the new one:
/// until then, Portainer reaches the host with the old certificates.
fn unreached(
    desired: &DesiredEnvironment,
    input: &RegistrationInput,
    environment: &Environment,
    report: &EnvironmentReport,
    replaced: bool,
) -> Option<RegistrationProblem> {
    let moves = !same_address(&environment.url, &desired.url());
    match &input.proof {
        Proof::Not(problem) if !report.is_registered() || moves || replaced || problem.reason.is_exposure() => {
            Some(problem.clone())
        }
        _ if replaced => unproved(input),
        _ => None,
    }
}

/// dockerd does not serve the stored certificate yet.
pub fn serves_another() -> RegistrationProblem {
    let message = "dockerd serves another certificate than the one in the host's Secret: deliver the files of the Secret \
                   to the host and restart dockerd";
    RegistrationProblem::new(Reason::AwaitingServing, message)
}

/// The fields that differ. Other tags stay, and an adopted environment keeps its name.
fn fields(
    desired: &DesiredEnvironment,
    environment: &Environment,
    names: &[String],
    snapshot: &ServerSnapshot,
    group: Option<i64>,
    adopted: bool,
) -> EnvironmentChange {
    let mut tag_ids = environment.tag_ids.clone();
    tag_ids.extend(names.iter().filter_map(|name| snapshot.tag(name)).filter(|id| !environment.tag_ids.contains(id)));
    EnvironmentChange {
        name: (environment.name != desired.name && !adopted).then(|| desired.name.clone()),
        url: (!same_address(&environment.url, &desired.url())).then(|| desired.url()),
        public_url: desired.public_url.clone().filter(|wanted| *wanted != environment.public_url),
        group_id: group.filter(|wanted| *wanted != environment.group_id),
        tag_ids: (tag_ids.len() > environment.tag_ids.len()).then_some(tag_ids),
        tls: None,
    }
}
