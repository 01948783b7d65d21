//! Files and directories that are complete or absent, even after a crash. It knows no Secrets.

#![expect(clippy::disallowed_methods, reason = "files are read and written here")]

use super::atomic_write::{self, ASIDE, FileAccess, aside, create_with, sync_directory};
pub use super::file_error::FileError;
use rustix::fs::{Access, AtFlags, CWD, RenameFlags, accessat, renameat_with};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How often a directory is read again because it was replaced meanwhile.
const MAX_READS: usize = 8;

/// A file to write into a directory.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// Permissions of a file of that name: keys are their owner's alone, and nothing is written in place.
fn mode(name: &str) -> u32 {
    if name.ends_with(".key") || name == "key.pem" { 0o400 } else { 0o444 }
}

/// Reads a text that a user wrote; `-` is standard input.
///
/// # Errors
/// [`FileError`] where it cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let mut text = Zeroizing::new(String::new());
    let done = input(path).and_then(|mut input| input.read_to_string(&mut text));
    done.map_err(FileError::of("read", path))?;
    Ok(text)
}

/// Reads a file whatever is in it; `-` is standard input.
///
/// # Errors
/// [`FileError`] where it cannot be read.
pub fn read_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let done = input(path).and_then(|mut input| input.read_to_end(&mut bytes));
    done.map_err(FileError::of("read", path))?;
    Ok(bytes)
}

fn input(path: &Path) -> io::Result<Box<dyn Read>> {
    match path == Path::new("-") {
        true => Ok(Box::new(io::stdin())),
        false => Ok(Box::new(File::open(path)?)),
    }
}

/// Reads a file that may be absent.
///
/// # Errors
/// [`FileError`] where it is there and cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::of("read", path)(error)),
    }
}

/// Whether there is a directory.
pub fn is_directory(path: &Path) -> bool {
    path.is_dir()
}

/// A file in a directory, as it was read.
pub type ReadFile = (String, Zeroizing<Vec<u8>>);

/// Reads the plain files of a directory as they were at one instant; none where there is no directory.
///
/// # Errors
/// [`FileError`] where it is there and cannot be read.
pub fn read_directory(path: &Path) -> Result<Option<Vec<ReadFile>>, FileError> {
    let fail = FileError::of("read", path);
    for _ in 0..MAX_READS {
        let Some(before) = identity(path).map_err(&fail)? else { return Ok(None) };
        let read = read_entries(path);
        if identity(path).map_err(&fail)? == Some(before) {
            return read.map(Some).map_err(&fail);
        }
    }
    Err(fail(io::Error::other("it was changed at each of several tries")))
}

fn identity(path: &Path) -> io::Result<Option<(u64, u64, i64, i64)>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_entries(path: &Path) -> io::Result<Vec<ReadFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.path().is_file() {
            files.push((name, Zeroizing::new(fs::read(entry.path())?)));
        }
    }
    Ok(files)
}

/// Names in a directory, sorted, without those that are being written. Empty where there is no directory.
///
/// # Errors
/// [`FileError`] where it is there and cannot be read.
pub fn names(path: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::of("read", path)(error)),
    };
    let named = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = named.collect::<io::Result<Vec<_>>>().map_err(FileError::of("read", path))?;
    names.retain(|name| !name.starts_with(ASIDE));
    names.sort();
    Ok(names)
}

/// Makes a directory and those above it up to `root`, for its owner alone; each is synced into the one above.
///
/// # Errors
/// [`FileError`] where it cannot be made.
pub fn make_directory(root: &Path, path: &Path) -> Result<(), FileError> {
    if path == root || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(root);
    make_directory(root, parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(FileError::of("make", path)(error)),
        _ => sync(parent),
    }
}

/// Makes one directory for its owner alone, whose parent must be there; true where it is new.
///
/// # Errors
/// [`FileError`] where it cannot be made.
pub fn make_root(path: &Path) -> Result<bool, FileError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(FileError::of("make", path)(error)),
    }
}

/// Removes all permissions of others on a directory.
///
/// # Errors
/// [`FileError`] where it belongs to another user.
pub fn keep_private(path: &Path) -> Result<(), FileError> {
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(FileError::of("restrict", path))
}

