//! daemon.json (docs.docker.com, dockerd): bytes in, facts and a changed text out. Members that Dockseal does not set
//! are kept as they are.

mod document;
mod merge;
mod settings;
mod tls_enforced;

pub use document::{DaemonJson, DaemonJsonError};
pub use merge::{NotOurs, Wanted};
pub use settings::{TlsPaths, TlsSettings};
pub use tls_enforced::{NotEnforced, enforces_client_auth};

#[cfg(test)]
mod tests;
