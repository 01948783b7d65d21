//! A directory as a store: state, locks, atomic writes and watches of files.

pub mod atomic_files;
pub mod atomic_write;
pub mod credential_files;
pub mod file_error;
pub mod import_directory;
pub mod state_directory;
pub mod store;
pub mod watch;
