//! One directory that certificates are delivered to: the steps of a delivery, each done whole or not at all.

use super::contents::{self, DirContents, PublicName};
use super::dir_handle::DirHandle;
use super::error::DeliveryError;
use super::layout::{self, CURRENT, FileNames, LOCK, OWNER, RUNNING, STAGING_PREFIX, STATE_DIR};
use super::safe_path::{self, Missing};
use super::state_dir;
use super::write_lock::{GenerationFile, WriteLock, check_space, check_writable};
use crate::adapters::disk::file_error::FileError;
use crate::adapters::disk::state_directory::holder;
use crate::api::marker::Marker;
use parking_lot::Mutex;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The files of a generation.
#[derive(Clone, Copy)]
pub struct GenerationFiles<'a> {
    /// The trust bundle, and the probe's certificate.
    pub ca: &'a [u8],
    pub cert: &'a [u8],
    pub key: &'a [u8],
    /// The client certificate by which delivery checks that dockerd loaded this generation.
    pub probe_cert: &'a [u8],
    pub probe_key: &'a [u8],
}

/// A directory that this process delivers to as long as this value lives.
#[derive(Debug)]
pub struct RunningLock {
    _file: File,
}

/// An opened directory. It stays the same one even where it is moved away, so open it again for each reconcile. A call
/// that writes waits for the write lock, at most ten seconds, and blocks its thread; one that need not write only reads.
#[derive(Debug)]
pub struct CertDir {
    pub(super) dir: DirHandle,
    path: PathBuf,
    /// The marker under which this process writes.
    claimed: Mutex<Option<Marker>>,
}

impl CertDir {
    /// Opens `directory`, which is one of `allowed_roots` or below one. Directories that are missing are made, 0755.
    ///
    /// # Errors
    /// [`DeliveryError`] where it is outside, or others could replace a directory of its path.
    pub fn open(allowed_roots: &[PathBuf], directory: &Path) -> Result<CertDir, DeliveryError> {
        let dir = safe_path::open(allowed_roots, directory, Missing::Make)?;
        let dir = dir.expect("a directory that is missing is made");
        Ok(CertDir::of(dir, directory))
    }

    /// As [`CertDir::open`], but makes no directory: none where it is missing.
    ///
    /// # Errors
    /// As [`CertDir::open`].
    pub fn find(allowed_roots: &[PathBuf], directory: &Path) -> Result<Option<CertDir>, DeliveryError> {
        let dir = safe_path::open(allowed_roots, directory, Missing::Leave)?;
        Ok(dir.map(|dir| CertDir::of(dir, directory)))
    }

    fn of(dir: DirHandle, directory: &Path) -> CertDir {
        CertDir { dir, path: directory.to_owned(), claimed: Mutex::default() }
    }

    /// The path of a file of a generation.
    pub fn generation_file(directory: &Path, generation: u64, name: &str) -> PathBuf {
        directory.join(STATE_DIR).join(generation.to_string()).join(name)
    }

    /// What the directory holds for the object `name`. It takes no lock.
    ///
    /// # Errors
    /// [`DeliveryError`] where `.dockseal` or its marker cannot be read or could be replaced by others. What is wrong
    /// with a generation is in its `problems`.
    pub fn contents(&self, name: &str) -> Result<DirContents, DeliveryError> {
        contents::read_contents(&self.dir, &FileNames::of(name)?)
    }

    /// Marks the directory. A marker of another is replaced only where it is `instead_of`. Later writes of this value fail
    /// once the marker is not this one any more.
    ///
    /// # Errors
    /// [`DeliveryError::Claimed`] where it is another's.
    pub fn claim(&self, marker: &Marker, instead_of: Option<&Marker>) -> Result<(), DeliveryError> {
        let there = state_dir::open(&self.dir)?.map_or(Ok(None), |state| contents::marker(&state))?;
        if there.as_ref() != Some(marker) {
            self.replace_marker(marker, instead_of)?; // what is right is not written, on a full disk
        }
        *self.claimed.lock() = Some(marker.clone());
        Ok(())
    }

    fn replace_marker(&self, marker: &Marker, instead_of: Option<&Marker>) -> Result<(), DeliveryError> {
        let text = marker.to_text();
        let file = GenerationFile { name: OWNER, mode: layout::mode(OWNER), bytes: text.as_bytes() };
        check_space(&self.dir, std::slice::from_ref(&file))?;
        let lock = WriteLock::make(&self.dir)?;
        match contents::marker(&lock.state)? {
            Some(there) if there == *marker => Ok(()),
            Some(there) if Some(&there) != instead_of => Err(self.claimed_by(&there)),
            _ => lock.replace_file(&file),
        }
    }

    /// The write lock, where the marker is still the one that was claimed.
    pub(super) fn lock(&self) -> Result<WriteLock, DeliveryError> {
        let lock = WriteLock::make(&self.dir)?;
        self.check_claim(&lock).map(|()| lock)
    }

    fn check_claim(&self, lock: &WriteLock) -> Result<(), DeliveryError> {
        let Some(claimed) = self.claimed.lock().clone() else { return Ok(()) };
        let other = contents::marker(&lock.state)?.filter(|there| *there != claimed);
        other.map_or(Ok(()), |there| Err(self.claimed_by(&there)))
    }

