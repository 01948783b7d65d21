//! What the cache and the statuses say about registrations in, reports for the statuses of hosts and PortainerClients out.
//! It calls nobody and changes nothing.

use super::cache::RegistrationCache;
use super::error::failed_report;
use super::server::RegistrationServer;
use crate::api::condition::{ConditionType, Reason};
use crate::api::reference::DeletionPolicy;
use crate::api::registrar::Registrar;
use crate::api::status::{EnvironmentReport, ServerReport};
use crate::api::{Object, ObjectRef, Spec};
use crate::decide::registration::conflict::Claim;
use crate::decide::registration::delegation::{confirm, refusal};
use crate::decide::registration::status::{RegistrationCounts, of_client, of_host};
use crate::decide::registration::{DesiredEnvironment, RegistrationProblem, RegistrationStatus};
use crate::decide::status::Verdict;
use std::sync::Arc;

/// Reports of all hosts in all Portainers.
#[derive(Clone, Copy)]
pub struct RegistrationReports<'a> {
    cache: &'a RegistrationCache,
    companions_allowed: bool,
}

impl<'a> RegistrationReports<'a> {
    pub(super) fn new(cache: &'a RegistrationCache, companions_allowed: bool) -> RegistrationReports<'a> {
        RegistrationReports { cache, companions_allowed }
    }

    /// What is known of a host: from the last sync, else from its status.
    pub fn report(self, client: &Object, host: &Object) -> EnvironmentReport {
        let blank =
            || EnvironmentReport { portainer_client: client.at.name.to_string(), ..EnvironmentReport::default() };
        let checked = || {
            let report = self.cache.with_host(&client.at, &host.at, |known| known.checked_report());
            report.filter(|report| report.id.is_some())
        };
        let synced = self.cache.with_host(&client.at, &host.at, |known| known.report());
        synced.or_else(|| host.environment_in(&client.at).cloned()).or_else(checked).unwrap_or_else(blank)
    }

    /// The host has no environment of ours there any longer.
    pub fn is_deregistered(self, client: &Object, host: &Object) -> bool {
        let known = self.cache.with_host(&client.at, &host.at, |known| known.is_deregistered());
        known || self.report(client, host).reason == Reason::Deregistered.as_str()
    }

    /// The claim of a PortainerClient to register a host.
    pub fn claim(self, client: &Object, host: &Object) -> Claim {
        let instance = self.identity(&client.at).map(|(instance, _)| instance);
        let instance = instance.or_else(|| client.previous.server.instance_id.clone());
        let report = self.report(client, host);
        let registered = report.id.is_some() && report.instance_id == instance && !self.is_deregistered(client, host);
        Claim { client: client.at.name.to_string(), created: client.created, instance, registered }
    }

    /// InstanceID and version of the server of a PortainerClient, once they are known.
    pub fn identity(self, client: &ObjectRef) -> Option<(String, String)> {
        let snapshot = self.cache.server(client)?.snapshot();
        (!snapshot.instance.is_empty()).then(|| (snapshot.instance.clone(), snapshot.version.clone()))
    }

    /// A companion is to register that host.
    pub fn is_delegated(self, client: &Object, host: &Object) -> bool {
        let exist = client.deleted.is_none() && host.deleted.is_none();
        exist && companions_register(client) && refusal(host, self.companions_allowed).is_none()
    }

    /// For the status of a host. `selecting` are the PortainerClients with a server that select it, the oldest first;
    /// `others` are those that its status names besides.
    pub fn of_host(self, host: &Object, selecting: &[Arc<Object>], others: &[Arc<Object>]) -> RegistrationStatus {
        let reports: Vec<EnvironmentReport> = selecting
            .iter()
            .filter(|client| client.deleted.is_none())
            .map(|client| self.registration(client, host))
            .collect();
        // Once the host is deleted, the controller deregisters what its companion registered.
        let ends =
            |client: &&Arc<Object>| client.deleted.is_some() || (host.deleted.is_some() && companions_register(client));
        let ending = selecting.iter().filter(ends).chain(others);
        let deregistering =
            ending.filter(|client| self.has_ours(client, host)).map(|client| deregistering(self.report(client, host)));
        let ours = |report: &&EnvironmentReport| report.registrar == Registrar::Controller;
        // If the host is selected again, its environment is known by its id.
        let left = others.iter().filter(|client| host.deleted.is_none() && client.deleted.is_none());
        let left = left
            .map(|client| self.report(client, host))
            .filter(|report| report.id.is_some() && report.reason == Reason::Deregistered.as_str());
        let environments = reports.iter().filter(ours).cloned().chain(deregistering).chain(left).collect();
        let removing = |client: &&Arc<Object>| deletes_environments(client) && self.may_have_ours(client, host);
        let delegated = selecting.iter().filter(|client| self.is_delegated(client, host));
        RegistrationStatus {
            verdict: of_host(&reports),
            delegated: delegated.map(|client| client.at.name.to_string()).collect(),
            environments,
            deletes: selecting.iter().any(|client| deletes_environments(client)),
            left: host.deleted.is_some() && selecting.iter().chain(others).any(|client| removing(&client)),
            server: ServerReport::default(),
        }
    }

    /// For the status of a PortainerClient with those hosts.
    pub fn of_client(self, client: &Object, hosts: &[Arc<Object>]) -> RegistrationStatus {
        if !client.has_server() {
            return RegistrationStatus::default();
        }
        let counts = self.counts(client, hosts);
        let before = &client.previous.server;
        let (instance, version) = self.identity(&client.at).unzip();
        let (instance_id, version) = (instance.or(before.instance_id.clone()), version.or(before.version.clone()));
        let last_refresh = self.cache.last_refresh(&client.at);
        let verdict = match (&last_refresh, previous_verdict(client)) {
            (None, Some(verdict)) => verdict, // a controller that has just started knows nothing newer
            _ => of_client(last_refresh.as_ref(), &counts, version.as_deref()),
        };
        let left = || hosts.iter().any(|host| self.may_have_ours(client, host));
        RegistrationStatus {
            verdict: Some(verdict),
            server: ServerReport {
                selected: Some(count(counts.selected)),
                registered: Some(count(counts.registered)),
                version,
                instance_id,
            },
            deletes: deletes_environments(client),
            left: client.deleted.is_some() && deletes_environments(client) && left(),
            ..RegistrationStatus::default()
        }
    }

    fn counts(self, client: &Object, hosts: &[Arc<Object>]) -> RegistrationCounts {
        let mut counts = RegistrationCounts {
            selected: hosts.len(),
            by_companions: companions_register(client),
            ..RegistrationCounts::default()
        };
        for host in hosts {
            let report = self.registration(client, host);
            match report.is_registered() {
                true => counts.registered += 1,
                false => _ = counts.missing.get_or_insert((host.at.name.to_string(), message(report))),
            }
        }
        counts
    }

    /// The host has an environment of ours there, as far as is known.
    pub fn has_ours(self, client: &Object, host: &Object) -> bool {
        !self.is_deregistered(client, host) && self.report(client, host).id.is_some()
    }

    /// The same, but the last creation may not be in the status.
    fn may_have_ours(self, client: &Object, host: &Object) -> bool {
        let known = self.identity(&client.at).is_some() || client.previous.server.instance_id.is_some();
        known && !self.is_deregistered(client, host)
    }

    /// What a host's status says of one PortainerClient.
    fn registration(self, client: &Object, host: &Object) -> EnvironmentReport {
        if companions_register(client) {
            return self.companion_registration(client, host);
        }
        let blank = |report: EnvironmentReport| EnvironmentReport {
            portainer_client: report.portainer_client,
            ..EnvironmentReport::default()
        };
        let report = match self.report(client, host) {
            report if report.registrar == Registrar::Companion => blank(report), // it is not trusted
            report => report,
        };
        match self.cache.last_refresh(&client.at) {
            Some(Err(problem)) if !report.is_registered() => failed_report(&client.at.name, report, problem),
            _ if report.reason.is_empty() => {
                EnvironmentReport { reason: Reason::NotRegistered.as_str().to_owned(), ..report }
            }
            _ => report,
        }
    }

    fn companion_registration(self, client: &Object, host: &Object) -> EnvironmentReport {
        let blank = || EnvironmentReport {
            portainer_client: client.at.name.to_string(),
            registrar: Registrar::Companion,
            reason: Reason::NotRegistered.as_str().to_owned(),
            message: "the host's companion has not registered it yet".to_owned(),
            ..EnvironmentReport::default()
        };
        let report = companion_report(client, host).cloned();
        match self.companion_problem(client, host, report.as_ref()) {
            Some(problem) => failed_report(&client.at.name, report.unwrap_or_else(blank), problem),
            None => report.unwrap_or_else(blank),
        }
    }

    /// Why a companion's report, or a missing one, is not the whole truth.
    fn companion_problem(
        self,
        client: &Object,
        host: &Object,
        report: Option<&EnvironmentReport>,
    ) -> Option<RegistrationProblem> {
        if let Some(problem) = refusal(host, self.companions_allowed) {
            return Some(problem);
        }
        let checked = self.cache.with_host(&client.at, &host.at, |known| known.checked_problem());
        let conflict = checked.filter(|problem| problem.reason == Reason::NameConflict);
        conflict.or_else(|| match (report, self.cache.refreshed_server(&client.at)) {
            (None, Some(Err(problem))) => Some(problem),
            (Some(report), Some(Ok(server))) if report.is_registered() => contradiction(client, host, &server, report),
            _ => None, // a server that was not refreshed contradicts nothing
        })
    }
}

/// Companions register the hosts of that PortainerClient.
pub fn companions_register(client: &Object) -> bool {
    matches!(&client.spec, Spec::Portainer(spec) if spec.registrar == Registrar::Companion)
}

/// What the host's companion reports.
pub(super) fn companion_report<'a>(client: &Object, host: &'a Object) -> Option<&'a EnvironmentReport> {
    host.companion.environments.iter().find(|report| *report.portainer_client == *client.at.name)
}

