//! What Docker expects: daemon.json, units, listeners and files. No I/O, no policy.

pub mod archive;
pub mod context;
pub mod daemon_json;
pub mod engine;
pub mod listen;
pub mod scan;
pub mod unit;

pub use daemon_json::{DaemonJson, DaemonJsonError, NotEnforced, TlsPaths, TlsSettings, Wanted, enforces_client_auth};
pub use listen::{DockerHostVariable, Listen, ListenAddressError, docker_host};
pub use unit::{ExecError, ExecLine};
