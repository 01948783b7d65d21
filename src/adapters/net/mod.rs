//! TCP, TLS and HTTP where more than one adapter needs them.

pub mod http_probe;
pub(in crate::adapters) mod tcp;
pub mod tls_verifier;
