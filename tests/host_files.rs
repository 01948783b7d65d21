//! The certificate files of a host, on real file systems and against real attackers. Some of it needs root.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::disallowed_methods, reason = "tests may touch clock, files and processes; the product only in world/")]

#[path = "host_files/layout.rs"]
mod layout;
#[path = "host_files/place.rs"]
mod place;
