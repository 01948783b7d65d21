//! One sync of a host in one Portainer: it is registered, checked while its companion registers it, or deregistered. What
//! failed with the same input lately is not retried yet.

use super::deregister::deregister;
use super::error::failed_report;
use super::outcome::{RegistrationOutcome, SyncOutcome};
use super::register::register;
use super::registrations::Registrations;
use super::report::{companions_register, deletes_environments};
use super::request::{RegistrationRequest, authority_of, registration_request};
use super::server::RegistrationServer;
use crate::adapters::{Clock, Store};
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectEvent, ObjectRef};
use crate::decide::delivery::Deliverer;
use crate::decide::registration::backoff::retry_delay;
use crate::decide::registration::conflict::{Claim, conflict};
use crate::decide::registration::desired::marker_family;
use crate::decide::registration::find::is_adopted;
use crate::decide::registration::{
    DeregisterRequest, Deregistration, DesiredEnvironment, RegistrationProblem, ServerSnapshot,
};
use crate::pki::lifecycle::saturating;
use crate::pki::sha256_hex;
use crate::portainer::Environment;
use crate::reconcile::Context;
use k8s_openapi::jiff::SignedDuration;
use std::sync::Arc;

/// A host and one PortainerClient, as a sync needs them.
#[derive(Clone, Debug)]
pub struct HostSync {
    /// The PortainerClient.
    pub client: Arc<Object>,
    /// The DockerHostCert.
    pub host: Arc<Object>,
    /// Who delivers the host's certificate.
    pub deliverer: Deliverer,
    /// The claims of all PortainerClients that select the host.
    pub claims: Vec<Claim>,
    /// This PortainerClient selects it.
    pub selected: bool,
    /// A companion is still told to register it.
    pub delegated: bool,
}

/// One attempt to register a host.
pub(super) struct RegistrationAttempt<'a> {
    pub client: &'a ObjectRef,
    pub host: &'a ObjectRef,
    /// The last report.
    pub before: EnvironmentReport,
    /// What to do, or why it cannot be done.
    pub request: Result<RegistrationRequest, RegistrationProblem>,
}

/// While a companion is still told to register a host, the controller checks again after this.
const HANDOVER_RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(2);
/// The input of a deregistration.
const DEREGISTRATION: &str = "deregistration";

impl Registrations {
    /// Syncs a host.
    pub async fn sync_host<S: Store>(&self, ctx: &Context<S>, sync: &HostSync) -> SyncOutcome {
        let (client, host) = (&sync.client, &sync.host);
        let stays = sync.selected && client.deleted.is_none() && host.deleted.is_none();
        let by_companion = companions_register(client);
        if sync.delegated && !(stays && by_companion) {
            return SyncOutcome::requeue_at(saturating(ctx.clock.now(), HANDOVER_RETRY_INTERVAL));
        }
        if !client.has_server() {
            // Its server cannot be reached any longer.
            let new = self.cache().with_host(&client.at, &host.at, |known| known.set_deregistered());
            return SyncOutcome::changed(new);
        }
        let server = match self.cache().refreshed_server(&client.at) {
            Some(Ok(server)) => server,
            refreshed => {
                let changed = stays && by_companion && self.note_unchecked(client, host);
                return SyncOutcome { refresh: refreshed.is_none(), ..SyncOutcome::changed(changed) };
            }
        };
        match (stays, by_companion) {
            (false, _) => self.deregister_host(ctx, sync, &server).await,
            (true, true) => self.check_companion(sync, &server),
            (true, false) => {
                self.cache().with_host(&client.at, &host.at, |known| known.select());
                let before = self.reports().report(client, host);
                let conflict = conflict(&client.at.name, &sync.claims);
                let request = registration_request(ctx, client, host, &sync.deliverer, before.clone())
                    .and_then(|request| conflict.map_or(Ok(request), Err));
                let attempt = RegistrationAttempt { client: &client.at, host: &host.at, before, request };
                self.register_attempt(&server, attempt, &ctx.clock).await
            }
        }
    }

    /// Registers a host, unless the same failed lately.
    pub(super) async fn register_attempt(
        &self,
        server: &RegistrationServer,
        attempt: RegistrationAttempt<'_>,
        clock: &Clock,
    ) -> SyncOutcome {
        let RegistrationAttempt { client, host, before, request } = &attempt;
        let input = input(request, &server.snapshot(), before.id);
        let wait_until = self.cache().with_host(client, host, |known| known.wait_until(&input, clock.now()));
        if let Some(until) = wait_until {
            if needs_full_refresh(before) {
                server.request_full_refresh();
            }
            return SyncOutcome::requeue_at(until);
        }
        let outcome = match request {
            Ok(request) => register(server, request, clock).await,
            // Something is missing for the moment, as after a start; Portainer still reaches the host.
            Err(problem) if problem.reason == Reason::NotRegistered && before.is_registered() => {
                return SyncOutcome::default();
            }
            Err(problem) => RegistrationOutcome::Reported(failed_report(&client.name, before.clone(), problem.clone())),
        };
        self.note_outcome(server, &attempt, outcome, &input, clock)
    }

