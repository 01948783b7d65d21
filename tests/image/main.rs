//! The image as `make image` makes it: what is in it, that it needs nothing beside it, and that engines take it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

#[path = "../support/dockerd.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod dockerd;
#[path = "../support/listening.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod listening;
#[path = "../support/portainer/mod.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod portainer;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/resolver.rs"]
mod resolver;
#[path = "../support/scratch.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod scratch;

mod contents;
mod digest;
mod engine;
mod made;
mod names;
mod sbom;
