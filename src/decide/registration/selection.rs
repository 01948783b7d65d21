//! A PortainerClient and a host in, whether the one registers the other out, by selector and labels.

use crate::api::{Object, Spec};
use kube::core::{Selector, SelectorExt};

/// A PortainerClient with a server selects that host. An invalid selector changes nothing: hosts that were selected stay
/// selected until it is fixed.
pub fn selects(client: &Object, host: &Object) -> bool {
    let Spec::Portainer(spec) = &client.spec else { return false };
    let Some(selector) = spec.host_selector.clone() else { return false };
    if spec.server.is_none() || client.at.namespace != host.at.namespace {
        return false;
    }
    match Selector::try_from(selector) {
        Ok(selector) => selector.matches(&host.labels),
        Err(_) => names(host, client),
    }
}

/// The status of a host names that PortainerClient.
pub fn names(host: &Object, client: &Object) -> bool {
    host.environment_in(&client.at).is_some()
}
