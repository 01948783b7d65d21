//! A process of this host as the kernel shows it (proc(5)), and files as that process sees them: in its own root and from
//! its own directory. Sizes are bounded; it changes nothing.

#![expect(clippy::disallowed_methods, reason = "this is a door to the host's own files")]

use crate::adapters::disk::file_error::FileError;
use k8s_openapi::jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// As much as is read of a file, and the longest command line or environment.
const MAX_BYTES: usize = 1 << 20;
/// Links on one path, as the kernel limits them.
const MAX_LINKS: usize = 40;

/// The main process of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MainProcess {
    /// Its number.
    pub pid: u32,
    /// When systemd started it.
    pub started: Timestamp,
}

/// What a process was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// The program that it runs, by the file's own name.
    pub program: PathBuf,
    /// Its arguments, the program's name first.
    pub arguments: Vec<String>,
    /// Its environment, each `NAME=value`.
    pub environment: Vec<String>,
    /// Its working directory, as it sees it.
    pub directory: PathBuf,
    /// The number of its user.
    pub user: u32,
}

/// A file as a process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFile {
    /// Where the links lead.
    pub path: PathBuf,
    /// What it holds, 1 MiB at most.
    pub bytes: Vec<u8>,
    /// It holds no more than that.
    pub whole: bool,
    /// When it, or a link that leads to it, was changed last: bytes, name, owner or permissions.
    pub changed: Timestamp,
}

/// What the kernel says of a process.
///
/// # Errors
/// [`FileError`] where it does not say, or what it says is no text.
pub fn process(pid: u32) -> Result<ProcessFacts, FileError> {
    let at = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    let link = |name: &str| fs::read_link(at(name)).map_err(FileError::of("read", &at(name)));
    let (root, directory) = (link("root")?, link("cwd")?);
    let outside = || io::Error::other("it is outside of the process's own root");
    let directory = directory.strip_prefix(&root).map_err(|_| FileError::of("read", &at("cwd"))(outside()))?;
    let status = texts(&at("status"), '\n')?;
    let user = status.iter().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok());
    let arguments = texts(&at("cmdline"), '\0')?;
    if arguments.is_empty() {
        // It begins or ends just now; that is no command line without flags.
        return Err(FileError::of("read", &at("cmdline"))(io::Error::other("it is empty")));
    }
    Ok(ProcessFacts {
        program: link("exe")?,
        arguments,
        environment: texts(&at("environ"), '\0')?,
        directory: Path::new("/").join(directory),
        user: user.ok_or_else(|| FileError::of("read", &at("status"))(io::Error::other("it has no Uid")))?,
    })
}

/// The pieces of a text, each of which ends with `end`.
fn texts(path: &Path, end: char) -> Result<Vec<String>, FileError> {
    let fail = FileError::of("read", path);
    let (bytes, whole) = File::open(path).and_then(bounded).map_err(&fail)?;
    if !whole {
        return Err(fail(io::Error::other("it is larger than 1 MiB")));
    }
    let text = String::from_utf8(bytes).map_err(|_| fail(io::Error::from(io::ErrorKind::InvalidData)))?;
    Ok(text.split_terminator(end).map(str::to_owned).collect())
}

/// The first bytes of a file, and whether they are all.
fn bounded(file: File) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let whole = bytes.len() <= MAX_BYTES;
    bytes.truncate(MAX_BYTES);
    Ok((bytes, whole))
}

/// Reads a regular file as a process sees it, or as this one does; none where it is missing. `path` is absolute.
///
/// # Errors
/// [`FileError`] where it cannot be read, or is another kind of file.
pub fn read_seen(pid: Option<u32>, path: &Path) -> Result<Option<SeenFile>, FileError> {
    let root = pid.map_or_else(|| PathBuf::from("/"), |pid| format!("/proc/{pid}/root").into());
    match seen(&root, path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(FileError::of("read", path)(error)),
    }
}

fn seen(root: &Path, path: &Path) -> io::Result<SeenFile> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let (path, linked) = resolved(&root, path)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(&root, &path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it must be a regular file"));
    }
    let changed = changed(&rustix::fs::fstat(&file)?)?;
    let (bytes, whole) = bounded(file)?;
    let changed = linked.map_or(changed, |linked| linked.max(changed));
    Ok(SeenFile { path: Path::new("/").join(path), bytes, whole, changed })
}

