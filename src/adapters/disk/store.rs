//! The store without a cluster: Secrets, bundles and statuses as files of one directory. A Secret is a directory that is
//! replaced as a whole.

use super::atomic_files::{self, NewFile};
use super::file_error::FileError;
use super::state_directory::{DirectoryError, StateDirectory};
use crate::adapters::random;
use crate::adapters::store::{NewItem, Store, StoreError, StoredItem, StoredKind};
use crate::api::marker::{STATE_PREFIX, TakeFrom};
use crate::api::status::{CompanionStatus, ControllerStatus, HostCertStatus};
use crate::api::{AuthorityIdentity, Kind, NamespacedName, Object, ObjectEvent, ObjectName, ObjectRef};
use crate::pki::material::{self, Data};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File beside the data that names its owner.
const NOTE: &str = ".dockseal.json";
/// The objects of the user's files, as they were last read.
const OBJECTS: &str = "objects.json";
/// The directory's id.
const WRITER: &str = "writer";
/// Locks for the statuses: one for each would be kept for ever, and with one for all, syncs would wait for each other.
const STRIPES: usize = 64;

/// Where lines for the user go, one at a time.
pub type EventSink = Arc<dyn Fn(&str) + Send + Sync>;

/// A store over a directory that no other process writes.
///
/// It watches nothing and retries nothing. Secrets that the user wrote into YAML are returned first, without an owner.
#[derive(Clone)]
pub struct DiskStore {
    directory: Arc<StateDirectory>,
    inputs: Arc<RwLock<HashMap<NamespacedName, Data>>>,
    statuses: Arc<[Mutex<()>; STRIPES]>,
    events: EventSink,
}

/// The owner of a Secret or ConfigMap.
#[derive(Debug, Serialize, Deserialize)]
struct OwnerNote {
    owner: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

impl DiskStore {
    /// Opens the state directory and locks it; events of objects go to `events`.
    ///
    /// # Errors
    /// [`DirectoryError`] where it cannot be used; it is as it was then.
    pub fn open(path: &Path, events: EventSink) -> Result<DiskStore, DirectoryError> {
        let directory = Arc::new(StateDirectory::open(path)?);
        if let Some(mode) = directory.restricted_from {
            let path = path.display();
            events(&format!(
                "{path} could be read or changed by others (mode {mode:04o}): now by its owner alone (0700)"
            ));
        }
        Ok(DiskStore {
            directory,
            inputs: Arc::default(),
            statuses: Arc::new([const { Mutex::new(()) }; STRIPES]),
            events,
        })
    }

    /// Takes the Secrets that the user wrote in place of those before.
    pub fn set_inputs(&self, inputs: HashMap<NamespacedName, Data>) {
        *self.inputs.write() = inputs;
    }

    /// Makes the directory of the Secrets, so that it can be watched, and says where it is.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be made.
    pub fn secrets(&self) -> Result<PathBuf, FileError> {
        let path = self.root().join(kind_directory(StoredKind::Secrets));
        atomic_files::make_directory(self.root(), &path)?;
        Ok(path)
    }

    /// Keeps the objects of the user's files, for commands that read the directory: statuses alone do not hold them.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be written.
    pub fn note_objects<'a>(&self, objects: impl Iterator<Item = &'a Object>) -> Result<(), FileError> {
        let manifests: Vec<_> = objects.map(Object::manifest).collect();
        let text = serde_json::to_vec(&manifests).expect("manifests are JSON");
        atomic_files::replace_file(&self.root().join(OBJECTS), &text)
    }

    /// The status that was last published, and what a companion reported; empty where none can be read.
    pub fn status(&self, at: &ObjectRef) -> (ControllerStatus, CompanionStatus) {
        read_status(self.root(), at)
    }

