//! DockerCA: an authority that signs the certificates of hosts and clients.

use super::name::ObjectName;
use super::reference::{DeletionPolicy, SecretKeyRef, SecretSource};
use super::status::CertificateStatus;
use super::{duration, key::AuthorityKey, rules};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Certificate authority for Docker hosts and their clients: made new, or adopted from one made by hand.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "dockseal.dev", version = "v1alpha1", kind = "DockerCA", namespaced)]
#[kube(
    status = "CertificateStatus",
    shortname = "dca",
    category = "dockseal",
    derive = "PartialEq",
    derive = "Default"
)]
#[kube(doc = "An authority that signs the certificates of Docker hosts and of their clients.")]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"))]
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
#[x_kube(validation = rules::SUBJECT_OR_EXISTING, validation = rules::EXISTING_ALONE)]
#[x_kube(validation = rules::OPTIONAL_DURATION)]
#[x_kube(validation = rules::SUBJECT_STAYS, validation = rules::PRIVATE_KEY_STAYS, validation = rules::EXISTING_STAYS)]
#[x_kube(validation = rules::PASSPHRASE_STAYS, validation = rules::CONSTRAINTS_STAY, validation = rules::SECRET_NAME_STAYS)]
pub struct DockerCASpec {
    /// Subject of a new authority. Give either subject or existing. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// How long the authority's certificate is valid: hours or days, 1h to 36525d, default 1825d. It is renewed with
    /// the same key at two thirds of that. Example: 3650d
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7), regex(pattern = duration::PATTERN))]
    pub duration: Option<String>,
    /// Private key of a new authority. Default ECDSA 256. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<AuthorityKey>,
    /// Passphrase of the private key, which is stored as encrypted PKCS#8 (AES-256); an adopted key is opened with it.
    /// Left out: the key is stored unencrypted in the Secret. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_secret_ref: Option<SecretKeyRef>,
    /// Adopt an authority made by hand: a Secret with its certificate and private key in PEM, under any key names.
    /// It is copied once, and brings its own subject, duration, privateKey and nameConstraints: leave those out.
    /// Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<SecretSource>,
    /// Secrets with further certificates that hosts and clients trust besides this authority's. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub additional_trust: Vec<SecretSource>,
    /// The only names and addresses that this authority may sign for. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_constraints: Option<NameConstraints>,
    /// Name of the Secret that holds the authority. Default NAME-docker-ca. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<ObjectName>,
    /// Retain (default): the Secret stays when this object is deleted. Delete: it is deleted too, once no host or client
    /// needs it.
    #[serde(default)]
    pub secret_deletion_policy: DeletionPolicy,
}

/// Subject of an authority (RFC 5280, 4.1.2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Common name, CN, 1 to 64 bytes. Example: Docker CA
    #[schemars(length(min = 1, max = 64))]
    pub common_name: String,
    /// Organization, O, at most 64 bytes. Example: Bodky
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub organization: Option<String>,
    /// Organizational unit, OU, at most 64 bytes. Example: Homelab
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub organizational_unit: Option<String>,
    /// Country, C: two letters. Example: DE
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2), regex(pattern = "^([A-Za-z]{2})?$"))]
    pub country: Option<String>,
    /// State or province, ST, at most 128 bytes. Example: Saarland
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub province: Option<String>,
    /// Locality, L, at most 128 bytes. Example: Saarbruecken
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub locality: Option<String>,
    /// E-mail address, in ASCII. Example: admin@bodkys.house
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = "^([!-~]+@[!-~]+)?$"))]
    pub email_address: Option<String>,
}

/// Names and addresses that an authority may sign for (RFC 5280, 4.2.1.10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::CONSTRAINTS_SAY)]
pub struct NameConstraints {
    /// DNS domains, each with all its subdomains. At most 64. Left out: DNS names are not limited. Example: [bodkys.house]
    #[serde(rename = "permittedDNSDomains", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253), regex(pattern = "^[a-zA-Z0-9_]([-_a-zA-Z0-9.]*[a-zA-Z0-9_])?$"))
    )]
    pub permitted_dns_domains: Vec<String>,
    /// Networks in CIDR notation; 127.0.0.0/8 is needed for hosts with includeLoopback. At most 64. Left out: the addresses
    /// of the machine itself, 127.0.0.0/8 and ::1, and no others.
    /// Example: [192.168.0.0/16, 127.0.0.0/8, 1.2.3.4/32]
    #[serde(rename = "permittedIPRanges", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 49)))]
    #[x_kube(validation = rules::RANGES)]
    pub permitted_ip_ranges: Vec<String>,
}
