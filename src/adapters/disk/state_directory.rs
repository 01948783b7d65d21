//! The state directory: created, recognised, and locked by one process. It reads and writes nothing else in it.

#![expect(clippy::disallowed_methods, reason = "the state directory is opened here")]

use super::atomic_files;
use super::file_error::FileError;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MARKER: &str = "dockseal state directory, version 1\n";
/// What others may not do there: write, and for those outside the group anything at all.
const OTHERS: u32 = 0o027;
/// An empty file system has this directory.
const LOST_AND_FOUND: &str = "lost+found";

/// Why a directory cannot be the state directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0} is not a directory: choose another with --state")]
    NoDirectory(PathBuf),
    #[error("{path} belongs to uid {owner}, and this is uid {me}: run as its owner, or choose another with --state")]
    OtherOwner { path: PathBuf, owner: u32, me: u32 },
    #[error(
        "{0} holds files and is not a state directory of dockseal: choose an empty one, or a new name, with --state"
    )]
    Occupied(PathBuf),
    #[error("{0} is not a state directory of dockseal: name the one that `dockseal up` wrote with --state")]
    Missing(PathBuf),
    /// It was written by a version that kept no objects.
    #[error(
        "{0} does not say which objects it is about: run this version's `dockseal up FILE... --once --state {0}` first"
    )]
    NoObjects(PathBuf),
    #[error("another dockseal{} uses {path}: end it first, or choose another directory with --state", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        path: PathBuf,
        /// The process, where the system says so.
        pid: Option<u32>,
    },
}

/// A state directory that no other process writes while this value lives.
#[derive(Debug)]
pub struct StateDirectory {
    pub path: PathBuf,
    /// The permissions that it had, where others could read or change it; they are its owner's alone now.
    pub restricted_from: Option<u32>,
    _lock: File,
}

impl StateDirectory {
    /// Opens the directory, creates it where it is absent, and removes what an interrupted write left behind.
    ///
    /// # Errors
    /// [`DirectoryError`]; the directory is as it was then.
    pub fn open(path: &Path) -> Result<StateDirectory, DirectoryError> {
        let mut loose = None;
        if !atomic_files::make_root(path)? {
            loose = Some(check_owner(path)? & 0o7777).filter(|mode| mode & OTHERS != 0);
            atomic_files::check_writable(path)?;
        }
        let lock = path.join("lock");
        if !is_marked(path)? {
            check_empty(path)?;
            atomic_files::keep_private(path)?;
            atomic_files::replace_file(&lock, MARKER.as_bytes())?;
        }
        let held = hold(path, &lock)?;
        if loose.is_some() {
            atomic_files::keep_private(path)?;
        }
        atomic_files::remove_leftovers(path, 3)?;
        Ok(StateDirectory { path: path.to_owned(), restricted_from: loose, _lock: held })
    }

    /// Checks that a directory is a state directory, before it is read without the lock.
    ///
    /// # Errors
    /// [`DirectoryError`] where it is not, or cannot be read.
    pub fn recognise(path: &Path) -> Result<(), DirectoryError> {
        if is_marked(path)? { Ok(()) } else { Err(DirectoryError::Missing(path.to_owned())) }
    }
}

/// Its permissions, where it is a directory of ours, and no link of another user led there.
fn check_owner(path: &Path) -> Result<u32, DirectoryError> {
    let me = rustix::process::geteuid().as_raw();
    let link = std::fs::symlink_metadata(path).map_err(FileError::of("read", path))?;
    if link.is_symlink() && ![me, 0].contains(&link.uid()) {
        return Err(DirectoryError::OtherOwner { path: path.to_owned(), owner: link.uid(), me });
    }
    let found = std::fs::metadata(path).map_err(FileError::of("read", path))?;
    let owner = found.uid();
    if !found.is_dir() {
        return Err(DirectoryError::NoDirectory(path.to_owned()));
    }
    if owner != me {
        return Err(DirectoryError::OtherOwner { path: path.to_owned(), owner, me });
    }
    Ok(found.mode())
}

fn is_marked(path: &Path) -> Result<bool, FileError> {
    Ok(atomic_files::read(&path.join("lock"))?.is_some_and(|text| text == MARKER.as_bytes()))
}

fn check_empty(path: &Path) -> Result<(), DirectoryError> {
    let empty = atomic_files::names(path)?.iter().all(|name| name == LOST_AND_FOUND);
    if empty { Ok(()) } else { Err(DirectoryError::Occupied(path.to_owned())) }
}

/// The lock is on the open file, so that it ends with the process and writes nothing.
fn hold(path: &Path, lock: &Path) -> Result<File, DirectoryError> {
    let fail = FileError::of("lock", lock);
    let file = File::open(lock).map_err(&fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse { path: path.to_owned(), pid: holder(&file) }),
        Err(TryLockError::Error(error)) => Err(fail(error).into()),
    }
}

/// The process that holds the lock, from Linux' list of locks.
pub fn holder(lock: &File) -> Option<u32> {
    let found = lock.metadata().ok()?;
    let inode = format!(":{}", found.ino());
    let list = std::fs::read_to_string("/proc/locks").ok()?;
    let held = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = held
        .into_iter()
        .find(|words| words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|at| at.ends_with(&inode)));
    ours?.get(4)?.parse().ok().filter(|pid| *pid > 0)
}
