//! Where companions' accounts are kept: a contract beside that for Secrets, for the API server and a test's memory.

use super::store::{Store, StoreError};
use crate::api::ObjectEvent;
use crate::api::account::{AccountResource, PartKey, SeenPart};
use crate::api::assignment::AssignedHost;
use std::future::Future;

/// A store of accounts. Every call is one request; nothing is retried in here.
pub trait AccountStore: Store {
    /// Reads one object of an account.
    fn find(&self, key: &PartKey) -> impl Future<Output = Result<Option<SeenPart>, StoreError>> + Send;

    /// Makes a new one, and says its version; never overwrites.
    fn make(&self, part: &AccountResource) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Replaces what has that version, and says the new one.
    fn amend(&self, part: &AccountResource, version: &str) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Deletes what has that version.
    fn discard(&self, key: &PartKey, version: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Tells the user of an object that may be gone; what cannot be told is logged and forgotten.
    fn announce_left(&self, host: &AssignedHost, what: &ObjectEvent) -> impl Future<Output = ()> + Send;
}
