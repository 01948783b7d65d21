//! Hosts that their own companion registers: what it is told of a server, and what is made of its report. Nothing is
//! believed that the server itself does not show.

use super::connect::Connection;
use super::host::HostSync;
use super::request::authority_of;
use super::server::RegistrationServer;
use super::state::{Registrations, SyncOutcome, faulty};
use crate::api::assignment::AssignedPortainer;
use crate::api::condition::Reason;
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectRef, Spec};
use crate::decide::registration::conflict::{Claim, lost};
use crate::decide::registration::delegation::{confirm, refusal};
use crate::decide::registration::{DesiredEnvironment, RegistrationProblem};
use crate::reconcile::Context;

impl Registrations {
    /// Notes how a server is spoken to; true where that is news. What could not be read for now is what it was.
    pub(super) fn note_access(&self, client: &ObjectRef, way: &Result<Connection, RegistrationProblem>) -> bool {
        let access = match way {
            Ok(way) => Some(way.access.clone()),
            Err(fault) if fault.reason == Reason::StoreFailed => return false,
            Err(_) => None,
        };
        self.known(client, |known| std::mem::replace(&mut known.access, access.clone()) != access)
    }

    /// What a companion is told of a PortainerClient that selects its host; `told` is what it was told. Both Secrets
    /// were read before, and hold what they should: a name alone gives no right to read what is under it.
    pub fn lend<S>(
        &self,
        ctx: &Context<S>,
        client: &Object,
        host: &Object,
        claims: &[Claim],
        told: Option<&AssignedPortainer>,
    ) -> Option<AssignedPortainer> {
        let Spec::Portainer(spec) = &client.spec else { return None };
        let wishes = spec.server.as_ref()?;
        if !self.is_lent(client, host) || lost(&client.at.name, claims).is_some() {
            return None;
        }
        let (looked, access) = self.known(&client.at, |known| (known.looked.is_some(), known.access.clone()));
        let names = (client.secret_name(), wishes.credentials_secret_ref.name.clone());
        if !looked {
            // A controller that has just started takes nothing away before it has looked, and gives nothing.
            let same =
                |told: &&AssignedPortainer| (&told.client_secret, &told.credentials_secret) == (&names.0, &names.1);
            return told.filter(same).cloned();
        }
        let access = access?;
        let order = DesiredEnvironment::of(client, host, &authority_of(ctx, client)?)?;
        let ca = access.roots.and_then(|roots| String::from_utf8(roots).ok());
        Some(AssignedPortainer {
            order,
            url: access.url,
            server_name: access.server_name,
            ca,
            client_secret: names.0,
            credentials_secret: names.1,
            initialize_admin: wishes.initialize_admin,
        })
    }

    /// A companion is to register that host for a PortainerClient that selects it.
    pub(super) fn is_lent(&self, client: &Object, host: &Object) -> bool {
        let here = client.deleted.is_none() && host.deleted.is_none();
        here && by_companion(client) && refusal(host, self.companions).is_none()
    }

    /// Holds what a companion reports against what the server shows.
    pub(super) fn oversee(&self, visit: &HostSync, server: &RegistrationServer) -> SyncOutcome {
        let (client, host) = (&visit.client, &visit.host);
        let reported = reported(client, host).cloned().unwrap_or_default();
        let fault = match lost(&client.at.name, &visit.claims) {
            Some(lost) => Some(lost),
            None if reported.is_registered() => unlike(client, host, server, &reported),
            None => None,
        };
        let before = self.host(&client.at, &host.at, |known| {
            (known.parted, known.report) = (false, None);
            let seen = match (reported.id, &known.overseen) {
                (None, Some((seen, _))) => seen.clone(), // there may be an environment all the same
                _ => reported.clone(),
            };
            known.overseen.replace((seen, fault.clone()))
        });
        let (known, verdict) = before.unwrap_or_default();
        // What it has just made was not there at the last look.
        let unlike = fault.as_ref().is_some_and(|fault| fault.reason == Reason::NotRegistered);
        let look = unlike && (known.id, &known.instance_id) != (reported.id, &reported.instance_id);
        if look {
            server.doubt();
        }
        SyncOutcome { requeue_at: None, news: verdict != fault, look }
    }

    /// Notes what a companion says of a server that is not reached from here; true where that is news.
    pub(super) fn hears(&self, client: &Object, host: &Object) -> bool {
        let says = reported(client, host).is_some_and(EnvironmentReport::is_registered);
        self.host(&client.at, &host.at, |known| known.heard.replace(says)) != Some(says)
    }

    /// What a host's status says of a PortainerClient whose companions register.
    pub(super) fn by_companion(&self, client: &Object, host: &Object) -> EnvironmentReport {
        let blank = || EnvironmentReport {
            portainer_client: client.at.name.to_string(),
            registrar: Registrar::Companion,
            reason: Reason::NotRegistered.as_str().to_owned(),
            message: "the host's companion has not registered it yet".to_owned(),
            ..EnvironmentReport::default()
        };
        let report = reported(client, host).cloned();
        match self.doubts(client, host, report.as_ref()) {
            Some(fault) => faulty(&client.at.name, report.unwrap_or_else(blank), fault),
            None => report.unwrap_or_else(blank),
        }
    }

    /// Why a report of a companion, or the lack of one, is not all that is to be said.
    fn doubts(
        &self,
        client: &Object,
        host: &Object,
        report: Option<&EnvironmentReport>,
    ) -> Option<RegistrationProblem> {
        if let Some(fault) = refusal(host, self.companions) {
            return Some(fault);
        }
        let (server, looked) = self.known(&client.at, |known| (known.server.clone(), known.looked.clone()));
        let overseen = self.host(&client.at, &host.at, |known| known.overseen.clone());
        let contested = overseen.and_then(|(_, fault)| fault).filter(|fault| fault.reason == Reason::NameConflict);
        contested.or_else(|| match (report, looked) {
            (None, Some(Err(fault))) => Some(fault),
            (Some(report), Some(Ok(()))) if report.is_registered() => unlike(client, host, &*server?, report),
            _ => None, // a server that was not looked at says nothing against it
        })
    }
}

/// The companions register the hosts of that PortainerClient.
pub fn by_companion(client: &Object) -> bool {
    matches!(&client.spec, Spec::Portainer(spec) if spec.registrar == Registrar::Companion)
}

/// What the host's companion reports.
fn reported<'a>(client: &Object, host: &'a Object) -> Option<&'a EnvironmentReport> {
    host.companion.environments.iter().find(|report| *report.portainer_client == *client.at.name)
}

/// What the server shows that is not as the companion says.
fn unlike(
    client: &Object,
    host: &Object,
    server: &RegistrationServer,
    report: &EnvironmentReport,
) -> Option<RegistrationProblem> {
    // Name and address are what counts: its mark is known without the authority.
    let order = DesiredEnvironment::of(client, host, "")?;
    confirm(&order, &host.at.namespace, &server.snapshot(), report).err()
}
