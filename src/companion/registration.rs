//! Registers the companion's hosts in their assigned Portainers: assignments and Secrets in, reports out. The calls run in
//! the background; no delivery waits for them.

use super::assigned_host::AssignedHostState;
use super::requests::{CompanionEvent, forward};
use crate::adapters::Clock;
use crate::adapters::kube::companion_api::CompanionApi;
use crate::adapters::portainer::{Access, RequestTimeouts};
use crate::api::assignment::AssignedPortainer;
use crate::api::condition::Reason;
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{NamespacedName, ObjectRef};
use crate::decide::delays::{MAX_REGISTRATION_DELAY, PORTAINER_INTERVAL};
use crate::decide::registration::desired::{RegistrationInput, not_served_yet};
use crate::decide::registration::{Proof, RegistrationProblem};
use crate::pki::lifecycle::saturating;
use crate::pki::material::{Data, bundle_digest};
use crate::pki::{Certificate, hex, sha256_hex};
use crate::reconcile::registration::connect::credential;
use crate::reconcile::registration::{
    CompanionRegistration, Connection, RegistrationRequest, Registrations, client_pair,
};
use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

/// A host and a PortainerClient.
type RegistrationKey = (ObjectRef, ObjectRef);

/// All registrations of this companion.
pub struct Portainers {
    registrations: Arc<Registrations>,
    clock: Clock,
    sender: Sender<CompanionEvent>,
    secrets: BTreeMap<NamespacedName, WatchedSecret>,
    hosts: BTreeMap<RegistrationKey, HostRegistration>,
}

#[derive(Default)]
struct WatchedSecret {
    /// `None` until it is seen; `Some(None)` if it is missing.
    data: Option<Option<Arc<Data>>>,
    watch: Option<AbortHandle>,
}

/// A host in one Portainer.
#[derive(Default)]
struct HostRegistration {
    /// The registration that runs now.
    task: Option<AbortHandle>,
    /// Digest of what the last registration depended on.
    input: String,
    requeue_at: Option<Timestamp>,
    report: Option<EnvironmentReport>,
}

impl Portainers {
    pub fn new(clock: Clock, sender: Sender<CompanionEvent>) -> Portainers {
        let registrations = Arc::new(Registrations::new(true));
        Portainers { registrations, clock, sender, secrets: BTreeMap::new(), hosts: BTreeMap::new() }
    }

    /// Starts all watches again, as another token needs.
    pub fn reset_requests(&mut self) {
        self.secrets.values_mut().for_each(|secret| secret.watch = None);
    }

    /// Drops what is no longer assigned, and watches the Secrets of the rest.
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
        let is_wanted =
            |(at, client): &RegistrationKey| all().any(|(host, found)| host == at && found.object(host) == *client);
        self.hosts.retain(|key, known| {
            let wanted = is_wanted(key);
            if !wanted {
                known.task.iter().for_each(AbortHandle::abort);
                self.registrations.forget_host(&key.1, &key.0);
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
                let (sender, secret_at) = (self.sender.clone(), at.clone());
                let event = move |data| CompanionEvent::PortainerSecret(secret_at.clone(), data);
                secret.watch = spawn(Box::pin(forward(api.secrets(&at), sender, event)));
            }
        }
    }

    /// Takes the data of a Secret; `None` if it is missing.
    pub fn keep(&mut self, at: &NamespacedName, data: Option<Data>) {
        if let Some(secret) = self.secrets.get_mut(at) {
            secret.data = Some(data.map(Arc::new));
        }
    }

    /// Begins each registration that is due or whose input changed, unless it runs already.
    pub fn begin(&mut self, hosts: &BTreeMap<ObjectRef, AssignedHostState>) {
        let now = self.clock.now();
        for (at, host) in hosts {
            for portainer in host.portainers() {
                let Some((input, registration)) = self.registration(at, host, portainer) else { continue };
                let known = self.hosts.entry((at.clone(), portainer.object(at))).or_default();
                let is_due = |requeue_at: Timestamp| {
                    requeue_at <= now || requeue_at.duration_since(now) > MAX_REGISTRATION_DELAY
                };
                let due = known.input != input || known.requeue_at.is_none_or(is_due);
                if known.task.is_some() || !due {
                    continue;
                }
                (known.input, known.requeue_at) = (input, None);
                let (registrations, clock) = (Arc::clone(&self.registrations), self.clock.clone());
                let task = tokio::spawn(run(registrations, registration, clock, self.sender.clone()));
                known.task = Some(task.abort_handle());
            }
        }
    }

    /// Takes the result of a registration.
    pub fn registered(&mut self, host: ObjectRef, client: ObjectRef, report: EnvironmentReport, requeue_at: Timestamp) {
        let Some(known) = self.hosts.get_mut(&(host.clone(), client.clone())) else { return };
        (known.task, known.requeue_at) = (None, Some(requeue_at));
        if known.report.as_ref().is_none_or(|before| before.reason != report.reason) {
            tracing::info!(object = %host, %client, reason = report.reason, "{}", report.message);
        }
        known.report = Some(report);
    }

