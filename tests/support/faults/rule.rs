//! What a test wants to go wrong, on which requests and how often; and the handle that tells whether it did.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use http::Method;
use tokio::sync::watch;

use super::{Entry, locked};

/// What happens to a request.
///
/// A Go client such as kubectl repeats a GET whose kept-alive connection was cut, and anything answered with
/// Retry-After, by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The connection is closed; the API server never hears of the request.
    Refuse,
    /// The API server does it, and the client's connection is closed instead of an answer.
    CutAfterSend,
    /// An answer with a proper Status body; the API server never hears of the request.
    Status { code: u16, retry_after: Option<u32> },
    /// A watch is answered 200 and one ERROR event with code 410. (`Status { code: 410, .. }` is the other way.)
    WatchGone,
    /// The request is held that long and then forwarded, even if the client has given up: a write that lands late.
    HoldRequest(Duration),
    /// The request is forwarded at once and its answer held that long.
    HoldAnswer(Duration),
    /// A watch is cut, without a proper end, after that many of its events.
    CutWatch { after_events: usize },
    /// The request waits, not yet forwarded, for `Injected::resume` or `Injected::cut`.
    PauseBefore,
    /// The API server has done it, and the answer waits for `Injected::resume` or `Injected::cut`.
    PauseAfter,
    /// Nothing goes wrong; it is counted when the API server has answered, so that a test
    /// can wait for it.
    Observe,
}

impl Action {
    fn is_for_watches(&self) -> bool {
        matches!(self, Action::WatchGone | Action::CutWatch { .. })
    }
}

type Predicate = Box<dyn Fn(&Entry) -> bool + Send + Sync>;

/// An action and the requests that it is for; unless narrowed down, the next request of any kind.
pub struct Fault {
    action: Action,
    fits: Vec<Predicate>,
    skip: usize,
    times: usize,
}

impl Fault {
    pub fn new(action: Action) -> Fault {
        Fault { action, fits: Vec::new(), skip: 0, times: 1 }
    }

    /// An answer with this status code.
    pub fn status(code: u16) -> Fault {
        Fault::new(Action::Status { code, retry_after: None })
    }

    /// 429 or 503 with Retry-After.
    pub fn retry_after(code: u16, seconds: u32) -> Fault {
        Fault::new(Action::Status { code, retry_after: Some(seconds) })
    }

    /// Only requests with this method.
    pub fn method(self, method: Method) -> Fault {
        self.when(move |entry| entry.method == method)
    }

    /// Only requests whose path contains this.
    pub fn path(self, part: impl Into<String>) -> Fault {
        let part = part.into();
        self.when(move |entry| entry.path.contains(&part))
    }

    /// Only writes; leases do not count as such.
    pub fn writes(self) -> Fault {
        self.when(Entry::is_write)
    }

    /// Only watches.
    pub fn watches(self) -> Fault {
        self.when(Entry::is_watch)
    }

    /// Only requests for which this holds, too.
    pub fn when(mut self, fits: impl Fn(&Entry) -> bool + Send + Sync + 'static) -> Fault {
        self.fits.push(Box::new(fits));
        self
    }

    /// The first `n` fitting requests go through: `skip(2)` hits the third.
    pub fn skip(mut self, n: usize) -> Fault {
        self.skip = n;
        self
    }

    /// The next `n` requests instead of one.
    pub fn times(mut self, n: usize) -> Fault {
        self.times = n;
        self
    }

    /// Until the proxy is healed.
    pub fn always(self) -> Fault {
        self.times(usize::MAX)
    }

    fn fits(&self, entry: &Entry) -> bool {
        (!self.action.is_for_watches() || entry.is_watch()) && self.fits.iter().all(|fits| fits(entry))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (skip {}, times {})", self.action, self.skip, self.times)
    }
}

/// What a paused request is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Wait,
    Resume,
    ConnectionCut,
}

/// A fault at work.
pub struct Rule {
    fault: Fault,
    counts: Mutex<Counts>,
    fired: watch::Sender<Vec<Entry>>,
    verdict: watch::Sender<Verdict>,
}

#[derive(Default)]
struct Counts {
    seen: usize,
    taken: usize,
}

impl Rule {
    pub fn action(&self) -> &Action {
        &self.fault.action
    }

    /// The rule that this request meets. Every rule counts every request that fits; the first one that is due takes it.
    pub fn taking(rules: &[Arc<Rule>], entry: &Entry) -> Option<Arc<Rule>> {
        let mut taker = None;
        for rule in rules.iter().filter(|rule| rule.fault.fits(entry)) {
            let mut counts = locked(&rule.counts);
            counts.seen += 1;
            if taker.is_none() && counts.seen > rule.fault.skip && counts.taken < rule.fault.times {
                counts.taken += 1;
                taker = Some(Arc::clone(rule));
            }
        }
        taker
    }

    /// The fault has happened now.
    pub fn fire(&self, entry: Entry) {
        self.fired.send_modify(|fired| fired.push(entry));
    }

    /// Waits for the test's word on a paused request: does it go on?
    pub async fn go_ahead(&self) -> bool {
        let mut verdict = self.verdict.subscribe();
        verdict.wait_for(|verdict| *verdict != Verdict::Wait).await.is_ok_and(|verdict| *verdict == Verdict::Resume)
    }
}

/// The test's handle on a fault. Dropping it leaves the fault in force, but cuts what is paused: nobody could resume it.
pub struct Injected {
    rule: Arc<Rule>,
}

impl Injected {
    pub(super) fn new(fault: Fault) -> Injected {
        let (fired, verdict) = (watch::Sender::new(Vec::new()), watch::Sender::new(Verdict::Wait));
        Injected { rule: Arc::new(Rule { fault, counts: Mutex::default(), fired, verdict }) }
    }

    pub(super) fn rule(&self) -> Arc<Rule> {
        Arc::clone(&self.rule)
    }

    /// How often it has happened.
    pub fn fired(&self) -> usize {
        self.rule.fired.borrow().len()
    }

    /// The requests that it happened to, as known at that moment.
    pub fn entries(&self) -> Vec<Entry> {
        self.rule.fired.borrow().clone()
    }

    /// Waits until it has happened `times` times and gives the last request. For `PauseAfter`, `CutAfterSend` and
    /// `HoldAnswer` it has happened when the API server's answer is there, for `CutWatch` with the cut.
    pub async fn reached(&self, times: usize, within: Duration) -> Result<Entry> {
        let mut fired = self.rule.fired.subscribe();
        let enough = tokio::time::timeout(within, fired.wait_for(|entries| entries.len() >= times)).await;
        if let Ok(Ok(entries)) = &enough
            && let Some(last) = entries.last()
        {
            return Ok(last.clone());
        }
        drop(enough);
        bail!("{:?}: {} of {times} within {within:?}", self.rule.fault, self.fired())
    }

    /// Paused requests, and those that this fault would still pause, go on.
    pub fn resume(&self) {
        self.rule.verdict.send_replace(Verdict::Resume);
    }

    /// Paused requests, and those that this fault would still pause, are dropped with their connections; what was
    /// not yet forwarded never will be.
    pub fn cut(&self) {
        self.rule.verdict.send_replace(Verdict::ConnectionCut);
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        self.rule.verdict.send_if_modified(|verdict| {
            let waits = *verdict == Verdict::Wait;
            if waits {
                *verdict = Verdict::ConnectionCut;
            }
            waits
        });
    }
}
