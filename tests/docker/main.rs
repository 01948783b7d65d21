//! What `dockseal up` makes, judged by openssl and by a real dockerd with the Docker CLI.

#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

#[path = "../support/mod.rs"]
mod support;

mod adopted;
mod delivered;
mod docker;
mod issued;
mod openssl;
