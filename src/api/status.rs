//! What Dockseal reports: the status that all kinds share, and what hosts and Portainer add.

use super::condition::{ConditionType, Reason};
use super::registrar::Registrar;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::{Deref, DerefMut};

/// Status of an authority or of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Accepted, Issued, Delivered, Serving, Registered and Ready, each only where it applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bounded_conditions")]
    pub conditions: Vec<Condition>,
    /// Name of the Secret that holds the certificate and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub secret_name: Option<String>,
    /// Serial number of the certificate, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub serial: Option<String>,
    /// SHA-256 in hex: of an authority's public key (SubjectPublicKeyInfo), of a leaf certificate's DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub fingerprint: Option<String>,
    /// SHA-256 in hex of the public key of the authority that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub issuer_fingerprint: Option<String>,
    /// Start of the certificate's validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub not_before: Option<Time>,
    /// End of the certificate's validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub not_after: Option<Time>,
    /// When the certificate will be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub renew_at: Option<Time>,
}

/// Status of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCertStatus {
    /// Fields that all kinds have.
    #[serde(flatten)]
    pub certificate: CertificateStatus,
    /// What the companion on the host reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
    /// The host's environments, one for each PortainerClient that selects it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["portainerClient"])
    )]
    pub environments: Vec<EnvironmentReport>,
}

/// What the companion last delivered and saw served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// Fingerprint of the certificate in place on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub delivered_fingerprint: Option<String>,
    /// SHA-256 in hex of the trust bundle (ca.crt) in place on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub delivered_bundle: Option<String>,
    /// When certificate and bundle were put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub delivered_at: Option<Time>,
    /// Fingerprint of the certificate that dockerd served when last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub served_fingerprint: Option<String>,
    /// When dockerd was first seen to serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub served_at: Option<Time>,
}

/// All that the controller, or `up`, writes into a status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerStatus {
    /// Fields that all kinds have.
    #[serde(flatten)]
    pub certificate: CertificateStatus,
    /// Of a host: its environments that the controller registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentReport>,
    /// Of a PortainerClient: its server.
    #[serde(flatten)]
    pub server: ServerReport,
}

impl Deref for ControllerStatus {
    type Target = CertificateStatus;

    fn deref(&self) -> &CertificateStatus {
        &self.certificate
    }
}

impl DerefMut for ControllerStatus {
    fn deref_mut(&mut self) -> &mut CertificateStatus {
        &mut self.certificate
    }
}

impl From<CertificateStatus> for ControllerStatus {
    fn from(certificate: CertificateStatus) -> ControllerStatus {
        ControllerStatus { certificate, ..ControllerStatus::default() }
    }
}

/// All that the companion on a host writes into the status, under a field manager of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompanionStatus {
    /// What it last delivered and saw.
    #[serde(default)]
    pub host: HostReport,
    /// Delivered, and Serving where there is something to serve.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The environments that it registers itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentReport>,
}

impl CompanionStatus {
    /// Its condition of that type.
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_.as_str())
    }
}

impl HostCertStatus {
    /// The controller's part and the companion's part.
    pub fn split(self) -> (ControllerStatus, CompanionStatus) {
        let mut certificate = self.certificate;
        let (theirs, ours) = certificate.conditions.into_iter().partition(is_of_companion);
        certificate.conditions = ours;
        let by_companion = |report: &EnvironmentReport| report.registrar == Registrar::Companion;
        let (registered, environments) = self.environments.into_iter().partition(by_companion);
        let companion =
            CompanionStatus { host: self.host.unwrap_or_default(), conditions: theirs, environments: registered };
        (ControllerStatus { certificate, environments, ..ControllerStatus::default() }, companion)
    }

    /// One status of both parts.
    pub fn merged(ours: ControllerStatus, companion: CompanionStatus) -> HostCertStatus {
        let ControllerStatus { mut certificate, mut environments, .. } = ours;
        certificate.conditions.extend(companion.conditions);
        environments.extend(companion.environments);
        let host = Some(companion.host).filter(|host| *host != HostReport::default());
        HostCertStatus { certificate, host, environments }
    }
}

fn is_of_companion(condition: &Condition) -> bool {
    ConditionType::OF_COMPANION.iter().any(|theirs| condition.type_ == theirs.as_str())
}

/// A host's environment in one Portainer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentReport {
    /// Name of the PortainerClient.
    #[schemars(length(max = 253))]
    pub portainer_client: String,
    /// Who calls Portainer, and writes this: Controller or Companion.
    #[serde(default)]
    pub registrar: Registrar,
    /// Registered if Portainer reaches the host, else why not. Example: HostUnreachable
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub reason: String,
    /// What the reason means here, and what to do.
    #[serde(default)]
    #[schemars(length(max = 2048))]
    pub message: String,
    /// Number that Portainer gave the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// InstanceID of that Portainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub instance_id: Option<String>,
    /// true: the environment existed before and was adopted. It keeps its name and is never removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Fingerprint of the client certificate with which Portainer was last proved to reach the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub client_fingerprint: Option<String>,
    /// SHA-256 in hex of the trust bundle that Portainer then verified the host by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub trust_bundle: Option<String>,
    /// Fingerprint of the host's certificate that Portainer was last proved to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub proved_fingerprint: Option<String>,
    /// When that was proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub proved_at: Option<Time>,
}

impl EnvironmentReport {
    /// Portainer reaches the host.
    pub fn is_registered(&self) -> bool {
        self.reason == Reason::Registered.as_str()
    }
}

/// Status of a PortainerClient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortainerClientStatus {
    /// Fields that all kinds have.
    #[serde(flatten)]
    pub certificate: CertificateStatus,
    /// The Portainer server, where spec.server names one.
    #[serde(flatten)]
    pub server: ServerReport,
}

/// State of a Portainer server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerReport {
    /// How many hosts the PortainerClient selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<i64>,
    /// How many of them are registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<i64>,
    /// Version of the Portainer server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub version: Option<String>,
    /// InstanceID of the Portainer server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub instance_id: Option<String>,
}

/// The schema of Kubernetes' own Condition, with bounds.
fn bounded_conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut condition = Condition::json_schema(generator);
    for (field, most) in [("type", 316), ("status", 16), ("reason", 128), ("message", 2048), ("lastTransitionTime", 64)]
    {
        let field = condition.pointer_mut(&format!("/properties/{field}")).and_then(Value::as_object_mut);
        field.expect("a condition has this field").insert("maxLength".into(), most.into());
    }
    json_schema!({
        "type": "array",
        "items": condition,
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
