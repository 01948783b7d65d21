//! A permit to work at the same time as others. It is given up while a slow key is made, so that nobody waits for that.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub struct Permit {
    permits: Option<Arc<Semaphore>>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Permit {
    /// Waits for one of `permits`.
    pub async fn take(permits: &Arc<Semaphore>) -> Permit {
        let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
        Permit { permits: Some(Arc::clone(permits)), held: Mutex::new(Some(permit)) }
    }

    /// A permit where there is no limit.
    pub fn unlimited() -> Permit {
        Permit { permits: None, held: Mutex::new(None) }
    }

    /// Runs `work` without the permit, and waits for one after it.
    pub async fn without<T>(&self, work: impl Future<Output = T>) -> T {
        self.set(None);
        let done = work.await;
        if let Some(permits) = &self.permits {
            self.set(Arc::clone(permits).acquire_owned().await.ok());
        }
        done
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.held.lock() = permit;
    }
}
