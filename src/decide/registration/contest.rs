//! Two PortainerClients that would register one host in one Portainer: the older has it.

use super::plan::Fault;
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
}

/// Why that client may not register the host: an older one does, on the same server.
pub fn lost(client: &str, claims: &[Claim]) -> Option<Fault> {
    let own = claims.iter().position(|claim| claim.client == client)?;
    let instance = claims[own].instance.as_ref()?;
    let older = |(index, claim): &(usize, &Claim)| {
        (claim.created, *index) < (claims[own].created, own) && claim.instance.as_ref() == Some(instance)
    };
    let (_, winner) = claims.iter().enumerate().find(older)?;
    let message = format!(
        "PortainerClient {} is older and registers this host in the same Portainer: let only one of them select it",
        winner.client
    );
    Some(Fault::new(Reason::NameConflict, message))
}
