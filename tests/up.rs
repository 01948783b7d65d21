//! `up` and `export` over a real directory.
#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "up/access.rs"]
mod access;
#[path = "up/cut.rs"]
mod cut;
#[path = "up/fixture.rs"]
mod fixture;
#[path = "up/fleet.rs"]
mod fleet;
#[path = "up/life.rs"]
mod life;
#[path = "up/load.rs"]
mod load;
#[path = "up/portainer.rs"]
mod portainer;
#[path = "up/refusals.rs"]
mod refusals;
#[path = "up/state.rs"]
mod state;
#[path = "up/writers.rs"]
mod writers;
