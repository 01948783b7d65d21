//! The port for companions' accounts, beside the one for Secrets: behind it are the API server and a test's simulation.

use super::store::{Store, StoreError};
use crate::api::ObjectEvent;
use crate::api::account::{AccountResource, ObservedResource, ResourceKey};
use crate::api::assignment::AssignedHost;
use std::future::Future;

/// A store of accounts. Every call is one request; nothing is retried in here.
pub trait AccountStore: Store {
    /// Reads one object of an account.
    fn read_resource(
        &self,
        key: &ResourceKey,
    ) -> impl Future<Output = Result<Option<ObservedResource>, StoreError>> + Send;

    /// Creates an object and returns its version; never overwrites.
    fn create_resource(&self, resource: &AccountResource) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Replaces the object of that version and returns the new version.
    fn replace_resource(
        &self,
        resource: &AccountResource,
        version: &str,
    ) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Deletes the object of that version.
    fn delete_resource(&self, key: &ResourceKey, version: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Sends an event about an object that may be gone; a failure is only logged.
    fn announce_left(&self, host: &AssignedHost, what: &ObjectEvent) -> impl Future<Output = ()> + Send;
}
