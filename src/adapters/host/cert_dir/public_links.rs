//! The three public names: linked to the current generation, or taken over from someone else. Wherever this is
//! interrupted, they never show parts of two sets.

use super::bytes::Bytes;
use super::contents::{self, PublicName};
use super::dir_handle::DirHandle;
use super::directory::CertDir;
use super::error::DeliveryError;
use super::layout::{self, FileNames};
use super::state_dir;
use super::write_lock::{GenerationFile, WriteLock, check_space, check_writable};

/// Which existing files a public name may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// None: someone else's file is [`DeliveryError::FileExists`].
    Never,
    /// A file with the same content as that of the current generation.
    IfSame,
    /// Every file and link, but no directory.
    Always,
}

/// A name to link, and whether it exists.
type Unlinked<'a> = (&'a str, bool);

impl CertDir {
    /// Links the public names to the files of the current generation.
    ///
    /// # Errors
    /// [`DeliveryError::FileExists`], before anything is changed, where one is not ours and `overwrite` does not cover it.
    pub fn link_names(&self, name: &str, overwrite: Overwrite) -> Result<(), DeliveryError> {
        let names = FileNames::of(name)?;
        let Some(state) = state_dir::open(&self.dir)? else { return Ok(()) };
        if self.unlinked(&state, &names, overwrite)?.is_empty() {
            return Ok(());
        }
        check_writable(&self.dir)?;
        let lock = self.lock()?;
        self.link(&lock, &names, overwrite)
    }

    fn link(&self, lock: &WriteLock, names: &FileNames, overwrite: Overwrite) -> Result<(), DeliveryError> {
        let unlinked = self.unlinked(&lock.state, names, overwrite)?;
        for (name, replace) in &unlinked {
            let target = layout::public_target(name);
            match replace {
                true => lock.replace_link(&self.dir, name, &target)?,
                false if self.dir.make_link(name, &target)? => {}
                false => return Err(DeliveryError::FileExists(self.dir.at(name))),
            }
        }
        if unlinked.is_empty() { Ok(()) } else { lock.state.sync().and_then(|()| self.dir.sync()) }
    }

    fn unlinked<'a>(
        &self,
        state: &DirHandle,
        names: &'a FileNames,
        overwrite: Overwrite,
    ) -> Result<Vec<Unlinked<'a>>, DeliveryError> {
        let mut unlinked = Vec::new();
        let current = match state_dir::current_generation(state) {
            Ok(Some(current)) => current,
            // A generation that others may change is not linked to; the next one replaces it.
            Ok(None) | Err(DeliveryError::Insecure { .. } | DeliveryError::InTheWay { .. }) => return Ok(unlinked),
            Err(error) => return Err(error),
        };
        for name in names.public() {
            if !current.has(name)? {
                continue; // an unsafe file is linked too: without it, dockerd would not start either
            }
            match self.public(name)? {
                PublicName::Ours => {}
                PublicName::Absent => unlinked.push((name, false)),
                PublicName::File(there)
                    if overwrite == Overwrite::IfSame && current.read_own(name)?.as_ref() == Some(&there) =>
                {
                    unlinked.push((name, true));
                }
                _ if overwrite == Overwrite::Always => unlinked.push((name, true)),
                _ => return Err(DeliveryError::FileExists(self.dir.at(name))),
            }
        }
        Ok(unlinked)
    }

    /// Takes over the files that have the public names: copies them into a generation, makes it current, and links the
    /// names to it. They show the same content before, between and after. None where there is nothing to take over.
    ///
    /// # Errors
    /// [`DeliveryError::TakeOver`] where one of them is not a regular file; then nothing is changed.
    pub fn take_over(&self, name: &str) -> Result<Option<u64>, DeliveryError> {
        let names = FileNames::of(name)?;
        if !self.has_other_files(&names)? {
            return Ok(None);
        }
        check_writable(&self.dir)?;
        let lock = self.lock()?;
        let mut shown = Vec::new();
        for name in names.public() {
            shown.extend(self.bytes(&lock.state, name)?.map(|bytes| (name, bytes)));
        }
        let copy = |(name, bytes)| GenerationFile { name, mode: copy_mode(name, bytes), bytes };
        let files: Vec<_> = shown.iter().map(|(name, bytes)| copy((*name, bytes))).collect();
        check_space(&self.dir, &files)?;
        let number = lock.write(&files)?;
        lock.set_current(number)?;
        self.link(&lock, &names, Overwrite::IfSame)?;
        Ok(Some(number))
    }

    fn has_other_files(&self, names: &FileNames) -> Result<bool, DeliveryError> {
        for name in names.public() {
            if !matches!(self.public(name)?, PublicName::Ours | PublicName::Absent) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn public(&self, name: &str) -> Result<PublicName, DeliveryError> {
        contents::public_name(&self.dir, name)
    }

    /// What a public name shows.
    fn bytes(&self, state: &DirHandle, name: &str) -> Result<Option<Bytes>, DeliveryError> {
        let what = match self.public(name)? {
            PublicName::Absent => return Ok(None),
            PublicName::Ours => {
                return state_dir::current_generation(state)?.map_or(Ok(None), |current| current.read_own(name));
            }
            PublicName::File(bytes) => return Ok(Some(bytes)),
            PublicName::Link(target) => format!("a link to {}", target.display()),
            PublicName::Unreadable(why) => format!("not readable ({why})"),
        };
        Err(DeliveryError::TakeOver { path: self.dir.at(name), what })
    }
}

/// Permissions of a file that was taken over: with a private key in it, only its owner reads it.
pub(super) fn copy_mode(name: &str, bytes: &[u8]) -> u32 {
    let private = b"PRIVATE KEY";
    if bytes.windows(private.len()).any(|window| window == private) { 0o400 } else { layout::mode(name) }
}
