//! What the tests against a real API server share. Each test binary uses a part of it.
#![allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

pub mod cluster;
pub mod companion;
pub mod controller;
pub mod docker_like;
pub mod dockerd;
pub mod faults;
pub mod helm;
pub mod hostbox;
pub mod listening;
pub mod load;
pub mod page_commands;
pub mod pages;
pub mod portainer;
pub mod ports;
pub mod relay;
pub mod resolver;
pub mod scratch;
