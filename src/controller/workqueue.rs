//! A work queue: keys come in when something changed, is due by the clock, or failed before; each goes out once at a
//! time, in turns of the namespaces. It does nothing with them.

use crate::adapters::fair::{FairSemaphore, RoundRobin};
use crate::api::ObjectRef;
use crate::api::account::namespace_of_host;
use crate::decide::delays::WORK_QUEUE_BACKOFF;
use crate::reconcile::Permit;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::{Display, Formatter};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A PortainerClient, and a host to be registered; without one, its server is listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationKey {
    pub client: ObjectRef,
    pub host: Option<ObjectRef>,
}

impl RegistrationKey {
    pub fn server(client: ObjectRef) -> RegistrationKey {
        RegistrationKey { client, host: None }
    }
}

impl Display for RegistrationKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host} in the Portainer of {}", self.client),
            None => self.client.fmt(f),
        }
    }
}

/// What a work queue holds.
pub trait QueueKey: Clone + Eq + Hash + Ord + Display + Send + Sync + 'static {
    /// The namespace whose turn it is, when the key goes out.
    fn tenant(&self) -> Arc<str>;
}

impl QueueKey for ObjectRef {
    fn tenant(&self) -> Arc<str> {
        Arc::clone(self.namespace.shared())
    }
}

impl QueueKey for RegistrationKey {
    fn tenant(&self) -> Arc<str> {
        Arc::clone(self.client.namespace.shared())
    }
}

/// The account of a companion. Those of nodes are the administrator's.
impl QueueKey for String {
    fn tenant(&self) -> Arc<str> {
        Arc::from(namespace_of_host(self).unwrap_or_default())
    }
}

pub struct WorkQueue<K> {
    state: Mutex<QueueState<K>>,
    added: Notify,
}

/// The queues of a leader.
#[derive(Clone, Default)]
pub struct WorkQueues {
    pub objects: Arc<WorkQueue<ObjectRef>>,
    /// Of companions' accounts.
    pub accounts: Arc<WorkQueue<String>>,
    pub registrations: Arc<WorkQueue<RegistrationKey>>,
}

impl WorkQueues {
    /// How long the oldest key of each queue and namespace has been waiting.
    pub fn oldest(&self) -> Vec<(&'static str, BTreeMap<Arc<str>, Duration>)> {
        vec![
            ("accounts", self.accounts.oldest()),
            ("objects", self.objects.oldest()),
            ("registrations", self.registrations.oldest()),
        ]
    }
}

impl<K> Default for WorkQueue<K> {
    fn default() -> WorkQueue<K> {
        WorkQueue { state: Mutex::default(), added: Notify::new() }
    }
}

struct QueueState<K> {
    ready: RoundRobin<K>,
    /// What is in `ready`, and since when.
    queued: HashMap<K, Instant>,
    /// Since when each waits, the time in the queue included.
    in_progress: HashMap<K, Instant>,
    /// Keys in progress that were added meanwhile.
    changed: HashSet<K>,
    /// Keys in progress of which a watch has shown what may be their own write.
    own_writes: HashSet<K>,
    held: HashSet<K>,
    due: BTreeSet<(Timestamp, K)>,
    due_of: HashMap<K, Timestamp>,
    failures: HashMap<K, u32>,
}

impl<K: QueueKey> WorkQueue<K> {
    /// Queues a key; one in progress comes again after that.
    pub fn add(&self, key: K) {
        self.state.lock().add(key);
        self.added.notify_one();
    }

    /// Queues a key because of what may be its own write: while it is in progress, [`WorkQueue::done`] decides.
    pub fn add_unless_own_write(&self, key: K) {
        let mut state = self.state.lock();
        if state.in_progress.contains_key(&key) {
            state.own_writes.insert(key);
            return;
        }
        state.add(key);
        drop(state);
        self.added.notify_one();
    }

    /// The next key, and a permit of its namespace; it is in progress until [`WorkQueue::done`] or
    /// [`WorkQueue::failed`]. One waits at a time.
    pub async fn next(&self, permits: &Arc<FairSemaphore>) -> (K, Permit) {
        loop {
            if let Some(started) = self.state.lock().start(|tenant| Permit::try_take(permits, tenant)) {
                return started;
            }
            tokio::select! {
                () = self.added.notified() => {}
                () = permits.freed() => {}
            }
        }
    }

    /// A key was reconciled; it comes again at `requeue_at`, if nothing changes. `is_own_write` says whether what the
    /// watches have shown meanwhile is what the reconcile wrote. It is called under the queue's lock: a change that
    /// came between its answer and the end would be taken for an own write.
    pub fn done(&self, key: &K, requeue_at: Option<Timestamp>, is_own_write: impl FnOnce() -> bool) {
        let mut state = self.state.lock();
        state.failures.remove(key);
        state.set_due(key, requeue_at);
        let is_own_write = is_own_write();
        if state.own_writes.remove(key) && !is_own_write {
            state.changed.insert(key.clone());
        }
        state.finish(key);
        drop(state);
        self.added.notify_one();
    }

