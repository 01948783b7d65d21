//! Two PortainerClients that would register one host in one Portainer: whoever holds it keeps it, else the older has it.

use super::problem::RegistrationProblem;
use crate::api::condition::Reason;
use k8s_openapi::jiff::Timestamp;

/// A PortainerClient that selects a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub client: String,
    /// When it was made; none without a cluster, where the first in the files is the older.
    pub created: Option<Timestamp>,
    /// InstanceID of its server, once it is known.
    pub instance: Option<String>,
    /// It has an environment of the host there already.
    pub holds: bool,
}

/// Why that client may not register the host: another one does, on the same server.
pub fn lost(client: &str, claims: &[Claim]) -> Option<RegistrationProblem> {
    let own = claims.iter().position(|claim| claim.client == client)?;
    let instance = claims[own].instance.as_ref()?;
    let rank = |index: usize| (!claims[index].holds, claims[index].created, index);
    let same = (0..claims.len()).filter(|index| claims[*index].instance.as_ref() == Some(instance));
    let first = same.min_by_key(|index| rank(*index)).filter(|first| *first != own)?;
    let message = format!(
        "PortainerClient {} registers this host in the same Portainer: let only one of them select it",
        claims[first].client
    );
    Some(RegistrationProblem::new(Reason::NameConflict, message))
}
