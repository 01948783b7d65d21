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

/// The files of a directory.
#[derive(Debug, Default)]
pub struct ImportDirectory {
    /// Those that were read, by name.
    pub files: Vec<FoundFile>,
    /// Those that were not, and why.
    pub skipped: Vec<(String, &'static str)>,
}

/// Reads the files of a directory and of those in it; hidden ones are passed over.
///
/// # Errors
/// [`FileError`] where something is there and cannot be read, or is too much.
pub fn read(directory: &Path) -> Result<ImportDirectory, FileError> {
    let mut found = ImportDirectory::default();
    collect(directory, "", DEPTH, &mut found)?;
    found.files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

fn collect(directory: &Path, below: &str, depth: usize, into: &mut ImportDirectory) -> Result<(), FileError> {
    let fail = |path: &Path| FileError::of("read", path);
    for entry in fs::read_dir(directory).map_err(fail(directory))? {
        let entry = entry.map_err(fail(directory))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let link = entry.file_type().map_err(fail(&path))?.is_symlink();
        let at = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if name.starts_with('.') {
            continue;
        }
        let Ok(found) = fs::metadata(&path) else {
            into.skipped.push((at, "it is a link to a file that is not there"));
            continue;
        };
        if found.is_dir() && !link && depth > 0 {
            collect(&path, &at, depth - 1, into)?;
        } else if let Some(why) = not_read(&found, link) {
            into.skipped.push((at, why));
        } else {
            if into.files.len() == MAX_FILES {
                return Err(fail(directory)(io::Error::other(format!("it holds more than {MAX_FILES} files"))));
            }
            let bytes = Zeroizing::new(fs::read(&path).map_err(fail(&path))?);
            into.files.push(FoundFile { path: at, mode: found.permissions().mode() & 0o7777, bytes });
        }
    }
    Ok(())
}

/// Why what is there is not read.
fn not_read(found: &fs::Metadata, link: bool) -> Option<&'static str> {
    if found.is_dir() {
        let too_deep = "it is a directory further down than is looked into: name it itself";
        return Some(if link { "it is a link to a directory: name that directory itself" } else { too_deep });
    }
    if !found.is_file() {
        return Some("it is not a file");
    }
    (found.len() > MAX_FILE_BYTES).then_some("it is larger than 1 MiB, more than certificates take")
}
