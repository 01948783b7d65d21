//! The delivery of a host's certificate, as far as the cluster decides it: a spec, what the administrator allows and what
//! companions report come in; who delivers, the rights that they need, whose turn it is to restart dockerd, and how far
//! the delivery is go out. What happens on the host is decided in `decide::host`.

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
