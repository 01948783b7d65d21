//! The certificate files of a host: on real file systems, killed at every step, and against another user of the host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

#[path = "cert_dir/actor.rs"]
mod actor;
#[path = "cert_dir/attacks.rs"]
mod attacks;
#[path = "cert_dir/crashes.rs"]
mod crashes;
#[path = "cert_dir/layout.rs"]
mod layout;
#[path = "cert_dir/limits.rs"]
mod limits;
#[path = "cert_dir/problems.rs"]
mod problems;
#[path = "cert_dir/test_dir.rs"]
mod test_dir;
