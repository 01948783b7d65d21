//! The certificate files of a Docker host: whole sets of files in, facts out. Other users of the host can redirect
//! neither. It decides nothing, and overwrites files of others only where it is told to.
//!
//! ```text
//!   DIR/ca.pem, NAME.pem, NAME.key   relative links .dockseal/current/...
//!   DIR/.dockseal/current            a relative link to one generation; one rename moves it
//!   DIR/.dockseal/<n>/               a generation: ca.pem, NAME.pem, NAME.key, .probe.pem, .probe.key
//!   DIR/.dockseal/owner              the marker: which object the directory is delivered for, by whom (api/marker.rs)
//!   DIR/.dockseal/lock               locked by the process that writes
//!   DIR/.dockseal/running            locked by an `up` for as long as it runs
//!   DIR/.dockseal/.aside-*           an unfinished write or removal
//! ```
//!
//! The number of a removed generation is used again only where no later one exists.
//!
//! The order of calls that keeps the three names one set, wherever it is interrupted: `remove_leftovers`, `claim`;
//! `link_names` with [`Overwrite::Always`] where the directory was delivered to before
//! ([`DirContents::is_delivered_by`]), else `take_over` where that is wanted; `write_generation`, `set_current`,
//! `link_names` with [`Overwrite::Never`], `prune`.

mod bytes;
mod contents;
mod dir_handle;
mod directory;
mod error;
mod layout;
mod public_links;
mod removal;
mod safe_path;
mod state_dir;
mod write_lock;

pub use bytes::Bytes;
pub use contents::{DirContents, Generation, PublicName};
pub use directory::{CertDir, GenerationFiles, RunningLock, is_ignored, watch_paths};
pub use error::{DeliveryError, UnsafePath};
pub use public_links::Overwrite;

#[cfg(test)]
mod tests;
