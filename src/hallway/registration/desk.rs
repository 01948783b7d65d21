//! All Portainers and what is known of each host in them. A look at a server and a visit for a host are its two walks;
//! what came of them stands in statuses.

use super::order::{authority_of, errand};
use super::prepare::{Way, way};
use super::server::{Names, UNPOISONED};
use super::{Done, Errand, Server, part, register};
use crate::api::condition::Reason;
use crate::api::portainer_client::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectRef, Spec};
use crate::decide::delivery::Courier;
use crate::decide::registration::contest::{Claim, lost};
use crate::decide::registration::find::is_adopted;
use crate::decide::registration::order::marker_family;
use crate::decide::registration::patience::{FORBEARANCE, INTERVAL, after_visit, patience};
use crate::decide::registration::{Fault, Ground, Order, Parting};
use crate::hallway::House;
use crate::pki::lifecycle::saturating;
use crate::pki::sha256_hex;
use crate::portainer::Environment;
use crate::world::portainer_http::Access;
use crate::world::store::Announcement;
use crate::world::{Clock, Store};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// All Portainers.
#[derive(Default)]
pub struct Registrations {
    clients: Mutex<HashMap<ObjectRef, Known>>,
    names: Arc<Names>,
    /// Companions may register their own host.
    pub(super) companions: bool,
}

/// What is known of one.
#[derive(Default)]
pub(super) struct Known {
    pub server: Option<Arc<Server>>,
    pub looked: Option<Result<(), Fault>>,
    /// How it is spoken to, as far as a companion may be told.
    pub access: Option<Access>,
    /// The PortainerClient as it was at the last look.
    pub about: String,
    failures: u32,
    /// When it is to be looked at again.
    pub again: Option<Timestamp>,
    /// Since when its credential is refused.
    refused: Option<Timestamp>,
    hosts: HashMap<ObjectRef, Standing>,
}

/// What is known of a host in it.
#[derive(Clone, Default)]
pub(super) struct Standing {
    pub report: Option<EnvironmentReport>,
    pub parted: bool,
    failures: u32,
    /// Not before then, unless something changes.
    rests: Option<(Timestamp, String)>,
    /// What its companion reported when that was last held against what the server shows, and what came of it.
    pub overseen: Option<(EnvironmentReport, Option<Fault>)>,
}

/// What came of a look or a visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// When to do it again, if nothing changes.
    pub wake: Option<Timestamp>,
    /// Statuses say something else now.
    pub news: bool,
    /// The server is to be looked at.
    pub look: bool,
}

/// A host and who is to register it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The PortainerClient.
    pub client: Arc<Object>,
    /// The DockerHostCert.
    pub host: Arc<Object>,
    /// Who brings the host's certificate there.
    pub courier: Courier,
    /// All that select it.
    pub claims: Vec<Claim>,
    /// The PortainerClient selects it.
    pub selected: bool,
    /// A companion is still told to register it.
    pub lent: bool,
}

/// A host in one Portainer, as one walk finds it.
pub(super) struct Turn<'a> {
    pub client: &'a ObjectRef,
    pub host: &'a ObjectRef,
    /// What was reported.
    pub before: EnvironmentReport,
    /// What is to be done, or why it cannot be.
    pub ready: Result<Errand, Fault>,
}

/// While a companion is still told to register a host, somebody else who is to do it looks again after this.
const HANDING_OVER: SignedDuration = SignedDuration::from_secs(2);

impl Registrations {
    /// None yet; `companions` says whether they may register their own host.
    pub fn new(companions: bool) -> Registrations {
        Registrations { companions, ..Registrations::default() }
    }

    /// Looks at the server of a PortainerClient.
    pub async fn look<S: Store>(&self, house: &House<S>, client: &Object) -> Came {
        let way = match way(house, client).await {
            // What goes together with its Secrets is taken leave of by what is still known of them.
            Err(_) if client.deleted.is_some() && self.known(&client.at, |known| known.server.is_some()) => {
                return self.look_by(&client.at, None, wishes(client), &house.clock).await;
            }
            way => way,
        };
        let told = self.note_access(&client.at, &way);
        let mut came = self.look_by(&client.at, Some(way), wishes(client), &house.clock).await;
        came.news |= told || self.version_is_news(client);
        came
    }