    /// Fingerprint of the authority that was made for a DockerCA.
    ///
    /// # Errors
    /// [`FileError`] where it is noted and cannot be read.
    pub fn remembered(&self, at: &ObjectRef) -> Result<Option<String>, FileError> {
        let bytes = atomic_files::read(&self.fingerprint_file(at))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Identity of the authority of a DockerCA, as it is noted.
    ///
    /// # Errors
    /// [`FileError`] where it is noted and cannot be read.
    pub fn identity(&self, at: &ObjectRef) -> Result<Option<String>, FileError> {
        let bytes = atomic_files::read(&self.identity_file(at))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// The directory's id, by which hosts know who delivered; made where there is none.
    ///
    /// # Errors
    /// [`FileError`] where it is noted and cannot be read, or not written.
    pub fn writer(&self) -> Result<String, FileError> {
        if let Some(known) = read_writer(self.root())? {
            return Ok(known);
        }
        let made = random::state_id();
        atomic_files::replace_file(&self.root().join(WRITER), format!("{made}\n").as_bytes())?;
        Ok(made)
    }

    /// The owner of the Secret of that name.
    pub fn owner(&self, at: &NamespacedName) -> Option<ObjectRef> {
        let bytes = atomic_files::read(&self.item_directory(StoredKind::Secrets, at).join(NOTE)).ok().flatten()?;
        read_note(&bytes).and_then(|note| ObjectRef::parse(&note.owner))
    }

    /// Keeps what a companion reports, beside what was published.
    ///
    /// # Errors
    /// [`StoreError`] where the file cannot be written.
    pub fn report(&self, at: &ObjectRef, companion: &CompanionStatus) -> Result<(), StoreError> {
        self.change_status(at, |(published, _)| (published, companion.clone()))
    }

    /// Changes one part of a host's status under its lock.
    fn change_status(
        &self,
        at: &ObjectRef,
        change: impl FnOnce((ControllerStatus, CompanionStatus)) -> (ControllerStatus, CompanionStatus),
    ) -> Result<(), StoreError> {
        let _alone = self.statuses[stripe(at)].lock();
        let (published, companion) = change(self.status(at));
        self.write_status(at, &HostCertStatus::merged(published, companion))
    }

    fn write_status(&self, at: &ObjectRef, status: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_saphyr::to_string(status).expect("a status is YAML");
        let done = self.write_text(&self.status_file(at), &text);
        done.map_err(|error| failed(error, format!("the status of {at}")))
    }

    fn root(&self) -> &Path {
        &self.directory.path
    }

    fn item_directory(&self, shelf: StoredKind, at: &NamespacedName) -> PathBuf {
        item_directory(self.root(), shelf, at)
    }

    fn status_file(&self, at: &ObjectRef) -> PathBuf {
        status_file(self.root(), at)
    }

    fn fingerprint_file(&self, at: &ObjectRef) -> PathBuf {
        debug_assert_eq!(at.kind, Kind::DockerCA, "only authorities are remembered");
        self.root().join("authorities").join(&*at.namespace).join(&*at.name)
    }

    /// In a directory of its own, which versions before it pass over: `homelab.identity` is a name of another DockerCA.
    fn identity_file(&self, at: &ObjectRef) -> PathBuf {
        self.root().join("identities").join(&*at.namespace).join(&*at.name)
    }

    fn read_now(&self, shelf: StoredKind, at: &NamespacedName) -> Result<Option<StoredItem>, StoreError> {
        let input = (shelf == StoredKind::Secrets).then(|| self.inputs.read().get(at).cloned()).flatten();
        if let Some(data) = input {
            return Ok(Some(stored(data, None)));
        }
        if !is_file_name(&at.namespace) || !is_file_name(&at.name) {
            return Ok(None);
        }
        let path = self.item_directory(shelf, at);
        let found = read_item(&path).map_err(|error| store_error(error, at, shelf))?;
        Ok(found.map(|(data, note)| stored(data, note)))
    }

    fn create_now(&self, item: &NewItem) -> Result<(), StoreError> {
        let path = self.item_directory(item.shelf, &item.at);
        let fail = |error| store_error(error, &item.at, item.shelf);
        if self.read_now(item.shelf, &item.at)?.is_some() {
            return Err(StoreError::Exists(item.at.clone()));
        }
        atomic_files::make_directory(self.root(), path.parent().expect("an item is in a namespace")).map_err(fail)?;
        let note = note(item);
        let created = atomic_files::create_directory(&path, &files(item, &note)).map_err(fail)?;
        if created { Ok(()) } else { Err(StoreError::Exists(item.at.clone())) }
    }

    fn replace_now(&self, item: &NewItem, version: &str) -> Result<(), StoreError> {
        self.check(item.shelf, &item.at, version)?;
        let path = self.item_directory(item.shelf, &item.at);
        let note = note(item);
        atomic_files::replace_directory(&path, &files(item, &note))
            .map_err(|error| store_error(error, &item.at, item.shelf))
    }

    fn delete_now(&self, shelf: StoredKind, at: &NamespacedName, version: &str) -> Result<(), StoreError> {
        self.check(shelf, at, version)?;
        atomic_files::remove_directory(&self.item_directory(shelf, at)).map_err(|error| store_error(error, at, shelf))
    }

    fn check(&self, shelf: StoredKind, at: &NamespacedName, version: &str) -> Result<(), StoreError> {
        match self.read_now(shelf, at)? {
            Some(stored) if stored.version == version => Ok(()),
            _ => Err(StoreError::Changed(at.clone())),
        }
    }

    fn write_text(&self, path: &Path, text: &str) -> Result<(), FileError> {
        atomic_files::make_directory(self.root(), path.parent().expect("a file is in a directory"))?;
        atomic_files::replace_file(path, text.as_bytes())
    }

    /// Writes on a thread of its own: a sync takes its time.
    async fn on_own_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DiskStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.expect("writing files does not panic")
    }
}

fn stripe(at: &ObjectRef) -> usize {
    let mut hasher = DefaultHasher::new();
    at.hash(&mut hasher);
    usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default()
}

/// One Secret or ConfigMap of ours, for an export.
#[derive(Debug)]
pub struct StoredRecord {
    pub shelf: StoredKind,
    pub at: NamespacedName,
    /// Its owner; none where it is not ours, and then it has neither type nor data.
    pub owner: Option<String>,
    pub type_: Option<String>,
    /// Fingerprint of the authority in it.
    pub authority: Option<String>,
    /// Identity of the authority in it.
    pub identity: Option<String>,
    pub data: Data,
}

/// Reads everything that a state directory keeps, Secrets first; another process may write it meanwhile.
///
/// # Errors
/// [`DirectoryError`] where it is not a state directory, or cannot be read.
pub fn read_all(path: &Path) -> Result<Vec<StoredRecord>, DirectoryError> {
    StateDirectory::recognise(path)?;
    let mut kept = Vec::new();
    for shelf in [StoredKind::Secrets, StoredKind::ConfigMaps] {
        let shelf_path = path.join(kind_directory(shelf));
        for namespace in atomic_files::names(&shelf_path)? {
            for name in atomic_files::names(&shelf_path.join(&namespace))? {
                let Some((data, note)) = read_item(&shelf_path.join(&namespace).join(&name))? else { continue };
                let named = |name: &str| ObjectName::parse(name).ok();
                let Some(at) = named(&namespace).zip(named(&name)).map(|(of, name)| NamespacedName::new(of, name))
                else {
                    continue; // nothing that Dockseal wrote
                };
                kept.push(match note {
                    Some(OwnerNote { owner, type_, authority, identity }) => {
                        StoredRecord { shelf, at, owner: Some(owner), type_, authority, identity, data }
                    }
                    None => StoredRecord {
                        shelf,
                        at,
                        owner: None,
                        type_: None,
                        authority: None,
                        identity: None,
                        data: Data::default(),
                    },
                });
            }
        }
    }
    Ok(kept)
}

/// Reads the objects of `up` with their statuses; another process may write them meanwhile.
///
/// # Errors
/// [`DirectoryError`] where it is not a state directory, cannot be read, or was written by an older version.
pub fn read_objects(path: &Path) -> Result<Vec<Object>, DirectoryError> {
    StateDirectory::recognise(path)?;
    let file = path.join(OBJECTS);
    let text = atomic_files::read(&file)?.ok_or_else(|| DirectoryError::NoObjects(path.to_owned()))?;
    let manifests: Vec<serde_json::Value> =
        serde_json::from_slice(&text).map_err(|_| DirectoryError::NoObjects(path.to_owned()))?;
    let read = |manifest| {
        let mut object = Object::from_manifest(manifest)?;
        (object.previous, object.companion) = read_status(path, &object.at);
        Some(object)
    };
    let objects = manifests.into_iter().map(read).collect::<Option<Vec<_>>>();
    objects.ok_or_else(|| DirectoryError::NoObjects(path.to_owned()))
}

/// Reads a Secret; another process may write it meanwhile.
///
/// # Errors
/// [`DirectoryError`] where it is there and cannot be read.
pub fn read_secret(path: &Path, at: &NamespacedName) -> Result<Option<StoredItem>, DirectoryError> {
    if !is_file_name(&at.namespace) || !is_file_name(&at.name) {
        return Ok(None);
    }
    let found = read_item(&item_directory(path, StoredKind::Secrets, at))?;
    Ok(found.map(|(data, note)| stored(data, note)))
}

/// Reads a state directory's id; none where it never delivered to a host.
///
/// # Errors
/// [`FileError`] where it is there and cannot be read.
pub fn read_writer(path: &Path) -> Result<Option<String>, FileError> {
    let file = path.join(WRITER);
    let Some(bytes) = atomic_files::read(&file)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    let is_id = TakeFrom::parse(&text).is_some_and(|read| read.from == text && text.starts_with(STATE_PREFIX));
    let broken = || io::Error::other("it holds no id of a state directory: restore it, or remove it");
    if is_id { Ok(Some(text)) } else { Err(FileError::of("read", &file)(broken())) }
}

fn read_status(root: &Path, at: &ObjectRef) -> (ControllerStatus, CompanionStatus) {
    let text = atomic_files::read(&status_file(root, at)).ok().flatten().unwrap_or_default();
    let text = String::from_utf8(text).unwrap_or_default();
    match at.kind {
        Kind::DockerHostCert => serde_saphyr::from_str::<HostCertStatus>(&text).unwrap_or_default().split(),
        _ => (serde_saphyr::from_str(&text).unwrap_or_default(), CompanionStatus::default()),
    }
}

fn status_file(root: &Path, at: &ObjectRef) -> PathBuf {
    let file = format!("{}.yaml", at.name);
    root.join("status").join(at.kind.as_str()).join(&*at.namespace).join(file)
}

fn item_directory(root: &Path, shelf: StoredKind, at: &NamespacedName) -> PathBuf {
    root.join(kind_directory(shelf)).join(&*at.namespace).join(&*at.name)
}

/// What is there; something other than a directory belongs to someone else.
fn read_item(path: &Path) -> Result<Option<(Data, Option<OwnerNote>)>, FileError> {
    if path.is_file() {
        return Ok(Some((Data::default(), None)));
    }
    let Some(files) = atomic_files::read_directory(path)? else { return Ok(None) };
    let note = files.iter().find(|(name, _)| name == NOTE).and_then(|(_, bytes)| read_note(bytes));
    let visible = files.iter().filter(|(name, _)| !name.starts_with('.'));
    let mut data = Data::default();
    for (name, bytes) in visible {
        data.insert(name, bytes.as_slice());
    }
    Ok(Some((data, note)))
}

fn read_note(bytes: &[u8]) -> Option<OwnerNote> {
    serde_json::from_slice::<OwnerNote>(bytes).ok().filter(|note| ObjectRef::parse(&note.owner).is_some())
}

fn stored(data: Data, note: Option<OwnerNote>) -> StoredItem {
    let owner = note.as_ref().and_then(|note| ObjectRef::parse(&note.owner));
    let identity = note.as_ref().and_then(|note| note.identity.as_deref()).and_then(AuthorityIdentity::parse);
    let authority = note.and_then(|note| note.authority);
    StoredItem { owner, authority, identity, version: material::digest(&data), labelled: true, data }
}

fn note(item: &NewItem) -> Vec<u8> {
    let type_ = (item.shelf == StoredKind::Secrets).then(|| item.type_.to_owned());
    let (authority, identity) = (item.authority.clone(), item.identity.map(|identity| identity.to_string()));
    let note = OwnerNote { owner: item.owner.to_string(), type_, authority, identity };
    serde_json::to_vec(&note).expect("four strings are JSON")
}

fn files<'a>(item: &'a NewItem, note: &'a [u8]) -> Vec<NewFile<'a>> {
    let data = item.data.iter().map(|(name, bytes)| NewFile { name, bytes });
    data.chain([NewFile { name: NOTE, bytes: note }]).collect()
}

fn kind_directory(shelf: StoredKind) -> &'static str {
    match shelf {
        StoredKind::Secrets => "secrets",
        StoredKind::ConfigMaps => "configmaps",
    }
}

