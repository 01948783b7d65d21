//! Portainer over HTTP: the port that registration uses, and the client that sends the requests.

mod access;
mod api;
mod auth_header;
mod call;
mod client;
mod connection;
mod error;
mod port;
mod reply;
mod request_metrics;
mod session;

pub use access::{Access, RequestTimeouts, ServerCredential};
pub use client::PortainerApi;
pub use error::{AccessError, PortainerError};
pub use port::{ClientPem, MachineNetwork, Network, PortainerServer, Response};
pub use request_metrics::{BOUNDS, Counts, Durations, Operation, Outcome, RequestMetrics};

#[cfg(test)]
mod tests;
