//! The port for Secrets, bundles and statuses: behind it are the API server, a directory, and a test's simulation. It
//! decides nothing and retries nothing.

use crate::api::status::{CompanionStatus, ControllerStatus};
use crate::api::{AuthorityIdentity, NamespacedName, Object, ObjectEvent, ObjectRef};
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

/// A Secret or ConfigMap to be written.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// Secret or ConfigMap.
    pub shelf: StoredKind,
    pub at: NamespacedName,
    /// Type of a Secret.
    pub type_: &'static str,
    pub owner: ObjectRef,
    /// Fingerprint of the authority in it, for an annotation.
    pub authority: Option<String>,
    /// Identity of the authority in it, for an annotation.
    pub identity: Option<AuthorityIdentity>,
    pub data: Data,
}

/// A Secret or ConfigMap as it is stored.
#[derive(Clone, Debug)]
pub struct StoredItem {
    /// The owner that it names; none where it is not ours.
    pub owner: Option<ObjectRef>,
    /// Fingerprint of the authority, from the annotation.
    pub authority: Option<String>,
    /// Identity of the authority, from the annotation.
    pub identity: Option<AuthorityIdentity>,
    /// Changes with every change.
    pub version: String,
    /// It carries our label, without which no watch sees it.
    pub labelled: bool,
    pub data: Data,
}

/// A leaf's Secret, reduced to facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLeaf {
    /// The owner that it names.
    pub owner: Option<ObjectRef>,
    /// Changes with every change.
    pub version: String,
    pub facts: LeafFacts,
}

impl From<&StoredItem> for StoredLeaf {
    fn from(stored: &StoredItem) -> StoredLeaf {
        let mut facts = read_leaf(&stored.data);
        facts.copies_match &= stored.labelled; // a Secret without its label is written again
        if stored.owner.is_none() {
            facts.certificate = None; // nothing is decided by it, and thousands of them may be there
        }
        StoredLeaf { owner: stored.owner.clone(), version: stored.version.clone(), facts }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0} exists already")]
    Exists(NamespacedName),
    /// Someone else changed it since it was read.
    #[error("{0} was changed by someone else since it was read")]
    Changed(NamespacedName),
    #[error("{0} is gone")]
    Gone(ObjectRef),
    /// The clock shows an instant before this program was written.
    #[error(
        "the clock of this machine is wrong: it shows {0}; set it (timedatectl set-ntp true). Until then nothing is issued"
    )]
    ClockBehind(Timestamp),
    #[error("failed to {verb} {object}: {source}")]
    Failed {
        verb: &'static str,
        object: String,
        source: Box<dyn std::error::Error + Send + Sync>,
        /// How long the server asks to be left alone.
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

/// A store. Every call is one request, or one directory.
pub trait Store: Send + Sync {
    /// Reads a Secret or ConfigMap whole.
    fn read(
        &self,
        shelf: StoredKind,
        at: &NamespacedName,
    ) -> impl Future<Output = Result<Option<StoredItem>, StoreError>> + Send;

    /// Reads a leaf's Secret as facts, from a cache where the store has one.
    fn leaf(&self, at: &NamespacedName) -> impl Future<Output = Result<Option<StoredLeaf>, StoreError>> + Send {
        async { Ok(self.read(StoredKind::Secrets, at).await?.as_ref().map(StoredLeaf::from)) }
    }

    /// Creates an item; never overwrites.
    fn create(&self, item: &NewItem) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Replaces the item of that version.
    fn replace(&self, item: &NewItem, version: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the item of that version.
    fn delete(
        &self,
        shelf: StoredKind,
        at: &NamespacedName,
        version: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Annotates a DockerCA with the fingerprint of the authority that was made for it, and with its identity, if one
    /// is given.
    fn remember(
        &self,
        object: &Object,
        fingerprint: &str,
        identity: Option<AuthorityIdentity>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds or removes our finalizer.
    fn set_finalizer(&self, object: &Object, held: bool) -> impl Future<Output = Result<(), StoreError>> + Send;

    fn publish(
        &self,
        object: &Object,
        status: &ControllerStatus,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes what a companion reported, except `kept`.
    fn prune(&self, object: &Object, kept: &CompanionStatus) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Sends an event; a failure is only logged.
    fn announce(&self, object: &Object, what: &ObjectEvent) -> impl Future<Output = ()> + Send;
}