    fn note_outcome(
        &self,
        server: &RegistrationServer,
        attempt: &RegistrationAttempt<'_>,
        outcome: RegistrationOutcome,
        input: &str,
        clock: &Clock,
    ) -> SyncOutcome {
        let RegistrationAttempt { client, host, before, .. } = attempt;
        let note = |report: &EnvironmentReport| {
            self.cache().with_host(client, host, |known| known.note_sync(report, input, clock.now()))
        };
        match outcome {
            RegistrationOutcome::RefreshFirst => {
                server.mark_stale();
                SyncOutcome::refresh()
            }
            RegistrationOutcome::Server(problem) => {
                server.mark_stale();
                self.cache().set_problem(client, problem.clone());
                note(&match before.is_registered() {
                    true => before.clone(), // the server is at fault; it may still reach the host
                    false => failed_report(&client.name, before.clone(), problem),
                });
                let until = saturating(clock.now(), retry_delay(Reason::PortainerFailed, 1));
                self.cache().with_host(client, host, |known| known.postpone(input, until));
                SyncOutcome { requeue_at: Some(until), changed: true, refresh: true }
            }
            RegistrationOutcome::Reported(report) => {
                if needs_full_refresh(&report) {
                    server.request_full_refresh();
                }
                SyncOutcome { requeue_at: note(&report), changed: report != *before, refresh: false }
            }
        }
    }

    /// Deregisters a host that is deleted or no longer selected.
    async fn deregister_host<S: Store>(
        &self,
        ctx: &Context<S>,
        sync: &HostSync,
        server: &RegistrationServer,
    ) -> SyncOutcome {
        let (client, host) = (&sync.client, &sync.host);
        if self.reports().is_deregistered(client, host) {
            return SyncOutcome::default();
        }
        let now = ctx.clock.now();
        let wait_until = self.cache().with_host(&client.at, &host.at, |known| known.wait_until(DEREGISTRATION, now));
        if let Some(until) = wait_until {
            return SyncOutcome::requeue_at(until);
        }
        if !server.is_fresh(now) {
            server.mark_stale();
            return SyncOutcome::refresh();
        }
        let deleted = client.deleted.is_some() || host.deleted.is_some();
        let before = self.reports().report(client, host);
        let authority = authority_of(ctx, client).unwrap_or_default(); // our environments are known without it
        let Some(desired) = DesiredEnvironment::of(client, host, &authority) else { return SyncOutcome::default() };
        let request = DeregisterRequest { desired, delete: deleted && deletes_environments(client) };
        let snapshot = server.snapshot();
        match deregister(server, &host.at.namespace, &request, &before).await {
            Ok(done) => {
                let report = remaining_report(&snapshot, &done, &before, &marker_family(&client.at));
                self.cache().with_host(&client.at, &host.at, |known| known.deregister(report));
                announce(ctx, sync, &done).await;
                SyncOutcome::changed(true)
            }
            Err(problem) => {
                let report = failed_report(&client.at.name, before, problem);
                let note = |known: &mut super::host_state::HostState| known.note_sync(&report, DEREGISTRATION, now);
                let requeue_at = self.cache().with_host(&client.at, &host.at, note);
                SyncOutcome { requeue_at, changed: true, refresh: false }
            }
        }
    }
}

/// What stays known of an environment that we made: if the host is selected again, it is found by its id and marked again.
/// An adopted one is not.
fn remaining_report(
    snapshot: &ServerSnapshot,
    done: &Deregistration,
    before: &EnvironmentReport,
    family: &str,
) -> Option<EnvironmentReport> {
    let Deregistration::Untag(id, _) = done else { return None };
    let made = snapshot.environments.get(id).is_some_and(|environment| !is_adopted(family, snapshot, environment));
    made.then(|| EnvironmentReport {
        portainer_client: before.portainer_client.clone(),
        registrar: before.registrar,
        id: Some(*id),
        instance_id: Some(snapshot.instance.clone()),
        reason: Reason::Deregistered.as_str().to_owned(),
        message: "the host is no longer selected; its environment stays in Portainer, without our tag".to_owned(),
        ..EnvironmentReport::default()
    })
}

/// Digest of what a registration depends on: after a failure, a change of it is tried at once.
fn input(
    request: &Result<RegistrationRequest, RegistrationProblem>,
    snapshot: &ServerSnapshot,
    id: Option<i64>,
) -> String {
    let wanted = request.as_ref().map(|request| (&request.desired, &request.input));
    let desired = request.as_ref().ok().map(|request| &request.desired);
    let related =
        |found: &&Environment| Some(found.id) == id || desired.is_some_and(|desired| desired.name == found.name);
    let environments: Vec<&Environment> = snapshot.environments.values().filter(related).collect();
    let group = desired.and_then(|desired| desired.group.as_ref());
    let groups: Vec<i64> =
        snapshot.groups.iter().filter(|found| Some(&found.name) == group).map(|found| found.id).collect();
    sha256_hex(format!("{wanted:?} {environments:?} {groups:?} {}", snapshot.version).as_bytes())
}

/// It failed because of something that the list of environments does not show.
fn needs_full_refresh(report: &EnvironmentReport) -> bool {
    let reason = Reason::parse(&report.reason);
    matches!(reason, Some(Reason::GroupNotFound | Reason::GroupAmbiguous | Reason::PortainerTooOld))
}

async fn announce<S: Store>(ctx: &Context<S>, sync: &HostSync, done: &Deregistration) {
    let client = &sync.client.at.name;
    let message = match done {
        Deregistration::Nothing => return,
        Deregistration::Delete(id) => format!("removed environment {id} from the Portainer of {client}"),
        Deregistration::Untag(id, _) => {
            format!("environment {id} stays in the Portainer of {client}, without our tag")
        }
    };
    let event = ObjectEvent { warning: false, reason: Reason::Deregistered, message };
    ctx.store.announce(&sync.host, &event).await;
}