/// The path below `root` to which all links lead, and when the youngest of them was changed. An absolute link begins at
/// `root` again, which is why the kernel is not asked: it would begin at our own root.
fn resolved(root: &OwnedFd, path: &Path) -> io::Result<(PathBuf, Option<Timestamp>)> {
    let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let (mut ahead, mut here) = (parts(path), PathBuf::new());
    let (mut links, mut youngest) = (0, None);
    while let Some(part) = ahead.pop() {
        match Path::new(&part).components().next() {
            Some(Component::Normal(name)) => {
                let next = here.join(name);
                let found = rustix::fs::statat(root, &next, AtFlags::SYMLINK_NOFOLLOW)?;
                if rustix::fs::FileType::from_raw_mode(found.st_mode) != rustix::fs::FileType::Symlink {
                    here = next;
                    continue;
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                youngest = youngest.max(Some(changed(&found)?));
                let to = rustix::fs::readlinkat(root, &next, Vec::new())?;
                ahead.extend(parts(Path::new(&*to.to_string_lossy())));
            }
            Some(Component::ParentDir) => drop(here.pop()),
            Some(Component::RootDir) => here = PathBuf::new(),
            _ => {}
        }
    }
    Ok((here, youngest))
}

fn changed(found: &Stat) -> io::Result<Timestamp> {
    let nanosecond = i32::try_from(found.st_ctime_nsec).unwrap_or_default();
    Timestamp::new(found.st_ctime, nanosecond).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_process_is_what_it_was_started_as() {
        let mut child = std::process::Command::new("/bin/sleep")
            .args(["1000"])
            .env_clear()
            .env("A", "b=c")
            .current_dir("/usr")
            .spawn()
            .expect("it starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let mut found = process(child.id());
        while found.is_err() && std::time::Instant::now() < deadline {
            found = process(child.id());
        }
        child.kill().and_then(|()| child.wait()).expect("it ends");
        let found = found.expect("it is there");
        assert_eq!(found.arguments.last().map(String::as_str), Some("1000"));
        assert_eq!((found.environment, found.directory), (vec!["A=b=c".to_owned()], PathBuf::from("/usr")));
        assert!(found.program.is_absolute() && found.user == rustix::process::getuid().as_raw());
        assert!(process(child.id()).is_err(), "it is gone");
    }

    #[test]
    fn links_lead_below_the_root_and_no_further() {
        let root = std::env::temp_dir().join(format!("dockseal-seen-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).expect("a directory");
        fs::write(root.join("a/b/file"), "here").expect("a file");
        for (to, from) in [
            ("/a/b", "absolute"),
            ("../../../../a/b/file", "a/up"),
            ("/absolute/../b/file", "a/b/both"),
            ("loop", "loop"),
            ("/nowhere", "dangling"),
        ] {
            let _ = symlink(to, root.join(from));
        }
        let read = |path: &str| seen(&root, Path::new(path)).map(|found| found.bytes);
        for path in ["/a/b/file", "/absolute/file", "/a/up", "/a/b/both", "/../../a//./b/file", "/a/b/../b/file"] {
            assert_eq!(read(path).expect(path), b"here", "{path}");
        }
        assert_eq!(read("/loop").unwrap_err().raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(read("/dangling").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(read("/a/b").is_err() && read("/a/b/file/more").is_err(), "no file");
        fs::write(root.join("long"), vec![b' '; 1 << 21]).expect("a file");
        let long = seen(&root, Path::new("/long")).expect("its beginning");
        assert!(!long.whole && long.bytes.len() == 1 << 20);
        let before = seen(&root, Path::new("/absolute/file")).expect("a file").changed;
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::remove_file(root.join("absolute")).and_then(|()| symlink("/a/b", root.join("absolute"))).expect("a link");
        assert!(seen(&root, Path::new("/absolute/file")).expect("a file").changed > before, "the link is another");
        fs::remove_dir_all(root).expect("it is removed");
    }
}
