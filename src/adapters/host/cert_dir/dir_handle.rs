//! One opened directory and the calls on its entries, by descriptor. It follows no link, and resolves no path twice.

use super::bytes::Bytes;
use super::error::{DeliveryError, UnsafePath, failed};
use super::layout;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Which changes by others a directory must exclude.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Others cannot replace our entries: a sticky directory is enough.
    Replacing,
    /// Others can make no entries.
    Writing,
}

/// An opened directory.
#[derive(Debug)]
pub(super) struct DirHandle {
    pub(super) fd: OwnedFd,
    path: PathBuf,
}

impl DirHandle {
    /// The root of the file system.
    pub(super) fn top() -> Result<DirHandle, DeliveryError> {
        let path = PathBuf::from("/");
        let fd = fs::openat2(CWD, "/", path_flags(), Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        // Older seccomp profiles answer EPERM for calls that they do not know.
        let fd = fd.map_err(|error| if error == Errno::PERM { Errno::NOSYS } else { error });
        Ok(DirHandle { fd: fd.map_err(|error| failed("open", &path, error))?, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages; that of the directory itself for an empty name.
    pub(super) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        if name.as_ref().as_os_str().is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    pub(super) fn fail(&self, verb: &'static str, name: impl AsRef<Path>) -> impl Fn(Errno) -> DeliveryError {
        let path = self.at(name);
        move |error| failed(verb, &path, error)
    }

    fn open(&self, name: impl AsRef<OsStr>, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        loop {
            match fs::openat2(&self.fd, name.as_ref(), flags, Mode::from_raw_mode(mode), BELOW) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                done => return done,
            }
        }
    }

    /// A directory in it; none where it is missing.
    pub(super) fn dir(&self, name: impl AsRef<OsStr>) -> Result<Option<DirHandle>, DeliveryError> {
        let name = name.as_ref();
        match self.open(name, path_flags(), 0) {
            Ok(fd) => Ok(Some(DirHandle { fd, path: self.at(name) })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.fail("open", name)(error)),
        }
    }

    /// Whether there is something of that name.
    pub(super) fn has(&self, name: &str) -> Result<bool, DeliveryError> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.fail("look at", name)(error)),
        }
    }

    /// The parent directory, as the file system has it.
    pub(super) fn parent(&self) -> Result<DirHandle, DeliveryError> {
        let fd = fs::openat(&self.fd, "..", path_flags(), Mode::empty()).map_err(self.fail("open", ".."))?;
        Ok(DirHandle { fd, path: self.path.parent().unwrap_or(Path::new("/")).to_owned() })
    }

    /// Fails where others could make the changes that `guard` excludes.
    pub(super) fn check(&self, guard: Guard) -> Result<(), DeliveryError> {
        let found = self.stat()?;
        let sticky = guard == Guard::Replacing && found.st_mode & 0o1000 != 0;
        let writable = found.st_mode & 0o022 != 0 && !sticky;
        self.refuse("", others(&found).or(writable.then_some(UnsafePath::Writable { mode: found.st_mode & 0o7777 })))
    }

    fn stat(&self) -> Result<Stat, DeliveryError> {
        fs::fstat(&self.fd).map_err(|error| failed("look at", &self.path, error))
    }

    /// The free space of its file system.
    pub(super) fn free_space(&self) -> Result<fs::StatVfs, DeliveryError> {
        fs::fstatvfs(&self.fd).map_err(|error| failed("look at", &self.path, error))
    }