    /// Looks at a server that is spoken to in that way, or as before; `about` is what the look depends on.
    pub(super) async fn look_by(
        &self,
        client: &ObjectRef,
        way: Option<Result<Way, Fault>>,
        about: String,
        clock: &Clock,
    ) -> Came {
        let now = clock.now();
        let (before, kept) = self.known(client, |known| {
            let forgiven = known.refused.is_some_and(|refused| now >= saturating(refused, FORBEARANCE));
            (known.looked.clone(), known.server.clone().filter(|_| !forgiven))
        });
        let looked = match self.server_by(way, kept) {
            Ok(server) => {
                self.known(client, |known| known.server = Some(Arc::clone(&server)));
                server.look(clock).await
            }
            Err(fault) => Err(fault),
        };
        let news = before.as_ref() != Some(&looked);
        let wake = self.known(client, |known| {
            known.about = about;
            let refused = matches!(&looked, Err(fault) if fault.reason == Reason::CredentialsRefused);
            known.refused =
                refused.then(|| known.refused.filter(|since| now < saturating(*since, FORBEARANCE)).unwrap_or(now));
            known.failures = if looked.is_ok() { 0 } else { known.failures + 1 };
            known.looked = Some(looked.clone());
            let wait = looked.as_ref().err().map_or(INTERVAL, |fault| patience(fault.reason, known.failures));
            known.again = Some(saturating(now, wait));
            known.again
        });
        Came { wake, news, look: false }
    }

    fn server_by(&self, way: Option<Result<Way, Fault>>, kept: Option<Arc<Server>>) -> Result<Arc<Server>, Fault> {
        match (way, kept) {
            (Some(way), kept) => way?.server(kept, &self.names),
            (None, Some(kept)) => Ok(kept),
            (None, None) => Err(Fault::new(Reason::NotRegistered, "nothing is known of its server any more")),
        }
    }

    /// The server of a PortainerClient is to be looked at now: it never was, or something else is wished for.
    pub fn wants_look(&self, client: &Object) -> bool {
        self.known(&client.at, |known| known.looked.is_none() || known.about != wishes(client))
    }

    fn version_is_news(&self, client: &Object) -> bool {
        let version =
            self.known(&client.at, |known| known.server.as_ref().map(|server| server.ground().version.clone()));
        version.is_some() && version != client.previous.server.version
    }

    /// Does what is to be done for a host.
    pub async fn visit<S: Store>(&self, house: &House<S>, visit: &Visit) -> Came {
        let (client, host) = (&visit.client, &visit.host);
        let stays = visit.selected && client.deleted.is_none() && host.deleted.is_none();
        let Spec::Portainer(spec) = &client.spec else { return Came::default() };
        let by_companion = spec.registrar == Registrar::Companion;
        if visit.lent && !(stays && by_companion) {
            return Came { wake: Some(saturating(house.clock.now(), HANDING_OVER)), ..Came::default() };
        }
        if !client.has_server() {
            let news = self.host(&client.at, &host.at, |known| !std::mem::replace(&mut known.parted, true));
            return Came { news, ..Came::default() }; // nobody knows how to speak to it
        }
        let (server, looked) = self.known(&client.at, |known| (known.server.clone(), known.looked.clone()));
        let Some(server) = server.filter(|_| matches!(looked, Some(Ok(())))) else {
            return Came { look: looked.is_none(), ..Came::default() };
        };
        match (stays, by_companion) {
            (false, _) => self.part(house, visit, &server).await,
            (true, true) => self.oversee(visit, &server),
            (true, false) => {
                self.host(&client.at, &host.at, |known| known.parted = false);
                let before = self.report(client, host);
                let lost = lost(&client.at.name, &visit.claims);
                let ready = errand(house, visit, before.clone()).and_then(|errand| lost.map_or(Ok(errand), Err));
                let turn = Turn { client: &client.at, host: &host.at, before, ready };
                self.register(&server, turn, &house.clock).await
            }
        }
    }

