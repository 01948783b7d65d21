//! One Portainer, by one credential: how it is spoken to, and what it last showed.

use super::Connection;
use crate::adapters::portainer::{Access, AccessError, PortainerApi, RequestMetrics, ServerCredential};
use crate::decide::registration::ServerSnapshot;
use crate::decide::registration::backoff::INTERVAL;
use crate::pki::sha256_hex;
use crate::portainer::Environment;
use k8s_openapi::jiff::Timestamp;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Hosts that are worked on at a time.
const MAX_CONCURRENT_HOSTS: usize = 16;
/// dockerds that are asked at a time.
const PROBES: usize = 64;
/// After so many looks at the list alone, everything is asked again.
pub(super) const LOOKS: u32 = 12;

/// Portainer's client certificate and its key, PEM.
#[derive(Clone)]
pub struct ClientPair {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Zeroizing<Vec<u8>>,
    /// Fingerprint of the certificate.
    pub fingerprint: String,
}

impl std::fmt::Debug for ClientPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pair({})", self.fingerprint)
    }
}

/// A server.
pub struct RegistrationServer {
    pub(super) portainer: PortainerApi,
    pub(super) initialize: bool,
    pub(super) names: Arc<NameLocks>,
    pub(super) places: Semaphore,
    pub(super) probes: Semaphore,
    /// Tags are being made.
    pub(super) tagging: tokio::sync::Mutex<()>,
    snapshot: RwLock<Arc<ServerSnapshot>>,
    pair: RwLock<Arc<ClientPair>>,
    pub(super) looked: Mutex<RefreshState>,
    identity: String,
}

/// When it was looked at.
#[derive(Default)]
pub(super) struct RefreshState {
    /// At everything; none while nothing is known, or not surely.
    pub whole: Option<Timestamp>,
    /// At its list alone, since then.
    pub lists: u32,
    /// Environments of which something was heard since the last list was asked for.
    pub touched: HashSet<i64>,
}

impl RegistrationServer {
    /// A server that nobody has spoken to; what it is asked is counted there.
    ///
    /// # Errors
    /// [`AccessError`] where it cannot be spoken to at all.
    pub fn new(
        way: Connection,
        names: Arc<NameLocks>,
        tally: Arc<RequestMetrics>,
    ) -> Result<RegistrationServer, AccessError> {
        let Connection { access, credential, initialize, pair } = way;
        Ok(RegistrationServer {
            identity: identity(&access, &credential, initialize),
            portainer: PortainerApi::counted(&access, credential, tally)?,
            initialize,
            names,
            places: Semaphore::new(MAX_CONCURRENT_HOSTS),
            probes: Semaphore::new(PROBES),
            tagging: tokio::sync::Mutex::default(),
            snapshot: RwLock::default(),
            pair: RwLock::new(Arc::new(pair)),
            looked: Mutex::default(),
        })
    }

    /// It is spoken to in that way: a login that was refused is not tried again by the same words.
    pub fn is(&self, access: &Access, credential: &ServerCredential, initialize: bool) -> bool {
        self.identity == identity(access, credential, initialize)
    }

    /// What it last showed.
    pub fn snapshot(&self) -> Arc<ServerSnapshot> {
        let snapshot: RwLockReadGuard<'_, Arc<ServerSnapshot>> = self.snapshot.read();
        Arc::clone(&snapshot)
    }

    pub(super) fn learn(&self, change: impl FnOnce(&mut ServerSnapshot)) {
        change(Arc::make_mut(&mut self.snapshot.write()));
    }

    /// Takes an environment as an answer shows it.
    pub(super) fn put(&self, environment: Environment) {
        self.touch([environment.id]);
        self.learn(|snapshot| snapshot.put(environment));
    }

    /// An environment is not there any more.
    pub(super) fn gone(&self, id: i64) {
        self.touch([id]);
        self.learn(|snapshot| drop(snapshot.environments.remove(&id)));
    }

    /// Takes all environments of a name as an answer shows them.
    pub(super) fn put_named(&self, name: &str, found: Vec<Environment>) {
        let before = self.snapshot();
        let known = before.environments.values().filter(|known| known.name == name).map(|known| known.id);
        self.touch(known.chain(found.iter().map(|found| found.id)));
        self.learn(|snapshot| snapshot.put_named(name, found));
    }

    fn touch(&self, ids: impl IntoIterator<Item = i64>) {
        self.looked.lock().touched.extend(ids);
    }

    /// Takes a list that was asked for a while ago: what was heard of an environment since then is newer.
    pub(super) fn take_list(&self, list: Vec<Environment>) {
        let touched = std::mem::take(&mut self.looked.lock().touched);
        self.learn(|snapshot| {
            snapshot.environments.retain(|id, _| touched.contains(id));
            for found in list.into_iter().filter(|found| !touched.contains(&found.id)) {
                snapshot.put(found);
            }
        });
    }

    /// A list is asked for now.
    pub(super) fn begin_list(&self) {
        self.looked.lock().touched.clear();
    }

    /// The client certificate that it is given.
    pub fn pair(&self) -> Arc<ClientPair> {
        Arc::clone(&self.pair.read())
    }

    /// Takes the client certificate as it is stored now.
    pub fn take(&self, pair: ClientPair) {
        *self.pair.write() = Arc::new(pair);
    }

    /// Everything about it was asked lately enough to write by it.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let whole = self.looked.lock().whole;
        whole.is_some_and(|whole| now >= whole && now.duration_since(whole) <= INTERVAL)
    }

    /// The next look asks everything; what is known is good enough to write by until then.
    pub fn wonder(&self) {
        self.looked.lock().lists = LOOKS;
    }

    /// The next look asks everything, and nothing is written before it.
    pub fn doubt(&self) {
        self.looked.lock().whole = None;
    }
}

/// Tells one way of speaking to a server from another, without holding what is secret about it.
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

/// Names that environments are being made under: one at a time for each, in this process.
#[derive(Default)]
pub struct NameLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl NameLocks {
    /// The lock of a name in a server.
    pub fn of(&self, instance: &str, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut names = self.0.lock();
        names.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(names.entry(format!("{instance} {name}")).or_default())
    }
}
