//! Portainer's API as values: JSON, paths and forms in and out. It does no I/O and decides nothing.
#![warn(missing_docs)]

pub mod environment;
pub mod multipart;
pub mod path;
pub mod prune;
pub mod sanitize;
pub mod version;
pub mod wire;

pub use environment::{DOCKER_API, File, NewEnvironment, NewTls, TlsFiles, same_address};
pub use version::too_old;
pub use wire::{Answer, Environment, EnvironmentChange, EnvironmentTls, ErrorBody, Group, SystemStatus, Tag, User};