/// A name without steps into other directories, and not hidden.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn store_error(error: FileError, at: &NamespacedName, shelf: StoredKind) -> StoreError {
    let what = if shelf == StoredKind::Secrets { "Secret" } else { "ConfigMap" };
    failed(error, format!("{what} {at}"))
}

fn failed(error: FileError, object: String) -> StoreError {
    let verb = if error.verb == "read" { "read" } else { "write" };
    StoreError::Failed { verb, object, source: Box::new(error), retry_after: None }
}

impl Store for DiskStore {
    async fn read(&self, shelf: StoredKind, at: &NamespacedName) -> Result<Option<StoredItem>, StoreError> {
        self.read_now(shelf, at)
    }

    async fn create(&self, item: &NewItem) -> Result<(), StoreError> {
        let item = item.clone();
        self.on_own_thread(move |store| store.create_now(&item)).await
    }

    async fn replace(&self, item: &NewItem, version: &str) -> Result<(), StoreError> {
        let (item, version) = (item.clone(), version.to_owned());
        self.on_own_thread(move |store| store.replace_now(&item, &version)).await
    }

    async fn delete(&self, shelf: StoredKind, at: &NamespacedName, version: &str) -> Result<(), StoreError> {
        let (at, version) = (at.clone(), version.to_owned());
        self.on_own_thread(move |store| store.delete_now(shelf, &at, &version)).await
    }

