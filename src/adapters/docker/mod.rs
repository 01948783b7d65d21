//! What dockerd answers over the network: pings, probes and scans. Nothing here changes a host.

pub mod authority_proof;
pub mod exposure;
#[cfg(test)]
mod fake;
pub mod ping;
pub mod probe;
mod request;
pub mod scan;
