//! Who is to be walked next: each object, or account, once at a time, woken by changes, by alarms on the clock, and
//! after failures.

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;
use tokio::sync::Notify;

const FIRST_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The queue.
pub struct WorkQueue<K> {
    state: Mutex<QueueState<K>>,
    news: Notify,
}

impl<K> Default for WorkQueue<K> {
    fn default() -> WorkQueue<K> {
        WorkQueue { state: Mutex::default(), news: Notify::new() }
    }
}

struct QueueState<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    walking: HashSet<K>,
    again: HashSet<K>,
    echoed: HashSet<K>,
    resting: HashSet<K>,
    alarms: BTreeSet<(Timestamp, K)>,
    alarm_of: HashMap<K, Timestamp>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Ord> WorkQueue<K> {
    /// Asks for a walk; one that is under way is followed by another.
    pub fn add(&self, at: K) {
        self.state.lock().add(at);
        self.news.notify_one();
    }

    /// News that may be the echo of the object's own walk: while one is under way, its end decides.
    pub fn add_unless_own_write(&self, at: K) {
        let mut state = self.state.lock();
        if state.walking.contains(&at) {
            state.echoed.insert(at);
            return;
        }
        state.add(at);
        drop(state);
        self.news.notify_one();
    }

    /// The next one to walk; it is under way until [`Queue::done`] or [`Queue::failed`].
    pub async fn next(&self) -> K {
        loop {
            let news = self.news.notified();
            if let Some(at) = self.state.lock().start() {
                return at;
            }
            news.await;
        }
    }

    /// A walk ended well; the next is at `wake`, if nothing changes. `settled` says whether what the watches have
    /// shown meanwhile is what the walk wrote: then it was an echo. It is asked while no hint can come in between,
    /// else one that came after the answer would be taken for an echo.
    pub fn done(&self, at: &K, requeue_at: Option<Timestamp>, settled: impl FnOnce() -> bool) {
        let mut state = self.state.lock();
        state.failures.remove(at);
        state.set_alarm(at, requeue_at);
        let settled = settled();
        if state.echoed.remove(at) && !settled {
            state.again.insert(at.clone());
        }
        state.finish(at);
        drop(state);
        self.news.notify_one();
    }

    /// A walk failed; it is tried again after the delay that this says, which grows with each failure.
    pub fn failed(&self, at: &K) -> Duration {
        let mut state = self.state.lock();
        let failures = state.failures.entry(at.clone()).or_default();
        let delay = FIRST_DELAY.saturating_mul(1 << (*failures).min(10)).min(MAX_DELAY);
        *failures += 1;
        state.echoed.remove(at);
        state.finish(at);
        drop(state);
        self.news.notify_one();
        delay
    }

    /// How often its walks have failed since one ended well.
    pub fn failures(&self, at: &K) -> u32 {
        self.state.lock().failures.get(at).copied().unwrap_or_default()
    }

    /// Lets an object rest whatever happens, since the server asked for it; [`Queue::rested`] ends that.
    pub fn rest(&self, at: &K) {
        let mut state = self.state.lock();
        state.ready.retain(|ready| ready != at);
        state.queued.remove(at);
        state.resting.insert(at.clone());
    }

    /// Ends an object's rest, and asks for its walk.
    pub fn rested(&self, at: K) {
        self.state.lock().resting.remove(&at);
        self.add(at);
    }

    /// Wakes those whose alarm is due at `now`.
    pub fn enqueue_due(&self, now: Timestamp) {
        let mut state = self.state.lock();
        while state.alarms.first().is_some_and(|(instant, _)| *instant <= now) {
            let (_, at) = state.alarms.pop_first().expect("there is a first");
            state.alarm_of.remove(&at);
            state.add(at);
        }
        drop(state);
        self.news.notify_one();
    }

    /// Forgets alarms and failures of an object that is gone.
    pub fn forget(&self, at: &K) {
        let mut state = self.state.lock();
        state.set_alarm(at, None);
        state.failures.remove(at);
    }

    /// Whether nobody waits and nobody walks.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.ready.is_empty() && state.walking.is_empty() && state.again.is_empty()
    }
}

