//! Hosts that their own companion registers: what it is told of a server, and what is made of its report. A report counts
//! only as far as the server itself shows the same.

use super::connect::Connection;
use super::host::HostSync;
use super::outcome::SyncOutcome;
use super::registrations::Registrations;
use super::report::{companion_report, contradiction};
use super::request::authority_of;
use super::server::RegistrationServer;
use crate::api::assignment::AssignedPortainer;
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectRef, Spec};
use crate::decide::registration::conflict::{Claim, conflict};
use crate::decide::registration::{DesiredEnvironment, RegistrationProblem};
use crate::reconcile::Context;

impl Registrations {
    /// Notes how a server is reached; true if that is a change. What cannot be read for now stays as it was.
    pub(super) fn note_access(&self, client: &ObjectRef, connection: &Result<Connection, RegistrationProblem>) -> bool {
        let access = match connection {
            Ok(connection) => Some(connection.access.clone()),
            Err(problem) if problem.reason == Reason::StoreFailed => return false,
            Err(_) => None,
        };
        self.cache().set_access(client, access)
    }

    /// What a companion is told of a PortainerClient that selects its host; `told` is what it was told before. The
    /// controller has read both Secrets and found what they should hold: a name alone gives no right to read a Secret.
    pub fn assignment<S>(
        &self,
        ctx: &Context<S>,
        client: &Object,
        host: &Object,
        claims: &[Claim],
        told: Option<&AssignedPortainer>,
    ) -> Option<AssignedPortainer> {
        let Spec::Portainer(spec) = &client.spec else { return None };
        let server = spec.server.as_ref()?;
        if !self.reports().is_delegated(client, host) || conflict(&client.at.name, claims).is_some() {
            return None;
        }
        let names = (client.secret_name(), server.credentials_secret_ref.name.clone());
        if self.cache().last_refresh(&client.at).is_none() {
            // A controller that has just started neither gives nor takes away before its first refresh.
            let same =
                |told: &&AssignedPortainer| (&told.client_secret, &told.credentials_secret) == (&names.0, &names.1);
            return told.filter(same).cloned();
        }
        let access = self.cache().access(&client.at)?;
        let desired = DesiredEnvironment::of(client, host, &authority_of(ctx, client)?)?;
        let ca = access.roots.and_then(|roots| String::from_utf8(roots).ok());
        Some(AssignedPortainer {
            order: desired,
            url: access.url,
            server_name: access.server_name,
            ca,
            client_secret: names.0,
            credentials_secret: names.1,
            initialize_admin: server.initialize_admin,
        })
    }

    /// Compares a companion's report with what the server shows.
    pub(super) fn check_companion(&self, sync: &HostSync, server: &RegistrationServer) -> SyncOutcome {
        let (client, host) = (&sync.client, &sync.host);
        let report = companion_report(client, host).cloned().unwrap_or_default();
        let problem = match conflict(&client.at.name, &sync.claims) {
            Some(conflict) => Some(conflict),
            None if report.is_registered() => contradiction(client, host, server, &report),
            None => None,
        };
        let (before, problem_before) =
            self.cache().with_host(&client.at, &host.at, |known| known.note_checked(&report, &problem));
        // The last refresh may be older than the environment.
        let contradicted = problem.as_ref().is_some_and(|problem| problem.reason == Reason::NotRegistered);
        let refresh = contradicted && (before.id, &before.instance_id) != (report.id, &report.instance_id);
        if refresh {
            server.mark_stale();
        }
        SyncOutcome { requeue_at: None, changed: problem_before != problem, refresh }
    }

    /// Notes a companion's report while its server is not reached from here; true if that is a change.
    pub(super) fn note_unchecked(&self, client: &Object, host: &Object) -> bool {
        let registered = companion_report(client, host).is_some_and(EnvironmentReport::is_registered);
        self.cache().with_host(&client.at, &host.at, |known| known.note_unchecked(registered))
    }
}
