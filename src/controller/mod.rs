//! The cluster's front end. Objects, Secrets and companions' accounts come in from watches of the API server; keys of what
//! changed go into work queues, and workers reconcile them. One replica leads at a time. It decides nothing: that is
//! `reconcile` and `decide`.
//!
//! ```text
//!   watches --events--> object_changes --keys--> workqueue --> worker --> *_reconciler --> reconcile
//!             state (index, accounts, registrations)  ^--- due, retried, affected by a result ---'
//! ```

mod account_reconciler;
mod account_watches;
pub mod admin;
mod exposition;
pub mod index;
mod informer;
pub mod metrics;
mod object_changes;
mod object_metrics;
mod object_reconciler;
mod registration_pairs;
mod registration_reconciler;
pub mod run;
mod secret_refs;
mod state;
mod tombstones;
mod watch_errors;
mod watches;
mod worker;
pub mod workqueue;

pub use run::{ControllerSettings, run};