/// What the server shows that contradicts a companion's report.
pub(super) fn contradiction(
    client: &Object,
    host: &Object,
    server: &RegistrationServer,
    report: &EnvironmentReport,
) -> Option<RegistrationProblem> {
    // Name and address are compared, and any marker of the PortainerClient counts: no authority is needed.
    let desired = DesiredEnvironment::of(client, host, "")?;
    confirm(&desired, &host.at.namespace, &server.snapshot(), report).err()
}

/// Environments are deleted with their host or their PortainerClient.
pub(super) fn deletes_environments(client: &Object) -> bool {
    let Spec::Portainer(spec) = &client.spec else { return false };
    spec.server.is_some() && spec.environment.deletion_policy == DeletionPolicy::Delete
}

fn message(report: EnvironmentReport) -> String {
    if report.message.is_empty() { "it has not been checked yet".to_owned() } else { report.message }
}

fn deregistering(report: EnvironmentReport) -> EnvironmentReport {
    let message = match report.message.is_empty() || report.is_registered() {
        true => "the host is being removed from this Portainer".to_owned(),
        false => report.message,
    };
    let (registrar, reason) = (Registrar::Controller, Reason::Deregistering.as_str().to_owned());
    EnvironmentReport { registrar, reason, message, ..report }
}

fn previous_verdict(client: &Object) -> Option<Verdict> {
    let type_ = ConditionType::Registered;
    let known = client.previous.conditions.iter().find(|condition| condition.type_ == type_.as_str())?;
    Some(Verdict::new(type_, known.status == "True", Reason::parse(&known.reason)?, &known.message))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
