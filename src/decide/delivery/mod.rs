//! Deliveries to hosts: is what the Secret holds fit for a host, and what must become of its files and its dockerd.

pub mod arrival;
pub mod courier;
pub mod daemon;
pub mod files;
pub mod material;
pub mod memory;
pub mod order;
pub mod report;
pub mod restart;
pub mod target;

pub use arrival::{Arrival, Stored, arrival};
pub use courier::Courier;
pub use daemon::{Observed, Plan, plan};
pub use material::Material;
pub use memory::Memory;
