//! What should happen: facts in, plans and statuses out. No I/O, no clock, no randomness.
#![warn(missing_docs)]

pub mod adoption;
pub mod authority;
pub mod backoff;
pub mod delays;
pub mod deletion;
pub mod delivery;
pub mod host;
pub mod leaf;
pub mod problem;
pub mod registration;
pub mod status;
pub mod verify;

pub use problem::Problem;
