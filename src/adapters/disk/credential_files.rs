//! Files with keys for users, and the Docker CLI. Existing files are replaced only where that is asked for; no key is
//! ever readable by other users, or an argument of a program.

#![expect(clippy::disallowed_methods, reason = "files for users are written here")]

use super::atomic_write::{self, FileAccess, aside, create_with};
use super::file_error::FileError;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Private keys are in all of these files.
const PRIVATE: FileAccess = FileAccess { mode: 0o600, owner: None };

/// Why files were not written, or the Docker CLI failed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialFileError {
    /// It would overwrite a file.
    #[error("{0} is there already: give --force to replace it")]
    Occupied(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no Docker CLI.
    #[error(
        "failed to run docker: {0}: is the Docker CLI installed? Without it, give -o FILE and import the file where it is: docker context import"
    )]
    NoDocker(io::Error),
    #[error("docker {what} failed: {said}")]
    Docker { what: String, said: String },
}

/// Writes a file for its owner alone. What is there is replaced only with `replace`, and then at once.
///
/// # Errors
/// [`CredentialFileError`]; what was there is there still.
pub fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), CredentialFileError> {
    let create = |path: &Path| create_with(path, PRIVATE, bytes);
    let done = if replace { atomic_write::replace(path, &aside(path), create) } else { create(path) };
    match done {
        Err(error) if !replace && error.kind() == ErrorKind::AlreadyExists => {
            Err(CredentialFileError::Occupied(path.to_owned()))
        }
        done => Ok(done.map_err(FileError::of("write", path))?),
    }
}

/// Makes a directory, and those above it, for its owner alone; one that is there stays as it is.
///
/// # Errors
/// [`CredentialFileError`] where it cannot be made.
pub fn make_directory(path: &Path) -> Result<(), CredentialFileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::of("make", path))?;
    Ok(())
}

/// Whether something of that name is there, be it a link to nowhere.
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// A private directory for files that a program reads; removed when it is dropped.
pub struct PrivateTempDir(PathBuf);

impl PrivateTempDir {
    /// A new one, in memory where the user has XDG_RUNTIME_DIR.
    ///
    /// # Errors
    /// [`CredentialFileError`] where it cannot be made.
    pub fn new() -> Result<PrivateTempDir, CredentialFileError> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let path = aside(&runtime.unwrap_or_else(std::env::temp_dir).join("docker"));
        DirBuilder::new().mode(0o700).create(&path).map_err(FileError::of("make", &path))?;
        Ok(PrivateTempDir(path))
    }

    /// Writes a file into it and returns its path.
    ///
    /// # Errors
    /// [`CredentialFileError`] where it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, CredentialFileError> {
        let path = self.0.join(name);
        create_with(&path, PRIVATE, bytes).map_err(FileError::of("write", &path))?;
        Ok(path)
    }
}

impl Drop for PrivateTempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the Docker CLI, with `input` on its standard input; what it printed, whether it did it or not.
///
/// # Errors
/// [`CredentialFileError::NoDocker`].
pub fn docker(arguments: &[&str], input: &[u8]) -> Result<Output, CredentialFileError> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(CredentialFileError::NoDocker)?;
    // It may end before it has read all, and then prints why.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(input));
    child.wait_with_output().map_err(CredentialFileError::NoDocker)
}

/// Runs the Docker CLI, which must succeed, and returns what it printed.
///
/// # Errors
/// [`CredentialFileError`] with what it printed.
pub fn docker_output(arguments: &[&str], input: &[u8]) -> Result<String, CredentialFileError> {
    let output = docker(arguments, input)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(CredentialFileError::Docker {
            what: arguments.iter().take(2).copied().collect::<Vec<_>>().join(" "),
            said,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
