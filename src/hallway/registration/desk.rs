//! All Portainers and what is known of each host in them. A look at a server and a visit for a host are its two walks;
//! what came of them stands in statuses.

use super::order::{authority_of, errand};
use super::server::{Names, UNPOISONED};
use super::{Done, Errand, Server, part, prepare, register};
use crate::api::condition::Reason;
use crate::api::portainer_client::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectRef, Spec};
use crate::decide::delivery::Courier;
use crate::decide::registration::contest::{Claim, lost};
use crate::decide::registration::patience::{FORBEARANCE, INTERVAL, patience};
use crate::decide::registration::{Fault, Order, Parting};
use crate::hallway::House;
use crate::pki::lifecycle::saturating;
use crate::pki::sha256_hex;
use crate::portainer::Environment;
use crate::world::Store;
use crate::world::store::Announcement;
use k8s_openapi::jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// All Portainers.
#[derive(Default)]
pub struct Registrations {
    clients: Mutex<HashMap<ObjectRef, Known>>,
    names: Arc<Names>,
}

/// What is known of one.
#[derive(Default)]
struct Known {
    server: Option<Arc<Server>>,
    looked: Option<Result<(), Fault>>,
    /// The PortainerClient as it was at the last look.
    about: String,
    failures: u32,
    /// Since when its credential is refused.
    refused: Option<Timestamp>,
    hosts: HashMap<ObjectRef, Standing>,
}

/// What is known of a host in it.
#[derive(Clone, Default)]
struct Standing {
    report: Option<EnvironmentReport>,
    parted: bool,
    failures: u32,
    /// Not before then, unless something changes.
    rests: Option<(Timestamp, String)>,
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
}

impl Registrations {
    /// Looks at the server of a PortainerClient.
    pub async fn look<S: Store>(&self, house: &House<S>, client: &Object) -> Came {
        let before = self.known(&client.at, |known| known.looked.clone());
        let now = house.clock.now();
        let kept = self.known(&client.at, |known| {
            let forgiven = known.refused.is_some_and(|refused| now >= saturating(refused, FORBEARANCE));
            known.server.clone().filter(|_| !forgiven)
        });
        let looked = match prepare(house, client, kept, &self.names).await {
            Ok(server) => {
                self.known(&client.at, |known| known.server = Some(Arc::clone(&server)));
                server.look(&house.clock).await
            }
            Err(fault) => Err(fault),
        };
        let news = before.as_ref() != Some(&looked) || self.version_is_news(client);
        let wait = self.known(&client.at, |known| {
            known.about = wishes(client);
            let refused = matches!(&looked, Err(fault) if fault.reason == Reason::CredentialsRefused);
            known.refused =
                refused.then(|| known.refused.filter(|since| now < saturating(*since, FORBEARANCE)).unwrap_or(now));
            known.failures = if looked.is_ok() { 0 } else { known.failures + 1 };
            known.looked = Some(looked.clone());
            looked.as_ref().err().map_or(INTERVAL, |fault| patience(fault.reason, known.failures))
        });
        Came { wake: Some(saturating(now, wait)), news, look: false }
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
        let (server, looked) = self.known(&client.at, |known| (known.server.clone(), known.looked.clone()));
        let Some(server) = server.filter(|_| matches!(looked, Some(Ok(())))) else {
            return Came { look: looked.is_none(), ..Came::default() };
        };
        if !stays {
            return self.part(house, visit, &server).await;
        }
        let Spec::Portainer(spec) = &client.spec else { return Came::default() };
        if spec.registrar == Registrar::Companion {
            return Came::default();
        }
        self.register(house, visit, &server).await
    }

