//! A semaphore whose permits are given in turns of the tenants, so that none waits behind another's line; and where it
//! is said so, no tenant holds so many that nobody else can begin.

use super::round_robin::RoundRobin;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// How many of the permits one tenant may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of them: what holds them is short, and the next turn is another's.
    All,
    /// As many as are free, and always one: a tenant alone takes half of them, two take a third each, and one is left
    /// for whoever comes next. For what may hang.
    Rest,
}

#[derive(Debug)]
pub struct FairSemaphore {
    state: Mutex<SemaphoreState>,
    freed: Notify,
}

#[derive(Debug)]
struct SemaphoreState {
    share: Share,
    free: usize,
    held: HashMap<Arc<str>, usize>,
    waiting: RoundRobin<oneshot::Sender<FairPermit>>,
}

/// One permit; dropped, it is free again.
#[derive(Debug)]
pub struct FairPermit {
    semaphore: Arc<FairSemaphore>,
    tenant: Arc<str>,
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        self.semaphore.release(&self.tenant);
    }
}

impl FairSemaphore {
    pub fn new(permits: usize, share: Share) -> Arc<FairSemaphore> {
        let (held, waiting) = Default::default();
        let state = Mutex::new(SemaphoreState { share, free: permits, held, waiting });
        Arc::new(FairSemaphore { state, freed: Notify::new() })
    }

    /// Waits for the tenant's turn.
    pub async fn acquire(self: &Arc<FairSemaphore>, tenant: &Arc<str>) -> FairPermit {
        let receiver = {
            let mut state = self.state.lock();
            if state.take(tenant) {
                return self.permit(tenant);
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push(tenant, sender);
            receiver
        };
        receiver.await.expect("who waits gets a permit, as long as there is the semaphore")
    }

    /// A permit, if the tenant may have one now.
    pub fn try_acquire(self: &Arc<FairSemaphore>, tenant: &Arc<str>) -> Option<FairPermit> {
        self.state.lock().take(tenant).then(|| self.permit(tenant))
    }

    /// Waits until a permit was given back; one waits at a time.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    fn permit(self: &Arc<FairSemaphore>, tenant: &Arc<str>) -> FairPermit {
        FairPermit { semaphore: Arc::clone(self), tenant: Arc::clone(tenant) }
    }

    fn release(self: &Arc<FairSemaphore>, tenant: &Arc<str>) {
        let mut granted = Vec::new();
        let mut state = self.state.lock();
        state.give_back(tenant);
        while let Some((sender, tenant)) = state.next() {
            granted.push((sender, self.permit(&tenant)));
        }
        drop(state);
        self.freed.notify_one();
        // Who waits no longer gives it back here, so the state must not be locked.
        granted.into_iter().for_each(|(sender, permit)| drop(sender.send(permit)));
    }
}

impl SemaphoreState {
    /// Takes a permit, unless others of the tenant wait for one.
    fn take(&mut self, tenant: &Arc<str>) -> bool {
        let admitted = !self.waiting.has(tenant) && admits(self.share, self.free, self.held(tenant));
        if admitted {
            self.hold(tenant);
        }
        admitted
    }

    fn next(&mut self) -> Option<(oneshot::Sender<FairPermit>, Arc<str>)> {
        let (share, free, held) = (self.share, self.free, &self.held);
        let admit = |tenant: &Arc<str>| {
            let held = held.get(tenant).copied().unwrap_or_default();
            admits(share, free, held).then(|| Arc::clone(tenant))
        };
        let (sender, tenant) = self.waiting.pop(admit)?;
        self.hold(&tenant);
        Some((sender, tenant))
    }

    fn held(&self, tenant: &Arc<str>) -> usize {
        self.held.get(tenant).copied().unwrap_or_default()
    }

    fn hold(&mut self, tenant: &Arc<str>) {
        self.free -= 1;
        *self.held.entry(Arc::clone(tenant)).or_default() += 1;
    }

    fn give_back(&mut self, tenant: &Arc<str>) {
        self.free += 1;
        let held = self.held.get_mut(tenant).expect("a permit is held until it is given back");
        *held -= 1;
        if *held == 0 {
            self.held.remove(tenant);
        }
    }
}

fn admits(share: Share, free: usize, held: usize) -> bool {
    match share {
        Share::All => free > 0,
        Share::Rest => held < free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tenant(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    fn all(semaphore: &Arc<FairSemaphore>, name: &str) -> Vec<FairPermit> {
        std::iter::from_fn(|| semaphore.try_acquire(&tenant(name))).collect()
    }

    #[test]
    fn a_tenant_takes_as_many_as_it_leaves_and_everybody_else_can_begin() {
        for permits in [1, 2, 3, 8, 64] {
            let semaphore = FairSemaphore::new(permits, Share::Rest);
            let first = all(&semaphore, "hostile");
            assert_eq!(first.len(), permits.div_ceil(2), "of {permits}");
            let begins = semaphore.try_acquire(&tenant("victim")).is_some();
            assert_eq!(begins, permits > 1, "of {permits}");
        }
    }

    #[test]
    fn many_tenants_leave_one_permit_as_long_as_there_is_one_for_each() {
        let semaphore = FairSemaphore::new(64, Share::Rest);
        let held: Vec<_> = (0..7).map(|number| all(&semaphore, &format!("hostile-{number}"))).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [32, 16, 8, 4, 2, 1, 1]);
        drop(held);
        assert_eq!(all(&semaphore, "victim").len(), 32, "all of them are free again");
    }

    #[test]
    fn without_shares_one_tenant_may_have_all() {
        let semaphore = FairSemaphore::new(3, Share::All);
        assert_eq!(all(&semaphore, "hostile").len(), 3);
    }

    #[tokio::test]
    async fn the_next_permit_is_that_of_the_tenant_whose_turn_it_is() {
        let semaphore = FairSemaphore::new(1, Share::All);
        let mut held = Some(semaphore.acquire(&tenant("hostile")).await);
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        for name in ["hostile", "hostile", "hostile", "victim", "other"] {
            let (semaphore, sender) = (Arc::clone(&semaphore), sender.clone());
            tokio::spawn(async move { sender.send((name, semaphore.acquire(&tenant(name)).await)) });
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut names = Vec::new();
        for _ in 0..5 {
            drop(held.take());
            let (name, permit) = order.recv().await.expect("somebody waits");
            names.push(name);
            held = Some(permit);
        }
        assert_eq!(names, ["hostile", "victim", "other", "hostile", "hostile"]);
    }

    #[tokio::test]
    async fn who_waits_no_longer_takes_nothing() {
        let semaphore = FairSemaphore::new(1, Share::All);
        let held = semaphore.acquire(&tenant("a")).await;
        let gone = tokio::time::timeout(Duration::from_millis(10), semaphore.acquire(&tenant("b"))).await;
        assert!(gone.is_err());
        drop(held);
        assert!(semaphore.try_acquire(&tenant("c")).is_some());
    }
}
