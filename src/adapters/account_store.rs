//! The port for companions' accounts, beside the one for Secrets: behind it are the API server and a test's simulation.

use super::store::{Store, StoreError};
use crate::api::ObjectEvent;
use crate::api::account::{AccountResource, PartKey, SeenPart};
use crate::api::assignment::AssignedHost;
use std::future::Future;

/// A store of accounts. Every call is one request; nothing is retried in here.
pub trait AccountStore: Store {
    /// Reads one object of an account.
    fn find(&self, key: &PartKey) -> impl Future<Output = Result<Option<SeenPart>, StoreError>> + Send;

    /// Creates an object and returns its version; never overwrites.
    fn make(&self, part: &AccountResource) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Replaces the object of that version and returns the new version.
    fn amend(&self, part: &AccountResource, version: &str) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Deletes the object of that version.
    fn discard(&self, key: &PartKey, version: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Sends an event about an object that may be gone; a failure is only logged.
    fn announce_left(&self, host: &AssignedHost, what: &ObjectEvent) -> impl Future<Output = ()> + Send;
}
