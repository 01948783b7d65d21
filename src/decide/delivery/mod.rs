//! How a host's certificate gets there: who brings it and what they may do, what must become of the host's files and of
//! its dockerd, and whether it has arrived.

pub mod arrival;
pub mod assign;
pub mod contest;
pub mod courier;
pub mod daemon;
pub mod files;
pub mod leftover;
pub mod listing;
pub mod material;
pub mod memory;
pub mod order;
pub mod report;
pub mod restart;
pub mod rights;
pub mod target;
pub mod turns;

pub use arrival::{DeliveryProgress, StoredCertificate, arrival};
pub use courier::Deliverer;
pub use daemon::{DaemonPlan, ObservedDaemon, plan};
pub use listing::Allowlist;
pub use material::Material;
pub use memory::DaemonState;

#[cfg(test)]
mod tests;
