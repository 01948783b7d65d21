//! A cache of leaves' Secrets as facts, without keys: filled by a watch and by our own writes, so that the watch shows no
//! change when it shows what we wrote.

use crate::adapters::store::{StoreError, StoredLeaf};
use crate::api::{NamespacedName, ObjectRef};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;

#[derive(Default)]
pub struct LeafCache(Mutex<CachedLeaves>);

#[derive(Default)]
struct CachedLeaves {
    known: HashMap<NamespacedName, StoredLeaf>,
    /// The Secrets that are being written; true where the watch has shown one meanwhile.
    writing: HashMap<NamespacedName, bool>,
    /// The versions that the reconciles in progress wrote.
    written: HashMap<NamespacedName, String>,
}

impl CachedLeaves {
    fn shown(&mut self, at: &NamespacedName) {
        self.writing.entry(at.clone()).and_modify(|shown| *shown = true);
    }

    fn forget(&mut self, at: &NamespacedName) -> Option<ObjectRef> {
        self.shown(at);
        self.known.remove(at).and_then(|known| known.owner)
    }
}

impl LeafCache {
    fn open(&self) -> MutexGuard<'_, CachedLeaves> {
        self.0.lock()
    }

    pub fn get(&self, at: &NamespacedName) -> Option<StoredLeaf> {
        self.open().known.get(at).cloned()
    }

    /// The watch shows a version of a Secret; returns the owners that it has and had, if that changes anything.
    pub fn notice(&self, at: NamespacedName, version: &str, read: impl FnOnce() -> StoredLeaf) -> Vec<ObjectRef> {
        if self.open().known.get(&at).is_some_and(|known| known.version == version) {
            return Vec::new();
        }
        let leaf = read();
        let owner = leaf.owner.clone();
        let mut cache = self.open();
        cache.shown(&at);
        let before = cache.known.insert(at, leaf).and_then(|known| known.owner);
        let before = before.filter(|before| Some(before) != owner.as_ref());
        owner.into_iter().chain(before).collect()
    }

    /// The watch shows that a Secret is gone; returns the owner that it had.
    pub fn notice_gone(&self, at: &NamespacedName) -> Option<ObjectRef> {
        self.open().forget(at)
    }

    /// Forgets the Secrets that are not `there`; returns the owners that they had.
    pub fn keep_only(&self, there: impl Fn(&NamespacedName) -> bool) -> Vec<ObjectRef> {
        let mut cache = self.open();
        let gone: Vec<NamespacedName> = cache.known.keys().filter(|at| !there(at)).cloned().collect();
        gone.iter().filter_map(|at| cache.forget(at)).collect()
    }

    /// Whether a Secret is still as the reconcile that ends now wrote it; true as well where it wrote none and there is
    /// none.
    pub fn is_as_written(&self, at: &NamespacedName) -> bool {
        let mut cache = self.open();
        let written = cache.written.remove(at);
        cache.known.get(at).map(|known| &known.version) == written.as_ref()
    }

    /// Writes, and caches what was written with the version in the answer. Where the watch has shown the Secret meanwhile,
    /// what it showed is kept: this version, or a later one.
    ///
    /// # Errors
    /// Those of the write.
    pub async fn write(
        &self,
        at: &NamespacedName,
        write: impl Future<Output = Result<Option<String>, StoreError>>,
        leaf: impl FnOnce(String) -> StoredLeaf,
    ) -> Result<(), StoreError> {
        self.open().writing.entry(at.clone()).or_default();
        let written = write.await;
        let mut cache = self.open();
        let unseen = cache.writing.remove(at) == Some(false);
        let Some(version) = written? else { return Ok(()) };
        cache.written.insert(at.clone(), version.clone());
        if unseen {
            cache.known.insert(at.clone(), leaf(version));
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

    fn leaf(version: &str, owner: Option<&'static str>) -> StoredLeaf {
        let owner = owner.map(|name| ObjectRef::new(Kind::DockerHostCert, "home", name));
        StoredLeaf { owner, version: version.to_owned(), facts: written_leaf(&Data::default()) }
    }

    fn notice(leaves: &LeafCache, version: &str, owner: Option<&'static str>) -> Vec<String> {
        let owners = leaves.notice(at(), version, || leaf(version, owner));
        owners.into_iter().map(|owner| owner.name.to_string()).collect()
    }

    #[test]
    fn the_former_owner_is_returned_too() {
        let (leaves, none) = (LeafCache::default(), Vec::<String>::new());
        assert_eq!(notice(&leaves, "1", None), none);
        assert_eq!(notice(&leaves, "2", Some("pandora")), ["pandora"]);
        assert_eq!(notice(&leaves, "2", Some("pandora")), none);
        assert_eq!(notice(&leaves, "3", Some("pan")), ["pan", "pandora"]);
        assert_eq!(notice(&leaves, "4", None), ["pan"]);
    }

    #[tokio::test]
    async fn what_the_watch_showed_during_a_write_is_newer_than_its_answer() {
        let leaves = LeafCache::default();
        let known = || leaves.get(&at()).map(|leaf| leaf.version);
        let answer = |version: &str| Ok(Some(version.to_owned()));
        let made = |version: String| leaf(&version, Some("pandora"));
        leaves.write(&at(), async { answer("1") }, made).await.expect("it is written");
        assert_eq!(known().as_deref(), Some("1"));
        assert!(leaves.is_as_written(&at()));
        let touched_at_once = async {
            notice(&leaves, "2", Some("pandora"));
            notice(&leaves, "3", Some("pandora"));
            answer("2")
        };
        leaves.write(&at(), touched_at_once, made).await.expect("it is written");
        assert_eq!(known().as_deref(), Some("3"), "replacing version 2 would fail for ever");
        assert!(!leaves.is_as_written(&at()), "the object is reconciled again");
        let gone_at_once = async {
            leaves.notice_gone(&at());
            answer("4")
        };
        leaves.write(&at(), gone_at_once, made).await.expect("it is written");
        assert_eq!(known(), None, "what is gone would be thought to be there");
        let failed = async { Err(StoreError::Changed(at())) };
        leaves.write(&at(), failed, made).await.expect_err("it fails");
        assert_eq!(known(), None);
        assert!(leaves.open().writing.is_empty());
    }
}
