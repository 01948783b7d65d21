//! The outside itself: clock, entropy, and where Secrets, statuses and accounts are kept. It decides nothing.

pub mod account_store;
pub mod clock;
pub mod companion_api;
pub mod daemon_host;
mod dial;
pub mod disk_store;
pub mod docker_ping;
pub mod docker_probe;
pub mod entropy;
pub mod handouts;
pub mod host_files;
pub mod kube_accounts;
pub mod kube_reader;
pub mod kube_store;
pub mod lease;
pub mod leaves;
pub mod pile;
pub mod portainer_http;
pub mod readiness;
pub mod state_directory;
pub mod store;
pub mod synced_files;
pub mod systemd;
pub mod terminal;
pub mod token;
pub mod trust;
pub mod unit_news;
pub mod visit;
pub mod watch;

pub use clock::Clock;
pub use disk_store::DiskStore;
pub use store::{Store, StoreError};
