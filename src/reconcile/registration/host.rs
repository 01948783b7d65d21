//! A visit for a host in one Portainer: it is registered, watched over while its companion registers it, or parted from.

use super::request::{authority_of, errand};
use super::state::{HostState, Registrations, SyncOutcome, deletes, faulty};
use super::{RegistrationOutcome, RegistrationRequest, RegistrationServer, part, register};
use crate::adapters::{Clock, Store};
use crate::api::condition::Reason;
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectEvent, ObjectRef, Spec};
use crate::decide::delivery::Deliverer;
use crate::decide::registration::backoff::{after_visit, retry_delay};
use crate::decide::registration::conflict::{Claim, lost};
use crate::decide::registration::desired::marker_family;
use crate::decide::registration::find::is_adopted;
use crate::decide::registration::{Deregistration, DesiredEnvironment, RegistrationProblem, ServerSnapshot};
use crate::pki::lifecycle::saturating;
use crate::pki::sha256_hex;
use crate::portainer::Environment;
use crate::reconcile::Context;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// A host and who is to register it.
#[derive(Clone, Debug)]
pub struct HostSync {
    /// The PortainerClient.
    pub client: Arc<Object>,
    /// The DockerHostCert.
    pub host: Arc<Object>,
    /// Who brings the host's certificate there.
    pub deliverer: Deliverer,
    /// All that select it.
    pub claims: Vec<Claim>,
    /// The PortainerClient selects it.
    pub selected: bool,
    /// A companion is still told to register it.
    pub lent: bool,
}

/// A host in one Portainer, as one walk finds it.
pub(super) struct RegistrationAttempt<'a> {
    pub client: &'a ObjectRef,
    pub host: &'a ObjectRef,
    /// What was reported.
    pub before: EnvironmentReport,
    /// What is to be done, or why it cannot be.
    pub ready: Result<RegistrationRequest, RegistrationProblem>,
}

/// While a companion is still told to register a host, somebody else who is to do it looks again after this.
const HANDING_OVER: SignedDuration = SignedDuration::from_secs(2);
/// What a visit is about that parts from a host.
const PARTING: &str = "parting";

impl Registrations {
    /// Does what is to be done for a host.
    pub async fn visit<S: Store>(&self, ctx: &Context<S>, visit: &HostSync) -> SyncOutcome {
        let (client, host) = (&visit.client, &visit.host);
        let stays = visit.selected && client.deleted.is_none() && host.deleted.is_none();
        let Spec::Portainer(spec) = &client.spec else { return SyncOutcome::default() };
        let by_companion = spec.registrar == Registrar::Companion;
        if visit.lent && !(stays && by_companion) {
            return SyncOutcome {
                requeue_at: Some(saturating(ctx.clock.now(), HANDING_OVER)),
                ..SyncOutcome::default()
            };
        }
        if !client.has_server() {
            let news = self.host(&client.at, &host.at, |known| !std::mem::replace(&mut known.parted, true));
            return SyncOutcome { news, ..SyncOutcome::default() }; // nobody knows how to speak to it
        }
        let (server, looked) = self.known(&client.at, |known| (known.server.clone(), known.looked.clone()));
        let Some(server) = server.filter(|_| matches!(looked, Some(Ok(())))) else {
            let news = stays && by_companion && self.hears(client, host);
            return SyncOutcome { look: looked.is_none(), news, ..SyncOutcome::default() };
        };
        match (stays, by_companion) {
            (false, _) => self.part(ctx, visit, &server).await,
            (true, true) => self.oversee(visit, &server),
            (true, false) => {
                self.host(&client.at, &host.at, |known| known.parted = false);
                let before = self.report(client, host);
                let lost = lost(&client.at.name, &visit.claims);
                let ready = errand(ctx, client, host, &visit.deliverer, before.clone())
                    .and_then(|errand| lost.map_or(Ok(errand), Err));
                let turn = RegistrationAttempt { client: &client.at, host: &host.at, before, ready };
                self.register(&server, turn, &ctx.clock).await
            }
        }
    }

    /// Registers a host, unless the same failed lately.
    pub(super) async fn register(
        &self,
        server: &Arc<RegistrationServer>,
        turn: RegistrationAttempt<'_>,
        clock: &Clock,
    ) -> SyncOutcome {
        let RegistrationAttempt { client, host, before, ready } = turn;
        let about = about(&ready, &server.snapshot(), before.id);
        if let Some(until) = self.rests(client, host, &about, clock.now()) {
            if is_seldom_asked(&before) {
                server.wonder();
            }
            return SyncOutcome { requeue_at: Some(until), ..SyncOutcome::default() };
        }
        let done = match ready {
            Ok(errand) => register(server, &errand, clock).await,
            // Something is not there for the moment, as after a start; Portainer reaches the host all the same.
            Err(fault) if fault.reason == Reason::NotRegistered && before.is_registered() => {
                return SyncOutcome::default();
            }
            Err(fault) => RegistrationOutcome::Reported(faulty(&client.name, before.clone(), fault)),
        };
        let note =
            |report: &EnvironmentReport| self.host(client, host, |known| known.note(report, &about, clock.now()));
        match done {
            RegistrationOutcome::LookFirst => {
                server.doubt();
                SyncOutcome { look: true, ..SyncOutcome::default() }
            }
            RegistrationOutcome::Server(fault) => {
                server.doubt();
                self.known(client, |known| known.looked = Some(Err(fault.clone())));
                let report = match before.is_registered() {
                    true => before, // Portainer is at fault, and reaches the host for all we know
                    false => faulty(&client.name, before, fault),
                };
                note(&report);
                let until = saturating(clock.now(), retry_delay(Reason::PortainerFailed, 1));
                self.host(client, host, |known| known.rests = Some((until, about.clone())));
                SyncOutcome { requeue_at: Some(until), news: true, look: true }
            }
            RegistrationOutcome::Reported(report) => {
                if is_seldom_asked(&report) {
                    server.wonder();
                }
                SyncOutcome { requeue_at: note(&report), news: report != before, look: false }
            }
        }
    }