    /// The reports of a host; `before` has those of its status, for what is not known yet.
    pub fn reports(
        &self,
        at: &ObjectRef,
        host: &AssignedHostState,
        before: &[EnvironmentReport],
    ) -> Vec<EnvironmentReport> {
        let of = |portainer: &AssignedPortainer| {
            let known = self.hosts.get(&(at.clone(), portainer.object(at))).and_then(|known| known.report.clone());
            let reported = || before.iter().find(|report| *report.portainer_client == *portainer.order.client).cloned();
            known.or_else(reported)
        };
        host.portainers().filter_map(of).collect()
    }

    /// When the next registration is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.hosts.values().filter(|known| known.task.is_none()).filter_map(|known| known.requeue_at).min()
    }

    /// The next registration, and a digest of its input; `None` until everything is known.
    fn registration(
        &self,
        at: &ObjectRef,
        host: &AssignedHostState,
        portainer: &AssignedPortainer,
    ) -> Option<(String, CompanionRegistration)> {
        let [pair_at, credential_at] = secrets(at, portainer);
        let found = |secret: &NamespacedName| self.secrets.get(secret)?.data.clone();
        let (pair_data, credential_data) = (found(&pair_at)?, found(&credential_at)?);
        let (data, status) = (host.secret.clone()??, host.status.as_ref()?);
        let before = status.environments.iter().find(|report| *report.portainer_client == *portainer.order.client);
        let before = before.cloned().unwrap_or_else(|| portainer.order.report(Registrar::Companion));
        let served = status.host.served_fingerprint.clone();
        let connection = connection(portainer, pair_data.as_deref(), credential_data.as_deref());
        let connection_input = sha256_hex(
            format!("{:?} {} {}", access(portainer), digest(pair_data.as_deref()), digest(credential_data.as_deref()))
                .as_bytes(),
        );
        let input =
            sha256_hex(format!("{connection_input} {portainer:?} {} {served:?}", digest(Some(&data))).as_bytes());
        let request = registration_request(host, portainer, &data, served, before.clone(), &connection);
        let (client, host) = (portainer.object(at), at.clone());
        let registration = CompanionRegistration { client, host, connection, input: connection_input, request, before };
        Some((input, registration))
    }
}

/// A task that watches a Secret.
pub type SecretChange = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn run(
    registrations: Arc<Registrations>,
    registration: CompanionRegistration,
    clock: Clock,
    sender: Sender<CompanionEvent>,
) {
    let (host, client) = (registration.host.clone(), registration.client.clone());
    let before = registration.before.clone();
    let done = AssertUnwindSafe(registrations.register_own_host(registration, &clock)).catch_unwind().await;
    let (report, requeue_at) = done.unwrap_or_else(|_| {
        tracing::error!(%client, "registering panicked, which is a bug in Dockseal: please report it");
        (before, saturating(clock.now(), PORTAINER_INTERVAL))
    });
    let _ = sender.send(CompanionEvent::Registered(host, client, Box::new(report), requeue_at)).await;
}

fn secrets(at: &ObjectRef, portainer: &AssignedPortainer) -> [NamespacedName; 2] {
    [at.beside(&portainer.client_secret), at.beside(&portainer.credentials_secret)]
}

fn access(portainer: &AssignedPortainer) -> Access {
    Access {
        url: portainer.url.clone(),
        roots: portainer.ca.clone().map(String::into_bytes),
        server_name: portainer.server_name.clone(),
        timeouts: RequestTimeouts::default(),
    }
}

fn connection(
    portainer: &AssignedPortainer,
    pair_data: Option<&Data>,
    credential_data: Option<&Data>,
) -> Result<Connection, RegistrationProblem> {
    let name = &portainer.credentials_secret;
    let missing = || RegistrationProblem::new(Reason::CredentialsNotFound, format!("Secret {name} is missing"));
    Ok(Connection {
        access: access(portainer),
        credential: credential(name, credential_data.ok_or_else(missing)?)?,
        initialize: portainer.initialize_admin,
        client_pair: client_pair(pair_data)?,
    })
}

fn registration_request(
    host: &AssignedHostState,
    portainer: &AssignedPortainer,
    data: &Data,
    served: Option<String>,
    previous: EnvironmentReport,
    connection: &Result<Connection, RegistrationProblem>,
) -> Result<RegistrationRequest, RegistrationProblem> {
    let missing = || RegistrationProblem::new(Reason::NotRegistered, "the host's certificate is not issued yet");
    let leaf = data.get("tls.crt").and_then(|pem| Certificate::from_pem(pem).ok()).ok_or_else(missing)?;
    let bundle = data.get("ca.crt").ok_or_else(missing)?;
    let input = RegistrationInput {
        client: connection.as_ref().map_err(Clone::clone)?.client_pair.fingerprint.clone(),
        bundle: hex(&bundle_digest(bundle)),
        stored: leaf.fingerprint(),
        proof: served.map_or_else(|| Proof::Not(not_served_yet()), Proof::Serves),
    };
    let (namespace, desired) = (host.assigned.namespace.to_string(), portainer.order.clone());
    Ok(RegistrationRequest {
        namespace,
        desired,
        input,
        bundle: bundle.to_vec(),
        previous,
        registrar: Registrar::Companion,
    })
}

/// Digest of a Secret's data, to notice a change without keeping the data.
fn digest(data: Option<&Data>) -> String {
    let each = data.into_iter().flat_map(Data::iter).map(|(key, bytes)| format!("{key} {}", sha256_hex(bytes)));
    sha256_hex(each.collect::<Vec<_>>().join("\n").as_bytes())
}
