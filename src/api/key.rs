//! The private key that a user asks for.

use super::rules;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Algorithm of a private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// NIST curves, FIPS 186-5. The default.
    #[default]
    #[serde(rename = "ECDSA")]
    Ecdsa,
    /// RSA as in RFC 8017.
    #[serde(rename = "RSA")]
    Rsa,
    /// Ed25519 as in RFC 8032.
    Ed25519,
}

/// When a renewal makes a new private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RotationPolicy {
    /// With each certificate. The default.
    #[default]
    Always,
    /// Only where the key is lost or the algorithm changes.
    Never,
}

/// The private key of an authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::KEY_SIZE)]
pub struct AuthorityKey {
    /// ECDSA (default), RSA or Ed25519. Example: RSA
    #[serde(default)]
    pub algorithm: Algorithm,
    /// In bits. ECDSA: 256 (default) or 384. RSA: 2048, 3072 or 4096 (default). Ed25519 has none. Example: 4096
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
}

/// The private key of a host or of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::KEY_SIZE)]
pub struct LeafKey {
    /// ECDSA (default), RSA or Ed25519. Example: ECDSA
    #[serde(default)]
    pub algorithm: Algorithm,
    /// In bits. ECDSA: 256 (default) or 384. RSA: 2048, 3072 or 4096 (default). Ed25519 has none. Example: 256
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Always (default): every renewal has a new key. Never: a renewal keeps the key. Example: Always
    #[serde(default)]
    pub rotation_policy: RotationPolicy,
}
