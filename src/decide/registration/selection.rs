//! Which hosts a PortainerClient registers: its selector held against labels, and what stays where that cannot be read.

use crate::api::{Object, Spec};
use kube::core::{Selector, SelectorExt};

/// A PortainerClient with a server selects that host. A selector that cannot be read changes nothing: whoever was
/// selected stays so until it is mended.
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
