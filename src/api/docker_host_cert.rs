//! DockerHostCert: the server certificate of a machine that runs dockerd, where it goes and what Portainer calls it.

use super::name::ObjectName;
use super::reference::{CaRef, DeletionPolicy};
use super::status::HostCertStatus;
use super::{duration, duration::year, key::LeafKey, rules};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Server certificate of a Docker host.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "dockseal.dev", version = "v1alpha1", kind = "DockerHostCert", namespaced)]
#[kube(status = "HostCertStatus", shortname = "dhc", category = "dockseal", derive = "PartialEq", derive = "Default")]
#[kube(doc = "The server certificate of a machine that runs dockerd, its delivery and its environment in Portainer.")]
#[kube(validation = rules::NOT_CA)]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"))]
#[kube(printcolumn(name = "Hostname", type_ = "string", json_path = ".spec.hostname"))]
#[kube(printcolumn(
    name = "Serving",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Serving\")].status"
))]
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
#[x_kube(validation = rules::HOST_NAMED, validation = rules::HOSTNAME, validation = rules::HOSTNAME_FITS)]
pub struct DockerHostCertSpec {
    /// The DockerCA that signs the certificate, in the same namespace.
    pub ca_ref: CaRef,
    /// DNS name of the host: common name and first DNS name of the certificate, at most 64 bytes. Left out: the first of
    /// ipAddresses is the common name. Example: pandora.bodkys.house
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 65),
        regex(
            pattern = "^([a-zA-Z0-9_]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9_])?[.])*[a-zA-Z0-9_]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9_])?[.]?$"
        )
    )]
    pub hostname: Option<String>,
    /// Further DNS names, at most 100. Example: [pandora, docker.bodkys.house]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        inner(
            length(min = 1, max = 254),
            regex(
                pattern = "^([*][.])?([a-zA-Z0-9_]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9_])?[.])*[a-zA-Z0-9_]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9_])?[.]?$"
            )
        )
    )]
    pub dns_names: Vec<String>,
    /// IP addresses, at most 100. Example: [192.168.1.7]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 45)))]
    #[x_kube(validation = rules::ADDRESSES)]
    pub ip_addresses: Vec<String>,
    /// true (default): 127.0.0.1 is among the addresses, for clients on the host itself.
    #[serde(default = "yes")]
    pub include_loopback: bool,
    /// Address that clients connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
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
    /// Name of the Secret that holds certificate and key. Default NAME-docker-host. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<ObjectName>,
    /// Retain (default): the Secret stays when this object is deleted. Delete: it is deleted too.
    #[serde(default)]
    pub secret_deletion_policy: DeletionPolicy,
    /// How the certificate gets to the host. Left out: it stays in its Secret and is not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Name, group and tags of the host's environment in Portainer, where a PortainerClient selects this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portainer: Option<PortainerEnvironment>,
}

/// Address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Name or IP address, which the certificate gets too. Default hostname, or the first of ipAddresses.
    /// Example: 1.2.3.4
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254), regex(pattern = "^[0-9a-zA-Z_:]([-0-9a-zA-Z_.:]*[0-9a-zA-Z_.:])?$"))]
    pub host: Option<String>,
    /// TCP port, 1 to 65535. Default 2376. Example: 2376
    #[serde(default = "docker_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

impl Default for Address {
    fn default() -> Self {
        Address { host: None, port: docker_port() }
    }
}

/// How the certificate gets to the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::NODE_NAMED, validation = rules::DAEMON_MODE)]
pub struct Delivery {
    /// Node: the companion on the cluster node nodeName. Enrolled: the companion enrolled for this object on a host
    /// outside. Left out: only `dockseal up --host` on the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Name of the Kubernetes Node, with target: Node. Example: pandora
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<ObjectName>,
    /// Files (default): certificates only. Daemon: certificates, daemon configuration, restart and proof.
    #[serde(default)]
    pub mode: Mode,
    /// Absolute path of the directory on the host for ca.pem, NAME.pem and NAME.key. Default /etc/docker/certs.
    /// Example: /srv/certs
    #[serde(default = "certs")]
    #[schemars(length(max = 255), regex(pattern = "^/"))]
    #[x_kube(validation = rules::DIRECTORY)]
    pub directory: String,
    /// true: files and TLS settings that someone else put there may be replaced. Default false.
    #[serde(default)]
    pub take_over: bool,
    /// Retain (default): delivered files and settings stay when this object is deleted. Delete: they are removed too.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Settings of dockerd, with mode: Daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<Daemon>,
}

/// Which companion delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Target {
    /// The companion's pod on a node.
    Node,
    /// The companion on a host outside the cluster.
    Enrolled,
}

/// How much is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Certificates alone.
    #[default]
    Files,
    /// Files, dockerd's configuration, restart and proof.
    Daemon,
}

/// Settings of dockerd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Daemon {
    /// IP:PORT that dockerd listens on, at most 16. Default the port of address on all addresses.
    /// Example: ["192.168.1.7:2376"]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(max = 53), regex(pattern = "^([0-9.]+|[[][0-9a-fA-F:]+[]]):[0-9]{1,5}$"))
    )]
    pub listen: Vec<String>,
    /// When dockerd may be restarted: Never, WhenLiveRestore (default: containers keep running) or Always.
    #[serde(default)]
    pub restart: Restart,
    /// true: live-restore is set in daemon.json, so that containers keep running through restarts. Default false.
    #[serde(default)]
    pub enable_live_restore: bool,
}

/// When dockerd may be restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Restart {
    /// By the user alone.
    Never,
    /// Where live-restore keeps containers running.
    #[default]
    WhenLiveRestore,
    /// Even where containers stop for it.
    Always,
}

/// Name, group and tags of a host's environment in Portainer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortainerEnvironment {
    /// Name of the environment. Default metadata.name. Example: pandora
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// Address that Portainer's page links published ports to. Example: pandora.bodkys.house
    #[serde(rename = "publicURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub public_url: Option<String>,
    /// Name of an environment group, which must exist. Example: homelab
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub group: Option<String>,
    /// Names of tags, at most 64. Example: [home]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 255)))]
    pub tags: Vec<String>,
}

fn yes() -> bool {
    true
}

fn docker_port() -> i32 {
    2376
}

fn certs() -> String {
    "/etc/docker/certs".into()
}
