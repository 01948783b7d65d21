//! The store: Secrets, ConfigMaps and objects in maps, every write counted, and one of them cut off where a test asks.

use dockseal::adapters::account_store::AccountStore;
use dockseal::adapters::store::{NewItem, StoredItem, StoredKind, StoredLeaf};
use dockseal::adapters::{Store, StoreError};
use dockseal::api::account::{AccountResource, ObservedResource, ResourceKey};
use dockseal::api::assignment::AssignedHost;
use dockseal::api::status::{CompanionStatus, ControllerStatus};
use dockseal::api::{AUTHORITY_ANNOTATION, AuthorityIdentity, FINALIZER, IDENTITY_ANNOTATION, Kind, NamespacedName};
use dockseal::api::{Object, ObjectEvent, ObjectRef};
use dockseal::decide::delivery::rolling_restart::waits_since;
use dockseal::pki::Certificate;
use dockseal::pki::material::Data;
use dockseal::reconcile::accounts::HostLookup;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Where a write is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing was written.
    Before,
    /// It was written, and nobody said so.
    After,
}

/// What the store holds, and a log of its calls.
#[derive(Default)]
pub struct Tables {
    /// Secrets and ConfigMaps.
    pub things: BTreeMap<(StoredKind, NamespacedName), StoredItem>,
    /// What companions' accounts are made of.
    pub parts: BTreeMap<ResourceKey, ObservedResource>,
    /// Objects as they were last written.
    pub objects: BTreeMap<ObjectRef, Object>,
    /// Every write: verb and place.
    pub log: Vec<String>,
    /// Every event: object and reason.
    pub events: Vec<(ObjectRef, &'static str)>,
    /// Every certificate that was ever stored, by serial.
    pub issued: BTreeMap<String, (NamespacedName, Certificate)>,
    /// The write that is cut off, counted from nought, and how.
    pub fault: Option<(usize, Interruption)>,
    /// A namespace in which nothing of accounts can be written, as one that is going.
    pub going: Option<String>,
    /// Leaves are shown as they were one look ago.
    pub lagging: bool,
    seen: BTreeMap<NamespacedName, Option<StoredLeaf>>,
    versions: u64,
}

/// A handle to the store.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

impl MemoryStore {
    /// The store itself, for tests to look and to meddle.
    pub fn open(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// Writes as another client does: without an entry in the log.
    pub fn meddle(&self, shelf: StoredKind, at: &NamespacedName, change: impl FnOnce(&mut StoredItem)) {
        let mut tables = self.open();
        tables.versions += 1;
        let version = tables.versions.to_string();
        if let Some(stored) = tables.things.get_mut(&(shelf, at.clone())) {
            change(stored);
            stored.version = version;
        }
    }

    /// Puts one of an account's objects there, or takes it away, past the log.
    pub fn meddle_part(
        &self,
        key: &ResourceKey,
        change: impl FnOnce(Option<ObservedResource>) -> Option<ObservedResource>,
    ) {
        let mut tables = self.open();
        tables.versions += 1;
        let version = tables.versions.to_string();
        let before = tables.parts.remove(key);
        let after = change(before).map(|part| (key.clone(), ObservedResource { version, ..part }));
        tables.parts.extend(after);
    }

    fn hosts(&self, fits: impl Fn(&Object) -> bool) -> Vec<Arc<Object>> {
        let tables = self.open();
        let hosts = tables.objects.values().filter(|object| object.at.kind == Kind::DockerHostCert);
        hosts.filter(|host| fits(host)).cloned().map(Arc::new).collect()
    }

    /// Puts something there, past the log.
    pub fn put(&self, shelf: StoredKind, at: &NamespacedName, owner: Option<ObjectRef>, data: Data) {
        let mut tables = self.open();
        tables.versions += 1;
        let version = tables.versions.to_string();
        let stored = StoredItem { labelled: owner.is_some(), owner, authority: None, identity: None, version, data };
        tables.things.insert((shelf, at.clone()), stored);
    }
}

fn failed(verb: &'static str, object: String) -> StoreError {
    StoreError::Failed { verb, object, source: "cut off by the test".into(), retry_after: None }
}

impl Tables {
    fn write<T>(
        &mut self,
        verb: &'static str,
        on: String,
        change: impl FnOnce(&mut Tables) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let cut = self.fault.filter(|(nth, _)| *nth == self.log.len()).map(|(_, cut)| cut);
        if matches!(verb, "make" | "amend")
            && self.going.as_ref().is_some_and(|going| on.contains(&format!(" {going}/")))
        {
            return Err(failed(verb, on));
        }
        self.log.push(format!("{verb} {on}"));
        if cut == Some(Interruption::Before) {
            return Err(failed(verb, on));
        }
        let done = change(self)?;
        if cut == Some(Interruption::After) { Err(failed(verb, on)) } else { Ok(done) }
    }

