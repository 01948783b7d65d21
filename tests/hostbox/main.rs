//! That a box is what it stands for: a Docker host with systemd.

#![allow(clippy::disallowed_methods, reason = "tests may touch clock, files and processes; the product only in world/")]

#[path = "../support/mod.rs"]
mod support;

mod cuts;
mod disk;
mod faithful;
mod first;
mod home;
mod killed;
mod listen;
mod probe;
mod renewal;
mod rollback;
mod world;