/// Fails where the directory cannot be written, a read-only mount included.
///
/// # Errors
/// [`FileError`] where it cannot.
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    let asked = accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK | Access::READ_OK, AtFlags::EACCESS);
    asked.map_err(|error| FileError::of("write", path)(error.into()))
}

fn sync(directory: &Path) -> Result<(), FileError> {
    sync_directory(directory).map_err(FileError::of("sync", directory))
}

/// Replaces one file at once. A file that holds those bytes already is not written.
///
/// # Errors
/// [`FileError`]; what was there is still there then.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let access = FileAccess::mode(mode(split(path).1));
    atomic_write::replace(path, &aside(path), |aside| create_with(aside, access, bytes))
        .map_err(FileError::of("write", path))
}

/// Writes a file of output that a user asked for: not atomic, so that it may be a pipe or a device.
///
/// # Errors
/// [`FileError`].
pub fn print_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    fs::write(path, bytes).map_err(FileError::of("write", path))
}

fn split(path: &Path) -> (&Path, &str) {
    let parent = path.parent().unwrap_or(Path::new("."));
    (parent, path.file_name().and_then(|name| name.to_str()).unwrap_or_default())
}

/// Makes a directory with those files at once. False, and nothing is changed, where something has its name.
///
/// # Errors
/// [`FileError`]; nothing is there then.
pub fn create_directory(path: &Path, files: &[NewFile<'_>]) -> Result<bool, FileError> {
    let (parent, _) = split(path);
    let aside = stage(path, files)?;
    let done = renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE).map_err(io::Error::from);
    match done {
        Ok(()) => sync(parent).map(|()| true),
        Err(error) => {
            let _ = fs::remove_dir_all(&aside);
            if error.kind() == ErrorKind::AlreadyExists { Ok(false) } else { Err(FileError::of("write", path)(error)) }
        }
    }
}

/// Replaces a directory and all that is in it at once.
///
/// # Errors
/// [`FileError`]; what was there is still there then.
pub fn replace_directory(path: &Path, files: &[NewFile<'_>]) -> Result<(), FileError> {
    let (parent, _) = split(path);
    let aside = stage(path, files)?;
    let done = renameat_with(CWD, &aside, CWD, path, RenameFlags::EXCHANGE).map_err(io::Error::from);
    if done.is_ok() {
        sync(parent)?;
    }
    let _ = fs::remove_dir_all(&aside); // the former one; the new one where the exchange failed
    done.map_err(FileError::of("write", path))
}

/// Removes a directory at once.
///
/// # Errors
/// [`FileError`]; it is still there then.
pub fn remove_directory(path: &Path) -> Result<(), FileError> {
    let (parent, _) = split(path);
    let aside = aside(path);
    fs::rename(path, &aside).map_err(FileError::of("remove", path))?;
    sync(parent)?;
    fs::remove_dir_all(&aside).map_err(FileError::of("remove", &aside))
}

fn stage(path: &Path, files: &[NewFile<'_>]) -> Result<PathBuf, FileError> {
    let aside = aside(path);
    match fill(&aside, files) {
        Ok(()) => Ok(aside),
        Err(error) => {
            let _ = fs::remove_dir_all(&aside);
            Err(FileError::of("write", path)(error))
        }
    }
}

fn fill(directory: &Path, files: &[NewFile<'_>]) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory)?;
    for (index, file) in files.iter().enumerate() {
        let target = directory.join(file.name);
        let same = |other: &&NewFile<'_>| other.bytes == file.bytes && mode(other.name) == mode(file.name);
        let linked = files[..index].iter().find(same).map(|twin| fs::hard_link(directory.join(twin.name), &target));
        if !matches!(linked, Some(Ok(()))) {
            create_with(&target, FileAccess::mode(mode(file.name)), file.bytes)?;
        }
    }
    sync_directory(directory)
}

/// Removes what an interrupted write left behind, at most `depth` directories below `path`.
///
/// # Errors
/// [`FileError`] where something cannot be removed.
pub fn remove_leftovers(path: &Path, depth: usize) -> Result<(), FileError> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(FileError::of("read", path))?;
        let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            let removed = if directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            removed.map_err(FileError::of("remove", &entry.path()))?;
        } else if directory && depth > 0 {
            remove_leftovers(&entry.path(), depth - 1)?;
        }
    }
    Ok(())
}
