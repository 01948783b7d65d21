//! One Portainer by one credential: its port, its last snapshot, and the locks and permits of its syncs. It decides nothing.

use super::client_pair::ClientPair;
use super::connect::Connection;
use crate::adapters::docker::ping::{DockerAddress, PingError, Pinged};
use crate::adapters::keyed_locks::KeyedLocks;
use crate::adapters::portainer::{Access, AccessError, Network, PortainerServer, RequestMetrics, ServerCredential};
use crate::decide::registration::ServerSnapshot;
use crate::decide::registration::backoff::INTERVAL;
use crate::pki::sha256_hex;
use crate::portainer::Environment;
use k8s_openapi::jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{MutexGuard, OwnedMutexGuard, Semaphore, SemaphorePermit};

const MAX_CONCURRENT_HOSTS: usize = 16;
const MAX_CONCURRENT_PINGS: usize = 64;
/// After so many refreshes of the list alone, everything is asked again.
const MAX_LIST_REFRESHES: u32 = 12;

pub struct RegistrationServer {
    network: Arc<dyn Network>,
    portainer: Arc<dyn PortainerServer>,
    initialize: bool,
    names: Arc<NameLocks>,
    permits: Semaphore,
    ping_permits: Semaphore,
    /// Held while tags are made.
    tag_lock: tokio::sync::Mutex<()>,
    snapshot: RwLock<Arc<ServerSnapshot>>,
    client_pair: RwLock<Arc<ClientPair>>,
    refresh_state: Mutex<RefreshState>,
    identity: String,
}

#[derive(Default)]
struct RefreshState {
    /// The last full refresh; `None` if what is known may be wrong.
    full: Option<Timestamp>,
    /// Refreshes of the list alone since then.
    lists: u32,
    /// Environments that an answer showed after the last list was asked for.
    newer: HashSet<i64>,
}

impl RegistrationServer {
    /// A server that has not been called yet; its requests are counted in `metrics`.
    ///
    /// # Errors
    /// [`AccessError`] if no client can be made for it.
    pub fn new(
        network: &Arc<dyn Network>,
        connection: Connection,
        names: Arc<NameLocks>,
        metrics: Arc<RequestMetrics>,
    ) -> Result<RegistrationServer, AccessError> {
        let Connection { access, credential, initialize, client_pair } = connection;
        Ok(RegistrationServer {
            identity: identity(&access, &credential, initialize),
            portainer: network.portainer(&access, credential, metrics)?,
            network: Arc::clone(network),
            initialize,
            names,
            permits: Semaphore::new(MAX_CONCURRENT_HOSTS),
            ping_permits: Semaphore::new(MAX_CONCURRENT_PINGS),
            tag_lock: tokio::sync::Mutex::default(),
            snapshot: RwLock::default(),
            client_pair: RwLock::new(Arc::new(client_pair)),
            refresh_state: Mutex::default(),
        })
    }

    /// That connection reaches it in the same way: a refused login is not retried with the same credential.
    pub(super) fn is_reached_by(&self, connection: &Connection) -> bool {
        self.identity == identity(&connection.access, &connection.credential, connection.initialize)
    }

    pub(super) fn portainer(&self) -> &dyn PortainerServer {
        &*self.portainer
    }

    /// Its first administrator may be made.
    pub(super) fn may_initialize(&self) -> bool {
        self.initialize
    }

    /// Waits until no other sync of that namespace works on an environment of that name. A server may say that it is
    /// another one, so namespaces never wait for each other.
    pub(super) async fn lock_name(&self, namespace: &str, name: &str) -> OwnedMutexGuard<()> {
        let lock = self.names.of(namespace, &self.snapshot().instance, name);
        lock.lock_owned().await
    }

