//! The outside: clock, randomness, disk, Docker, hosts, the API server, Portainer and the network. It decides nothing.

pub mod account_store;
pub mod clock;
pub mod descriptors;
pub mod disk;
pub mod docker;
pub mod fair;
pub mod host;
pub mod keyed_locks;
pub mod kube;
pub mod net;
pub mod portainer;
pub mod random;
pub mod slow_work;
pub mod store;
pub mod terminal;

pub use clock::Clock;
pub use disk::store::DiskStore;
pub use store::{Store, StoreError};