impl<K> Default for QueueState<K> {
    fn default() -> QueueState<K> {
        let (ready, queued, walking, again, echoed, resting) = Default::default();
        let (alarms, alarm_of, failures) = (BTreeSet::new(), HashMap::new(), HashMap::new());
        QueueState { ready, queued, walking, again, echoed, resting, alarms, alarm_of, failures }
    }
}

impl<K: Clone + Eq + Hash + Ord> QueueState<K> {
    fn add(&mut self, at: K) {
        if self.walking.contains(&at) {
            self.again.insert(at);
        } else if self.resting.contains(&at) {
            // Its walk comes with the end of its rest.
        } else if self.queued.insert(at.clone()) {
            self.ready.push_back(at);
        }
    }

    fn start(&mut self) -> Option<K> {
        let at = self.ready.pop_front()?;
        self.queued.remove(&at);
        self.walking.insert(at.clone());
        Some(at)
    }

    fn finish(&mut self, at: &K) {
        self.walking.remove(at);
        if self.again.remove(at) {
            self.add(at.clone());
        }
    }

    fn set_alarm(&mut self, at: &K, requeue_at: Option<Timestamp>) {
        if let Some(old) = self.alarm_of.remove(at) {
            self.alarms.remove(&(old, at.clone()));
        }
        if let Some(requeue_at) = requeue_at {
            self.alarm_of.insert(at.clone(), requeue_at);
            self.alarms.insert((requeue_at, at.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, ObjectRef};

    fn host(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::DockerHostCert, "home", name)
    }

    #[tokio::test]
    async fn one_walk_at_a_time_and_another_after_news() {
        let queue = WorkQueue::default();
        queue.add(host("a"));
        queue.add(host("a"));
        let at = queue.next().await;
        assert!(tokio::time::timeout(Duration::from_millis(50), queue.next()).await.is_err());
        queue.add(host("a"));
        queue.done(&at, None, || true);
        assert_eq!(queue.next().await, host("a"));
        queue.done(&at, None, || true);
        assert!(queue.is_idle());
    }

    #[tokio::test]
    async fn alarms_ring_by_the_clock_and_the_last_one_set_counts() {
        let queue = WorkQueue::default();
        let instant = |second| Timestamp::from_second(second).unwrap();
        queue.done(&host("a"), Some(instant(10)), || true);
        queue.done(&host("a"), Some(instant(20)), || true);
        queue.enqueue_due(instant(15));
        assert!(queue.is_idle());
        queue.enqueue_due(instant(1_000_000_000));
        assert_eq!(queue.next().await, host("a"));
    }

    #[tokio::test]
    async fn an_echo_is_followed_by_nothing_and_news_by_another_walk() {
        let queue = WorkQueue::default();
        for settled in [true, false] {
            queue.add(host("a"));
            let at = queue.next().await;
            queue.add_unless_own_write(host("a"));
            queue.done(&at, None, || settled);
            assert_eq!(queue.is_idle(), settled);
        }
    }

    #[tokio::test]
    async fn a_server_that_asked_for_a_rest_gets_it() {
        let queue = WorkQueue::default();
        queue.add(host("a"));
        queue.rest(&host("a"));
        queue.add(host("a"));
        assert!(queue.is_idle());
        queue.rested(host("a"));
        assert_eq!(queue.next().await, host("a"));
    }

    #[tokio::test]
    async fn news_that_comes_as_the_end_is_judged_is_no_echo() {
        let queue = WorkQueue::default();
        queue.add(host("a"));
        let at = queue.next().await;
        std::thread::scope(|threads| {
            queue.done(&at, None, || {
                threads.spawn(|| queue.add_unless_own_write(host("a")));
                std::thread::sleep(Duration::from_millis(50));
                true
            });
        });
        assert!(!queue.is_idle(), "what came after the answer is news");
    }

    #[test]
    fn delays_grow_and_end_with_success() {
        let queue = WorkQueue::default();
        let delays: Vec<_> = (0..9).map(|_| queue.failed(&host("a"))).collect();
        assert_eq!(delays[0], FIRST_DELAY);
        assert_eq!(delays[8], MAX_DELAY);
        queue.done(&host("a"), None, || true);
        assert_eq!(queue.failed(&host("a")), FIRST_DELAY);
    }
}
