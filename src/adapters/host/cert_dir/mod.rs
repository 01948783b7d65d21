//! The certificate files of a Docker host: whole sets go in, facts come out, and nobody else on the host can redirect
//! either. It decides nothing and never writes over a file that is not ours unless it is told to.
//!
//! ```text
//!   DIR/ca.pem, NAME.pem, NAME.key   relative links .dockseal/current/...
//!   DIR/.dockseal/current            a relative link to one generation; one rename moves it
//!   DIR/.dockseal/<n>/               a generation: ca.pem, NAME.pem, NAME.key, .probe.pem, .probe.key
//!   DIR/.dockseal/owner              which object has the directory: Kind/namespace/name, uid
//!   DIR/.dockseal/lock               held by the one that writes
//!   DIR/.dockseal/.aside-*           not in its place yet, or no longer
//! ```
//!
//! A number is taken again only where its generation was removed and no later one is there.
//!
//! The order of calls that keeps the three names one set whenever it is interrupted: `remove_leftovers`, `claim`; `link_names` over
//! anything where the directory was delivered to before ([`DirContents::is_delivered_by`]), else `take_over` where that is
//! wanted; `write_generation`, `set_current`, `link_names` over nothing, `prune`.

mod contents;
mod dir_handle;
mod error;
mod layout;
mod public_links;
mod removal;
mod safe_path;
mod write_lock;

pub use contents::{Bytes, DirContents, Generation, Owner, PublicName};
pub use error::{DeliveryError, UnsafePath};
pub use public_links::Overwrite;

use dir_handle::DirHandle;
use layout::{CURRENT, FileNames, KEEP, LOCK, OWNER};
use safe_path::Missing;
use std::path::{Path, PathBuf};
use write_lock::{GenerationFile, WriteLock, check_room, check_writable};

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
    dir: DirHandle,
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
        directory.join(layout::KEEP).join(generation.to_string()).join(name)
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
        if layout::keep(&self.dir)?.map_or(Ok(None), |keep| contents::owner(&keep))?.as_ref() == Some(owner) {
            return Ok(()); // without a need for room
        }
        let text = format!("{}\n{}\n", owner.object, owner.uid);
        let marker = GenerationFile { name: OWNER, mode: layout::mode(OWNER), bytes: text.as_bytes() };
        check_room(&self.dir, std::slice::from_ref(&marker))?;
        let turn = WriteLock::make(&self.dir)?;
        match contents::owner(&turn.keep)? {
            Some(there) if there == *owner => Ok(()),
            Some(there) if Some(&there) != instead_of => {
                Err(DeliveryError::Claimed { path: self.path.clone(), owner: there.object })
            }
            _ => turn.replace_file(&marker),
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
        let none = || DeliveryError::NoGeneration(self.dir.at(KEEP));
        let keep = layout::keep(&self.dir)?.ok_or_else(none)?;
        if layout::current(&keep)? == Some(generation) && layout::generation(&keep, generation)?.is_some() {
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
        let Some(there) = layout::keep(&self.dir)? else { return Ok(()) };
        if old(&there, keep)?.is_empty() {
            return Ok(());
        }
        let turn = WriteLock::make(&self.dir)?;
        turn.prune(old(&turn.keep, keep)?)
    }

    /// Removes what interrupted writes left behind.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed.
    pub fn remove_leftovers(&self) -> Result<(), DeliveryError> {
        let there = layout::keep(&self.dir)?.map(|keep| layout::leftovers(&keep)).transpose()?;
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
        let Some(turn) = WriteLock::of(&self.dir)? else { return Ok(()) };
        for name in names.public() {
            if contents::public_name(&self.dir, name)? == PublicName::Ours {
                self.dir.remove(name)?;
            }
        }
        self.dir.sync()?;
        turn.keep.remove(CURRENT)?;
        turn.remove_leftovers()?;
        turn.prune(layout::numbers(&turn.keep)?)?;
        for last in [OWNER, LOCK] {
            turn.keep.remove(last)?;
        }
        self.dir.remove_empty(KEEP)?;
        self.dir.sync()
    }
}

/// What a look itself opens, and whose changes are no news.
pub const IGNORED_FILES: &[&str] = &[LOCK];

/// What to watch for changes: a directory, ours in it, and the generation that is shown. Each where it is there.
pub fn watch_paths(directory: &Path) -> [PathBuf; 3] {
    let keep = directory.join(KEEP);
    [directory.to_owned(), keep.clone(), keep.join(CURRENT)]
}

/// Generations that nobody needs.
fn old(there: &DirHandle, keep: &[u64]) -> Result<Vec<u64>, DeliveryError> {
    let current = layout::current(there)?;
    let mut numbers = layout::numbers(there)?;
    numbers.retain(|number| Some(*number) != current && !keep.contains(number));
    Ok(numbers)
}

#[cfg(test)]
mod tests;
