//! A directory that certificates are delivered to: whole sets of files in, facts out. It decides nothing.

use super::contents::{self, DirContents, Owner, PublicName};
use super::dir_handle::DirHandle;
use super::error::DeliveryError;
use super::layout::{self, CURRENT, FileNames, LOCK, OWNER, STATE_DIR};
use super::safe_path::{self, Missing};
use super::state_dir;
use super::write_lock::{GenerationFile, WriteLock, check_room, check_writable};
use std::path::{Path, PathBuf};

/// What a generation holds.
#[derive(Clone, Copy)]
pub struct GenerationFiles<'a> {
    /// The authorities' certificates, and the probe's own.
    pub ca: &'a [u8],
    /// The host's certificate.
    pub cert: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// The probe's certificate.
    pub probe_cert: &'a [u8],
    /// Its key.
    pub probe_key: &'a [u8],
}

/// A directory that certificates are delivered to: the one that was opened, even where it is moved away later, so open
/// it anew for each round. A call that has something to write waits for its turn, at most ten seconds, and blocks: not
/// for an async thread. One that has nothing to write only reads.
#[derive(Debug)]
pub struct CertDir {
    pub(super) dir: DirHandle,
    path: PathBuf,
}

impl CertDir {
    /// Opens `directory`, which is one of `allowed_roots` or below one. Directories that are missing are made, 0755.
    ///
    /// # Errors
    /// [`DeliveryError`] where it is outside, or others could exchange something on the way.
    pub fn open(allowed_roots: &[PathBuf], directory: &Path) -> Result<CertDir, DeliveryError> {
        let dir = safe_path::open(allowed_roots, directory, Missing::Make)?;
        let dir = dir.expect("a directory that is missing is made");
        Ok(CertDir { dir, path: directory.to_owned() })
    }

    /// As [`CertDir::open`], but makes nothing: none where it is missing.
    ///
    /// # Errors
    /// As there.
    pub fn find(allowed_roots: &[PathBuf], directory: &Path) -> Result<Option<CertDir>, DeliveryError> {
        let dir = safe_path::open(allowed_roots, directory, Missing::Leave)?;
        Ok(dir.map(|dir| CertDir { dir, path: directory.to_owned() }))
    }

    /// Where a file of a generation is, whatever `current` names.
    pub fn generation_file(directory: &Path, generation: u64, name: &str) -> PathBuf {
        directory.join(STATE_DIR).join(generation.to_string()).join(name)
    }

    /// What is there for the object `name`. Only reads, and waits for nobody.
    ///
    /// # Errors
    /// [`DeliveryError`] where `.dockseal` or its marker cannot be read or could be exchanged by others. What is wrong
    /// with a generation is in its `problems`.
    pub fn contents(&self, name: &str) -> Result<DirContents, DeliveryError> {
        contents::read_contents(&self.dir, &FileNames::of(name)?)
    }

    /// Marks the directory as `owner`'s. A marker of another is replaced only where it is `instead_of`.
    ///
    /// # Errors
    /// [`DeliveryError::Claimed`] where it is another's.
    pub fn claim(&self, owner: &Owner, instead_of: Option<&Owner>) -> Result<(), DeliveryError> {
        if state_dir::open(&self.dir)?.map_or(Ok(None), |state| contents::owner(&state))?.as_ref() == Some(owner) {
            return Ok(()); // without a need for room
        }
        let text = format!("{}\n{}\n", owner.object, owner.uid);
        let marker = GenerationFile { name: OWNER, mode: layout::mode(OWNER), bytes: text.as_bytes() };
        check_room(&self.dir, std::slice::from_ref(&marker))?;
        let lock = WriteLock::make(&self.dir)?;
        match contents::owner(&lock.state)? {
            Some(there) if there == *owner => Ok(()),
            Some(there) if Some(&there) != instead_of => {
                Err(DeliveryError::Claimed { path: self.path.clone(), owner: there.object })
            }
            _ => lock.replace_file(&marker),
        }
    }

    /// Writes a generation. It counts once it is read back, and nobody sees it before [`CertDir::set_current`].
    ///
    /// # Errors
    /// [`DeliveryError`]; nothing is left behind then.
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
        check_room(&self.dir, files)?;
        WriteLock::make(&self.dir)?.write(files)
    }

    /// Has the public names show that generation, all at once.
    ///
    /// # Errors
    /// [`DeliveryError`]; they show what they showed before then.
    pub fn set_current(&self, generation: u64) -> Result<(), DeliveryError> {
        let none = || DeliveryError::NoGeneration(self.dir.at(STATE_DIR));
        let state = state_dir::open(&self.dir)?.ok_or_else(none)?;
        if state_dir::current(&state)? == Some(generation) && state_dir::generation(&state, generation)?.is_some() {
            return Ok(());
        }
        check_writable(&self.dir)?;
        WriteLock::make(&self.dir)?.set_current(generation)
    }

    /// Removes every generation that is neither listed nor current, and what interrupted writes left behind. `keep`
    /// names what dockerd has loaded and what it may be rolled back to.
    ///
    /// # Errors
    /// [`DeliveryError`] where one cannot be removed.
    pub fn prune(&self, keep: &[u64]) -> Result<(), DeliveryError> {
        self.remove_leftovers()?;
        let Some(there) = state_dir::open(&self.dir)? else { return Ok(()) };
        if old(&there, keep)?.is_empty() {
            return Ok(());
        }
        let lock = WriteLock::make(&self.dir)?;
        lock.prune(old(&lock.state, keep)?)
    }

    /// Removes what interrupted writes left behind.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed.
    pub fn remove_leftovers(&self) -> Result<(), DeliveryError> {
        let there = state_dir::open(&self.dir)?.map(|state| state_dir::leftovers(&state)).transpose()?;
        let any = there.is_some_and(|mut leftovers| leftovers.next().is_some());
        if any { WriteLock::make(&self.dir)?.remove_leftovers() } else { Ok(()) }
    }

    /// Removes all that is ours, the marker last. It is for when nothing refers to the files any more: a dockerd that
    /// still does cannot start without them.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed; to be called again then.
    pub fn release(&self, name: &str) -> Result<(), DeliveryError> {
        let names = FileNames::of(name)?;
        let Some(lock) = WriteLock::of(&self.dir)? else { return Ok(()) };
        for name in names.public() {
            if contents::public_name(&self.dir, name)? == PublicName::Ours {
                self.dir.remove(name)?;
            }
        }
        self.dir.sync()?;
        lock.state.remove(CURRENT)?;
        lock.remove_leftovers()?;
        lock.prune(state_dir::numbers(&lock.state)?)?;
        for last in [OWNER, LOCK] {
            lock.state.remove(last)?;
        }
        self.dir.remove_empty(STATE_DIR)?;
        self.dir.sync()
    }
}

/// What a look itself opens, and whose changes are no news.
pub const IGNORED_FILES: &[&str] = &[LOCK];

/// What to watch for changes: a directory, ours in it, and the generation that is shown. Each where it is there.
pub fn watch_paths(directory: &Path) -> [PathBuf; 3] {
    let keep = directory.join(STATE_DIR);
    [directory.to_owned(), keep.clone(), keep.join(CURRENT)]
}

/// Generations that nobody needs.
fn old(there: &DirHandle, keep: &[u64]) -> Result<Vec<u64>, DeliveryError> {
    let current = state_dir::current(there)?;
    let mut numbers = state_dir::numbers(there)?;
    numbers.retain(|number| Some(*number) != current && !keep.contains(number));
    Ok(numbers)
}
