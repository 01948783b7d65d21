//! The outside itself: clock, entropy, and where Secrets and statuses are kept. It decides nothing.

pub mod clock;
pub mod entropy;
pub mod kube_store;
pub mod lease;
pub mod store;

pub use clock::Clock;
pub use store::{Store, StoreError};
