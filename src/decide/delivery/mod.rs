//! How a host's certificate gets there: who brings it and what they may do, what must become of the host's files and of
//! its dockerd, and whether it has arrived.

pub mod allowlist;
pub mod assignment;
pub mod conflict;
pub mod deliverer;
pub mod progress;
pub mod rbac;
pub mod rolling_restart;
pub mod stale_report;

pub use allowlist::Allowlist;
pub use deliverer::Deliverer;
pub use progress::{DeliveryProgress, StoredCertificate, progress};
