//! What the product relies on in Portainer, tested on the stand-in, or on a real server that is named.

#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod change;
mod create;
mod dockerd;
mod failures;
mod fixture;
mod half;
mod keys;
mod list;
mod rights;
mod rotate;
mod server;
mod upload;