    pub(super) async fn permit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("it is never closed")
    }

    /// Waits until no other sync makes tags.
    pub(super) async fn lock_tags(&self) -> MutexGuard<'_, ()> {
        self.tag_lock.lock().await
    }

    /// Pings dockerd as Portainer will: same address, trust and client certificate.
    pub(super) async fn ping_docker(&self, address: &DockerAddress, trust: Option<&[u8]>) -> Result<Pinged, PingError> {
        let _permit = self.ping_permits.acquire().await.expect("it is never closed");
        let pair = self.client_pair();
        self.network.ping_docker(address, trust, (&pair.certificate, &pair.key)).await
    }

    pub fn snapshot(&self) -> Arc<ServerSnapshot> {
        Arc::clone(&self.snapshot.read())
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut ServerSnapshot)) {
        change(Arc::make_mut(&mut self.snapshot.write()));
    }

    /// Takes an environment as an answer shows it.
    pub(super) fn put(&self, environment: Environment) {
        self.mark_newer([environment.id]);
        self.update(|snapshot| snapshot.put(environment));
    }

    /// An answer shows that an environment is gone.
    pub(super) fn remove(&self, id: i64) {
        self.mark_newer([id]);
        self.update(|snapshot| drop(snapshot.environments.remove(&id)));
    }

    /// Takes all environments of a name as an answer shows them.
    pub(super) fn put_named(&self, name: &str, found: Vec<Environment>) {
        let before = self.snapshot();
        let known = before.environments.values().filter(|known| known.name == name).map(|known| known.id);
        self.mark_newer(known.chain(found.iter().map(|found| found.id)));
        self.update(|snapshot| snapshot.put_named(name, found));
    }

    fn mark_newer(&self, ids: impl IntoIterator<Item = i64>) {
        self.refresh_state.lock().newer.extend(ids);
    }

    /// A list is about to be asked for.
    pub(super) fn begin_list(&self) {
        self.refresh_state.lock().newer.clear();
    }

    /// Takes a list; an answer that came while the list was on its way is newer than the list.
    pub(super) fn put_list(&self, list: Vec<Environment>) {
        let newer = std::mem::take(&mut self.refresh_state.lock().newer);
        self.update(|snapshot| {
            snapshot.environments.retain(|id, _| newer.contains(id));
            for found in list.into_iter().filter(|found| !newer.contains(&found.id)) {
                snapshot.put(found);
            }
        });
    }

    pub fn client_pair(&self) -> Arc<ClientPair> {
        Arc::clone(&self.client_pair.read())
    }

    /// Takes the client certificate as it is stored now.
    pub fn set_client_pair(&self, pair: ClientPair) {
        *self.client_pair.write() = Arc::new(pair);
    }

    /// The last full refresh is recent enough to write by it.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let full = self.refresh_state.lock().full;
        full.is_some_and(|full| now >= full && now.duration_since(full) <= INTERVAL)
    }

    pub(super) fn is_full_refresh_due(&self) -> bool {
        let state = self.refresh_state.lock();
        state.full.is_none() || state.lists >= MAX_LIST_REFRESHES
    }

    /// Notes a refresh, with the instant of a full one.
    pub(super) fn note_refresh(&self, full: Option<Timestamp>) {
        let mut state = self.refresh_state.lock();
        match full {
            Some(_) => (state.full, state.lists) = (full, 0),
            None => state.lists += 1,
        }
    }

    /// The next refresh is a full one; what is known is good enough to write by until then.
    pub(super) fn request_full_refresh(&self) {
        self.refresh_state.lock().lists = MAX_LIST_REFRESHES;
    }

    /// Forgets what the server showed.
    pub(super) fn clear(&self) {
        self.mark_stale();
        self.update(|snapshot| *snapshot = ServerSnapshot::default());
    }

    /// The next refresh is a full one, and nothing is written before it.
    pub fn mark_stale(&self) {
        self.refresh_state.lock().full = None;
    }
}

/// Digest of how a server is reached: tells two connections apart without keeping their secrets.
fn identity(access: &Access, credential: &ServerCredential, initialize: bool) -> String {
    let (kind, name, secret) = match credential {
        ServerCredential::ApiKey(key) => ("key", "", key.as_bytes()),
        ServerCredential::Password { username, password } => ("password", username.as_str(), password.as_bytes()),
    };
    let roots = access.roots.as_deref().map(sha256_hex).unwrap_or_default();
    let secret = sha256_hex(secret);
    let server_name = access.server_name.as_deref().unwrap_or_default();
    sha256_hex(format!("{}\n{roots}\n{server_name}\n{kind}\n{name}\n{secret}\n{initialize}", access.url).as_bytes())
}

/// Locks of the names that environments are made under: one sync at a time for each, in this process.
#[derive(Default)]
pub struct NameLocks(KeyedLocks);

impl NameLocks {
    /// The lock of a name in a server, for a namespace.
    fn of(&self, namespace: &str, instance: &str, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.0.of(format!("{namespace} {instance} {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server can say that it is another one, and hang.
    #[test]
    fn a_name_is_locked_for_its_namespace_alone() {
        let names = NameLocks::default();
        let lock = names.of("home", "instance", "pandora");
        assert!(Arc::ptr_eq(&lock, &names.of("home", "instance", "pandora")));
        assert!(!Arc::ptr_eq(&lock, &names.of("hostile", "instance", "pandora")));
        assert!(!Arc::ptr_eq(&lock, &names.of("home", "other", "pandora")));
    }
}