    /// Until when the same is not tried again, since it failed lately.
    fn rests(&self, client: &ObjectRef, host: &ObjectRef, about: &str, now: Timestamp) -> Option<Timestamp> {
        let (until, what) = self.host(client, host, |known| known.rests.clone())?;
        (now < until && what == about).then_some(until)
    }

    /// Parts from the environment of a host that goes, or is no longer selected.
    async fn part<S: Store>(
        &self,
        ctx: &Context<S>,
        visit: &HostSync,
        server: &Arc<RegistrationServer>,
    ) -> SyncOutcome {
        let (client, host) = (&visit.client, &visit.host);
        if self.is_parted(client, host) {
            return SyncOutcome::default();
        }
        let now = ctx.clock.now();
        if let Some(until) = self.rests(&client.at, &host.at, PARTING, now) {
            return SyncOutcome { requeue_at: Some(until), ..SyncOutcome::default() };
        }
        if !server.is_fresh(now) {
            server.doubt();
            return SyncOutcome { look: true, ..SyncOutcome::default() };
        }
        let going = client.deleted.is_some() || host.deleted.is_some();
        let before = self.report(client, host);
        let authority = authority_of(ctx, client).unwrap_or_default(); // what is ours is known without it
        let Some(order) = DesiredEnvironment::of(client, host, &authority) else { return SyncOutcome::default() };
        let family = marker_family(&client.at);
        let snapshot = server.snapshot();
        match part(server, &host.at.namespace, order, &before, going && deletes(client)).await {
            Ok(parting) => {
                let report = left(&snapshot, &parting, &before, &family);
                self.host(&client.at, &host.at, |known| {
                    *known = HostState { parted: true, report, ..HostState::default() }
                });
                announce(ctx, visit, &parting).await;
                SyncOutcome { news: true, ..SyncOutcome::default() }
            }
            Err(fault) => {
                let report = faulty(&client.at.name, before, fault);
                let requeue_at = self.host(&client.at, &host.at, |known| known.note(&report, PARTING, now));
                SyncOutcome { requeue_at, news: true, look: false }
            }
        }
    }
}

impl HostState {
    /// Notes what came of a visit; says when the next is.
    fn note(&mut self, report: &EnvironmentReport, about: &str, now: Timestamp) -> Option<Timestamp> {
        self.report = Some(report.clone());
        if report.is_registered() {
            (self.failures, self.rests) = (0, None);
            return None;
        }
        let same = self.rests.as_ref().is_some_and(|(_, what)| what == about);
        self.failures = if same { self.failures + 1 } else { 1 };
        let until = saturating(now, after_visit(report, self.failures));
        self.rests = Some((until, about.to_owned()));
        Some(until)
    }
}

/// Should the host come back, it is known by its number: what we made is ours to mark again, what was adopted is not.
fn left(
    snapshot: &ServerSnapshot,
    parting: &Deregistration,
    before: &EnvironmentReport,
    family: &str,
) -> Option<EnvironmentReport> {
    let Deregistration::Untag(id, _) = parting else { return None };
    let made = snapshot.environments.get(id).is_some_and(|environment| !is_adopted(family, snapshot, environment));
    made.then(|| EnvironmentReport {
        portainer_client: before.portainer_client.clone(),
        registrar: before.registrar,
        id: Some(*id),
        instance_id: Some(snapshot.instance.clone()),
        reason: Reason::Deregistered.as_str().to_owned(),
        message: "the host is not selected any more; its environment stays, without our tag".to_owned(),
        ..EnvironmentReport::default()
    })
}

/// What a visit is about: what failed once is tried again at once where this is something else.
fn about(
    ready: &Result<RegistrationRequest, RegistrationProblem>,
    snapshot: &ServerSnapshot,
    id: Option<i64>,
) -> String {
    let wishes = ready.as_ref().map(|errand| (&errand.order, &errand.material));
    let order = ready.as_ref().ok().map(|errand| &errand.order);
    let its = |found: &&Environment| Some(found.id) == id || order.is_some_and(|order| order.name == found.name);
    let environments: Vec<&Environment> = snapshot.environments.values().filter(its).collect();
    let group = order.and_then(|order| order.group.as_ref());
    let groups: Vec<i64> =
        snapshot.groups.iter().filter(|found| Some(&found.name) == group).map(|found| found.id).collect();
    sha256_hex(format!("{wishes:?} {environments:?} {groups:?} {}", snapshot.version).as_bytes())
}

/// It fails by what the list does not show: the next look asks everything.
fn is_seldom_asked(report: &EnvironmentReport) -> bool {
    let reason = Reason::parse(&report.reason);
    matches!(reason, Some(Reason::GroupNotFound | Reason::GroupAmbiguous | Reason::PortainerTooOld))
}

async fn announce<S: Store>(ctx: &Context<S>, visit: &HostSync, parting: &Deregistration) {
    let client = &visit.client.at.name;
    let message = match parting {
        Deregistration::Nothing => return,
        Deregistration::Delete(id) => format!("removed environment {id} from the Portainer of {client}"),
        Deregistration::Untag(id, _) => {
            format!("environment {id} stays in the Portainer of {client}, and is no longer marked as ours")
        }
    };
    let what = ObjectEvent { warning: false, reason: Reason::Deregistered, message };
    ctx.store.announce(&visit.host, &what).await;
}
