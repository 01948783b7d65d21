//! Dockseal: mutual TLS for Docker hosts.

pub mod api;
pub mod pki;
pub mod decide;
