//! TCP, TLS and HTTP where more than one adapter needs them.

pub mod destinations;
pub(in crate::adapters) mod http_get;
pub mod http_probe;
pub mod http_server;
mod resolve;
pub(in crate::adapters) mod tcp;
pub mod tls_client;
pub(in crate::adapters) mod tls_verifier;
