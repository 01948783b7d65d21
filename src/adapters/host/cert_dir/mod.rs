//! The certificate files of a Docker host: whole sets go in, facts come out, and nobody else on the host can redirect
//! either. It decides nothing and never writes over a file that is not ours unless it is told to.
//!
//! ```text
//!   DIR/ca.pem, NAME.pem, NAME.key   relative links .dockseal/current/...
//!   DIR/.dockseal/current            a relative link to one generation; one rename moves it
//!   DIR/.dockseal/<n>/               a generation: ca.pem, NAME.pem, NAME.key, .probe.pem, .probe.key
//!   DIR/.dockseal/owner              which object has the directory: Kind/namespace/name, uid
//!   DIR/.dockseal/lock               held by the one that writes
//!   DIR/.dockseal/.aside-*           not in its place yet, or no longer
//! ```
//!
//! A number is taken again only where its generation was removed and no later one is there.
//!
//! The order of calls that keeps the three names one set whenever it is interrupted: `remove_leftovers`, `claim`; `link_names` over
//! anything where the directory was delivered to before ([`DirContents::is_delivered_by`]), else `take_over` where that is
//! wanted; `write_generation`, `set_current`, `link_names` over nothing, `prune`.

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
pub use contents::{DirContents, Generation, Owner, PublicName};
pub use directory::{CertDir, GenerationFiles, IGNORED_FILES, watch_paths};
pub use error::{DeliveryError, UnsafePath};
pub use public_links::Overwrite;

#[cfg(test)]
mod tests;
