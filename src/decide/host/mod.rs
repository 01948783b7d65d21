//! A host's files and its dockerd: the observed host in, plans and reports out. It touches no host.

pub mod daemon_config;
pub mod daemon_plan;
pub mod daemon_state;
pub mod files;
pub mod material;
pub mod observed;
pub mod old_trust;
pub mod ownership;
pub mod report;
pub mod restart_policy;
pub mod step_request;

pub use daemon_plan::{DaemonPlan, plan};
pub use daemon_state::DaemonState;
pub use material::Material;
pub use observed::ObservedDaemon;

#[cfg(test)]
mod tests;
