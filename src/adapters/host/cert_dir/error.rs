//! Why certificate files cannot be delivered, and what to do. An error never holds the content of a file.

use crate::adapters::disk::atomic_files::FileError;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Why files could not be read or delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The directory is not below one that the administrator lists.
    #[error(
        "{} is not below a directory that certificates may be delivered to on this host ({}): choose one below those, or \
         ask the administrator to list it",
        directory.display(), listed(roots)
    )]
    Outside {
        /// What was asked for.
        directory: PathBuf,
        /// What is allowed.
        roots: Vec<PathBuf>,
    },
    /// The path is not absolute, or holds `.` or `..`.
    #[error("{} must be an absolute path without . and ..", .0.display())]
    NotCanonical(PathBuf),
    /// The name cannot name files: it is not one of an object, or is `ca`, or is too long.
    #[error("{0:?} cannot name certificate files: a name is of a-z, 0-9, - and ., at most 251 bytes, and not ca")]
    Name(String),
    /// A file of another type is where a directory or a file should be.
    #[error(
        "{} is {what}, which is neither read nor written through: remove it, or choose another directory",
        path.display()
    )]
    InTheWay {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Others could replace the file or directory.
    #[error("{} {problem}", path.display())]
    Insecure {
        /// Where.
        path: PathBuf,
        /// How, and what to do.
        problem: UnsafePath,
    },
    /// The file system is mounted read-only.
    #[error("the file system of {} is mounted read-only: mount it writable, or choose another directory", .0.display())]
    ReadOnly(PathBuf),
    /// There is no space left.
    #[error("there is no space left in {}: {why}", path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What is missing, and what to do.
        why: String,
    },
    /// The kernel, or a sandbox, has no openat2.
    #[error(
        "the kernel does not offer openat2, without which other users could redirect writes: use Linux 5.6 or newer, and a \
         container runtime whose seccomp profile allows that call"
    )]
    OldKernel,
    /// Another object's files are delivered to the directory.
    #[error("{} was claimed for {owner} meanwhile: nothing more is written there", path.display())]
    Claimed {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// Another process delivers there as long as it runs.
    #[error("another dockseal{} delivers to {}: end it first, or choose another directory", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// The process, where the system says so.
        pid: Option<u32>,
    },
    /// Someone else's file has a public name.
    #[error("{} exists and was not delivered by Dockseal: move it away, or set takeOver: true", .0.display())]
    FileExists(PathBuf),
    /// The existing file cannot be taken over.
    #[error("failed to take over {}: it is {what}; put a regular file there", path.display())]
    TakeOver {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// Another process writes there.
    #[error("another process is writing in {}: let it end, then try again", .0.display())]
    Busy(PathBuf),
    /// What was read back is not what was written.
    #[error("{} does not hold what was written to it: check the disk", .0.display())]
    ReadBackDiffers(PathBuf),
    /// There is no such generation.
    #[error("{} is no longer there", .0.display())]
    NoGeneration(PathBuf),
    /// Any other error of the file system.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why others could replace a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsafePath {
    /// It belongs to another user.
    Owner {
        /// Whose.
        uid: u32,
        /// Whose it should be.
        wanted: u32,
    },
    /// Others may write there.
    Writable {
        /// Its permissions.
        mode: u32,
    },
    /// It has more permissions than it was written with.
    Mode {
        /// Its permissions.
        mode: u32,
    },
    /// It has other names elsewhere.
    Links {
        /// How many names it has.
        count: u64,
    },
}

impl std::fmt::Display for UnsafePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UnsafePath::Owner { uid, wanted } => {
                write!(f, "belongs to uid {uid}, who could replace it: chown {wanted} it")
            }
            UnsafePath::Writable { mode } => write!(f, "may be written by others (mode {mode:04o}): chmod go-w it"),
            UnsafePath::Mode { mode } => write!(f, "has the permissions {mode:04o}, more than it was written with"),
            UnsafePath::Links { count } => {
                write!(f, "has {count} hard links, so it could be changed under another name")
            }
        }
    }
}

fn listed(roots: &[PathBuf]) -> String {
    match roots {
        [] => "none".to_owned(),
        _ => roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

/// The error of a call on `path`.
pub(super) fn failed(verb: &'static str, path: &Path, error: Errno) -> DeliveryError {
    let path = path.to_owned();
    match error {
        Errno::NOSYS => DeliveryError::OldKernel,
        Errno::ROFS => DeliveryError::ReadOnly(path),
        Errno::NOSPC | Errno::DQUOT => {
            DeliveryError::NoSpace { path, why: format!("{}: remove some files there", std::io::Error::from(error)) }
        }
        Errno::LOOP => DeliveryError::InTheWay { path, what: "a symbolic link" },
        Errno::NOTDIR => DeliveryError::InTheWay { path, what: "not a directory" },
        Errno::ISDIR => DeliveryError::InTheWay { path, what: "a directory" },
        _ => FileError { verb, path: path.display().to_string(), source: error.into() }.into(),
    }
}
