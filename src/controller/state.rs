//! What a leader knows while it leads: the objects that the watches have shown, the work queues, and what is known of
//! companions' accounts and of Portainers. A new leader starts with an empty one.

use super::index::Index;
use super::metrics::Metrics;
use super::secret_refs::SecretWatches;
use super::tombstones::Tombstones;
use super::workqueue::{RegistrationKey, WorkQueue, WorkQueues};
use crate::adapters::Clock;
use crate::adapters::kube::store::KubeStore;
use crate::adapters::net::destinations::Destinations;
use crate::adapters::portainer::MachineNetwork;
use crate::api::{Object, ObjectRef};
use crate::decide::delays::{DUE_CHECK_INTERVAL, SETTLE_CHECK_INTERVAL};
use crate::decide::delivery::{Allowlist, Deliverer};
use crate::reconcile::Context;
use crate::reconcile::accounts::Accounts;
use crate::reconcile::registration::Registrations;
use parking_lot::RwLock;
use std::sync::Arc;

/// Shared by the watches and the reconcilers.
pub struct ControllerState {
    /// Id of the cluster, for markers on hosts; none where it is not known.
    pub writer: Option<String>,
    pub ctx: Context<KubeStore>,
    pub index: Arc<RwLock<Index>>,
    pub queue: Arc<WorkQueue<ObjectRef>>,
    pub accounts: Accounts,
    pub account_queue: Arc<WorkQueue<String>>,
    pub registrations: Arc<Registrations>,
    pub registration_queue: Arc<WorkQueue<RegistrationKey>>,
    pub tombstones: Tombstones,
    pub secret_watches: SecretWatches,
    pub metrics: Arc<Metrics>,
}

impl ControllerState {
    /// An empty state; `allowlist` says what companions may deliver, `destinations` where connections are made to.
    pub fn new(
        store: KubeStore,
        clock: Clock,
        metrics: Arc<Metrics>,
        allowlist: Allowlist,
        destinations: Destinations,
        writer: Option<String>,
    ) -> ControllerState {
        let network = Arc::new(MachineNetwork(destinations));
        ControllerState {
            writer,
            ctx: Context::new(store, clock),
            index: Arc::default(),
            queue: Arc::default(),
            registrations: Arc::new(Registrations::over(network, allowlist.portainer)),
            accounts: Accounts::new(allowlist),
            account_queue: Arc::default(),
            registration_queue: Arc::default(),
            tombstones: Tombstones::default(),
            secret_watches: SecretWatches::default(),
            metrics,
        }
    }

    /// The queues, for those who only add to them or ask how old they are.
    pub fn queues(&self) -> WorkQueues {
        WorkQueues {
            objects: Arc::clone(&self.queue),
            accounts: Arc::clone(&self.account_queue),
            registrations: Arc::clone(&self.registration_queue),
        }
    }

    /// Waits until every object and every account was reconciled.
    pub async fn settled(&self) {
        while !(self.queue.is_idle() && self.account_queue.is_idle()) {
            tokio::time::sleep(SETTLE_CHECK_INTERVAL).await;
        }
    }

    /// Queues the keys that are due by the clock, for ever.
    pub async fn enqueue_due(&self) {
        loop {
            let now = self.ctx.clock.now();
            self.queue.enqueue_due(now);
            self.account_queue.enqueue_due(now);
            self.registration_queue.enqueue_due(now);
            tokio::time::sleep(DUE_CHECK_INTERVAL).await;
        }
    }

    /// The hosts and clients of a DockerCA are reconciled again.
    pub fn enqueue_leaves(&self, authority: &ObjectRef) {
        let leaves = self.index.read().leaves_of(authority);
        leaves.into_iter().for_each(|leaf| self.queue.add(leaf));
    }

    /// Who delivers a host's certificate.
    pub fn deliverer(&self, object: &Object) -> Deliverer {
        let account = object.account();
        let hosts = account.map(|account| self.index.read().hosts_of(&account));
        self.accounts.deliverer(object, &hosts.unwrap_or_default())
    }
}
