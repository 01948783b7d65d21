//! From settings to a running controller: admin server, lease, watches, workers, and a clean end. Without the lease it
//! writes nothing.

use super::account_reconciler::AccountReconciler;
use super::admin::{self, Health, ListenError};
use super::metrics::{LeaderState, Metrics};
use super::object_reconciler::ObjectReconciler;
use super::registration_reconciler::RegistrationReconciler;
use super::state::ControllerState;
use super::{watches, worker};
use crate::adapters::Clock;
use crate::adapters::kube::cluster_id::{ClusterIdError, cluster_uid};
use crate::adapters::kube::lease::Leadership;
use crate::adapters::kube::store::KubeStore;
use crate::adapters::net::destinations::Destinations;
use crate::api::marker::CLUSTER_PREFIX;
use crate::decide::delays::LEADER_RESTART_DELAY;
use crate::decide::delivery::Allowlist;
use kube::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Name of the Lease.
pub const LEASE_NAME: &str = "dockseal-controller";

/// How a controller is started.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// Namespaces that it serves; all where none is named.
    pub namespaces: Vec<String>,
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    /// Another address of `/healthz` and `/readyz`.
    pub probes: Option<SocketAddr>,
    pub lease_namespace: String,
    /// Its name, in events and in the Lease; no other replica has it.
    pub identity: String,
    /// What companions may deliver.
    pub allowlist: Allowlist,
    /// Where it connects to, beside the API server.
    pub destinations: Destinations,
}

/// Runs a controller until `stop` is ready, then releases the lease.
///
/// # Errors
/// [`ListenError`] before it starts; later failures are logged and retried.
pub async fn run(
    client: Client,
    settings: ControllerSettings,
    clock: Clock,
    stop: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let address = admin::listen(settings.admin, Arc::clone(&metrics), Arc::clone(&health)).await?;
    tracing::info!(%address, identity = settings.identity, "serving /healthz, /readyz and /metrics");
    if let Some(probes) = settings.probes {
        let probes = admin::listen_for_probes(probes, Arc::clone(&health)).await?;
        tracing::info!(%probes, "serving /healthz and /readyz");
    }
    let leadership =
        Leadership::new(client.clone(), &settings.lease_namespace, LEASE_NAME, &settings.identity, clock.clone());
    let replica = Replica { client, settings, clock, metrics, health };
    tokio::select! {
        () = replica.run(&leadership) => {}
        () = stop => tracing::info!("stopping"),
    }
    leadership.release().await;
    Ok(())
}

struct Replica {
    client: Client,
    settings: ControllerSettings,
    clock: Clock,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Replica {
    /// Stands by until it leads, and leads until the lease is lost; for ever.
    async fn run(&self, leadership: &Leadership) {
        loop {
            self.health.stand_by();
            let since = leadership.acquire().await;
            tracing::info!(identity = self.settings.identity, "leading");
            let lost = tokio::select! {
                () = leadership.hold(since) => true,
                () = self.lead() => false,
            };
            self.metrics.set_leader_state(None);
            match lost {
                true => tracing::warn!("the lease is lost: standing by"),
                false => sleep(LEADER_RESTART_DELAY).await,
            }
        }
    }

    /// Watches and reconciles until a task ends, which is a bug. Dropped, it stops at once; a write that was under way
    /// is safe, since it names the version that it replaces.
    async fn lead(&self) {
        let Ok(writer) = self.writer().await else { return };
        let store = KubeStore::new(self.client.clone(), self.settings.identity.clone());
        let (metrics, allowlist) = (Arc::clone(&self.metrics), self.settings.allowlist.clone());
        let destinations = self.settings.destinations.clone();
        let clock = self.clock.clone();
        let state = Arc::new(ControllerState::new(store, clock, metrics, allowlist, destinations, writer));
        let (index, registrations) = (Arc::clone(&state.index), Arc::clone(&state.registrations));
        self.metrics.set_leader_state(Some(LeaderState { index, registrations, queues: state.queues() }));
        self.health.start();
        let mut tasks = JoinSet::new();
        let synced = watches::start(&self.client, &self.settings.namespaces, &state, &mut tasks);
        tokio::select! {
            () = synced.wait() => tracing::info!("every watch has shown what there is"),
            () = first_end(&mut tasks) => return,
        }
        start_workers(&state, &mut tasks);
        tokio::select! {
            () = state.settled() => tracing::info!("every object was reconciled"),
            () = first_end(&mut tasks) => return,
        }
        self.health.ready();
        first_end(&mut tasks).await;
    }

    /// The id of the cluster, for markers on hosts. An error is logged, and may pass.
    async fn writer(&self) -> Result<Option<String>, ()> {
        match cluster_uid(&self.client).await {
            Ok(uid) => Ok(Some(format!("{CLUSTER_PREFIX}{uid}"))),
            Err(error @ ClusterIdError::Refused(_)) => {
                let consequence = "hosts are not marked as this cluster's: another Dockseal could take turns with it";
                tracing::warn!(%error, consequence, "this cluster has no id");
                Ok(None)
            }
            Err(error) => {
                tracing::error!(%error, "this cluster's id is not known yet");
                Err(())
            }
        }
    }
}

fn start_workers(state: &Arc<ControllerState>, tasks: &mut JoinSet<()>) {
    let due = Arc::clone(state);
    tasks.spawn(async move { due.enqueue_due().await });
    tasks.spawn(worker::run(ObjectReconciler(Arc::clone(state))));
    tasks.spawn(worker::run(AccountReconciler(Arc::clone(state))));
    tasks.spawn(worker::run(RegistrationReconciler::new(Arc::clone(state))));
}

/// Waits for the end of a watch or worker. None of them ends by itself; the others would wait for it for ever.
async fn first_end(tasks: &mut JoinSet<()>) {
    let error = tasks.join_next().await.and_then(Result::err).map(|error| error.to_string()).unwrap_or_default();
    tracing::error!(error, "a watch or worker ended: starting again");
}