    /// A directory in it, made where it is missing, with mode 0755 whatever the umask is, and synced.
    pub(super) fn make_folder(&self, name: impl AsRef<OsStr>) -> Result<DirHandle, DeliveryError> {
        let name = name.as_ref();
        let made = match fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => false,
            done => done.map(|()| true).map_err(self.fail("make", name))?,
        };
        let dir = self.dir(name)?.ok_or_else(|| self.fail("make", name)(Errno::NOENT))?;
        if made {
            dir.check(Guard::Writing).and_then(|()| dir.chmod(0o755)).and_then(|()| self.sync())?;
        }
        Ok(dir)
    }

    fn chmod(&self, mode: u32) -> Result<(), DeliveryError> {
        let done = self.readable().and_then(|fd| fs::fchmod(fd, Mode::from_raw_mode(mode)));
        done.map_err(|error| failed("restrict", &self.path, error))?;
        self.sync()
    }

    fn readable(&self) -> Result<OwnedFd, Errno> {
        self.open(".", OFlags::RDONLY | OFlags::DIRECTORY, 0)
    }

    /// Syncs its entries to the disk.
    pub(super) fn sync(&self) -> Result<(), DeliveryError> {
        let done = self.readable().and_then(fs::fsync);
        done.map_err(|error| failed("sync", &self.path, error))
    }

    /// The names of its entries.
    pub(super) fn names(&self) -> Result<Vec<OsString>, DeliveryError> {
        let fail = |error| failed("read", &self.path, error);
        let mut names = Vec::new();
        for entry in self.readable().and_then(Dir::new).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Writes a new file, and syncs it to the disk.
    pub(super) fn create(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), DeliveryError> {
        let fail = self.fail("write", name);
        let fd = self.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode).map_err(&fail)?;
        fs::fchmod(&fd, Mode::from_raw_mode(mode)).map_err(&fail)?; // whatever the umask is
        let mut file = File::from(fd);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|error| fail(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }

    /// Opens a file that only its owner reads and writes: the lock.
    pub(super) fn private(&self, name: &str) -> Result<OwnedFd, DeliveryError> {
        let fail = self.fail("open", name);
        let fd = self.open(name, OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK, 0o600).map_err(&fail)?;
        let found = fs::fstat(&fd).map_err(&fail)?;
        self.check_regular(name, &found)?;
        self.refuse(name, problem(&found, 0o600)).map(|()| fd)
    }

    /// Reads a regular file; none where it is missing.
    pub(super) fn read(&self, name: &str) -> Result<Option<(Bytes, Stat)>, DeliveryError> {
        let fail = self.fail("read", name);
        let fd = match self.open(name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0) {
            Err(Errno::NOENT) => return Ok(None),
            done => done.map_err(&fail)?,
        };
        let found = fs::fstat(&fd).map_err(&fail)?;
        self.check_regular(name, &found)?;
        // Of the full size at once: growing would leave copies of a key behind.
        let mut bytes =
            Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_BYTES.min(found.st_size as u64) + 1).unwrap_or(0)));
        let read = File::from(fd).take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| fail(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(DeliveryError::InTheWay { path: self.at(name), what: "larger than 1 MiB" });
        }
        Ok(Some((Bytes(bytes), found)))
    }

    /// Reads a file of a generation; none where it is missing.
    pub(super) fn read_own(&self, name: &str) -> Result<Option<Bytes>, DeliveryError> {
        let Some((bytes, found)) = self.read(name)? else { return Ok(None) };
        let linked = (found.st_nlink != 1).then_some(UnsafePath::Links { count: found.st_nlink });
        self.refuse(name, problem(&found, layout::mode(name)).or(linked)).map(|()| Some(bytes))
    }

    /// Reads the marker; none where it is missing. Hard links to it, which some kernels let others make, are allowed:
    /// only its owner writes to it.
    pub(super) fn read_marker(&self, name: &str) -> Result<Option<Bytes>, DeliveryError> {
        let Some((bytes, found)) = self.read(name)? else { return Ok(None) };
        self.refuse(name, problem(&found, 0o644)).map(|()| Some(bytes))
    }

    fn refuse(&self, name: impl AsRef<Path>, problem: Option<UnsafePath>) -> Result<(), DeliveryError> {
        problem.map_or(Ok(()), |problem| Err(DeliveryError::Insecure { path: self.at(name), problem }))
    }

    fn check_regular(&self, name: &str, found: &Stat) -> Result<(), DeliveryError> {
        let what = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => return Ok(()),
            FileType::Directory => "a directory",
            _ => "not a regular file",
        };
        Err(DeliveryError::InTheWay { path: self.at(name), what })
    }

    /// The target of a link; none where there is no link.
    pub(super) fn link(&self, name: impl AsRef<OsStr>) -> Result<Option<PathBuf>, DeliveryError> {
        match fs::readlinkat(&self.fd, name.as_ref(), Vec::new()) {
            Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(self.fail("read", name.as_ref())(error)),
        }
    }

    /// The target of a link that no other user can change; an error where another user made it.
    pub(super) fn trusted_link(&self, name: &OsStr) -> Result<PathBuf, DeliveryError> {
        let fail = self.fail("read", name);
        let fd = fs::openat(&self.fd, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let fd = fd.map_err(&fail)?;
        self.refuse(name, others(&fs::fstat(&fd).map_err(&fail)?))?;
        let target = fs::readlinkat(&fd, "", Vec::new()).map_err(&fail)?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Makes a link; false where something has its name.
    pub(super) fn make_link(&self, name: &str, target: &str) -> Result<bool, DeliveryError> {
        match fs::symlinkat(target, &self.fd, name) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(self.fail("link", name)(error)),
        }
    }

    /// Renames an entry, over an existing one.
    pub(super) fn rename(&self, name: &str, to: &DirHandle, new: &str) -> Result<(), DeliveryError> {
        fs::renameat(&self.fd, name, &to.fd, new).map_err(to.fail("write", new))
    }
}

/// Without NOFOLLOW, which would open a link itself.
fn path_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// The owner, where it is neither root nor this process's user.
fn others(found: &Stat) -> Option<UnsafePath> {
    let wanted = geteuid().as_raw();
    (found.st_uid != 0 && found.st_uid != wanted).then_some(UnsafePath::Owner { uid: found.st_uid, wanted })
}

/// Why others could have changed a file that was written with at most those permissions.
fn problem(found: &Stat, max_mode: u32) -> Option<UnsafePath> {
    let mode = found.st_mode & 0o7777;
    let loose = (mode & !max_mode != 0).then_some(UnsafePath::Mode { mode });
    others(found).or(loose)
}
