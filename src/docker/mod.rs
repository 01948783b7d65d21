//! What Docker expects: daemon.json, units, listeners, contexts and the answers of its API. Text and bytes in, facts and
//! text out; no I/O, no policy.
#![warn(missing_docs)]

pub mod archive;
pub mod authority_proof;
pub mod client_trust;
pub mod context;
pub mod daemon_json;
pub mod engine;
pub mod exposure;
pub mod listen;
pub mod scan;
pub mod unit;

pub use daemon_json::{DaemonJson, DaemonJsonError, NotEnforced, TlsPaths, TlsSettings, Wanted, enforces_client_auth};
pub use listen::{DockerHostVariable, Listen, ListenAddressError, docker_host};
pub use unit::{ExecError, ExecLine};
