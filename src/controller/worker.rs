//! The worker of a work queue: each key that is due comes in and is reconciled by a task of its own; a key whose
//! reconcile failed or panicked goes back into the queue after a delay that grows. It knows nothing of what a key names.

use super::workqueue::{QueueKey, WorkQueue};
use crate::adapters::StoreError;
use crate::adapters::fair::{FairSemaphore, Share};
use crate::decide::delays::MAX_RETRY_AFTER;
use crate::reconcile::Permit;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// So many failures in a row are only logged; further ones are reported to the user as well.
pub const UNREPORTED_FAILURES: u32 = 2;

/// What is done with the keys of one queue.
pub trait QueueReconciler: Send + Sync + 'static {
    type Key: QueueKey;

    /// How many keys are reconciled at the same time, those not counted that have given up their permit; those of one
    /// namespace take as many as they leave for others.
    const MAX_CONCURRENT: usize;
    /// The shortest delay after a reconcile that panicked.
    const PANIC_DELAY: Duration = Duration::ZERO;

    fn queue(&self) -> &WorkQueue<Self::Key>;

    /// Reconciles a key and marks it as done in the queue; on an error it does not, and the key comes again.
    fn reconcile(&self, key: &Self::Key, permit: Permit) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Works for ever. Dropped, it stops at once.
pub async fn run<R: QueueReconciler>(reconciler: R) {
    let reconciler = Arc::new(reconciler);
    let permits = FairSemaphore::new(R::MAX_CONCURRENT, Share::Rest);
    let mut running = JoinSet::new();
    loop {
        let (key, permit) = reconciler.queue().next(&permits).await;
        running.spawn(reconcile(Arc::clone(&reconciler), key, permit));
        while running.try_join_next().is_some() {}
    }
}

/// A panic is a bug that one key meets; the others must not wait for it.
async fn reconcile<R: QueueReconciler>(reconciler: Arc<R>, key: R::Key, permit: Permit) {
    match AssertUnwindSafe(reconciler.reconcile(&key, permit)).catch_unwind().await {
        Ok(Ok(())) => {}
        // The watch will show that the object is gone; if it is there again, it must not be forgotten.
        Ok(Err(StoreError::Gone(_))) => drop(retry(&reconciler, key, Duration::ZERO)),
        Ok(Err(error)) => {
            let retry_after = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
            let delay = retry(&reconciler, key.clone(), retry_after);
            if !retry_after.is_zero() {
                reconciler.queue().hold(&key);
            }
            tracing::warn!(object = %key, %error, retry_in = ?delay, "failed");
        }
        Err(_) => {
            tracing::error!(object = %key, "reconciling it panicked, which is a bug in Dockseal: please report it");
            retry(&reconciler, key, R::PANIC_DELAY);
        }
    }
}

/// Queues a key again after a delay that grows with each failure, and after `at_least`. By then this replica may no
/// longer lead.
fn retry<R: QueueReconciler>(reconciler: &Arc<R>, key: R::Key, at_least: Duration) -> Duration {
    let delay = reconciler.queue().failed(&key).max(at_least);
    let reconciler = Arc::downgrade(reconciler);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        if let Some(reconciler) = reconciler.upgrade() {
            reconciler.queue().release(key);
        }
    });
    delay
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, ObjectName, ObjectRef};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Its first reconcile panics, its second fails, its third succeeds.
    struct ThirdTime {
        queue: WorkQueue<String>,
        tries: Arc<AtomicUsize>,
    }

    impl QueueReconciler for ThirdTime {
        type Key = String;
        const MAX_CONCURRENT: usize = 1;

        fn queue(&self) -> &WorkQueue<String> {
            &self.queue
        }

        async fn reconcile(&self, key: &String, _permit: Permit) -> Result<(), StoreError> {
            match self.tries.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("a bug"),
                1 => Err(StoreError::Gone(ObjectRef::new(Kind::DockerCA, "home", ObjectName::joined(key)))),
                _ => {
                    self.queue.done(key, None, || true);
                    Ok(())
                }
            }
        }
    }

    #[tokio::test]
    async fn what_panics_or_fails_comes_again() {
        let tries = Arc::new(AtomicUsize::new(0));
        let reconciler = ThirdTime { queue: WorkQueue::default(), tries: Arc::clone(&tries) };
        reconciler.queue.add("home".into());
        let worker = tokio::spawn(run(reconciler));
        while tries.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        worker.abort();
    }
}
