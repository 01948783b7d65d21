//! The Portainers that this host's companion registers it in: their Secrets and the host's come in, calls to them go
//! out in the background, and a report comes back. No delivery waits for any of it.

use super::assigned_host::AssignedHostState;
use super::requests::{CompanionEvent, forward};
use crate::adapters::Clock;
use crate::adapters::kube::companion_api::CompanionApi;
use crate::adapters::portainer::{Access, Patience};
use crate::api::assignment::AssignedPortainer;
use crate::api::condition::Reason;
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{NamespacedName, ObjectRef};
use crate::decide::delays::{MAX_REGISTRATION_DELAY, PORTAINER_INTERVAL};
use crate::decide::registration::desired::RegistrationInput;
use crate::decide::registration::{Proof, RegistrationProblem};
use crate::pki::lifecycle::saturating;
use crate::pki::material::{Data, bundle_digest};
use crate::pki::{Certificate, hex, sha256_hex};
use crate::reconcile::registration::connect::{credential, pair};
use crate::reconcile::registration::{CompanionRegistration, Connection, RegistrationRequest, Registrations};
use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

/// A host and a PortainerClient.
type Pairing = (ObjectRef, ObjectRef);

/// All of them.
pub struct Portainers {
    registrations: Arc<Registrations>,
    clock: Clock,
    sender: Sender<CompanionEvent>,
    secrets: BTreeMap<NamespacedName, Watched>,
    pairings: BTreeMap<Pairing, HostRegistration>,
}

/// A Secret.
#[derive(Default)]
struct Watched {
    /// None: not seen yet.
    data: Option<Option<Arc<Data>>>,
    watch: Option<AbortHandle>,
}

/// A host in one Portainer.
#[derive(Default)]
struct HostRegistration {
    /// What is under way.
    task: Option<AbortHandle>,
    /// What it was about when it was last begun.
    about: String,
    requeue_at: Option<Timestamp>,
    report: Option<EnvironmentReport>,
}

impl Portainers {
    /// None yet.
    pub fn new(clock: Clock, sender: Sender<CompanionEvent>) -> Portainers {
        let registrations = Arc::new(Registrations::new(true));
        Portainers { registrations, clock, sender, secrets: BTreeMap::new(), pairings: BTreeMap::new() }
    }

    /// By another token everything is asked anew.
    pub fn begin_term(&mut self) {
        self.secrets.values_mut().for_each(|secret| secret.watch = None);
    }

