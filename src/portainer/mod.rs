//! What Portainer says and is told: its JSON, its paths and its forms, to facts of ours and back. No I/O, no policy.

pub mod environment;
pub mod multipart;
pub mod sanitize;
pub mod version;
pub mod wire;

pub use environment::{
    Environment, EnvironmentChange, EnvironmentTls, File, NewEnvironment, NewTls, TlsFiles, same_address,
};
pub use version::too_old;
pub use wire::{ErrorBody, Group, SystemStatus, Tag, User};
