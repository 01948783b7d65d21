//! Why a file or directory could not be read or written, and what to do about it.

use std::io::{self, ErrorKind};
use std::path::Path;

/// A file or directory that could not be read or written, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} {path}: {}", advice_on(verb, source))]
pub struct FileError {
    /// For example "read".
    pub verb: &'static str,
    pub path: String,
    pub source: io::Error,
}

impl FileError {
    /// Names the verb and the path of an error.
    pub fn of(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> FileError + use<> {
        let path = path.display().to_string();
        move |source| FileError { verb, path: path.clone(), source }
    }
}

/// The system's word for it, and what to do.
fn advice(error: &io::Error) -> String {
    let way_out = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space there",
        ErrorKind::ReadOnlyFilesystem => "mount it writable, or choose another directory",
        ErrorKind::PermissionDenied => "run as the user it belongs to, or choose another directory",
        ErrorKind::InvalidInput => "directories cannot be swapped on that file system: choose one on a local disk",
        ErrorKind::NotFound => "make the directory it is to be in",
        ErrorKind::InvalidData => return "the file is not UTF-8 text".to_owned(),
        _ => return error.to_string(),
    };
    format!("{error}: {way_out}")
}

/// What is to be read, and is not there, needs no directory.
fn advice_on(verb: &str, error: &io::Error) -> String {
    if verb == "read" && error.kind() == ErrorKind::NotFound { error.to_string() } else { advice(error) }
}