    /// Registers a host, unless the same failed lately.
    pub(super) async fn register(&self, server: &Arc<Server>, turn: Turn<'_>, clock: &Clock) -> Came {
        let Turn { client, host, before, ready } = turn;
        let about = about(&ready, &server.ground(), before.id);
        let rests = self.host(client, host, |known| known.rests.clone());
        if let Some((until, _)) = rests.filter(|(until, what)| clock.now() < *until && *what == about) {
            if is_seldom_asked(&before) {
                server.wonder();
            }
            return Came { wake: Some(until), ..Came::default() };
        }
        let done = match ready {
            Ok(errand) => register(server, &errand, clock).await,
            // Something is not there for the moment, as after a start; Portainer reaches the host all the same.
            Err(fault) if fault.reason == Reason::NotRegistered && before.is_registered() => return Came::default(),
            Err(fault) => Done::Reported(faulty(&client.name, before.clone(), fault)),
        };
        let note =
            |report: &EnvironmentReport| self.host(client, host, |known| known.note(report, &about, clock.now()));
        match done {
            Done::LookFirst => {
                server.doubt();
                Came { look: true, ..Came::default() }
            }
            Done::Server(fault) => {
                server.doubt();
                self.known(client, |known| known.looked = Some(Err(fault.clone())));
                let report = match before.is_registered() {
                    true => before, // Portainer is at fault, and reaches the host for all we know
                    false => faulty(&client.name, before, fault),
                };
                note(&report);
                let until = saturating(clock.now(), patience(Reason::PortainerFailed, 1));
                self.host(client, host, |known| known.rests = Some((until, about.clone())));
                Came { wake: Some(until), news: true, look: true }
            }
            Done::Reported(report) => {
                if is_seldom_asked(&report) {
                    server.wonder();
                }
                Came { wake: note(&report), news: report != before, look: false }
            }
        }
    }

    /// Parts from the environment of a host that goes, or is no longer selected.
    async fn part<S: Store>(&self, house: &House<S>, visit: &Visit, server: &Arc<Server>) -> Came {
        let (client, host) = (&visit.client, &visit.host);
        if self.is_parted(client, host) {
            return Came::default();
        }
        let now = house.clock.now();
        let rests = self
            .host(&client.at, &host.at, |known| known.rests.clone())
            .filter(|(until, what)| now < *until && what == "parting");
        if let Some((until, _)) = rests {
            return Came { wake: Some(until), ..Came::default() };
        }
        if !server.is_fresh(now) {
            server.doubt();
            return Came { look: true, ..Came::default() };
        }
        let going = client.deleted.is_some() || host.deleted.is_some();
        let before = self.report(client, host);
        let authority = authority_of(house, client).unwrap_or_default(); // what is ours is known without it
        let Some(order) = Order::of(client, host, &authority) else { return Came::default() };
        let family = marker_family(&client.at);
        let ground = server.ground();
        match part(server, &host.at.namespace, order, &before, going && deletes(client)).await {
            Ok(parting) => {
                let report = left(&ground, &parting, &before, &family);
                self.host(&client.at, &host.at, |known| {
                    *known = Standing { parted: true, report, ..Standing::default() }
                });
                announce(house, visit, &parting).await;
                Came { news: true, ..Came::default() }
            }
            Err(fault) => {
                let report = faulty(&client.at.name, before, fault);
                let wake = self.host(&client.at, &host.at, |known| known.note(&report, "parting", now));
                Came { wake, news: true, look: false }
            }
        }
    }

    /// What is known of a host: what was found out, else what its status says, whoever wrote that.
    pub fn report(&self, client: &Object, host: &Object) -> EnvironmentReport {
        let blank =
            || EnvironmentReport { portainer_client: client.at.name.to_string(), ..EnvironmentReport::default() };
        let seen = || {
            Some(self.host(&client.at, &host.at, |known| known.overseen.clone())?.0).filter(|seen| seen.id.is_some())
        };
        self.found_out(&client.at, &host.at).or_else(|| told(client, host)).or_else(seen).unwrap_or_else(blank)
    }

    /// What was found out of a host.
    pub(super) fn found_out(&self, client: &ObjectRef, host: &ObjectRef) -> Option<EnvironmentReport> {
        self.host(client, host, |known| known.report.clone())
    }

    /// That host's environment is no longer ours.
    pub fn is_parted(&self, client: &Object, host: &Object) -> bool {
        let found = self.host(&client.at, &host.at, |known| known.parted);
        found || self.report(client, host).reason == Reason::Deregistered.as_str()
    }

    /// What a PortainerClient has to say for registering a host.
    pub fn claim(&self, client: &Object, host: &Object) -> Claim {
        let instance = self.identity(&client.at).map(|(instance, _)| instance);
        let instance = instance.or_else(|| client.previous.server.instance_id.clone());
        let report = self.report(client, host);
        let holds = report.id.is_some() && report.instance_id == instance && !self.is_parted(client, host);
        Claim { client: client.at.name.to_string(), created: client.created, instance, holds }
    }

    /// What came of the last look.
    pub fn looked(&self, client: &ObjectRef) -> Option<Result<(), Fault>> {
        self.known(client, |known| known.looked.clone())
    }

    /// InstanceID and version of its server, where they are known.
    pub fn identity(&self, client: &ObjectRef) -> Option<(String, String)> {
        let ground = self.known(client, |known| known.server.as_ref().map(|server| server.ground()))?;
        (!ground.instance.is_empty()).then(|| (ground.instance.clone(), ground.version.clone()))
    }

