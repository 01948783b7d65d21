//! How far registration is, out of what is known, for the statuses of hosts and PortainerClients.

use super::delegate::by_companion;
use super::state::{Registrations, deletes, faulty};
use crate::api::condition::{ConditionType, Reason};
use crate::api::registrar::Registrar;
use crate::api::status::{EnvironmentReport, ServerReport};
use crate::api::{Object, Spec};
use crate::decide::registration::RegistrationStatus;
use crate::decide::registration::status::{RegistrationCounts, of_client, of_host};
use crate::decide::status::Verdict;
use std::sync::Arc;

impl Registrations {
    /// Of a host. `selecting` are the PortainerClients with a server that select it, the oldest first; `others` those
    /// that its status names beside them.
    pub fn of_host(&self, host: &Object, selecting: &[Arc<Object>], others: &[Arc<Object>]) -> RegistrationStatus {
        let reports: Vec<EnvironmentReport> = selecting
            .iter()
            .filter(|client| client.deleted.is_none())
            .map(|client| self.registration(client, host))
            .collect();
        // What a companion registered is the controller's from the day that the host goes: who goes forgets.
        let goes = |client: &&Arc<Object>| client.deleted.is_some() || (host.deleted.is_some() && by_companion(client));
        let going = selecting.iter().filter(goes).chain(others);
        let leaving =
            going.filter(|client| self.has_ours(client, host)).map(|client| parting(self.report(client, host)));
        let ours = |report: &&EnvironmentReport| report.registrar == Registrar::Controller;
        // Should it be selected again, it is known by its number.
        let left = others.iter().filter(|client| host.deleted.is_none() && client.deleted.is_none());
        let left = left
            .map(|client| self.report(client, host))
            .filter(|report| report.id.is_some() && report.reason == Reason::Deregistered.as_str());
        let environments = reports.iter().filter(ours).cloned().chain(leaving).chain(left).collect();
        let removing = |client: &&Arc<Object>| deletes(client) && self.may_have_ours(client, host);
        let lent = selecting.iter().filter(|client| self.is_lent(client, host));
        RegistrationStatus {
            verdict: of_host(&reports),
            lent: lent.map(|client| client.at.name.to_string()).collect(),
            environments,
            deletes: selecting.iter().any(|client| deletes(client)),
            left: host.deleted.is_some() && selecting.iter().chain(others).any(|client| removing(&client)),
            server: ServerReport::default(),
        }
    }

    /// A PortainerClient may have an environment of the host in its Portainer.
    fn has_ours(&self, client: &Object, host: &Object) -> bool {
        !self.is_parted(client, host) && self.report(client, host).id.is_some()
    }

    /// The same, where what was made last may not have been written down.
    fn may_have_ours(&self, client: &Object, host: &Object) -> bool {
        let known = self.identity(&client.at).is_some() || client.previous.server.instance_id.is_some();
        known && !self.is_parted(client, host)
    }

    /// What a host's status says of one PortainerClient.
    fn registration(&self, client: &Object, host: &Object) -> EnvironmentReport {
        if by_companion(client) {
            return self.by_companion(client, host);
        }
        let blank = |report: EnvironmentReport| EnvironmentReport {
            portainer_client: report.portainer_client,
            ..EnvironmentReport::default()
        };
        let report = match self.report(client, host) {
            report if report.registrar == Registrar::Companion => blank(report), // it is not believed
            report => report,
        };
        match self.looked(&client.at) {
            Some(Err(fault)) if !report.is_registered() => faulty(&client.at.name, report, fault),
            _ if report.reason.is_empty() => {
                EnvironmentReport { reason: Reason::NotRegistered.as_str().to_owned(), ..report }
            }
            _ => report,
        }
    }

    /// Of a PortainerClient with those hosts.
    pub fn of_client(&self, client: &Object, hosts: &[Arc<Object>]) -> RegistrationStatus {
        let Spec::Portainer(spec) = &client.spec else { return RegistrationStatus::default() };
        if spec.server.is_none() {
            return RegistrationStatus::default();
        }
        let tally = self.tally(client, hosts);
        let before = &client.previous.server;
        let (instance, version) = self.identity(&client.at).unzip();
        let (instance_id, version) = (instance.or(before.instance_id.clone()), version.or(before.version.clone()));
        let looked = self.looked(&client.at);
        let verdict = match (&looked, registered_before(client)) {
            (None, Some(verdict)) => verdict, // a controller that has just started knows no better
            _ => of_client(looked.as_ref(), &tally, version.as_deref()),
        };
        RegistrationStatus {
            verdict: Some(verdict),
            environments: Vec::new(),
            lent: Vec::new(),
            server: ServerReport {
                selected: Some(count(tally.selected)),
                registered: Some(count(tally.registered)),
                version,
                instance_id,
            },
            deletes: deletes(client),
            left: client.deleted.is_some()
                && deletes(client)
                && hosts.iter().any(|host| self.may_have_ours(client, host)),
        }
    }

    fn tally(&self, client: &Object, hosts: &[Arc<Object>]) -> RegistrationCounts {
        let mut tally = RegistrationCounts {
            selected: hosts.len(),
            by_companions: by_companion(client),
            ..RegistrationCounts::default()
        };
        for host in hosts {
            let report = self.registration(client, host);
            match report.is_registered() {
                true => tally.registered += 1,
                false => _ = tally.missing.get_or_insert((host.at.name.to_string(), words(report))),
            }
        }
        tally
    }
}

fn words(report: EnvironmentReport) -> String {
    if report.message.is_empty() { "nobody has looked at it yet".to_owned() } else { report.message }
}

fn parting(report: EnvironmentReport) -> EnvironmentReport {
    let words = match report.message.is_empty() || report.is_registered() {
        true => "the host is being taken out of this Portainer".to_owned(),
        false => report.message,
    };
    let (registrar, reason) = (Registrar::Controller, Reason::Deregistering.as_str().to_owned());
    EnvironmentReport { registrar, reason, message: words, ..report }
}

fn registered_before(client: &Object) -> Option<Verdict> {
    let type_ = ConditionType::Registered;
    let known = client.previous.conditions.iter().find(|condition| condition.type_ == type_.as_str())?;
    Some(Verdict::new(type_, known.status == "True", Reason::parse(&known.reason)?, &known.message))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
