//! What is remembered of each PortainerClient: its server, the last refresh, its schedule and its hosts. It does no I/O.

use super::host_state::HostState;
use super::refresh_schedule::RefreshSchedule;
use super::server::RegistrationServer;
use crate::adapters::portainer::{Access, RequestMetrics};
use crate::api::ObjectRef;
use crate::decide::registration::RegistrationProblem;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub struct RegistrationCache(Mutex<HashMap<ObjectRef, CachedClient>>);

#[derive(Default)]
struct CachedClient {
    server: Option<Arc<RegistrationServer>>,
    last_refresh: Option<Result<(), RegistrationProblem>>,
    last_success: Option<Timestamp>,
    /// All requests to its server, whichever credential they used.
    metrics: Arc<RequestMetrics>,
    /// How its server is reached, as far as a companion may know.
    access: Option<Access>,
    schedule: RefreshSchedule,
    hosts: HashMap<ObjectRef, HostState>,
}

impl RegistrationCache {
    pub fn server(&self, client: &ObjectRef) -> Option<Arc<RegistrationServer>> {
        self.with(client, |known| known.server.clone())
    }

    pub fn set_server(&self, client: &ObjectRef, server: &Arc<RegistrationServer>) {
        self.with(client, |known| known.server = Some(Arc::clone(server)));
    }

    /// About how many bytes are kept of the servers of other PortainerClients of its namespace.
    pub fn size_beside(&self, client: &ObjectRef) -> usize {
        let beside: Vec<Arc<RegistrationServer>> = {
            let clients = self.0.lock();
            let others = clients.iter().filter(|(at, _)| at.namespace == client.namespace && *at != client);
            others.filter_map(|(_, known)| known.server.clone()).collect()
        };
        beside.iter().map(|server| server.snapshot().size()).sum()
    }

    pub fn last_refresh(&self, client: &ObjectRef) -> Option<Result<(), RegistrationProblem>> {
        self.with(client, |known| known.last_refresh.clone())
    }

    /// The server, if its last refresh succeeded; else the problem. `None` before the first refresh.
    pub fn refreshed_server(&self, client: &ObjectRef) -> Option<Result<Arc<RegistrationServer>, RegistrationProblem>> {
        self.with(client, |known| match (&known.server, known.last_refresh.as_ref()?) {
            (Some(server), Ok(())) => Some(Ok(Arc::clone(server))),
            (None, Ok(())) => None,
            (_, Err(problem)) => Some(Err(problem.clone())),
        })
    }

    pub fn metrics(&self, client: &ObjectRef) -> Arc<RequestMetrics> {
        self.with(client, |known| Arc::clone(&known.metrics))
    }

    /// The last refresh that succeeded, and the metrics; `None` for an unknown PortainerClient.
    pub fn last_success(&self, client: &ObjectRef) -> Option<(Option<Timestamp>, Arc<RequestMetrics>)> {
        let clients = self.0.lock();
        clients.get(client).map(|known| (known.last_success, Arc::clone(&known.metrics)))
    }

    pub fn access(&self, client: &ObjectRef) -> Option<Access> {
        self.with(client, |known| known.access.clone())
    }

    /// True if that is a change.
    pub fn set_access(&self, client: &ObjectRef, access: Option<Access>) -> bool {
        self.with(client, |known| std::mem::replace(&mut known.access, access.clone()) != access)
    }

    /// Takes a problem that a host's sync had with the server.
    pub fn set_problem(&self, client: &ObjectRef, problem: RegistrationProblem) {
        self.with(client, |known| known.last_refresh = Some(Err(problem)));
    }

    /// Takes the result of a refresh from `began` to `ended`; returns when the next one is.
    pub fn note_refresh(
        &self,
        client: &ObjectRef,
        result: Result<(), RegistrationProblem>,
        input: String,
        (began, ended): (Timestamp, Timestamp),
    ) -> Timestamp {
        self.with(client, |known| {
            let next = known.schedule.note(&result, input, began);
            known.last_success = if result.is_ok() { Some(ended) } else { known.last_success };
            known.last_refresh = Some(result);
            next
        })
    }

    pub fn with_schedule<T>(&self, client: &ObjectRef, f: impl FnOnce(&mut RefreshSchedule) -> T) -> T {
        self.with(client, |known| f(&mut known.schedule))
    }

    pub fn with_host<T>(&self, client: &ObjectRef, host: &ObjectRef, f: impl FnOnce(&mut HostState) -> T) -> T {
        self.with(client, |known| f(known.hosts.entry(host.clone()).or_default()))
    }

    /// Forgets a host or a PortainerClient.
    pub fn forget(&self, at: &ObjectRef) {
        let mut clients = self.0.lock();
        clients.remove(at);
        clients.values_mut().for_each(|known| drop(known.hosts.remove(at)));
    }

    /// Forgets a host in one Portainer.
    pub fn forget_host(&self, client: &ObjectRef, host: &ObjectRef) {
        self.with(client, |known| drop(known.hosts.remove(host)));
    }

    fn with<T>(&self, client: &ObjectRef, f: impl FnOnce(&mut CachedClient) -> T) -> T {
        f(self.0.lock().entry(client.clone()).or_default())
    }
}
