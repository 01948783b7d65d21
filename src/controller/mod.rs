//! The cluster's door: watches in, walks out. One leader at a time.

pub mod accounts;
pub mod admin;
mod figures;
pub mod index;
pub mod metrics;
pub mod part_watches;
pub mod queue;
pub mod references;
pub mod registration;
pub mod run;
pub mod watch_faults;
pub mod watches;
pub mod work;

pub use run::{ControllerSettings, run};
