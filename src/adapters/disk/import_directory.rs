//! A directory in; its files with their permissions out. It changes nothing.

#![expect(clippy::disallowed_methods, reason = "those files are read here")]

use super::file_error::FileError;
use crate::pki::import::FoundFile;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Levels of directories below it that are read.
const DEPTH: usize = 2;
/// Larger files were not made by openssl.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// A directory of certificates has fewer files.
const MAX_FILES: usize = 2000;

/// Reads the files of a directory and of those in it, by name; hidden ones, large ones and links to directories are
/// passed over.
///
/// # Errors
/// [`FileError`] where something is there and cannot be read, or is too much.
pub fn read(directory: &Path) -> Result<Vec<FoundFile>, FileError> {
    let mut files = Vec::new();
    collect(directory, "", DEPTH, &mut files)?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn collect(directory: &Path, below: &str, depth: usize, files: &mut Vec<FoundFile>) -> Result<(), FileError> {
    let fail = |path: &Path| FileError::of("read", path);
    for entry in fs::read_dir(directory).map_err(fail(directory))? {
        let entry = entry.map_err(fail(directory))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let link = entry.file_type().map_err(fail(&path))?.is_symlink();
        let Ok(found) = fs::metadata(&path) else { continue }; // a link to nothing
        let at = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if name.starts_with('.') {
            continue;
        }
        if found.is_dir() && !link && depth > 0 {
            collect(&path, &at, depth - 1, files)?;
        } else if found.is_file() && found.len() <= MAX_FILE_BYTES {
            if files.len() == MAX_FILES {
                return Err(fail(directory)(io::Error::other(format!("it holds more than {MAX_FILES} files"))));
            }
            let bytes = Zeroizing::new(fs::read(&path).map_err(fail(&path))?);
            files.push(FoundFile { path: at, mode: found.permissions().mode() & 0o7777, bytes });
        }
    }
    Ok(())
}
