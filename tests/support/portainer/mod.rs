//! Portainer as far as a registrar meets it, in this process: its HTTP API, its oddities, its disk, and bad days on order.
//!
//! What it does was measured on Portainer 2.23; tests/portainer runs the same expectations against it and a real server.
//! `Portainer::start()` listens on loopback with an administrator and a key; dropped, it is gone with its files. It lives
//! on a thread of its own, so a test that blocks its runtime does not stall it.

mod account;
mod answer;
mod call;
mod change;
mod create;
mod dial;
mod disk;
mod fault;
mod inspect;
mod list;
mod proxy;
mod request;
mod route;
mod serve;
mod small_calls;
mod snapshot;
pub mod state;

use super::listening::{self, Listening, listen};
use dockseal::adapters::random;
use state::State;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

#[allow(unused_imports, reason = "every test binary compiles all of it and uses only a part")]
pub use {
    call::{Call, LogPosition, most_in_flight},
    fault::Fault,
};

/// The administrator of a server that is initialised.
pub const ADMIN: (&str, &str) = ("admin", "a password of length");

/// A running stand-in.
pub struct Portainer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<Listening>>,
    admin_key: String,
}

/// How to start one.
pub struct Options {
    /// What `/system/status` says.
    pub version: String,
    /// Has an administrator and a key.
    pub initialised: bool,
    /// How long it waits for a host that takes connections and says nothing; the real one waits 120 s.
    pub patience: Duration,
    /// HTTPS with this certificate chain and key, in PEM.
    pub https: Option<(String, String)>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            version: "2.33.5".into(),
            initialised: true,
            patience: Duration::from_secs(5),
            https: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// The state of a server at one moment, as its backup has it.
#[derive(Clone)]
pub struct Backup {
    state: State,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// What connections and the test look at together.
struct Shared {
    state: Mutex<State>,
    sessions: Mutex<account::Sessions>,
    proxies: proxy::Proxies,
    disk: disk::Disk,
    rules: Mutex<Vec<fault::Rule>>,
    calls: Mutex<Vec<Call>>,
    version: Mutex<String>,
    patience: Mutex<Duration>,
    timed_out: Mutex<bool>,
    tls: Option<TlsAcceptor>,
}

impl Portainer {
    /// Starts one as most tests want it.
    pub fn start() -> anyhow::Result<Portainer> {
        Portainer::with(Options::default())
    }

    /// Starts one.
    pub fn with(options: Options) -> anyhow::Result<Portainer> {
        let tls = options.https.map(|(chain, key)| listening::acceptor(&chain, &key, None)).transpose()?;
        let mut state = State::new(instance());
        let admin_key = account::fresh_key();
        if options.initialised {
            let admin = state.add_user(ADMIN.0, ADMIN.1, 1);
            state.add_key(admin, "of the test", &admin_key);
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            sessions: Mutex::default(),
            proxies: proxy::Proxies::default(),
            disk: disk::Disk::new()?,
            rules: Mutex::default(),
            calls: Mutex::default(),
            version: Mutex::new(options.version),
            patience: Mutex::new(options.patience),
            timed_out: Mutex::new(false),
            tls,
        });
        let listener = listen(options.address)?;
        let address = listener.local_addr()?;
        let listening = serve::start(&shared, listener)?;
        Ok(Portainer { address, shared, listening: Mutex::new(Some(listening)), admin_key })
    }

    /// `http://127.0.0.1:port`, without `/api`.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's API key.
    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// Ends the server; what was under way is lost, what is in its database and on its disk stays.
    pub fn stop(&self) {
        drop(locked(&self.listening).take());
    }

    /// Ends it and starts it again on the same port: nobody is logged in or banned, proxies come from the files.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.stop();
        self.shared.forget_sessions();
        self.shared.proxies.forget_all();
        *locked(&self.shared.timed_out) = false;
        *locked(&self.listening) = Some(serve::start(&self.shared, listen(self.address)?)?);
        Ok(())
    }

    /// Its state, files and all.
    pub fn backup(&self) -> Backup {
        Backup { state: locked(&self.shared.state).clone(), files: self.shared.disk.files() }
    }

    /// Restarts it with an earlier state.
    pub fn restore(&self, backup: &Backup) -> anyhow::Result<()> {
        self.stop();
        locked(&self.shared.state).clone_from(&backup.state);
        self.shared.disk.set(&backup.files)?;
        self.restart()
    }

    /// Restarts it as a new installation at the old address: another instance, no environments; users and keys stay, as
    /// if an administrator had set them up again.
    pub fn reinstall(&self) -> anyhow::Result<()> {
        self.stop();
        {
            let mut state = locked(&self.shared.state);
            let fresh = State { users: state.users.clone(), keys: state.keys.clone(), ..State::new(instance()) };
            let (user, key) = (state.last.user, state.last.key);
            *state = fresh;
            (state.last.user, state.last.key) = (user, key);
        }
        self.shared.disk.set(&BTreeMap::new())?;
        self.restart()
    }
}

impl Shared {
    /// Is it an older one than 2.`minor`?
    fn is_before(&self, minor: u32) -> bool {
        let version = locked(&self.version);
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (2, minor)
    }

    fn is_timed_out(&self) -> bool {
        *locked(&self.timed_out)
    }
}

/// An identity as a data directory gets it.
fn instance() -> String {
    let hex: String = random().iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn random() -> [u8; 16] {
    random::serial().0
}

/// A poisoned lock means that some other test code panicked; what is behind these locks is whole all the same.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