    async fn remember(
        &self,
        object: &Object,
        fingerprint: &str,
        identity: Option<AuthorityIdentity>,
    ) -> Result<(), StoreError> {
        let (at, text) = (object.at.clone(), format!("{fingerprint}\n"));
        self.on_own_thread(move |store| {
            let identity = identity.map(|identity| (store.identity_file(&at), format!("{identity}\n")));
            let mut notes = identity.into_iter().chain([(store.fingerprint_file(&at), text)]);
            notes
                .try_for_each(|(file, text)| store.write_text(&file, &text))
                .map_err(|error| failed(error, at.to_string()))
        })
        .await
    }

    /// Does nothing: an object that is removed from the files is not deleted, only no longer reconciled.
    async fn set_finalizer(&self, _object: &Object, _held: bool) -> Result<(), StoreError> {
        Ok(())
    }

    async fn publish(&self, object: &Object, status: &ControllerStatus) -> Result<(), StoreError> {
        let (at, status) = (object.at.clone(), status.clone());
        self.on_own_thread(move |store| match at.kind {
            Kind::DockerHostCert => store.change_status(&at, |(_, companion)| (status, companion)),
            _ => store.write_status(&at, &status),
        })
        .await
    }

    async fn prune(&self, object: &Object, kept: &CompanionStatus) -> Result<(), StoreError> {
        let (at, kept) = (object.at.clone(), kept.clone());
        self.on_own_thread(move |store| store.report(&at, &kept)).await
    }

