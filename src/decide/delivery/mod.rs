//! How a host's certificate gets there: who brings it, and whether it has arrived.

pub mod arrival;
pub mod courier;

pub use arrival::{Arrival, Stored, arrival};
pub use courier::Courier;
