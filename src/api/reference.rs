//! References from one object to another, always within the namespace.

use super::name::ObjectName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A DockerCA of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaRef {
    /// Name of the DockerCA. Example: homelab
    pub name: ObjectName,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret. Example: old-ca
    pub name: ObjectName,
}

/// One key of a Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret. Example: ca-pass
    pub name: ObjectName,
    /// Key in its data. Example: passphrase
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A Secret that holds certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    /// The Secret; every certificate in it counts, whatever its key is called.
    pub secret_ref: SecretRef,
}

/// What becomes of the Secret when its object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays: an object made again goes on with it. The default.
    #[default]
    Retain,
    /// It is deleted with the object.
    Delete,
}
