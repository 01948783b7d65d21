//! What a cluster is told apart by: the UID of its namespace kube-system, which it has for life. It only reads.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

const NAMESPACE: &str = "kube-system";

/// Why the UID is not known.
#[derive(Debug, thiserror::Error)]
pub enum ClusterIdError {
    /// It will not be known later either.
    #[error("the API server does not show the namespace {NAMESPACE} to this account: {0}")]
    Refused(String),
    /// It may be known later.
    #[error("failed to read the namespace {NAMESPACE}: {0}")]
    Failed(kube::Error),
}

/// Reads the UID.
///
/// # Errors
/// [`ClusterIdError`].
pub async fn cluster_uid(client: &Client) -> Result<String, ClusterIdError> {
    let namespace = Api::<Namespace>::all(client.clone()).get(NAMESPACE).await.map_err(|error| match error {
        kube::Error::Api(status) if matches!(status.code, 403 | 404) => ClusterIdError::Refused(status.message),
        error => ClusterIdError::Failed(error),
    })?;
    namespace.uid().ok_or_else(|| ClusterIdError::Refused("it has no UID".into()))
}
