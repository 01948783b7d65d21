//! Work that takes a core for a moment or longer: opening and sealing keys by a passphrase, making RSA keys. A few at a
//! time, on threads of their own, in turns of the namespaces.

use super::fair::{FairSemaphore, Share};
use std::sync::Arc;

#[derive(Debug)]
pub struct SlowWork {
    turns: Arc<FairSemaphore>,
}

impl SlowWork {
    /// Leaves one core to everything else.
    pub fn new() -> SlowWork {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        SlowWork { turns: FairSemaphore::new(cores.saturating_sub(1).max(1), Share::All) }
    }

    /// Waits for a turn of the namespace, and works.
    pub async fn run<T: Send + 'static>(&self, namespace: &Arc<str>, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = self.turns.acquire(namespace).await;
        let work = move || {
            let done = work();
            drop(turn); // the turn ends with the work, even if nobody waits for it any longer
            done
        };
        tokio::task::spawn_blocking(work).await.expect("reading and making keys does not panic")
    }
}

impl Default for SlowWork {
    fn default() -> SlowWork {
        SlowWork::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::time::Duration;

    #[tokio::test]
    async fn a_namespace_that_asks_for_much_waits_for_itself_alone() {
        let slow = Arc::new(SlowWork { turns: FairSemaphore::new(1, Share::All) });
        let (order, mut tasks) = (Arc::new(Mutex::new(Vec::new())), tokio::task::JoinSet::new());
        for name in ["hostile"; 20].into_iter().chain(["victim"]) {
            let (slow, order) = (Arc::clone(&slow), Arc::clone(&order));
            tasks.spawn(async move {
                let work = move || {
                    std::thread::sleep(Duration::from_millis(5));
                    order.lock().push(name);
                };
                slow.run(&Arc::from(name), work).await;
            });
        }
        tasks.join_all().await;
        let order = order.lock().clone();
        let turn = order.iter().position(|name| *name == "victim").expect("it worked");
        assert!(turn <= 2, "the victim's turn came after {turn} others: {order:?}");
    }
}