    fn part(&mut self, part: &AccountResource) -> String {
        self.versions += 1;
        let (version, owner, body) = (self.versions.to_string(), Some(part.owner.clone()), part.body.clone());
        self.parts.insert(part.key.clone(), ObservedResource { version: version.clone(), owner, labelled: true, body });
        version
    }

    fn store(&mut self, item: &NewItem) {
        self.versions += 1;
        if let Some(certificate) = item.data.get("tls.crt").and_then(|pem| Certificate::from_pem(pem).ok()) {
            let known = self.issued.insert(certificate.serial.clone(), (item.at.clone(), certificate.clone()));
            assert!(known.is_none_or(|known| known.1 == certificate), "two certificates have one serial");
        }
        let (owner, authority) = (Some(item.owner.clone()), item.authority.clone());
        let stored = StoredItem {
            owner,
            authority,
            identity: item.identity,
            version: self.versions.to_string(),
            labelled: true,
            data: item.data.clone(),
        };
        self.things.insert((item.shelf, item.at.clone()), stored);
    }

    fn object(&mut self, object: &Object) -> Result<&mut Object, StoreError> {
        self.objects.get_mut(&object.at).ok_or_else(|| StoreError::Gone(object.at.clone()))
    }
}

impl Store for MemoryStore {
    async fn read(&self, shelf: StoredKind, at: &NamespacedName) -> Result<Option<StoredItem>, StoreError> {
        Ok(self.open().things.get(&(shelf, at.clone())).cloned())
    }

    /// As a watch shows them: labelled ones alone, and perhaps late.
    async fn leaf(&self, at: &NamespacedName) -> Result<Option<StoredLeaf>, StoreError> {
        let mut tables = self.open();
        let there = tables.things.get(&(StoredKind::Secrets, at.clone())).filter(|stored| stored.labelled);
        let fresh = there.map(StoredLeaf::from);
        let before = tables.seen.insert(at.clone(), fresh.clone());
        Ok(if tables.lagging { before.unwrap_or_default() } else { fresh })
    }

    async fn create(&self, item: &NewItem) -> Result<(), StoreError> {
        self.open().write("create", item.at.to_string(), |tables| {
            if tables.things.contains_key(&(item.shelf, item.at.clone())) {
                return Err(StoreError::Exists(item.at.clone()));
            }
            tables.store(item);
            Ok(())
        })
    }

    async fn replace(&self, item: &NewItem, version: &str) -> Result<(), StoreError> {
        self.open().write("replace", item.at.to_string(), |tables| {
            match tables.things.get(&(item.shelf, item.at.clone())) {
                Some(stored) if stored.version == version => {
                    assert_eq!(stored.owner.as_ref(), Some(&item.owner), "somebody else's {} is overwritten", item.at);
                    tables.store(item);
                    Ok(())
                }
                _ => Err(StoreError::Changed(item.at.clone())),
            }
        })
    }

