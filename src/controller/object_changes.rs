//! Changes of objects: a watch shows that one is there, changed or gone; the index is updated, and the keys of all that
//! the change affects are queued. Nothing is decided here.

use super::index::Affected;
use super::state::ControllerState;
use crate::api::{Kind, Object, ObjectRef};

impl ControllerState {
    /// An object is there, or changed.
    pub fn put(&self, object: Object) {
        self.tombstones.cancel(&object.at);
        let mut index = self.index.write();
        let before = index.find(&object.at).and_then(|before| before.account());
        let left = before.filter(|before| Some(before) != object.account().as_ref());
        let affected = index.put(object);
        drop(index);
        // The account that the host has now is queued once the host was reconciled.
        left.into_iter().for_each(|account| self.account_queue.add(account));
        match affected {
            Affected::None => {}
            Affected::Status(at) => self.queue.add_unless_own_write(at),
            Affected::Objects(affected) => affected.into_iter().for_each(|at| self.queue.add(at)),
        }
    }

    /// An object is gone.
    pub fn remove(&self, at: &ObjectRef) {
        let mut index = self.index.write();
        let object = index.find(at);
        let affected = index.remove(at);
        drop(index);
        if let Some(object) = object {
            self.deregister_removed(&object);
            object.account().into_iter().for_each(|account| self.account_queue.add(account));
        }
        if at.kind == Kind::DockerCA {
            self.ctx.authorities.forget(&at.beside(&at.name));
        }
        self.queue.forget(at);
        affected.into_iter().for_each(|at| self.queue.add(at));
    }
}
