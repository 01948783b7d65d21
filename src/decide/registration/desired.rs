//! The specs of a PortainerClient and a host in, the environment that one Portainer should have for the host out.

use super::problem::RegistrationProblem;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::DockerHostCertSpec;
use crate::api::portainer_client::{Adoption, TlsVerification};
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{Object, ObjectRef, Spec};

pub use crate::api::assignment::DesiredEnvironment;

/// Beginning of every tag that marks an environment as Dockseal's.
pub const MARK: &str = "dockseal/";

/// The certificates that a registration uses, and what is known of the one that dockerd serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationInput {
    /// Fingerprint of Portainer's client certificate (SHA-256, hex).
    pub client: String,
    /// SHA-256 (hex) of the trust bundle of the host's authority.
    pub bundle: String,
    /// Fingerprint of the host's certificate as it is stored.
    pub stored: String,
    /// What is known of the certificate that dockerd serves.
    pub proof: Proof,
}

/// What is known of the certificate that dockerd serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// dockerd serves the leaf of that fingerprint, as a companion has seen.
    Serves(String),
    /// Nothing: dockerd has to be asked before an environment is made.
    Ask,
    /// dockerd does not serve what is wanted, or it cannot be asked.
    Not(RegistrationProblem),
}

impl DesiredEnvironment {
    /// The environment that a PortainerClient should have for a host; `None` if the host has no address. `authority` is
    /// the fingerprint of the PortainerClient's authority.
    pub fn of(client: &Object, host: &Object, authority: &str) -> Option<DesiredEnvironment> {
        let (Spec::Portainer(spec), Spec::Host(host_spec)) = (&client.spec, &host.spec) else { return None };
        let named = host_spec.portainer.clone().unwrap_or_default();
        let environment = &spec.environment;
        let (dialled, port) = dialled(host_spec)?;
        let mut tags = environment.tags.clone();
        tags.extend(named.tags);
        tags.retain(|tag| !tag.starts_with(MARK));
        tags.sort();
        tags.dedup();
        Some(DesiredEnvironment {
            client: client.at.name.clone(),
            marker: marker(&client.at, authority),
            name: named.name.filter(|name| !name.is_empty()).unwrap_or_else(|| host.at.name.to_string()),
            host: dialled,
            port,
            public_url: named.public_url,
            group: named.group.or_else(|| environment.group.clone()),
            tags,
            verify_server: environment.tls_verification == TlsVerification::ServerAndClient,
            adopt: spec.adoption == Adoption::MatchingUrl,
        })
    }

    /// Beginning of the markers of its PortainerClient, which is in that namespace.
    pub fn family(&self, namespace: &str) -> String {
        family(namespace, &self.client)
    }

    /// `tcp://host:port`, the form that Portainer stores.
    pub fn url(&self) -> String {
        url(&self.host, self.port)
    }

    /// An empty report of that registrar on this environment.
    pub fn report(&self, registrar: Registrar) -> EnvironmentReport {
        EnvironmentReport { portainer_client: self.client.to_string(), registrar, ..EnvironmentReport::default() }
    }
}

/// The tag by which a PortainerClient recognises its environments. It stays the same if the PortainerClient is deleted and
/// made again, restored from a backup, or moved into a cluster; a cluster with another authority has another tag.
pub fn marker(client: &ObjectRef, authority: &str) -> String {
    let short = authority.get(..8).unwrap_or(authority);
    format!("{}{short}", marker_family(client))
}

/// Beginning of the markers of a PortainerClient, for any authority.
pub fn marker_family(client: &ObjectRef) -> String {
    family(&client.namespace, &client.name)
}

fn family(namespace: &str, client: &str) -> String {
    format!("{MARK}{namespace}/{client}/")
}

/// End of the second tag of an environment that was adopted: such an environment is never deleted.
pub const ADOPTED: &str = "/adopted";

/// The second tag of an adopted environment.
pub fn adopted_marker(marker: &str) -> String {
    format!("{marker}{ADOPTED}")
}

/// A companion delivers to the host and has not seen dockerd serve the certificate.
pub fn not_served_yet() -> RegistrationProblem {
    let message = "the host is registered when its companion sees that dockerd serves the certificate";
    RegistrationProblem::new(Reason::AwaitingServing, message)
}

/// `tcp://host:port` that clients connect to; `None` if the spec has neither a name nor an address.
pub fn dialled_url(spec: &DockerHostCertSpec) -> Option<String> {
    dialled(spec).map(|(host, port)| url(&host, port))
}

fn url(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("tcp://[{host}]:{port}"),
        false => format!("tcp://{host}:{port}"),
    }
}

/// Name or IP address that clients connect to, and the port.
pub fn dialled(spec: &DockerHostCertSpec) -> Option<(String, u16)> {
    let address = spec.address.clone().unwrap_or_default();
    let host = address.host.or_else(|| spec.hostname.clone()).or_else(|| spec.ip_addresses.first().cloned())?;
    Some((host.trim_end_matches('.').to_owned(), u16::try_from(address.port).ok()?))
}
