//! What dockerd answers over the network: pings, probes and scans. Nothing here changes a host.

pub mod ping;
pub mod probe;
pub mod scan;