    /// Drops what is no longer assigned, and has the Secrets of the rest watched.
    pub fn follow(
        &mut self,
        hosts: &BTreeMap<ObjectRef, AssignedHostState>,
        api: Option<&CompanionApi>,
        mut spawn: impl FnMut(SecretChange) -> Option<AbortHandle>,
    ) {
        let all = || {
            let portainers = |(at, host)| AssignedHostState::portainers(host).map(move |portainer| (at, portainer));
            hosts.iter().flat_map(portainers)
        };
        let is_wanted = |(at, client): &Pairing| all().any(|(host, found)| host == at && found.object(host) == *client);
        self.pairings.retain(|pairing, known| {
            let wanted = is_wanted(pairing);
            if !wanted {
                known.task.iter().for_each(AbortHandle::abort);
                self.registrations.forget_pair(&pairing.1, &pairing.0);
            }
            wanted
        });
        let wanted: Vec<NamespacedName> = all().flat_map(|(at, portainer)| secrets(at, portainer)).collect();
        self.secrets.retain(|at, secret| {
            let stays = wanted.contains(at);
            if !stays {
                secret.watch.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for at in wanted {
            let secret = self.secrets.entry(at.clone()).or_default();
            if let (None, Some(api)) = (&secret.watch, api) {
                let (sender, about) = (self.sender.clone(), at.clone());
                let news = move |news| CompanionEvent::Kept(about.clone(), news);
                secret.watch = spawn(Box::pin(forward(api.secrets(&at), sender, news)));
            }
        }
    }

    /// Takes what a Secret holds now.
    pub fn keep(&mut self, at: &NamespacedName, data: Option<Data>) {
        if let Some(secret) = self.secrets.get_mut(at) {
            secret.data = Some(data.map(Arc::new));
        }
    }

    /// Begins wherever something changed or is due, and nothing is under way.
    pub fn begin(&mut self, hosts: &BTreeMap<ObjectRef, AssignedHostState>) {
        let now = self.clock.now();
        for (at, host) in hosts {
            for portainer in host.portainers() {
                let Some((about, attendance)) = self.attendance(at, host, portainer) else { continue };
                let known = self.pairings.entry((at.clone(), portainer.object(at))).or_default();
                let ripe = |requeue_at: Timestamp| {
                    requeue_at <= now || requeue_at.duration_since(now) > MAX_REGISTRATION_DELAY
                };
                let due = known.about != about || known.requeue_at.is_none_or(ripe);
                if known.task.is_some() || !due {
                    continue;
                }
                (known.about, known.requeue_at) = (about, None);
                let (registrations, clock, sender) =
                    (Arc::clone(&self.registrations), self.clock.clone(), self.sender.clone());
                let pairing = (at.clone(), attendance.client.clone());
                let task = tokio::spawn(async move {
                    let before = attendance.before.clone();
                    let done = AssertUnwindSafe(registrations.attend(attendance, &clock)).catch_unwind().await;
                    let (report, requeue_at) = done.unwrap_or_else(|_| {
                        tracing::error!(client = %pairing.1, "registering panicked, which is a fault of Dockseal: please report it");
                        (before, saturating(clock.now(), PORTAINER_INTERVAL))
                    });
                    let _ = sender
                        .send(CompanionEvent::Registered(pairing.0, pairing.1, Box::new(report), requeue_at))
                        .await;
                });
                known.task = Some(task.abort_handle());
            }
        }
    }

    /// Takes what came of it.
    pub fn registered(&mut self, host: ObjectRef, client: ObjectRef, report: EnvironmentReport, requeue_at: Timestamp) {
        let Some(known) = self.pairings.get_mut(&(host.clone(), client.clone())) else { return };
        (known.task, known.requeue_at) = (None, Some(requeue_at));
        if known.report.as_ref().is_none_or(|before| before.reason != report.reason) {
            tracing::info!(object = %host, %client, reason = report.reason, "{}", report.message);
        }
        known.report = Some(report);
    }

    /// What is reported of a host; of what is not known yet, what was reported `before`.
    pub fn reports(
        &self,
        at: &ObjectRef,
        host: &AssignedHostState,
        before: &[EnvironmentReport],
    ) -> Vec<EnvironmentReport> {
        let of = |portainer: &AssignedPortainer| {
            let known = self.pairings.get(&(at.clone(), portainer.object(at))).and_then(|known| known.report.clone());
            let told = || before.iter().find(|report| report.portainer_client == portainer.order.client).cloned();
            known.or_else(told)
        };
        host.portainers().filter_map(of).collect()
    }

    /// When to begin, though nothing is told.
    pub fn next(&self) -> Option<Timestamp> {
        self.pairings.values().filter(|known| known.task.is_none()).filter_map(|known| known.requeue_at).min()
    }

    /// What is to be done, and what that depends on; none while not everything is known.
    fn attendance(
        &self,
        at: &ObjectRef,
        host: &AssignedHostState,
        portainer: &AssignedPortainer,
    ) -> Option<(String, CompanionRegistration)> {
        let [pair_at, credential_at] = secrets(at, portainer);
        let found = |place: &NamespacedName| self.secrets.get(place)?.data.clone();
        let (pair_data, credential_data) = (found(&pair_at)?, found(&credential_at)?);
        let (data, status) = (host.secret.clone()??, host.status.as_ref()?);
        let before = status.environments.iter().find(|report| report.portainer_client == portainer.order.client);
        let before = before.cloned().unwrap_or_else(|| portainer.order.report(Registrar::Companion));
        let served = status.host.served_fingerprint.clone();
        let way = way(portainer, pair_data.as_deref(), credential_data.as_deref());
        let look = sha256_hex(
            format!("{:?} {} {}", access(portainer), digest(pair_data.as_deref()), digest(credential_data.as_deref()))
                .as_bytes(),
        );
        let about = sha256_hex(format!("{look} {portainer:?} {} {served:?}", digest(Some(&data))).as_bytes());
        let ready = errand(host, portainer, &data, served, before.clone(), &way);
        let (client, host) = (portainer.object(at), at.clone());
        Some((about, CompanionRegistration { client, host, way, about: look, ready, before }))
    }
}

/// A watch over a Secret.
pub type SecretChange = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn secrets(at: &ObjectRef, portainer: &AssignedPortainer) -> [NamespacedName; 2] {
    [at.beside(&portainer.client_secret), at.beside(&portainer.credentials_secret)]
}

fn access(portainer: &AssignedPortainer) -> Access {
    Access {
        url: portainer.url.clone(),
        roots: portainer.ca.clone().map(String::into_bytes),
        server_name: portainer.server_name.clone(),
        patience: Patience::default(),
    }
}

fn way(
    portainer: &AssignedPortainer,
    pair_data: Option<&Data>,
    credential_data: Option<&Data>,
) -> Result<Connection, RegistrationProblem> {
    let name = &portainer.credentials_secret;
    let gone = || RegistrationProblem::new(Reason::CredentialsNotFound, format!("Secret {name} is missing"));
    Ok(Connection {
        access: access(portainer),
        credential: credential(name, credential_data.ok_or_else(gone)?)?,
        initialize: portainer.initialize_admin,
        pair: pair(pair_data)?,
    })
}

fn errand(
    host: &AssignedHostState,
    portainer: &AssignedPortainer,
    data: &Data,
    served: Option<String>,
    previous: EnvironmentReport,
    way: &Result<Connection, RegistrationProblem>,
) -> Result<RegistrationRequest, RegistrationProblem> {
    let missing = || RegistrationProblem::new(Reason::NotRegistered, "the host's certificate is not issued yet");
    let leaf = data.get("tls.crt").and_then(|pem| Certificate::from_pem(pem).ok()).ok_or_else(missing)?;
    let bundle = data.get("ca.crt").ok_or_else(missing)?;
    let unserved = "the host is registered as soon as its companion has seen dockerd serve the certificate";
    let unserved = || Proof::Not(RegistrationProblem::new(Reason::AwaitingServing, unserved));
    let material = RegistrationInput {
        client: way.as_ref().map_err(Clone::clone)?.pair.fingerprint.clone(),
        bundle: hex(&bundle_digest(bundle)),
        stored: leaf.fingerprint(),
        proof: served.map_or_else(unserved, Proof::Serves),
    };
    let (namespace, order) = (host.assigned.namespace.clone(), portainer.order.clone());
    Ok(RegistrationRequest {
        namespace,
        order,
        material,
        bundle: bundle.to_vec(),
        previous,
        registrar: Registrar::Companion,
    })
}

/// Tells what a Secret holds from what it held, without holding it.
fn digest(data: Option<&Data>) -> String {
    let each = data.into_iter().flat_map(Data::iter).map(|(key, bytes)| format!("{key} {}", sha256_hex(bytes)));
    sha256_hex(each.collect::<Vec<_>>().join("\n").as_bytes())
}
