//! What is asked of one Portainer for one host: two specs and what is stored for them in, checked values out.

use super::problem::RegistrationProblem;
use crate::api::docker_host_cert::DockerHostCertSpec;
use crate::api::portainer_client::{Adoption, TlsVerification};
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{Kind, Object, ObjectRef, Spec};

pub use crate::api::assignment::DesiredEnvironment;

/// Tags that mark environments as ours begin so.
pub const MARK: &str = "dockseal/";

/// What is to be used and proved for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationInput {
    /// Fingerprint of Portainer's client certificate.
    pub client: String,
    /// SHA-256 of the trust bundle of the host's authority.
    pub bundle: String,
    /// Fingerprint of the host's certificate as it is stored.
    pub stored: String,
    /// What is known of the certificate that dockerd serves.
    pub proof: Proof,
}

/// Who knows what dockerd serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A companion: it serves the leaf of that fingerprint.
    Serves(String),
    /// Nobody: it has to be asked before anything is made.
    Ask,
    /// It does not serve what is wanted, or nobody knows.
    Not(RegistrationProblem),
}

impl DesiredEnvironment {
    /// The order of a PortainerClient for a host. `authority` is the fingerprint of the client's authority.
    pub fn of(client: &Object, host: &Object, authority: &str) -> Option<DesiredEnvironment> {
        let (Spec::Portainer(spec), Spec::Host(wishes)) = (&client.spec, &host.spec) else { return None };
        let named = wishes.portainer.clone().unwrap_or_default();
        let environment = &spec.environment;
        let (dialled, port) = dialled(wishes)?;
        let mut tags = environment.tags.clone();
        tags.extend(named.tags);
        tags.retain(|tag| !tag.starts_with(MARK));
        tags.sort();
        tags.dedup();
        Some(DesiredEnvironment {
            client: client.at.name.to_string(),
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

    /// What the markers of its PortainerClient begin with, in the namespace of both.
    pub fn family(&self, namespace: &str) -> String {
        marker_family(&ObjectRef::new(Kind::PortainerClient, namespace, &self.client))
    }

    /// `tcp://host:port`, as Portainer has it.
    pub fn url(&self) -> String {
        url(&self.host, self.port)
    }

    /// A report on this order by that registrar, of nothing yet.
    pub fn report(&self, registrar: Registrar) -> EnvironmentReport {
        EnvironmentReport { portainer_client: self.client.clone(), registrar, ..EnvironmentReport::default() }
    }
}

/// The tag by which a PortainerClient knows its environments: the same after it was deleted and made again, restored
/// from a backup, or moved into a cluster; another one in another cluster with an authority of its own.
pub fn marker(client: &ObjectRef, authority: &str) -> String {
    let short = authority.get(..8).unwrap_or(authority);
    format!("{}{short}", marker_family(client))
}

/// What the markers of a PortainerClient begin with, whatever its authority.
pub fn marker_family(client: &ObjectRef) -> String {
    format!("{MARK}{}/{}/", client.namespace, client.name)
}

/// What the tag ends with that marks, beside the marker, an environment that somebody else made: it is never removed.
pub const ADOPTED: &str = "/adopted";

/// That tag.
pub fn adopted_marker(marker: &str) -> String {
    format!("{marker}{ADOPTED}")
}

/// `tcp://host:port` that clients dial; none where the spec names neither.
pub fn dialled_url(spec: &DockerHostCertSpec) -> Option<String> {
    dialled(spec).map(|(host, port)| url(&host, port))
}

fn url(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("tcp://[{host}]:{port}"),
        false => format!("tcp://{host}:{port}"),
    }
}

/// Name or address that clients dial, and the port.
pub fn dialled(spec: &DockerHostCertSpec) -> Option<(String, u16)> {
    let address = spec.address.clone().unwrap_or_default();
    let host = address.host.or_else(|| spec.hostname.clone()).or_else(|| spec.ip_addresses.first().cloned())?;
    Some((host.trim_end_matches('.').to_owned(), u16::try_from(address.port).ok()?))
}
