//! That a box is what it stands for: a Docker host with systemd.

#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

#[path = "../support/mod.rs"]
mod support;

mod containers;
mod cuts;
mod disk;
mod drift;
mod enrolled;
mod exposure;
mod faithful;
mod first;
mod fixture;
mod homelab;
mod howto;
mod killed;
mod listen;
mod pages;
mod probe;
mod race;
mod removal;
mod renewal;
mod rollback;
mod takeover;
mod used_host;
mod ways;
