//! A Docker host from within, as root: dockerd's configuration files, its listeners, its last words, our own notes.

#![expect(clippy::disallowed_methods, reason = "this is the door to the host's own files and programs")]

use crate::adapters::disk::atomic_write::{self, ASIDE, FileAccess, create_file, create_with, sync_directory};
use crate::adapters::disk::file_error::FileError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the binary, the journal and the notes of the daemon's delivery are: root's own.
pub const HOME: &str = "/var/lib/dockseal";

/// All that a change writes beside others' files, and the way back, take less.
const ROOM: usize = 256 << 10;
/// Links behind links that are followed.
pub(super) const MAX_LINKS: usize = 8;

/// A file, or the link that stands in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathEntry {
    /// Nothing of that name.
    Absent,
    /// A file: bytes, permissions, owner and group.
    File {
        /// What it holds.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A symbolic link, and where it leads.
    Link(PathBuf),
}

impl PathEntry {
    /// A file of root's that everybody may read.
    pub fn public(text: &str) -> PathEntry {
        PathEntry::File { bytes: text.as_bytes().to_vec(), mode: 0o644, uid: 0, gid: 0 }
    }

    /// A file of root's that only root may read.
    pub fn private(bytes: Vec<u8>) -> PathEntry {
        PathEntry::File { bytes, mode: 0o600, uid: 0, gid: 0 }
    }

    /// What it holds, if it is a file.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            PathEntry::File { bytes, .. } => Some(bytes),
            _ => None,
        }
    }
}

/// Reads what stands at a path, links not followed.
///
/// # Errors
/// [`FileError`] where it is there and cannot be read, or is neither file nor link.
pub fn read(path: &Path) -> Result<PathEntry, FileError> {
    let fail = FileError::of("read", path);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(PathEntry::Absent);
        }
        Err(error) => return Err(fail(error)),
    };
    if found.file_type().is_symlink() {
        return fs::read_link(path).map(PathEntry::Link).map_err(fail);
    }
    if !found.is_file() {
        return Err(fail(io::Error::other("it must be a regular file")));
    }
    let bytes = fs::read(path).map_err(fail)?;
    Ok(PathEntry::File { bytes, mode: found.permissions().mode() & 0o7777, uid: found.uid(), gid: found.gid() })
}

/// Puts that in its place at once; the directory is made where it is missing. What is there already is left alone.
///
/// # Errors
/// [`FileError`]; what was there is still there then.
pub fn put(path: &Path, entry: &PathEntry) -> Result<(), FileError> {
    if read(path)? == *entry {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    let done = match entry {
        PathEntry::Absent => fs::remove_file(path).and_then(|()| sync_directory(parent)),
        _ => make_directory(parent).and_then(|()| replace(path, entry)),
    };
    done.map_err(FileError::of("write", path))
}

/// A directory, and all that lead to it, that outlives a power cut.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    make_directory(parent)?;
    fs::create_dir(path)?;
    sync_directory(parent)
}

/// Whether a file of a usual size could be written there now.
///
/// # Errors
/// [`FileError`]: no room, a file system that is read-only, a directory that cannot be changed.
pub fn room(path: &Path) -> Result<(), FileError> {
    let trial = path.with_file_name(".dockseal-trial");
    let there = path.ancestors().skip(1).find(|directory| directory.is_dir()).unwrap_or(Path::new("/"));
    let trial = if path.parent() == Some(there) { trial } else { there.join(".dockseal-trial") };
    let _ = fs::remove_file(&trial);
    let done = create_with(&trial, FileAccess { mode: 0o600, owner: Some((0, 0)) }, &vec![b' '; ROOM]);
    let _ = fs::remove_file(&trial);
    done.map_err(FileError::of("write", there))
}

/// One name for what is made aside: an interrupted write leaves at most one file, which the next one takes away.
fn replace(path: &Path, entry: &PathEntry) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{ASIDE}{name}"));
    let _ = fs::remove_file(&aside);
    atomic_write::replace(path, &aside, |aside| match entry {
        PathEntry::Link(to) => symlink(to, aside),
        PathEntry::File { bytes, mode, uid, gid } => {
            create_with(aside, FileAccess { mode: *mode, owner: Some((*uid, *gid)) }, bytes)
        }
        PathEntry::Absent => Ok(()),
    })
}

/// Makes /var/lib/dockseal, which others may pass through and not list.
///
/// # Errors
/// [`FileError`].
pub fn make_home() -> Result<(), FileError> {
    let home = Path::new(HOME);
    fs::create_dir_all(home.join("bin")).map_err(FileError::of("make", home))?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o711)).map_err(FileError::of("restrict", home))
}

/// Copies the running program to where units find it; one that is the same stays. It is read piece by piece: whole, it
/// would be most of a companion's memory.
///
/// # Errors
/// [`FileError`].
pub fn install_binary(to: &Path) -> Result<(), FileError> {
    let own = Path::new("/proc/self/exe");
    if fs::read_link(own).is_ok_and(|path| path == to) || same(own, to).unwrap_or(false) {
        return Ok(());
    }
    make_home()?;
    let fail = FileError::of("write", to);
    let parent = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(&fail)?;
    let aside = parent.join(".dockseal-binary");
    let _ = fs::remove_file(&aside);
    let copy = |file: &mut File| io::copy(&mut File::open(own)?, file).map(drop);
    atomic_write::replace(to, &aside, |aside| create_file(aside, FileAccess::mode(0o755), copy)).map_err(fail)
}

