//! From settings to a running controller: admin server, lease, watches, workers, and a clean end.

use super::admin::{self, Health, ListenError};
use super::metrics::{LeaderState, Metrics};
use super::watches::Scope;
use super::worker::ControllerState;
use super::{account_worker, registration_worker, watches, worker};
use crate::adapters::Clock;
use crate::adapters::kube::lease::Leadership;
use crate::adapters::kube::store::KubeStore;
use crate::decide::delivery::Allowlist;
use kube::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Before a term that follows one which ended by a fault of ours.
const RESTART_DELAY: Duration = Duration::from_secs(5);

/// Name of the Lease.
pub const LEASE_NAME: &str = "dockseal-controller";

/// What a controller is told.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// Namespaces that it serves; none for all.
    pub namespaces: Vec<String>,
    /// Where it answers `/healthz`, `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    /// Namespace of its Lease.
    pub lease_namespace: String,
    /// Its name among replicas: unique, in events and in the Lease.
    pub identity: String,
    /// What companions are told of.
    pub allowlist: Allowlist,
}

/// Runs a controller until `stop` is ready, then gives the lease up.
///
/// # Errors
/// [`ListenError`] before it starts; later faults are logged and retried.
pub async fn run(
    client: Client,
    settings: ControllerSettings,
    clock: Clock,
    stop: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::default());
    let address = admin::listen(settings.admin, Arc::clone(&metrics), Arc::clone(&health)).await?;
    tracing::info!(%address, identity = settings.identity, "answering /healthz, /readyz and /metrics");
    let leadership =
        Leadership::new(client.clone(), &settings.lease_namespace, LEASE_NAME, &settings.identity, clock.clone());
    tokio::select! {
        () = terms(client, &settings, clock, &leadership, &metrics, &health) => {}
        () = stop => tracing::info!("stopping"),
    }
    leadership.release().await;
    Ok(())
}

/// One term of office after the other; it never ends by itself.
async fn terms(
    client: Client,
    settings: &ControllerSettings,
    clock: Clock,
    leadership: &Leadership,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) {
    loop {
        health.stand_by();
        let since = leadership.acquire().await;
        tracing::info!(identity = settings.identity, "leading");
        let store = KubeStore::new(client.clone(), settings.identity.clone());
        let cluster =
            Arc::new(ControllerState::new(store, clock.clone(), Arc::clone(metrics), settings.allowlist.clone()));
        metrics.lead(Some(LeaderState {
            index: Arc::clone(&cluster.index),
            registrations: Arc::clone(&cluster.registrations),
        }));
        let lost = tokio::select! {
            () = leadership.hold(since) => true,
            () = lead(client.clone(), settings, cluster, health) => false,
        };
        metrics.lead(None);
        match lost {
            true => tracing::warn!("the lease is lost: standing by"),
            false => sleep(RESTART_DELAY).await,
        }
    }
}

/// Watches and works; dropped, it stops at once, and every write that was under way stays guarded by its version.
async fn lead(client: Client, settings: &ControllerSettings, cluster: Arc<ControllerState>, health: &Health) {
    health.start();
    let mut tasks = JoinSet::new();
    let scope = Scope::new(&settings.namespaces);
    let synced = watches::start(&client, &scope, &cluster, &mut tasks);
    tokio::select! {
        () = synced.wait() => tracing::info!("every watch has shown what there is"),
        () = first_end(&mut tasks) => return,
    }
    tasks.spawn(worker::alarms(Arc::clone(&cluster)));
    tasks.spawn(worker::workers(Arc::clone(&cluster)));
    tasks.spawn(account_worker::workers(Arc::clone(&cluster)));
    tasks.spawn(registration_worker::workers(Arc::clone(&cluster)));
    tokio::select! {
        () = cluster.settled() => tracing::info!("every object was looked at"),
        () = first_end(&mut tasks) => return,
    }
    health.ready();
    first_end(&mut tasks).await;
}

/// The end of a watch or worker, none of which ends: what waits for the others would wait for ever.
async fn first_end(tasks: &mut JoinSet<()>) {
    let error = tasks.join_next().await.and_then(Result::err).map(|error| error.to_string()).unwrap_or_default();
    tracing::error!(error, "a watch or worker ended: starting over");
}