    fn claimed_by(&self, there: &Marker) -> DeliveryError {
        DeliveryError::Claimed { path: self.path.clone(), owner: there.object.clone() }
    }

    /// Holds the directory until the lock is dropped. With `make`, for the first time; else none where nobody ever did.
    ///
    /// # Errors
    /// [`DeliveryError::Held`] where another process holds it.
    pub fn hold(&self, make: bool) -> Result<Option<RunningLock>, DeliveryError> {
        let Some(state) = state_dir::open(&self.dir)? else { return Ok(None) };
        if !make && !state.has(RUNNING)? {
            return Ok(None);
        }
        let file = File::from(state.private(RUNNING)?);
        match file.try_lock() {
            Ok(()) => Ok(Some(RunningLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(DeliveryError::Held { path: self.path.clone(), pid: holder(&file) }),
            Err(TryLockError::Error(error)) => {
                Err(FileError { verb: "lock", path: state.at(RUNNING).display().to_string(), source: error }.into())
            }
        }
    }

    /// Writes a generation and reads it back. The public names show it after [`CertDir::set_current`].
    ///
    /// # Errors
    /// [`DeliveryError`]; then no file is left behind.
    pub fn write_generation(&self, name: &str, files: &GenerationFiles<'_>) -> Result<u64, DeliveryError> {
        let names = FileNames::of(name)?;
        let [ca, cert, key] = names.public();
        let held = [
            (ca, files.ca),
            (cert, files.cert),
            (key, files.key),
            (layout::PROBE_CERT, files.probe_cert),
            (layout::PROBE_KEY, files.probe_key),
        ];
        self.write(&held.map(|(name, bytes)| GenerationFile { name, mode: layout::mode(name), bytes }))
    }

    fn write(&self, files: &[GenerationFile<'_>]) -> Result<u64, DeliveryError> {
        check_space(&self.dir, files)?;
        self.lock()?.write(files)
    }

    /// Makes the public names show that generation, all at once.
    ///
    /// # Errors
    /// [`DeliveryError`]; then they show what they showed before.
    pub fn set_current(&self, generation: u64) -> Result<(), DeliveryError> {
        let none = || DeliveryError::NoGeneration(self.dir.at(STATE_DIR));
        let state = state_dir::open(&self.dir)?.ok_or_else(none)?;
        if state_dir::current(&state)? == Some(generation) && state_dir::generation(&state, generation)?.is_some() {
            return Ok(());
        }
        check_writable(&self.dir)?;
        self.lock()?.set_current(generation)
    }

    /// Removes every generation that is neither listed nor current, and what interrupted writes left behind. `keep`
    /// lists what dockerd has loaded and what it may be rolled back to.
    ///
    /// # Errors
    /// [`DeliveryError`] where one cannot be removed.
    pub fn prune(&self, keep: &[u64]) -> Result<(), DeliveryError> {
        self.remove_leftovers()?;
        let Some(there) = state_dir::open(&self.dir)? else { return Ok(()) };
        if unused(&there, keep)?.is_empty() {
            return Ok(());
        }
        let lock = self.lock()?;
        lock.prune(unused(&lock.state, keep)?)
    }

    /// Removes what interrupted writes left behind.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed.
    pub fn remove_leftovers(&self) -> Result<(), DeliveryError> {
        let there = state_dir::open(&self.dir)?.map(|state| state_dir::leftovers(&state)).transpose()?;
        let any = there.is_some_and(|mut leftovers| leftovers.next().is_some());
        if any { self.lock()?.remove_leftovers() } else { Ok(()) }
    }

    /// Removes all that was delivered, the marker last. Call it only where no configuration names the files any more:
    /// dockerd does not start without them.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed; call it again then.
    pub fn release(&self, name: &str) -> Result<(), DeliveryError> {
        let names = FileNames::of(name)?;
        let Some(lock) = WriteLock::of(&self.dir)? else { return Ok(()) };
        self.check_claim(&lock)?;
        for name in names.public() {
            if contents::public_name(&self.dir, name)? == PublicName::Ours {
                self.dir.remove(name)?;
            }
        }
        self.dir.sync()?;
        lock.state.remove(CURRENT)?;
        lock.remove_leftovers()?;
        lock.prune(state_dir::numbers(&lock.state)?)?;
        for last in [OWNER, RUNNING, LOCK] {
            lock.state.remove(last)?;
        }
        self.dir.remove_empty(STATE_DIR)?;
        self.dir.sync()
    }
}

/// Whether a watch must ignore an entry of that name: reading the directory opens the locks, and a write that fails leaves
/// nothing.
pub fn is_ignored(name: &str) -> bool {
    name == LOCK || name == RUNNING || name.starts_with(STAGING_PREFIX)
}

/// The directories to watch for changes: `directory`, the state directory, and the current generation.
pub fn watch_paths(directory: &Path) -> [PathBuf; 3] {
    let state = directory.join(STATE_DIR);
    [directory.to_owned(), state.clone(), state.join(CURRENT)]
}

/// Generations that are neither current nor in `keep`.
fn unused(there: &DirHandle, keep: &[u64]) -> Result<Vec<u64>, DeliveryError> {
    let current = state_dir::current(there)?;
    let mut numbers = state_dir::numbers(there)?;
    numbers.retain(|number| Some(*number) != current && !keep.contains(number));
    Ok(numbers)
}
