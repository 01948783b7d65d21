//! A lock for each key: whoever needs the same one waits, others do not.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Locks by key. One that nobody holds or waits for is forgotten.
#[derive(Default)]
pub struct KeyedLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl KeyedLocks {
    /// The lock of a key.
    pub fn of(&self, key: String) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock();
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(key).or_default())
    }
}
