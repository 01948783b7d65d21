//! The lock on a host's directory, which one process holds at a time, and the writes under it. Each is done whole or not
//! at all.

use super::dir_handle::{DirHandle, Guard};
use super::error::DeliveryError;
use super::layout::{CURRENT, LOCK, STAGING_PREFIX, STATE_DIR};
use super::state_dir;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, StatVfs, StatVfsMountFlags, flock, fstat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::time::Duration;

const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);
const MAX_LOCK_RETRIES: usize = 500;
/// Blocks in addition to those of the files: for directories, links and their names.
const EXTRA_BLOCKS: u64 = 4;
/// Inodes in addition to those of the files: the state directory, the lock, the generation, a new link.
const EXTRA_FILES: u64 = 4;

/// A file of a generation.
pub(super) struct GenerationFile<'a> {
    pub(super) name: &'a str,
    pub(super) mode: u32,
    pub(super) bytes: &'a [u8],
}

/// The lock. Others wait until it is dropped.
pub(super) struct WriteLock {
    pub(super) state: DirHandle,
    _lock: OwnedFd,
}

impl WriteLock {
    /// Takes the lock; none where there is no state directory.
    pub(super) fn of(dir: &DirHandle) -> Result<Option<WriteLock>, DeliveryError> {
        state_dir::open(dir)?.map(WriteLock::wait).transpose()
    }

    /// Takes the lock; makes the state directory where it is missing.
    pub(super) fn make(dir: &DirHandle) -> Result<WriteLock, DeliveryError> {
        let state = dir.make_folder(STATE_DIR)?;
        state.check(Guard::Writing)?;
        WriteLock::wait(state)
    }

    fn wait(state: DirHandle) -> Result<WriteLock, DeliveryError> {
        for _ in 0..MAX_LOCK_RETRIES {
            // Only root may open this file, so no other user can hold the lock.
            let lock = state.private(LOCK)?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if fstat(&lock).is_ok_and(|found| found.st_nlink > 0) => {
                    return Ok(WriteLock { state, _lock: lock });
                }
                Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(LOCK_RETRY_INTERVAL),
                Err(error) => return Err(super::error::failed("lock", &state.at(LOCK), error)),
            }
        }
        Err(DeliveryError::Busy(state.path().to_owned()))
    }

    /// Removes what an interrupted write left behind.
    pub(super) fn remove_leftovers(&self) -> Result<(), DeliveryError> {
        state_dir::leftovers(&self.state)?.try_for_each(|name| self.state.remove(name).map(drop))
    }

    /// Writes a new generation; its number.
    pub(super) fn write(&self, files: &[GenerationFile<'_>]) -> Result<u64, DeliveryError> {
        self.remove_leftovers()?;
        let last = state_dir::numbers(&self.state)?.last().copied().max(state_dir::current(&self.state)?);
        let number = last.unwrap_or(0) + 1;
        let (staging, name) = (format!("{STAGING_PREFIX}{number}"), number.to_string());
        let done = self.stage(&staging, files).and_then(|()| self.state.rename(&staging, &self.state, &name));
        if let Err(error) = done.and_then(|()| self.state.sync()) {
            let _ = self.state.remove(&staging).and_then(|_| self.state.remove(&name));
            return Err(error);
        }
        Ok(number)
    }

    fn stage(&self, staging: &str, files: &[GenerationFile<'_>]) -> Result<(), DeliveryError> {
        let dir = self.state.make_folder(staging)?;
        for file in files {
            dir.create(file.name, file.mode, file.bytes)?;
        }
        for file in files {
            let read = dir.read_own(file.name)?;
            if read.as_deref() != Some(file.bytes) {
                return Err(DeliveryError::ReadBackDiffers(dir.at(file.name)));
            }
        }
        dir.sync()
    }

    /// Makes `current` name a generation.
    pub(super) fn set_current(&self, number: u64) -> Result<(), DeliveryError> {
        let name = number.to_string();
        let none = || DeliveryError::NoGeneration(self.state.at(&name));
        state_dir::generation(&self.state, number)?.ok_or_else(none)?;
        if state_dir::current(&self.state)? == Some(number) {
            return Ok(());
        }
        self.replace_link(&self.state, CURRENT, &name)?;
        self.state.sync()
    }

    /// Replaces a file of the state directory.
    pub(super) fn replace_file(&self, file: &GenerationFile<'_>) -> Result<(), DeliveryError> {
        let staging = format!("{STAGING_PREFIX}file");
        self.state.remove(&staging)?;
        let written = self.state.create(&staging, file.mode, file.bytes);
        if let Err(error) = written.and_then(|()| self.state.rename(&staging, &self.state, file.name)) {
            let _ = self.state.remove(&staging);
            return Err(error);
        }
        self.state.sync()
    }

    /// Replaces an entry by a link, in one rename.
    pub(super) fn replace_link(&self, dir: &DirHandle, name: &str, target: &str) -> Result<(), DeliveryError> {
        let staging = format!("{STAGING_PREFIX}link");
        self.state.remove(&staging)?;
        self.state.make_link(&staging, target)?;
        let renamed = self.state.rename(&staging, dir, name);
        if renamed.is_err() {
            let _ = self.state.remove(&staging);
        }
        renamed
    }

    /// Removes generations. One that is half removed has no number any more.
    pub(super) fn prune(&self, numbers: impl IntoIterator<Item = u64>) -> Result<(), DeliveryError> {
        for number in numbers {
            let staging = format!("{STAGING_PREFIX}{number}");
            self.state.remove(&staging)?;
            self.state.rename(&number.to_string(), &self.state, &staging)?;
            self.state.sync()?;
            self.state.remove(&staging)?;
        }
        Ok(())
    }
}

/// Fails where the file system is read-only.
pub(super) fn check_writable(dir: &DirHandle) -> Result<StatVfs, DeliveryError> {
    let disk = dir.free_space()?;
    match disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        true => Err(DeliveryError::ReadOnly(dir.path().to_owned())),
        false => Ok(disk),
    }
}

/// Fails where there is no space for those files.
pub(super) fn check_space(dir: &DirHandle, files: &[GenerationFile<'_>]) -> Result<(), DeliveryError> {
    let disk = check_writable(dir)?;
    let no_space = |why| Err(DeliveryError::NoSpace { path: dir.path().to_owned(), why });
    let block = disk.f_frsize.max(1);
    let blocks = files.iter().map(|file| (file.bytes.len() as u64).div_ceil(block));
    let needed = EXTRA_BLOCKS + blocks.sum::<u64>();
    let free = if geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
    // Some file systems count neither, and say 0 of 0.
    if disk.f_blocks > 0 && free < needed {
        let kib = |blocks: u64| (blocks * block).div_ceil(1024);
        return no_space(format!("{} KiB are needed, {} are free: remove some files there", kib(needed), kib(free)));
    }
    let needed = EXTRA_FILES + files.len() as u64;
    if disk.f_files > 0 && disk.f_ffree < needed {
        let free = disk.f_ffree;
        return no_space(format!(
            "{needed} more files are needed, and its file system takes {free}: remove some there"
        ));
    }
    Ok(())
}