    /// Forgets a host or a PortainerClient that is gone.
    pub fn forget(&self, at: &ObjectRef) {
        let mut clients = self.clients.lock().expect(UNPOISONED);
        clients.remove(at);
        clients.values_mut().for_each(|known| drop(known.hosts.remove(at)));
    }

    /// Forgets a host in one Portainer.
    pub fn forget_pair(&self, client: &ObjectRef, host: &ObjectRef) {
        self.known(client, |known| drop(known.hosts.remove(host)));
    }

    pub(super) fn known<T>(&self, client: &ObjectRef, look: impl FnOnce(&mut Known) -> T) -> T {
        look(self.clients.lock().expect(UNPOISONED).entry(client.clone()).or_default())
    }

    pub(super) fn host<T>(&self, client: &ObjectRef, host: &ObjectRef, look: impl FnOnce(&mut Standing) -> T) -> T {
        self.known(client, |known| look(known.hosts.entry(host.clone()).or_default()))
    }
}

impl Standing {
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

pub(super) fn faulty(client: &str, before: EnvironmentReport, fault: Fault) -> EnvironmentReport {
    let (portainer_client, reason) = (client.to_owned(), fault.reason.as_str().to_owned());
    EnvironmentReport { portainer_client, reason, message: fault.message, ..before }
}

/// What a host's status says of one PortainerClient.
pub fn told(client: &Object, host: &Object) -> Option<EnvironmentReport> {
    let mut all = host.previous.environments.iter().chain(&host.companion.environments);
    all.find(|report| *report.portainer_client == *client.at.name).cloned()
}

/// What a look depends on.
fn wishes(client: &Object) -> String {
    sha256_hex(format!("{:?} {:?} {:?}", client.spec, client.previous.fingerprint, client.deleted).as_bytes())
}

/// Should the host come back, it is known by its number: what we made is ours to mark again, what was adopted is not.
fn left(ground: &Ground, parting: &Parting, before: &EnvironmentReport, family: &str) -> Option<EnvironmentReport> {
    let Parting::Untag(id, _) = parting else { return None };
    let made = ground.environments.get(id).is_some_and(|environment| !is_adopted(family, ground, environment));
    made.then(|| EnvironmentReport {
        portainer_client: before.portainer_client.clone(),
        registrar: before.registrar,
        id: Some(*id),
        instance_id: Some(ground.instance.clone()),
        reason: Reason::Deregistered.as_str().to_owned(),
        message: "the host is not selected any more; its environment stays, without our tag".to_owned(),
        ..EnvironmentReport::default()
    })
}

/// What a visit is about: what failed once is tried again at once where this is something else.
fn about(ready: &Result<Errand, Fault>, ground: &Ground, id: Option<i64>) -> String {
    let wishes = ready.as_ref().map(|errand| (&errand.order, &errand.material));
    let order = ready.as_ref().ok().map(|errand| &errand.order);
    let its = |found: &&Environment| Some(found.id) == id || order.is_some_and(|order| order.name == found.name);
    let environments: Vec<&Environment> = ground.environments.values().filter(its).collect();
    let group = order.and_then(|order| order.group.as_ref());
    let groups: Vec<i64> =
        ground.groups.iter().filter(|found| Some(&found.name) == group).map(|found| found.id).collect();
    sha256_hex(format!("{wishes:?} {environments:?} {groups:?} {}", ground.version).as_bytes())
}

/// It fails by what the list does not show: the next look asks everything.
fn is_seldom_asked(report: &EnvironmentReport) -> bool {
    let reason = Reason::parse(&report.reason);
    matches!(reason, Some(Reason::GroupNotFound | Reason::GroupAmbiguous | Reason::PortainerTooOld))
}

/// Environments go with their host or their PortainerClient.
pub fn deletes(client: &Object) -> bool {
    let Spec::Portainer(spec) = &client.spec else { return false };
    spec.server.is_some() && spec.environment.deletion_policy == crate::api::reference::DeletionPolicy::Delete
}

async fn announce<S: Store>(house: &House<S>, visit: &Visit, parting: &Parting) {
    let client = &visit.client.at.name;
    let message = match parting {
        Parting::Nothing => return,
        Parting::Delete(id) => format!("removed environment {id} from the Portainer of {client}"),
        Parting::Untag(id, _) => {
            format!("environment {id} stays in the Portainer of {client}, and is no longer marked as ours")
        }
    };
    let what = Announcement { warning: false, reason: Reason::Deregistered.as_str(), message };
    house.store.announce(&visit.host, &what).await;
}