    /// A reconcile failed; the key is to be queued again after the delay that this returns, which grows with each
    /// failure.
    pub fn failed(&self, key: &K) -> Duration {
        let mut state = self.state.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let delay = WORK_QUEUE_BACKOFF.delay(*failures);
        state.own_writes.remove(key);
        state.finish(key);
        drop(state);
        self.added.notify_one();
        delay
    }

    /// How often in a row a key failed.
    pub fn failures(&self, key: &K) -> u32 {
        self.state.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// Holds a key back, whatever changes, since the server asked for it; [`WorkQueue::release`] ends that.
    pub fn hold(&self, key: &K) {
        let mut state = self.state.lock();
        if state.queued.remove(key).is_some() {
            state.ready.remove(&key.tenant(), key);
        }
        state.held.insert(key.clone());
    }

    /// Queues a key, whether it was held back or not.
    pub fn release(&self, key: K) {
        self.state.lock().held.remove(&key);
        self.add(key);
    }

    /// Queues the keys that are due at `now`.
    pub fn enqueue_due(&self, now: Timestamp) {
        let mut state = self.state.lock();
        while state.due.first().is_some_and(|(instant, _)| *instant <= now) {
            let (_, key) = state.due.pop_first().expect("there is a first");
            state.due_of.remove(&key);
            state.add(key);
        }
        drop(state);
        self.added.notify_one();
    }

    /// Forgets when a key is due, and its failures: its object is gone.
    pub fn forget(&self, key: &K) {
        let mut state = self.state.lock();
        state.set_due(key, None);
        state.failures.remove(key);
    }

    /// How long the oldest key of each namespace has been waiting, in the queue and in progress.
    pub fn oldest(&self) -> BTreeMap<Arc<str>, Duration> {
        let mut oldest: BTreeMap<Arc<str>, Duration> = BTreeMap::new();
        let state = self.state.lock();
        for (key, since) in state.queued.iter().chain(&state.in_progress) {
            let age = oldest.entry(key.tenant()).or_default();
            *age = since.elapsed().max(*age);
        }
        oldest
    }

    /// Takes everything that is queued, in the order of the keys.
    #[cfg(test)]
    pub(super) fn drain(&self) -> BTreeSet<K> {
        let mut state = self.state.lock();
        state.ready = RoundRobin::default();
        state.queued.drain().map(|(key, _)| key).collect()
    }

    /// True where no key is queued or in progress.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.ready.is_empty() && state.in_progress.is_empty() && state.changed.is_empty()
    }
}

impl<K> Default for QueueState<K> {
    fn default() -> QueueState<K> {
        let (queued, in_progress, changed, own_writes, held) = Default::default();
        let (due, due_of, failures) = (BTreeSet::new(), HashMap::new(), HashMap::new());
        QueueState {
            ready: RoundRobin::default(),
            queued,
            in_progress,
            changed,
            own_writes,
            held,
            due,
            due_of,
            failures,
        }
    }
}

impl<K: QueueKey> QueueState<K> {
    fn add(&mut self, key: K) {
        if self.in_progress.contains_key(&key) {
            self.changed.insert(key);
        } else if self.held.contains(&key) {
            // It is queued when it is released.
        } else if !self.queued.contains_key(&key) {
            self.queued.insert(key.clone(), Instant::now());
            self.ready.push(&key.tenant(), key);
        }
    }

    fn start<P>(&mut self, admit: impl FnMut(&Arc<str>) -> Option<P>) -> Option<(K, P)> {
        let (key, permit) = self.ready.pop(admit)?;
        let since = self.queued.remove(&key).unwrap_or_else(Instant::now);
        self.in_progress.insert(key.clone(), since);
        Some((key, permit))
    }

    fn finish(&mut self, key: &K) {
        self.in_progress.remove(key);
        if self.changed.remove(key) {
            self.add(key.clone());
        }
    }

