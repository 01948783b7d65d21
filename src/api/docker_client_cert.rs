//! DockerClientCert: a client certificate for a person or a tool.

use super::name::ObjectName;
use super::reference::{CaRef, DeletionPolicy};
use super::status::CertificateStatus;
use super::{duration, duration::year, key::LeafKey, rules};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Client certificate for the Docker CLI, CI or Terraform.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "dockseal.dev", version = "v1alpha1", kind = "DockerClientCert", namespaced)]
#[kube(
    status = "CertificateStatus",
    shortname = "dcc",
    category = "dockseal",
    derive = "PartialEq",
    derive = "Default"
)]
#[kube(doc = "A client certificate for the Docker CLI, CI or Terraform.")]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"))]
#[kube(printcolumn(name = "CommonName", type_ = "string", json_path = ".spec.commonName"))]
#[kube(printcolumn(name = "Expires", type_ = "string", json_path = ".status.notAfter"))]
#[kube(printcolumn(
    name = "Reason",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
    priority = 1
))]
#[kube(printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName", priority = 1))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::DURATION, validation = rules::RENEW_BEFORE, validation = rules::SECRET_NAME_STAYS)]
pub struct DockerClientCertSpec {
    /// The DockerCA that signs the certificate, in the same namespace.
    pub ca_ref: CaRef,
    /// Common name, CN, 1 to 64 bytes: what dockerd's authorization plugins see as the user. Example: ci
    #[schemars(length(min = 1, max = 64))]
    pub common_name: String,
    /// How long the certificate is valid: hours or days, 1h to 36525d. Default 365d. Example: 90d
    #[serde(default = "year")]
    #[schemars(length(max = 7), regex(pattern = duration::PATTERN))]
    pub duration: String,
    /// How long before its end the certificate is renewed: hours or days, less than duration. Default a third of it. Example: 30d
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7), regex(pattern = duration::PATTERN))]
    pub renew_before: Option<String>,
    /// Private key. Default ECDSA 256, a new one with every renewal.
    #[serde(default)]
    pub private_key: LeafKey,
    /// Name of the Secret that holds certificate and key. Default NAME-docker-client. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<ObjectName>,
    /// Retain (default): the Secret stays when this object is deleted. Delete: it is deleted too.
    #[serde(default)]
    pub secret_deletion_policy: DeletionPolicy,
}
