//! PortainerClient: the client certificate of a Portainer server, and the hosts that it is to reach.

use super::name::ObjectName;
use super::reference::{CaRef, DeletionPolicy, SecretKeyRef, SecretRef};
use super::registrar::Registrar;
use super::status::PortainerClientStatus;
use super::{duration, duration::year, key::LeafKey, rules};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Portainer's client certificate, and the hosts that it reaches with it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "dockseal.dev", version = "v1alpha1", kind = "PortainerClient", namespaced)]
#[kube(
    status = "PortainerClientStatus",
    shortname = "ptc",
    category = "dockseal",
    derive = "PartialEq",
    derive = "Default"
)]
#[kube(doc = "The client certificate of a Portainer server, and the hosts that are registered in it.")]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"))]
#[kube(printcolumn(name = "Server", type_ = "string", json_path = ".spec.server.url"))]
#[kube(printcolumn(
    name = "Registered",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Registered\")].status"
))]
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
pub struct PortainerClientSpec {
    /// The DockerCA that signs the certificate, in the same namespace.
    pub ca_ref: CaRef,
    /// Common name, CN, 1 to 64 bytes. Example: portainer.bodkys.house
    #[schemars(length(min = 1, max = 64))]
    pub common_name: String,
    /// How long the certificate is valid: hours or days, 1h to 36525d. Default 365d. Example: 365d
    #[serde(default = "year")]
    #[schemars(length(max = 7), regex(pattern = duration::PATTERN))]
    pub duration: String,
    /// How long before its end the certificate is renewed: hours or days, less than duration. Default a third of it. Example: 122d
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7), regex(pattern = duration::PATTERN))]
    pub renew_before: Option<String>,
    /// Private key. Default ECDSA 256, a new one with every renewal.
    #[serde(default)]
    pub private_key: LeafKey,
    /// Name of the Secret that holds certificate and key. Default NAME-portainer-client. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<ObjectName>,
    /// Retain (default): the Secret stays when this object is deleted. Delete: it is deleted too.
    #[serde(default)]
    pub secret_deletion_policy: DeletionPolicy,
    /// The Portainer server in which hosts are registered. Left out: a certificate and no registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// Labels of the DockerHostCerts to register. Left out: none. {}: every one of the namespace.
    /// Example: {matchLabels: {site: home}}
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded_selector")]
    pub host_selector: Option<LabelSelector>,
    /// Group, tags and TLS of each environment.
    #[serde(default)]
    pub environment: EnvironmentSpec,
    /// Controller (default): the controller calls Portainer. Companion: each node's companion does, for its own host.
    #[serde(default)]
    pub registrar: Registrar,
    /// Never (default). MatchingURL: an environment of the same URL is taken over, its name kept.
    #[serde(default)]
    pub adoption: Adoption,
}

/// The schema of Kubernetes' own LabelSelector, with bounds: the controller keeps one for each PortainerClient, and asks
/// it about each host.
fn bounded_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "matchLabels": {
                "description": "Labels that a host must have, with exactly these values. At most 64. Example: {site: home}",
                "type": "object",
                "maxProperties": 64,
                "additionalProperties": { "type": "string", "maxLength": 63 },
                "x-kubernetes-validations": [
                    { "rule": rules::LABEL_KEYS.0, "message": rules::LABEL_KEYS.1 },
                ],
            },
            "matchExpressions": {
                "description": "Conditions that a host must meet, all of them. At most 64.",
                "type": "array",
                "maxItems": 64,
                "items": {
                    "type": "object",
                    "properties": {
                        "key": {
                            "description": "Key of the label. Example: site",
                            "type": "string",
                            "maxLength": 317,
                        },
                        "operator": {
                            "description": "In or NotIn (one of values), Exists or DoesNotExist (without values).",
                            "type": "string",
                            "maxLength": 16,
                        },
                        "values": {
                            "description": "Values of the label, for In and NotIn. At most 64. Example: [home, attic]",
                            "type": "array",
                            "nullable": true,
                            "maxItems": 64,
                            "items": { "type": "string", "maxLength": 63 },
                        },
                    },
                    "required": ["key", "operator"],
                },
            },
        },
    })
}

/// A Portainer server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::HTTP_ALLOWED)]
pub struct Server {
    /// https:// address of Portainer; http:// only with allowHTTP. Example: https://portainer.bodkys.house
    #[schemars(length(max = 1024), regex(pattern = "^https?://[^/?#@ ]+(/[^?# ]*)?$"))]
    pub url: String,
    /// Secret with apiKey, or with username and password, of an administrator.
    pub credentials_secret_ref: SecretRef,
    /// true: url may be http://, which sends the credential in the clear. Default false.
    #[serde(rename = "allowHTTP", default)]
    pub allow_http: bool,
    /// How Portainer's own certificate is verified. Left out: by the system's authorities and the name in url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// true: the first administrator of a new server is created with the username and password. Default false.
    #[serde(default)]
    pub initialize_admin: bool,
}

impl Server {
    /// Where the certificates are that are trusted for it, if not the system's.
    pub fn trust(&self) -> Option<&SecretKeyRef> {
        self.tls.as_ref()?.ca_secret_ref.as_ref()
    }
}

/// How Portainer's own certificate is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// Certificates that are trusted for Portainer's own, in PEM, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Name in Portainer's certificate, if it differs from the name in url. Example: localhost
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub server_name: Option<String>,
}

/// Group, tags and TLS of environments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::UNVERIFIED_ACKNOWLEDGED)]
pub struct EnvironmentSpec {
    /// Name of an environment group, which must exist. A host's own group is preferred. Example: homelab
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub group: Option<String>,
    /// Names of tags, besides each host's own; at most 64. Example: [home]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 255)))]
    pub tags: Vec<String>,
    /// ServerAndClient (default): both sides verify. ClientOnly: Portainer does not verify the host.
    #[serde(default)]
    pub tls_verification: TlsVerification,
    /// true is required with tlsVerification: ClientOnly, by which anyone can pose as the host. Default false.
    #[serde(default)]
    pub acknowledge_unverified_server: bool,
    /// Retain (default): environments stay when this object or their host is deleted. Delete: they are removed too.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Which side verifies the other's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVerification {
    /// Portainer verifies the host, the host Portainer.
    #[default]
    ServerAndClient,
    /// The host verifies Portainer only.
    ClientOnly,
}

/// Which environments may be taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// No environment is taken over.
    #[default]
    Never,
    /// Those of the same URL.
    #[serde(rename = "MatchingURL")]
    MatchingUrl,
}