/// Whether two files hold the same bytes.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 || left[..length] != right[..length] {
            return Ok(left.is_empty() && right.is_empty());
        }
        one.consume(length);
        other.consume(length);
    }
}

/// TCP addresses that a process listens on.
///
/// # Errors
/// [`FileError`] where /proc does not tell.
pub fn listeners(pid: u32) -> Result<Vec<SocketAddr>, FileError> {
    let inodes = sockets(pid)?;
    let mut found: Vec<SocketAddr> =
        table(pid).into_iter().filter(|(_, inode)| inodes.contains(inode)).map(|(address, _)| address).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// A listener for which that is so and that none of these processes has: its address, and who has it.
pub fn other_listener(mine: &[Option<u32>], so: impl Fn(&SocketAddr) -> bool) -> Option<(SocketAddr, String)> {
    let mine: Vec<String> = mine.iter().flatten().filter_map(|pid| sockets(*pid).ok()).flatten().collect();
    let (address, inode) = table(1).into_iter().find(|(address, inode)| so(address) && !mine.contains(inode))?;
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let who = pids.into_iter().find(|pid| sockets(*pid).is_ok_and(|inodes| inodes.contains(&inode)));
    let name = who.and_then(|pid: u32| {
        Some(format!("{} (process {pid})", fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim()))
    });
    Some((address, name.unwrap_or_else(|| "another process".into())))
}

/// Inodes of a process's sockets.
fn sockets(pid: u32) -> Result<Vec<String>, FileError> {
    let descriptors = PathBuf::from(format!("/proc/{pid}/fd"));
    let entries = fs::read_dir(&descriptors).map_err(FileError::of("read", &descriptors))?;
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect())
}

/// All TCP listeners in a process's network, with their inodes.
fn table(pid: u32) -> Vec<(SocketAddr, String)> {
    let read = |table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default(); // no IPv6, no table
    let texts = ["tcp", "tcp6"].map(read);
    texts.iter().flat_map(|text| text.lines().skip(1)).filter_map(listener).collect()
}

/// A line of /proc/net/tcp (proc(5)): local address in hex, state 0A for a listener, inode.
fn listener(line: &str) -> Option<(SocketAddr, String)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (listens, inode) = (*columns.get(3)? == "0A", (*columns.get(9)?).to_owned());
    let (address, port) = columns.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = address
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok().map(u32::to_ne_bytes));
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    listens.then_some((SocketAddr::new(ip, port), inode))
}

/// The last line in which dockerd said lately what is wrong, if it did.
pub fn last_error(service: &str) -> Option<String> {
    let journal = |arguments: &[&str]| {
        Command::new("journalctl").arg("--quiet").args(arguments).stdin(Stdio::null()).output().ok()
    };
    journal(&["--sync"]); // what it just said may be on its way
    let output = journal(&["-u", service, "-o", "cat", "-n", "1000", "--since=-3min", "--no-pager"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let says = |line: &&str| {
        let wrong = ["failed to", "unable to", "level=error", "level=fatal"].iter().any(|word| line.contains(word));
        let others = ["docker.service:", "Failed to start"].iter().any(|begin| line.starts_with(begin));
        let small = ["level=info", "level=warning", "TLS handshake error"].iter().any(|word| line.contains(word));
        wrong && !others && !small
    };
    text.lines().rev().find(says).map(|line| line.chars().take(300).collect())
}

/// What `dockerd --validate` says against a configuration, started with those words; none where it is content, or does
/// not know the option (before 23.0).
pub fn validate(words: &[String]) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    let output = Command::new(program).arg("--validate").args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let unknown = text.contains("unknown flag");
    (!output.status.success() && !unknown).then(|| text.trim().chars().take(300).collect())
}

/// The words that systemd would start a service with, variables not replaced; none where systemd does not tell.
pub fn started_with(service: &str) -> Option<Vec<String>> {
    let arguments = ["show", service, "--property=ExecStart", "--value"];
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.split_whitespace().map(str::to_owned).collect())
}

/// A variable of our own environment, which is the service's where systemd runs us before it.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether a path is there, links followed.
pub fn is_there(path: &str) -> bool {
    fs::metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_read_from_the_table_of_the_kernel() {
        let row = |address: &str, state: &str, inode: &str| {
            format!(
                "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0 0 10 0"
            )
        };
        let v4 = listener(&row("0100007F:0948", "0A", "777"));
        assert_eq!(v4, Some(("127.0.0.1:2376".parse().unwrap(), "777".into())));
        let v6 = listener(&row("00000000000000000000000001000000:0948", "0A", "778"));
        assert_eq!(v6, Some(("[::1]:2376".parse().unwrap(), "778".into())));
        assert_eq!(listener(&row("0100007F:0948", "01", "777")), None, "a connection");
        assert_eq!(listener("  sl  local_address rem_address"), None);
    }
}
