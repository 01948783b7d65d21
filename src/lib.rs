//! Dockseal: mutual TLS for Docker hosts.

pub mod api;
pub mod cli;
pub mod controller;
pub mod decide;
pub mod hallway;
pub mod local;
pub mod pki;
pub mod world;
