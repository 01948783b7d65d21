//! What all requests to the API server share: how long one may take, under which name the controller writes, and how a
//! failure is told.

use crate::adapters::StoreError;
use crate::api::{GROUP, Kind, Object};
use kube::api::{ApiResource, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use std::time::Duration;

/// Field manager of what the controller writes.
pub const FIELD_MANAGER: &str = "dockseal-controller";
/// No request takes longer; the API server's own limit is 60 seconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The API resource of a kind.
pub fn resource(kind: Kind) -> ApiResource {
    let plural = format!("{}s", kind.as_str().to_lowercase());
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1alpha1", kind.as_str()), &plural)
}

pub(super) async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(done) => done,
        Err(_) => Err(kube::Error::Service(format!("no answer within {} seconds", TIMEOUT.as_secs()).into())),
    }
}

pub(super) fn failure_of(object: &Object, verb: &'static str, error: kube::Error) -> StoreError {
    match error {
        kube::Error::Api(status) if status.is_not_found() => StoreError::Gone(object.at.clone()),
        error => failed(verb, object.at.to_string(), error),
    }
}

pub(super) fn failed(verb: &'static str, object: String, error: kube::Error) -> StoreError {
    let seconds = match &error {
        kube::Error::Api(status) => status.details.as_ref().map(|details| details.retry_after_seconds),
        _ => None,
    };
    let retry_after = seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(u64::from(seconds)));
    StoreError::Failed { verb, object, source: message(error), retry_after }
}

/// The server's message, without the structure around it.
fn message(error: kube::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.as_str().into(),
        error => Box::new(error),
    }
}

/// How a field manager patches.
pub(super) fn patch_as(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() }
}

pub(super) fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}
