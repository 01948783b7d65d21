//! Removal of entries of an opened directory, with all that they hold. It removes links, and never follows one.

use super::dir_handle::DirHandle;
use super::error::DeliveryError;
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;

/// How deep directories are removed.
const MAX_DEPTH: usize = 8;

impl DirHandle {
    /// Removes an entry and all that it holds; true where there was one.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> Result<bool, DeliveryError> {
        self.remove_to(name.as_ref(), MAX_DEPTH)
    }

    fn remove_to(&self, name: &OsStr, depth: usize) -> Result<bool, DeliveryError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => return Ok(true),
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::ISDIR) if depth > 0 => {}
            Err(error) => return Err(self.fail("remove", name)(error)),
        }
        let Some(dir) = self.dir(name)? else { return Ok(false) };
        for entry in dir.names()? {
            dir.remove_to(&entry, depth - 1)?;
        }
        self.remove_empty(name)
    }

    /// Removes an empty directory; false where it is missing or not empty.
    pub(super) fn remove_empty(&self, name: impl AsRef<OsStr>) -> Result<bool, DeliveryError> {
        match unlinkat(&self.fd, name.as_ref(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) => Err(self.fail("remove", name.as_ref())(error)),
        }
    }
}
