//! All Portainers of one process: the cache, the locks and the network that their syncs share.

use super::cache::RegistrationCache;
use super::report::RegistrationReports;
use super::server::NameLocks;
use crate::adapters::portainer::{MachineNetwork, Network, RequestMetrics};
use crate::api::ObjectRef;
use crate::decide::registration::RegistrationProblem;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

pub struct Registrations {
    network: Arc<dyn Network>,
    names: Arc<NameLocks>,
    companions_allowed: bool,
    cache: RegistrationCache,
}

impl Default for Registrations {
    fn default() -> Registrations {
        Registrations::new(false)
    }
}

impl Registrations {
    /// `companions_allowed` says whether companions may register their own host.
    pub fn new(companions_allowed: bool) -> Registrations {
        Registrations::over(Arc::new(MachineNetwork::default()), companions_allowed)
    }

    /// The same, over another network.
    pub fn over(network: Arc<dyn Network>, companions_allowed: bool) -> Registrations {
        Registrations { network, names: Arc::default(), companions_allowed, cache: RegistrationCache::default() }
    }

    pub(super) fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    pub(super) fn names(&self) -> &Arc<NameLocks> {
        &self.names
    }

    pub(super) fn cache(&self) -> &RegistrationCache {
        &self.cache
    }

    /// What is known, for statuses.
    pub fn reports(&self) -> RegistrationReports<'_> {
        RegistrationReports::new(&self.cache, self.companions_allowed)
    }

    pub fn last_refresh(&self, client: &ObjectRef) -> Option<Result<(), RegistrationProblem>> {
        self.cache.last_refresh(client)
    }

    /// The last refresh that succeeded, and the requests so far; `None` for an unknown PortainerClient.
    pub fn last_success(&self, client: &ObjectRef) -> Option<(Option<Timestamp>, Arc<RequestMetrics>)> {
        self.cache.last_success(client)
    }

    /// Counts the requests to the server of a PortainerClient.
    pub fn request_metrics(&self, client: &ObjectRef) -> Arc<RequestMetrics> {
        self.cache.metrics(client)
    }

    /// Forgets a host or a PortainerClient that is gone.
    pub fn forget(&self, at: &ObjectRef) {
        self.cache.forget(at);
    }

    /// Forgets a host in one Portainer.
    pub fn forget_host(&self, client: &ObjectRef, host: &ObjectRef) {
        self.cache.forget_host(client, host);
    }
}