    fn set_due(&mut self, key: &K, requeue_at: Option<Timestamp>) {
        if let Some(old) = self.due_of.remove(key) {
            self.due.remove(&(old, key.clone()));
        }
        if let Some(requeue_at) = requeue_at {
            self.due_of.insert(key.clone(), requeue_at);
            self.due.insert((requeue_at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::fair::Share;
    use crate::api::{Kind, ObjectName, ObjectRef};

    fn host(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::DockerHostCert, "home", ObjectName::joined(name))
    }

    async fn next(queue: &WorkQueue<ObjectRef>) -> ObjectRef {
        queue.next(&FairSemaphore::new(1, Share::All)).await.0
    }

    /// What is reconciled, a key a second in each place, until nothing is left: the second in which each key began.
    fn simulate(queue: &WorkQueue<ObjectRef>, seconds: impl Fn(&ObjectRef) -> u32) -> HashMap<ObjectRef, u32> {
        let permits = FairSemaphore::new(8, Share::Rest);
        let (mut began, mut working) = (HashMap::new(), Vec::new());
        for now in 0.. {
            working.retain(|(key, end, _): &(ObjectRef, u32, Permit)| {
                let ended = *end <= now;
                if ended {
                    queue.done(key, None, || true);
                }
                !ended
            });
            while let Some((key, permit)) = queue.state.lock().start(|tenant| Permit::try_take(&permits, tenant)) {
                began.insert(key.clone(), now);
                working.push((key.clone(), now + seconds(&key), permit));
            }
            if queue.is_idle() {
                break;
            }
        }
        began
    }

    #[test]
    fn a_namespace_with_thousands_of_keys_delays_no_other() {
        let queue = WorkQueue::default();
        let of = |namespace: &'static str, number: u32| {
            ObjectRef::new(Kind::DockerHostCert, namespace, ObjectName::joined(&number.to_string()))
        };
        (0..2000).for_each(|number| queue.add(of("hostile", number)));
        (0..8).for_each(|number| queue.add(of("victim", number)));
        let began = simulate(&queue, |_| 1);
        assert!((0..8).all(|number| began[&of("victim", number)] < 4), "the victim's turn came after the others'");
        assert_eq!(began.len(), 2008);
    }

    #[test]
    fn a_namespace_whose_keys_hang_keeps_places_free_for_others() {
        let queue = WorkQueue::default();
        let of = |namespace: &'static str, number: u32| {
            ObjectRef::new(Kind::DockerHostCert, namespace, ObjectName::joined(&number.to_string()))
        };
        (0..50).for_each(|number| queue.add(of("hostile", number)));
        (0..8).for_each(|number| queue.add(of("victim", number)));
        let began = simulate(&queue, |key| if &*key.namespace == "hostile" { 300 } else { 1 });
        assert!((0..8).all(|number| began[&of("victim", number)] < 8), "the victim waits for what hangs");
    }

    #[tokio::test]
    async fn a_key_waits_from_when_it_came_until_it_is_done() {
        let queue = WorkQueue::default();
        queue.add(host("a"));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let key = next(&queue).await;
        queue.add(ObjectRef::new(Kind::DockerCA, "away", "b"));
        let oldest = queue.oldest();
        assert!(oldest["home"] >= Duration::from_millis(20));
        assert!(oldest["away"] < oldest["home"]);
        queue.done(&key, None, || true);
        assert_eq!(queue.oldest().keys().map(|tenant| &**tenant).collect::<Vec<_>>(), ["away"]);
    }

    #[tokio::test]
    async fn a_key_is_in_progress_once_and_comes_again_after_a_change() {
        let queue = WorkQueue::default();
        queue.add(host("a"));
        queue.add(host("a"));
        let key = next(&queue).await;
        assert!(tokio::time::timeout(Duration::from_millis(50), next(&queue)).await.is_err());
        queue.add(host("a"));
        queue.done(&key, None, || true);
        assert_eq!(next(&queue).await, host("a"));
        queue.done(&key, None, || true);
        assert!(queue.is_idle());
    }

    #[tokio::test]
    async fn a_key_is_due_by_the_clock_at_the_instant_that_was_set_last() {
        let queue = WorkQueue::default();
        let instant = |second| Timestamp::from_second(second).unwrap();
        queue.done(&host("a"), Some(instant(10)), || true);
        queue.done(&host("a"), Some(instant(20)), || true);
        queue.enqueue_due(instant(15));
        assert!(queue.is_idle());
        queue.enqueue_due(instant(1_000_000_000));
        assert_eq!(next(&queue).await, host("a"));
    }

    #[tokio::test]
    async fn an_own_write_is_followed_by_nothing_and_a_change_by_another_reconcile() {
        let queue = WorkQueue::default();
        for is_own_write in [true, false] {
            queue.add(host("a"));
            let key = next(&queue).await;
            queue.add_unless_own_write(host("a"));
            queue.done(&key, None, || is_own_write);
            assert_eq!(queue.is_idle(), is_own_write);
        }
    }

    #[tokio::test]
    async fn a_key_that_is_held_back_waits_for_its_release() {
        let queue = WorkQueue::default();
        queue.add(host("a"));
        queue.hold(&host("a"));
        queue.add(host("a"));
        assert!(queue.is_idle());
        queue.release(host("a"));
        assert_eq!(next(&queue).await, host("a"));
    }

    #[tokio::test]
    async fn a_change_while_the_end_is_judged_is_not_an_own_write() {
        let queue = WorkQueue::default();
        queue.add(host("a"));
        let key = next(&queue).await;
        std::thread::scope(|threads| {
            queue.done(&key, None, || {
                threads.spawn(|| queue.add_unless_own_write(host("a")));
                std::thread::sleep(Duration::from_millis(50));
                true
            });
        });
        assert!(!queue.is_idle(), "what came after the answer is a change");
    }

    #[test]
    fn delays_grow_and_end_with_success() {
        let queue = WorkQueue::default();
        let delays: Vec<_> = (0..9).map(|_| queue.failed(&host("a"))).collect();
        assert_eq!(delays[0], Duration::from_millis(500));
        assert_eq!(delays[8], WORK_QUEUE_BACKOFF.longest());
        queue.done(&host("a"), None, || true);
        assert_eq!(queue.failed(&host("a")), delays[0]);
    }
}
