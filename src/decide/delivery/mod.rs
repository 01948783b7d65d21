//! How a host's certificate gets there: who brings it, what they are told and may do, and whether it has arrived.

pub mod arrival;
pub mod assign;
pub mod contest;
pub mod courier;
pub mod leftover;
pub mod listing;
pub mod rights;
pub mod turns;

pub use arrival::{Arrival, Stored, arrival};
pub use courier::Courier;
pub use listing::Listing;