    async fn delete(&self, shelf: StoredKind, at: &NamespacedName, version: &str) -> Result<(), StoreError> {
        self.open().write("delete", at.to_string(), |tables| match tables.things.get(&(shelf, at.clone())) {
            Some(stored) if stored.version == version => {
                tables.things.remove(&(shelf, at.clone())).map_or(Ok(()), |_| Ok(()))
            }
            _ => Err(StoreError::Changed(at.clone())),
        })
    }

    async fn remember(
        &self,
        object: &Object,
        fingerprint: &str,
        identity: Option<AuthorityIdentity>,
    ) -> Result<(), StoreError> {
        self.open().write("remember", object.at.to_string(), |tables| {
            let annotations = &mut tables.object(object)?.annotations;
            annotations.insert(AUTHORITY_ANNOTATION.to_owned(), fingerprint.to_owned());
            annotations.extend(identity.map(|identity| (IDENTITY_ANNOTATION.to_owned(), identity.to_string())));
            Ok(())
        })
    }

    async fn set_finalizer(&self, object: &Object, held: bool) -> Result<(), StoreError> {
        self.open().write("finalizer", object.at.to_string(), |tables| {
            let finalizers = &mut tables.object(object)?.finalizers;
            finalizers.retain(|finalizer| finalizer != FINALIZER);
            finalizers.extend(held.then(|| FINALIZER.to_owned()));
            tables.objects.retain(|_, object| object.deleted.is_none() || !object.finalizers.is_empty());
            Ok(())
        })
    }

    async fn publish(&self, object: &Object, status: &ControllerStatus) -> Result<(), StoreError> {
        self.open().write("publish", object.at.to_string(), |tables| {
            tables.object(object)?.previous = status.clone();
            Ok(())
        })
    }

    async fn prune(&self, object: &Object, kept: &CompanionStatus) -> Result<(), StoreError> {
        self.open().write("prune", object.at.to_string(), |tables| {
            tables.object(object)?.companion = kept.clone();
            Ok(())
        })
    }

    async fn announce(&self, object: &Object, what: &ObjectEvent) {
        self.open().events.push((object.at.clone(), what.reason.as_str()));
    }
}

impl AccountStore for MemoryStore {
    async fn read_resource(&self, key: &ResourceKey) -> Result<Option<ObservedResource>, StoreError> {
        Ok(self.open().parts.get(key).cloned())
    }

    async fn create_resource(&self, part: &AccountResource) -> Result<String, StoreError> {
        self.open().write("make", part.key.to_string(), |tables| {
            if tables.parts.contains_key(&part.key) {
                return Err(StoreError::Exists(part.key.at.clone()));
            }
            Ok(tables.part(part))
        })
    }

    async fn replace_resource(&self, part: &AccountResource, version: &str) -> Result<String, StoreError> {
        self.open().write("amend", part.key.to_string(), |tables| match tables.parts.get(&part.key) {
            Some(there) if there.version == version => {
                assert_eq!(there.owner.as_ref(), Some(&part.owner), "somebody else's {} is overwritten", part.key);
                Ok(tables.part(part))
            }
            _ => Err(StoreError::Changed(part.key.at.clone())),
        })
    }

    async fn delete_resource(&self, key: &ResourceKey, version: &str) -> Result<(), StoreError> {
        self.open().write("discard", key.to_string(), |tables| match tables.parts.get(key) {
            Some(there) if there.version == version => tables.parts.remove(key).map_or(Ok(()), |_| Ok(())),
            _ => Err(StoreError::Changed(key.at.clone())),
        })
    }

    async fn announce_left(&self, host: &AssignedHost, what: &ObjectEvent) {
        self.open().events.push((host.object(), what.reason.as_str()));
    }
}

impl HostLookup for MemoryStore {
    fn host(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        self.open().objects.get(at).cloned().map(Arc::new)
    }

    fn hosts_of(&self, account: &str) -> Vec<Arc<Object>> {
        self.hosts(|host| host.account().as_deref() == Some(account))
    }

    fn waiting(&self) -> Vec<Arc<Object>> {
        self.hosts(|host| waits_since(host).is_some())
    }
}
