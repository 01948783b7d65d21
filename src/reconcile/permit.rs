//! A place among those that work at the same time, given up while a slow key is made.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A place in the queue's working set.
#[derive(Debug)]
pub struct Permit {
    places: Option<Arc<Semaphore>>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Permit {
    /// Waits for a place among `places`.
    pub async fn take(places: &Arc<Semaphore>) -> Permit {
        let permit = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        Permit { places: Some(Arc::clone(places)), held: Mutex::new(Some(permit)) }
    }

    /// A place where nobody waits for one.
    pub fn unlimited() -> Permit {
        Permit { places: None, held: Mutex::new(None) }
    }

    /// Runs `work` without the place, and takes one again after it.
    pub async fn aside<T>(&self, work: impl Future<Output = T>) -> T {
        self.set(None);
        let done = work.await;
        if let Some(places) = &self.places {
            self.set(Arc::clone(places).acquire_owned().await.ok());
        }
        done
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.held.lock() = permit;
    }
}
