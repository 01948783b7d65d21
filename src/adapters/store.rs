//! Where Secrets, bundles and statuses are kept: one contract for the API server, a directory, and a test's memory.

use crate::api::status::{CompanionStatus, ControllerStatus};
use crate::api::{NamespacedName, Object, ObjectEvent, ObjectRef};
use crate::pki::material::{Data, LeafFacts, read_leaf};
use k8s_openapi::jiff::Timestamp;
use std::future::Future;
use std::time::Duration;

/// A Secret or a ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoredKind {
    /// Private.
    Secrets,
    /// Public.
    ConfigMaps,
}

/// Type of a leaf's Secret.
pub const LEAF_TYPE: &str = "kubernetes.io/tls";
/// Type of an authority's Secret.
pub const AUTHORITY_TYPE: &str = "dockseal.dev/ca";

/// Something to write.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// Secret or ConfigMap.
    pub shelf: StoredKind,
    /// Its namespace and name.
    pub at: NamespacedName,
    /// Type, of a Secret.
    pub type_: &'static str,
    /// Whose it is.
    pub owner: ObjectRef,
    /// Fingerprint of the authority in it, noted beside.
    pub authority: Option<String>,
    /// What it holds.
    pub data: Data,
}

/// Something that is there.
#[derive(Clone, Debug)]
pub struct StoredItem {
    /// Whose it says it is; none where it is not ours.
    pub owner: Option<ObjectRef>,
    /// Fingerprint noted beside.
    pub authority: Option<String>,
    /// Changes with every change.
    pub version: String,
    /// It carries our label, without which no watch sees it.
    pub labelled: bool,
    /// What it holds.
    pub data: Data,
}

/// A leaf's Secret, reduced to facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLeaf {
    /// Whose it says it is.
    pub owner: Option<ObjectRef>,
    /// Changes with every change.
    pub version: String,
    /// What it holds.
    pub facts: LeafFacts,
}

impl From<&StoredItem> for StoredLeaf {
    fn from(stored: &StoredItem) -> StoredLeaf {
        let mut facts = read_leaf(&stored.data);
        facts.copies_match &= stored.labelled; // a Secret without its label is written again
        StoredLeaf { owner: stored.owner.clone(), version: stored.version.clone(), facts }
    }
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something of that name is there already.
    #[error("{0} is there already")]
    Exists(NamespacedName),
    /// Somebody else changed it in between.
    #[error("{0} was changed by somebody else in between")]
    Changed(NamespacedName),
    /// The object is gone.
    #[error("{0} is gone")]
    Gone(ObjectRef),
    /// The clock shows an instant before this program was written: what it would date were of no use.
    #[error("the clock says {0}, which is past: set it (timedatectl set-ntp true); nothing is dated until then")]
    ClockBehind(Timestamp),
    /// The store is out of reach, or refuses.
    #[error("failed to {verb} {object}: {source}")]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// On what.
        object: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// When it may be tried again, where the server said so.
        retry_after: Option<Duration>,
    },
}

impl StoreError {
    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            StoreError::Failed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A store. Every call is one request or one directory; nothing is retried in here.
pub trait Store: Send + Sync {
    /// Reads a Secret or ConfigMap whole.
    fn read(
        &self,
        shelf: StoredKind,
        at: &NamespacedName,
    ) -> impl Future<Output = Result<Option<StoredItem>, StoreError>> + Send;

    /// Reads a leaf's Secret as facts, from memory where the store has them.
    fn leaf(&self, at: &NamespacedName) -> impl Future<Output = Result<Option<StoredLeaf>, StoreError>> + Send {
        async { Ok(self.read(StoredKind::Secrets, at).await?.as_ref().map(StoredLeaf::from)) }
    }

    /// Makes something new; never overwrites.
    fn create(&self, item: &NewItem) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Replaces what has that version.
    fn replace(&self, item: &NewItem, version: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes what has that version.
    fn delete(
        &self,
        shelf: StoredKind,
        at: &NamespacedName,
        version: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes on a DockerCA which authority was made for it.
    fn remember(&self, object: &Object, fingerprint: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds or removes our finalizer.
    fn set_finalizer(&self, object: &Object, held: bool) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Publishes a status.
    fn publish(
        &self,
        object: &Object,
        status: &ControllerStatus,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes away what a companion reported, but for that part.
    fn prune(&self, object: &Object, kept: &CompanionStatus) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Tells the user; what cannot be told is logged and forgotten.
    fn announce(&self, object: &Object, what: &ObjectEvent) -> impl Future<Output = ()> + Send;
}
