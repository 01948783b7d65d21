//! The state directory: created, recognised, and locked by one process. It reads and writes nothing else in it.

#![expect(clippy::disallowed_methods, reason = "the state directory is opened here")]

use super::atomic_files;
use super::file_error::FileError;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MARKER: &str = "dockseal state directory, version 1\n";
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
    _lock: File,
}

impl StateDirectory {
    /// Opens the directory, creates it where it is absent, and removes what an interrupted write left behind.
    ///
    /// # Errors
    /// [`DirectoryError`]; the directory is as it was then.
    pub fn open(path: &Path) -> Result<StateDirectory, DirectoryError> {
        if !atomic_files::make_root(path)? {
            check_owner(path)?;
            atomic_files::check_writable(path)?;
        }
        let lock = path.join("lock");
        if !is_marked(path)? {
            check_empty(path)?;
            atomic_files::keep_private(path)?;
            atomic_files::replace_file(&lock, MARKER.as_bytes())?;
        }
        let held = hold(path, &lock)?;
        atomic_files::remove_leftovers(path, 3)?;
        Ok(StateDirectory { path: path.to_owned(), _lock: held })
    }

    /// Checks that a directory is a state directory, before it is read without the lock.
    ///
    /// # Errors
    /// [`DirectoryError`] where it is not, or cannot be read.
    pub fn recognise(path: &Path) -> Result<(), DirectoryError> {
        if is_marked(path)? { Ok(()) } else { Err(DirectoryError::Missing(path.to_owned())) }
    }
}

fn check_owner(path: &Path) -> Result<(), DirectoryError> {
    let found = std::fs::metadata(path).map_err(FileError::of("read", path))?;
    let (owner, me) = (found.uid(), rustix::process::geteuid().as_raw());
    if !found.is_dir() {
        return Err(DirectoryError::NoDirectory(path.to_owned()));
    }
    if owner != me {
        return Err(DirectoryError::OtherOwner { path: path.to_owned(), owner, me });
    }
    Ok(())
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
fn holder(lock: &File) -> Option<u32> {
    let found = lock.metadata().ok()?;
    let inode = format!(":{}", found.ino());
    let list = std::fs::read_to_string("/proc/locks").ok()?;
    let held = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = held
        .into_iter()
        .find(|words| words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|at| at.ends_with(&inode)));
    ours?.get(4)?.parse().ok().filter(|pid| *pid > 0)
}
