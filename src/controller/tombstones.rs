//! Objects that are gone though something of them is still in Portainer: no finalizer kept them. Each stays here until
//! that is removed, or for as long as a finalizer would have waited.

use crate::api::{Kind, Object, ObjectRef};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The removed objects, each with the time of its removal as `deleted`.
#[derive(Default)]
pub struct Tombstones(Mutex<HashMap<ObjectRef, Arc<Object>>>);

impl Tombstones {
    pub fn find(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        self.0.lock().get(at).cloned()
    }

    pub fn put(&self, object: Object) {
        self.0.lock().insert(object.at.clone(), Arc::new(object));
    }

    /// The object is there again, or nothing of it is left.
    pub fn cancel(&self, at: &ObjectRef) {
        self.0.lock().remove(at);
    }

    pub fn of_kind(&self, kind: Kind, namespace: &str) -> Vec<Arc<Object>> {
        let removed = self.0.lock();
        let wanted = |object: &&Arc<Object>| object.at.kind == kind && *object.at.namespace == *namespace;
        removed.values().filter(wanted).cloned().collect()
    }
}
