//! The cluster's door: watches in, walks out. One leader at a time.

pub mod account_watches;
pub mod account_worker;
pub mod admin;
pub mod index;
pub mod metrics;
mod object_metrics;
pub mod registration_worker;
pub mod run;
pub mod secret_refs;
pub mod watch_errors;
pub mod watches;
pub mod worker;
pub mod workqueue;

pub use run::{ControllerSettings, run};
