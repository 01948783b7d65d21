//! What Dockseal reports: the status that all kinds share, and what hosts and Portainer add.

use super::condition::ConditionType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status of an authority or of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Accepted, Issued, Delivered, Serving, Registered and Ready, each only where it applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Name of the Secret that holds the certificate and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Serial number of the certificate, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// SHA-256 in hex: of an authority's public key (SubjectPublicKeyInfo), of a leaf certificate's DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// SHA-256 in hex of the public key of the authority that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_fingerprint: Option<String>,
    /// Start of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// End of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// When it will be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Time>,
}

/// Status of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCertStatus {
    /// What all kinds report.
    #[serde(flatten)]
    pub certificate: CertificateStatus,
    /// What the companion on the host reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
    /// The host's environments, one for each PortainerClient that selects it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["portainerClient"]))]
    pub environments: Vec<EnvironmentReport>,
}

/// What the companion last delivered and saw served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// Fingerprint of the certificate in place on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_fingerprint: Option<String>,
    /// SHA-256 in hex of the trust bundle (ca.crt) in place on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_bundle: Option<String>,
    /// When both were put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Time>,
    /// Fingerprint of the certificate that dockerd served when last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_fingerprint: Option<String>,
    /// When dockerd was first seen to serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<Time>,
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
}

impl CompanionStatus {
    /// Its condition of that type.
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_.as_str())
    }
}

impl HostCertStatus {
    /// What the controller wrote, and what the companion did.
    pub fn parted(self) -> (CertificateStatus, CompanionStatus) {
        let mut certificate = self.certificate;
        let (theirs, ours) = certificate.conditions.into_iter().partition(is_of_companion);
        certificate.conditions = ours;
        (certificate, CompanionStatus { host: self.host.unwrap_or_default(), conditions: theirs })
    }

    /// Both parts in one.
    pub fn joined(mut certificate: CertificateStatus, companion: CompanionStatus) -> HostCertStatus {
        certificate.conditions.extend(companion.conditions);
        let host = Some(companion.host).filter(|host| *host != HostReport::default());
        HostCertStatus { certificate, host, environments: Vec::new() }
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
    pub portainer_client: String,
    /// Number that Portainer gave the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// InstanceID of that Portainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Fingerprint of the host's certificate that Portainer was last proved to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved_fingerprint: Option<String>,
    /// When that was proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved_at: Option<Time>,
}

/// Status of a PortainerClient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortainerClientStatus {
    /// What all kinds report.
    #[serde(flatten)]
    pub certificate: CertificateStatus,
    /// How many hosts it selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<i64>,
    /// How many of them are registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<i64>,
    /// Version of the Portainer server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
