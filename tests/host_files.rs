//! The certificate files of a host: on real file systems, killed at every step, and against another user of the host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::disallowed_methods, reason = "tests may touch clock, files and processes; the product only in world/")]

#[path = "host_files/actor.rs"]
mod actor;
#[path = "host_files/attacks.rs"]
mod attacks;
#[path = "host_files/crashes.rs"]
mod crashes;
#[path = "host_files/flaws.rs"]
mod flaws;
#[path = "host_files/layout.rs"]
mod layout;
#[path = "host_files/limits.rs"]
mod limits;
#[path = "host_files/place.rs"]
mod place;