    async fn register<S: Store>(&self, house: &House<S>, visit: &Visit, server: &Arc<Server>) -> Came {
        let (client, host) = (&visit.client, &visit.host);
        let now = house.clock.now();
        let before = self.report(client, host);
        let ready =
            errand(house, visit, before.clone()).and_then(|errand| match lost(&client.at.name, &visit.claims) {
                Some(fault) => Err(fault),
                None => Ok(errand),
            });
        let about = about(&ready, before.id.and_then(|id| server.ground().environments.get(&id).cloned()));
        let known = self.host(client, host, |known| {
            known.parted = false;
            known.clone()
        });
        if let Some((until, _)) = known.rests.filter(|(until, what)| now < *until && *what == about) {
            return Came { wake: Some(until), ..Came::default() };
        }
        let done = match ready {
            Ok(errand) => register(server, &errand, &house.clock).await,
            Err(fault) => Done::Reported(faulty(&client.at.name, before.clone(), fault)),
        };
        match done {
            Done::LookFirst => {
                server.doubt();
                Came { look: true, ..Came::default() }
            }
            Done::Server(fault) => {
                server.doubt();
                self.known(&client.at, |known| known.looked = Some(Err(fault.clone())));
                let report = match before.is_registered() {
                    true => before.clone(), // Portainer is at fault, and reaches the host for all we know
                    false => faulty(&client.at.name, before.clone(), fault),
                };
                let wake = self.host(client, host, |known| known.note(&report, &about, house.clock.now()));
                Came { wake, news: true, look: true }
            }
            Done::Reported(report) => {
                let wake = self.host(client, host, |known| known.note(&report, &about, house.clock.now()));
                Came { wake, news: report != before, look: false }
            }
        }
    }

    /// Parts from the environment of a host that goes, or is no longer selected.
    async fn part<S: Store>(&self, house: &House<S>, visit: &Visit, server: &Arc<Server>) -> Came {
        let (client, host) = (&visit.client, &visit.host);
        if self.host(client, host, |known| known.parted) {
            return Came::default();
        }
        let now = house.clock.now();
        let rests = self
            .host(client, host, |known| known.rests.clone())
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
        match part(server, &host.at.namespace, order, &before, going && deletes(client)).await {
            Ok(parting) => {
                self.host(client, host, |known| *known = Standing { parted: true, ..Standing::default() });
                announce(house, visit, &parting).await;
                Came { news: true, ..Came::default() }
            }
            Err(fault) => {
                let wake = self
                    .host(client, host, |known| known.note(&faulty(&client.at.name, before, fault), "parting", now));
                Came { wake, news: true, look: false }
            }
        }
    }

    /// What is known of a host: what was found out, else what its status says.
    pub fn report(&self, client: &Object, host: &Object) -> EnvironmentReport {
        let known = self.host(client, host, |known| known.report.clone());
        let told =
            || host.previous.environments.iter().find(|report| *report.portainer_client == *client.at.name).cloned();
        let blank =
            || EnvironmentReport { portainer_client: client.at.name.to_string(), ..EnvironmentReport::default() };
        known.or_else(told).unwrap_or_else(blank)
    }

    /// That host's environment is no longer ours.
    pub fn is_parted(&self, client: &ObjectRef, host: &ObjectRef) -> bool {
        self.known(client, |known| known.hosts.get(host).is_some_and(|standing| standing.parted))
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

    fn known<T>(&self, client: &ObjectRef, look: impl FnOnce(&mut Known) -> T) -> T {
        look(self.clients.lock().expect(UNPOISONED).entry(client.clone()).or_default())
    }

    fn host<T>(&self, client: &Object, host: &Object, look: impl FnOnce(&mut Standing) -> T) -> T {
        self.known(&client.at, |known| look(known.hosts.entry(host.at.clone()).or_default()))
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
        let reason = Reason::parse(&report.reason).unwrap_or(Reason::NotRegistered);
        let until = saturating(now, patience(reason, self.failures));
        self.rests = Some((until, about.to_owned()));
        Some(until)
    }
}

fn faulty(client: &str, before: EnvironmentReport, fault: Fault) -> EnvironmentReport {
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

/// What a visit is about: what failed once is tried again at once where this is something else.
fn about(ready: &Result<Errand, Fault>, environment: Option<Environment>) -> String {
    let wishes = ready.as_ref().map(|errand| (&errand.order, &errand.material));
    sha256_hex(format!("{wishes:?} {environment:?}").as_bytes())
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
