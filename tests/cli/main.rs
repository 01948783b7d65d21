//! The verbs for people, as the binary prints them: over a state directory of `up`, on a terminal and off it.

#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod bundle;
mod clusters;
mod context;
mod fixture;
mod help;
mod renew;
mod schema;
mod status;
mod verify;
