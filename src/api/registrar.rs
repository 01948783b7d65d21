//! Who registers hosts in Portainer: a field of the PortainerClient, and of each environment in a host's status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who calls Portainer's API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Registrar {
    /// The controller, which alone holds Portainer's credential.
    #[default]
    Controller,
    /// The companion of each node, for its own host.
    Companion,
}
