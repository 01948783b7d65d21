//! Leaf Secrets as facts: fed by a watch, and by our own writes, whose echo in the watch is no news.

use crate::adapters::store::{StoreError, StoredLeaf};
use crate::api::{NamespacedName, ObjectRef};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;

/// What is known of them.
#[derive(Default)]
pub struct LeafCache(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    known: HashMap<NamespacedName, StoredLeaf>,
    /// Those that are being written; true where the watch has told of one meanwhile.
    writing: HashMap<NamespacedName, bool>,
    /// The version that a walk wrote.
    written: HashMap<NamespacedName, String>,
}

impl Memory {
    fn told(&mut self, at: &NamespacedName) {
        self.writing.entry(at.clone()).and_modify(|told| *told = true);
    }

    fn forget(&mut self, at: &NamespacedName) -> Option<ObjectRef> {
        self.told(at);
        self.known.remove(at).and_then(|known| known.owner)
    }
}

impl LeafCache {
    fn open(&self) -> MutexGuard<'_, Memory> {
        self.0.lock()
    }

    /// One of them.
    pub fn get(&self, at: &NamespacedName) -> Option<StoredLeaf> {
        self.open().known.get(at).cloned()
    }

    /// Takes that version of a Secret from the watch; the owners that it has and had, where that is news.
    pub fn notice(&self, at: NamespacedName, version: &str, read: impl FnOnce() -> StoredLeaf) -> Vec<ObjectRef> {
        if self.open().known.get(&at).is_some_and(|known| known.version == version) {
            return Vec::new();
        }
        let leaf = read();
        let owner = leaf.owner.clone();
        let mut memory = self.open();
        memory.told(&at);
        let before = memory.known.insert(at, leaf).and_then(|known| known.owner);
        let before = before.filter(|before| Some(before) != owner.as_ref());
        owner.into_iter().chain(before).collect()
    }

    /// Takes the end of a Secret from the watch; the owner that it had.
    pub fn notice_gone(&self, at: &NamespacedName) -> Option<ObjectRef> {
        self.open().forget(at)
    }

    /// Forgets every Secret that is not among those; the owners that they had.
    pub fn keep_only(&self, there: impl Fn(&NamespacedName) -> bool) -> Vec<ObjectRef> {
        let mut memory = self.open();
        let gone: Vec<NamespacedName> = memory.known.keys().filter(|at| !there(at)).cloned().collect();
        gone.iter().filter_map(|at| memory.forget(at)).collect()
    }

    /// Whether a Secret is still as the walk that ends now wrote it; true as well where it wrote nothing and there is
    /// nothing.
    pub fn is_as_written(&self, at: &NamespacedName) -> bool {
        let mut memory = self.open();
        let written = memory.written.remove(at);
        memory.known.get(at).map(|known| &known.version) == written.as_ref()
    }

    /// Writes, and notes what was written, with the version that the write answers. Where the watch has told of the
    /// Secret meanwhile, it knows better: of this version, or of what somebody made of it before the answer came.
    ///
    /// # Errors
    /// Those of the write.
    pub async fn noting(
        &self,
        at: &NamespacedName,
        write: impl Future<Output = Result<Option<String>, StoreError>>,
        leaf: impl FnOnce(String) -> StoredLeaf,
    ) -> Result<(), StoreError> {
        self.open().writing.entry(at.clone()).or_default();
        let written = write.await;
        let mut memory = self.open();
        let untold = memory.writing.remove(at) == Some(false);
        let Some(version) = written? else { return Ok(()) };
        memory.written.insert(at.clone(), version.clone());
        if untold {
            memory.known.insert(at.clone(), leaf(version));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;
    use crate::pki::material::{Data, written_leaf};

    fn at() -> NamespacedName {
        NamespacedName { namespace: "home".into(), name: "pandora-docker-host".into() }
    }

    fn leaf(version: &str, owner: Option<&str>) -> StoredLeaf {
        let owner = owner.map(|name| ObjectRef::new(Kind::DockerHostCert, "home", name));
        StoredLeaf { owner, version: version.to_owned(), facts: written_leaf(&Data::default()) }
    }

    fn notice(leaves: &LeafCache, version: &str, owner: Option<&str>) -> Vec<String> {
        let owners = leaves.notice(at(), version, || leaf(version, owner));
        owners.into_iter().map(|owner| owner.name.to_string()).collect()
    }

    #[test]
    fn the_former_owner_hears_of_the_change() {
        let (leaves, none) = (LeafCache::default(), Vec::<String>::new());
        assert_eq!(notice(&leaves, "1", None), none);
        assert_eq!(notice(&leaves, "2", Some("pandora")), ["pandora"]);
        assert_eq!(notice(&leaves, "2", Some("pandora")), none);
        assert_eq!(notice(&leaves, "3", Some("pan")), ["pan", "pandora"]);
        assert_eq!(notice(&leaves, "4", None), ["pan"]);
    }

    #[tokio::test]
    async fn what_the_watch_told_during_a_write_is_newer_than_its_answer() {
        let leaves = LeafCache::default();
        let known = || leaves.get(&at()).map(|leaf| leaf.version);
        let answer = |version: &str| Ok(Some(version.to_owned()));
        let made = |version: String| leaf(&version, Some("pandora"));
        leaves.noting(&at(), async { answer("1") }, made).await.expect("it is written");
        assert_eq!(known().as_deref(), Some("1"));
        assert!(leaves.is_as_written(&at()));
        let touched_at_once = async {
            notice(&leaves, "2", Some("pandora"));
            notice(&leaves, "3", Some("pandora"));
            answer("2")
        };
        leaves.noting(&at(), touched_at_once, made).await.expect("it is written");
        assert_eq!(known().as_deref(), Some("3"), "replacing version 2 would fail for ever");
        assert!(!leaves.is_as_written(&at()), "the walk is followed by another");
        let gone_at_once = async {
            leaves.notice_gone(&at());
            answer("4")
        };
        leaves.noting(&at(), gone_at_once, made).await.expect("it is written");
        assert_eq!(known(), None, "what is gone would be thought to be there");
        let failed = async { Err(StoreError::Changed(at())) };
        leaves.noting(&at(), failed, made).await.expect_err("it fails");
        assert_eq!(known(), None);
        assert!(leaves.open().writing.is_empty());
    }
}
