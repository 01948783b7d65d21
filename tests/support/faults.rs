//! A proxy before the API server that does to a client what a bad day does: refuses, cuts, stalls, answers 409 to 503.
//!
//! The client speaks plain HTTP to it (`server: http://127.0.0.1:port` in its kubeconfig). To the API server it passes a
//! client's bearer token on; without one it uses its own token or the administrator's certificate. It lives on a thread
//! of its own, so a test that blocks its runtime does not stall it.

mod relay;
mod rule;
mod status;
mod upstream;
mod watch;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Method;
use tokio::sync::oneshot;

use super::cluster::Cluster;
pub use rule::{Action, Fault, Injected};

/// A running proxy. Dropping it cuts every connection through it.
pub struct FaultProxy {
    url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One request as the proxy saw it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it came in.
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: String,
    /// What the API server said; `None` while it has not, or when it was never asked.
    pub upstream: Option<u16>,
    /// What the client was told; `None` while it was not, or when its connection was cut instead.
    pub answer: Option<u16>,
    /// The fault that it met.
    pub fault: Option<Action>,
}

impl Entry {
    fn new(head: &http::request::Parts, body: &[u8]) -> Entry {
        Entry {
            at: Instant::now(),
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: String::from_utf8_lossy(body).into_owned(),
            upstream: None,
            answer: None,
            fault: None,
        }
    }

    /// Is it a watch?
    pub fn is_watch(&self) -> bool {
        self.query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
    }

    /// Does it change anything? Leases do not count: they are renewed all the time.
    pub fn is_write(&self) -> bool {
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&self.method);
        writes && !self.path.contains("/leases")
    }
}

/// What connections, rules and the test look at together.
struct Shared {
    rules: Mutex<Vec<Arc<rule::Rule>>>,
    log: Mutex<Vec<Entry>>,
    /// Wakes those who wait for the log to say something.
    logged: tokio::sync::watch::Sender<()>,
    watches: Mutex<Vec<OpenWatch>>,
}

/// A watch that is being relayed; sending, or dropping the sender, cuts it.
struct OpenWatch {
    number: usize,
    path: String,
    cut: oneshot::Sender<()>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and forwards to the cluster's API server, as administrator.
    pub fn start(cluster: &Cluster) -> Result<FaultProxy> {
        FaultProxy::listen(upstream::Upstream::new(cluster, None)?)
    }

    /// The same with this bearer token (of `kubectl create token`), for tests of RBAC. The token is the proxy's, since
    /// Go clients do not send theirs over plain HTTP: they would be administrators without a word.
    pub fn start_as(cluster: &Cluster, token: &str) -> Result<FaultProxy> {
        FaultProxy::listen(upstream::Upstream::new(cluster, Some(token))?)
    }

    /// `http://127.0.0.1:port`, for `Cluster::kubeconfig_through`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on this happens. Of several rules that are due the oldest goes first, and the others wait.
    pub fn inject(&self, fault: Fault) -> Injected {
        let injected = Injected::new(fault);
        locked(&self.shared.rules).push(injected.rule());
        injected
    }

    /// Forgets every rule; requests that are held or paused go on as their rule says.
    pub fn heal(&self) {
        locked(&self.shared.rules).clear();
    }

    /// Every request so far, in the order of arrival.
    pub fn log(&self) -> Vec<Entry> {
        locked(&self.shared.log).clone()
    }

    /// How many requests so far fit.
    pub fn count(&self, fits: impl Fn(&Entry) -> bool) -> usize {
        locked(&self.shared.log).iter().filter(|entry| fits(entry)).count()
    }

    /// The requests that change something (POST, PUT, PATCH, DELETE), without leases.
    pub fn writes(&self) -> Vec<Entry> {
        self.log().into_iter().filter(Entry::is_write).collect()
    }

    /// Waits until `times` requests in the log fit.
    pub async fn logged(&self, times: usize, fits: impl Fn(&Entry) -> bool, within: Duration) -> Result<()> {
        let mut changes = self.shared.logged.subscribe();
        let enough = changes.wait_for(|()| self.count(&fits) >= times);
        match tokio::time::timeout(within, enough).await {
            Ok(_) => Ok(()),
            Err(_) => bail!("{} of {times} expected requests within {within:?}", self.count(&fits)),
        }
    }

    /// How many watches whose path contains `path` are open now.
    pub fn open_watches(&self, path: &str) -> usize {
        locked(&self.shared.watches).iter().filter(|open| open.path.contains(path)).count()
    }

    /// Cuts the open watches whose path contains `path`, without a proper end; gives their number.
    pub fn cut_watches(&self, path: &str) -> usize {
        let mut watches = locked(&self.shared.watches);
        let cut: Vec<_> = watches.extract_if(.., |open| open.path.contains(path)).collect();
        cut.into_iter().filter_map(|open| open.cut.send(()).ok()).count()
    }

    fn listen(upstream: upstream::Upstream) -> Result<FaultProxy> {
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen for the fault proxy")?;
        listener.set_nonblocking(true).context("failed to make the fault proxy's socket non-blocking")?;
        let url = format!("http://{}", listener.local_addr().context("failed to read the fault proxy's port")?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("failed to start the fault proxy's runtime")?;
        let shared = Arc::new(Shared {
            rules: Mutex::default(),
            log: Mutex::default(),
            logged: tokio::sync::watch::Sender::new(()),
            watches: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let relay = relay::Relay { upstream: Arc::new(upstream), shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new()
            .name("fault proxy".to_owned())
            // The runtime is dropped at the end of this, and every connection with it.
            .spawn(move || runtime.block_on(relay.serve(listener, stopped)))
            .context("failed to start the fault proxy's thread")?;
        Ok(FaultProxy { url, shared, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the proxy has already been printed; a second one in drop would abort.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Writes a request down; its place in the log is its number.
    fn note(&self, entry: Entry) -> usize {
        let mut log = locked(&self.log);
        log.push(entry);
        let number = log.len() - 1;
        drop(log);
        self.logged.send_replace(());
        number
    }

    fn entry(&self, number: usize) -> Entry {
        locked(&self.log)[number].clone()
    }

    /// Adds what became known about a request.
    fn amend(&self, number: usize, change: impl FnOnce(&mut Entry)) {
        change(&mut locked(&self.log)[number]);
        self.logged.send_replace(());
    }
}

/// A poisoned lock means that some other test code panicked; the lists behind these locks are whole all the same.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
