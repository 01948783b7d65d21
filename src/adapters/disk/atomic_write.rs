//! The one atomic write of a path: made aside, synced, renamed into place, and the directory synced. It never follows a
//! link at the path itself, and never decides what is written.
//!
//! `adapters::host::cert_dir` does not use it: others may move what is above a host's certificates, so it works on open
//! directories and not on paths.

#![expect(clippy::disallowed_methods, reason = "files are written here")]

use crate::adapters::random::random;
use rustix::fs::{Gid, Uid};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What every name begins with that is not in its place yet, or no longer.
pub const ASIDE: &str = ".dockseal-";

/// Permission bits, and owner and group where they are not the process's own.
#[derive(Clone, Copy, Debug)]
pub struct FileAccess {
    /// Permission bits, whatever the umask is.
    pub mode: u32,
    pub owner: Option<(u32, u32)>,
}

impl FileAccess {
    /// Those permission bits, for the process's own user.
    pub fn mode(mode: u32) -> FileAccess {
        FileAccess { mode, owner: None }
    }
}

/// A name beside `path` that nobody can have taken.
pub fn aside(path: &Path) -> PathBuf {
    path.with_file_name(format!("{ASIDE}{}", crate::pki::hex(&random()[..8])))
}

/// Creates and syncs a file; where that fails, it is removed again. What has its name already stays: `AlreadyExists`.
///
/// # Errors
/// What the system says.
pub fn create_file(path: &Path, access: FileAccess, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let write = || {
        if let Some((uid, gid)) = access.owner {
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        file.set_permissions(Permissions::from_mode(access.mode))?;
        fill(&mut file)?;
        file.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(path)))
}

/// As [`create_file`], with those bytes.
///
/// # Errors
/// What the system says.
pub fn create_with(path: &Path, access: FileAccess, bytes: &[u8]) -> io::Result<()> {
    create_file(path, access, |file| file.write_all(bytes))
}

/// Puts what `make` makes at `aside` in the place of whatever has the name `path`, at once.
///
/// # Errors
/// What the system says; what was there is still there then, unless only the directory could not be synced.
pub fn replace(path: &Path, aside: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let done = make(aside).and_then(|()| fs::rename(aside, path));
    done.inspect_err(|_| drop(fs::remove_file(aside)))?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Syncs the names in a directory, where its file system can do that (network shares say EINVAL).
///
/// # Errors
/// What the system says.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path == Path::new("") { Path::new(".") } else { path };
    match File::open(path)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}
