//! PortainerClients that select the same host in, the problem of those that must not register it out: on one server, the
//! one that registered the host keeps it, else the oldest registers it.

use super::problem::RegistrationProblem;
use crate::api::condition::Reason;
use k8s_openapi::jiff::Timestamp;

/// A PortainerClient's claim to a host that it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the PortainerClient.
    pub client: String,
    /// Its creationTimestamp; `None` without a cluster, where the first in the files counts as the oldest.
    pub created: Option<Timestamp>,
    /// InstanceID of its server, once that is known.
    pub instance: Option<String>,
    /// It already has an environment of the host there.
    pub registered: bool,
}

/// Why that PortainerClient must not register the host: another one does, on the same server.
pub fn conflict(client: &str, claims: &[Claim]) -> Option<RegistrationProblem> {
    let own = claims.iter().position(|claim| claim.client == client)?;
    let instance = claims[own].instance.as_ref()?;
    let rank = |index: usize| (!claims[index].registered, claims[index].created, index);
    let same = (0..claims.len()).filter(|index| claims[*index].instance.as_ref() == Some(instance));
    let first = same.min_by_key(|index| rank(*index)).filter(|first| *first != own)?;
    let message = format!(
        "PortainerClient {} registers this host in the same Portainer: let only one of them select it",
        claims[first].client
    );
    Some(RegistrationProblem::new(Reason::NameConflict, message))
}
