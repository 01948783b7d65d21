//! A permit to work at the same time as others, given in turns of the namespaces. It is given up during slow work, so
//! that nobody waits for that.

use crate::adapters::fair::{FairPermit, FairSemaphore};
use parking_lot::Mutex;
use std::sync::Arc;

#[derive(Debug)]
pub struct Permit {
    permits: Option<(Arc<FairSemaphore>, Arc<str>)>,
    held: Mutex<Option<FairPermit>>,
}

impl Permit {
    /// Waits for one of `permits`.
    pub async fn take(permits: &Arc<FairSemaphore>, namespace: &Arc<str>) -> Permit {
        let held = permits.acquire(namespace).await;
        Permit { permits: Some((Arc::clone(permits), Arc::clone(namespace))), held: Mutex::new(Some(held)) }
    }

    /// One of `permits`, if there is one for that namespace now.
    pub fn try_take(permits: &Arc<FairSemaphore>, namespace: &Arc<str>) -> Option<Permit> {
        let held = permits.try_acquire(namespace)?;
        Some(Permit { permits: Some((Arc::clone(permits), Arc::clone(namespace))), held: Mutex::new(Some(held)) })
    }

    /// A permit where there is no limit.
    pub fn unlimited() -> Permit {
        Permit { permits: None, held: Mutex::new(None) }
    }

    /// Runs `work` without the permit, and waits for one after it.
    pub async fn without<T>(&self, work: impl Future<Output = T>) -> T {
        self.set(None);
        let done = work.await;
        if let Some((permits, namespace)) = &self.permits {
            self.set(Some(permits.acquire(namespace).await));
        }
        done
    }

    fn set(&self, permit: Option<FairPermit>) {
        *self.held.lock() = permit;
    }
}