    /// Prints what was done. Warnings are printed by the runner, with the file that the object is in.
    async fn announce(&self, object: &Object, what: &ObjectEvent) {
        if !what.warning {
            (self.events)(&format!("{} {}: {}", object.at, what.reason.as_str(), what.message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::ConditionType;
    use crate::api::status::{CertificateStatus, HostReport};
    use crate::api::{DockerHostCert, DockerHostCertSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use k8s_openapi::jiff::Timestamp;

    fn condition(type_: ConditionType) -> Condition {
        Condition {
            type_: type_.as_str().into(),
            status: "True".into(),
            reason: type_.as_str().into(),
            message: "it is".into(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[tokio::test]
    async fn what_was_published_and_what_a_companion_reports_are_kept_beside_each_other() {
        let directory = std::env::temp_dir().join(format!("dockseal-statuses-{}", std::process::id()));
        let store = DiskStore::open(&directory, Arc::new(|_| {})).expect("a state directory");
        let mut host = DockerHostCert::new("pandora", DockerHostCertSpec::default());
        host.metadata.namespace = Some("home".into());
        let host = Object::from(host);
        let report = HostReport { delivered_fingerprint: Some("leaf".into()), ..HostReport::default() };
        let companion = CompanionStatus {
            host: report,
            conditions: vec![condition(ConditionType::Delivered)],
            ..CompanionStatus::default()
        };
        let status = CertificateStatus { conditions: vec![condition(ConditionType::Ready)], ..Default::default() };
        let status = ControllerStatus::from(status);
        store.report(&host.at, &companion).expect("it is written");
        store.publish(&host, &status).await.expect("it is written");
        assert_eq!(store.status(&host.at), (status.clone(), companion));
        store.report(&host.at, &CompanionStatus::default()).expect("it is written");
        assert_eq!(store.status(&host.at), (status, CompanionStatus::default()));
        drop(store);
        atomic_files::remove_directory(&directory).expect("it was made here");
    }
}
