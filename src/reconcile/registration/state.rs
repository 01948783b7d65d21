//! All Portainers and what is known of each host in them: what looks and visits found out, and what statuses say.

use super::RegistrationServer;
use super::server::NameLocks;
use crate::adapters::portainer::{Access, RequestMetrics};
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectRef, Spec};
use crate::decide::registration::RegistrationProblem;
use crate::decide::registration::conflict::Claim;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// All Portainers.
#[derive(Default)]
pub struct Registrations {
    clients: Mutex<HashMap<ObjectRef, ClientState>>,
    pub(super) names: Arc<NameLocks>,
    /// Companions may register their own host.
    pub(super) companions: bool,
}

/// What is known of one.
#[derive(Default)]
pub(super) struct ClientState {
    pub server: Option<Arc<RegistrationServer>>,
    pub looked: Option<Result<(), RegistrationProblem>>,
    /// The last look that found nothing wrong.
    pub seen: Option<Timestamp>,
    /// What was asked of it, whatever it was spoken to by.
    pub tally: Arc<RequestMetrics>,
    /// How it is spoken to, as far as a companion may be told.
    pub access: Option<Access>,
    /// The PortainerClient as it was at the last look.
    pub about: String,
    pub failures: u32,
    /// When it is to be looked at again.
    pub again: Option<Timestamp>,
    /// Since when its credential is refused.
    pub refused: Option<Timestamp>,
    hosts: HashMap<ObjectRef, HostState>,
}

/// What is known of a host in it.
#[derive(Clone, Default)]
pub(super) struct HostState {
    pub report: Option<EnvironmentReport>,
    pub parted: bool,
    pub failures: u32,
    /// Not before then, unless something changes.
    pub rests: Option<(Timestamp, String)>,
    /// What its companion reported when that was last held against what the server shows, and what came of it.
    pub overseen: Option<(EnvironmentReport, Option<RegistrationProblem>)>,
    /// Whether its companion last said that it is registered, where the server was not reached from here.
    pub heard: Option<bool>,
}

/// What came of a look or a visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncOutcome {
    /// When to do it again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// Statuses say something else now.
    pub news: bool,
    /// The server is to be looked at.
    pub look: bool,
}

impl Registrations {
    /// None yet; `companions` says whether they may register their own host.
    pub fn new(companions: bool) -> Registrations {
        Registrations { companions, ..Registrations::default() }
    }

    /// What is known of a host: what was found out, else what its status says, whoever wrote that.
    pub fn report(&self, client: &Object, host: &Object) -> EnvironmentReport {
        let blank =
            || EnvironmentReport { portainer_client: client.at.name.to_string(), ..EnvironmentReport::default() };
        let seen = || {
            Some(self.host(&client.at, &host.at, |known| known.overseen.clone())?.0).filter(|seen| seen.id.is_some())
        };
        self.found_out(&client.at, &host.at)
            .or_else(|| host.environment_in(&client.at).cloned())
            .or_else(seen)
            .unwrap_or_else(blank)
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
    pub fn looked(&self, client: &ObjectRef) -> Option<Result<(), RegistrationProblem>> {
        self.known(client, |known| known.looked.clone())
    }

    /// When the last look found nothing wrong, and what was asked of the server. Nothing where it was never looked at.
    pub fn figures(&self, client: &ObjectRef) -> Option<(Option<Timestamp>, Arc<RequestMetrics>)> {
        let clients = self.clients.lock();
        clients.get(client).map(|known| (known.seen, Arc::clone(&known.tally)))
    }

    /// Where the requests for a PortainerClient are counted.
    pub fn requests(&self, client: &ObjectRef) -> Arc<RequestMetrics> {
        self.known(client, |known| Arc::clone(&known.tally))
    }

    /// InstanceID and version of its server, where they are known.
    pub fn identity(&self, client: &ObjectRef) -> Option<(String, String)> {
        let snapshot = self.known(client, |known| known.server.as_ref().map(|server| server.snapshot()))?;
        (!snapshot.instance.is_empty()).then(|| (snapshot.instance.clone(), snapshot.version.clone()))
    }

    /// Forgets a host or a PortainerClient that is gone.
    pub fn forget(&self, at: &ObjectRef) {
        let mut clients = self.clients.lock();
        clients.remove(at);
        clients.values_mut().for_each(|known| drop(known.hosts.remove(at)));
    }

    /// Forgets a host in one Portainer.
    pub fn forget_pair(&self, client: &ObjectRef, host: &ObjectRef) {
        self.known(client, |known| drop(known.hosts.remove(host)));
    }

    pub(super) fn known<T>(&self, client: &ObjectRef, look: impl FnOnce(&mut ClientState) -> T) -> T {
        look(self.clients.lock().entry(client.clone()).or_default())
    }

    pub(super) fn host<T>(&self, client: &ObjectRef, host: &ObjectRef, look: impl FnOnce(&mut HostState) -> T) -> T {
        self.known(client, |known| look(known.hosts.entry(host.clone()).or_default()))
    }
}

pub(super) fn faulty(client: &str, before: EnvironmentReport, fault: RegistrationProblem) -> EnvironmentReport {
    let (portainer_client, reason) = (client.to_owned(), fault.reason.as_str().to_owned());
    EnvironmentReport { portainer_client, reason, message: fault.message, ..before }
}

/// Environments go with their host or their PortainerClient.
pub fn deletes(client: &Object) -> bool {
    let Spec::Portainer(spec) = &client.spec else { return false };
    spec.server.is_some() && spec.environment.deletion_policy == crate::api::reference::DeletionPolicy::Delete
}
