//! What a delivery asks of a Docker host: its files, its certificate directory, systemd, and what dockerd answers. One
//! contract for the real machine ([`LocalHost`]) and for a test's simulation. It runs on that host, never remotely.

pub mod cert_dir;
mod local_host;
pub mod procfs;
pub mod system_files;
pub mod systemd;
pub mod unit_watch;

pub use local_host::LocalHost;

use crate::adapters::disk::file_error::FileError;
use crate::adapters::docker::probe::TlsProbe;
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::api::marker::Marker;
use crate::docker::authority_proof::AuthorityProof;
use crate::docker::engine::Engine;
use crate::docker::exposure::Exposure;
use crate::docker::unit::StartSettings;
use crate::pki::Certificate;
use cert_dir::{DeliveryError, DirContents, GenerationFiles, Overwrite};
use procfs::{MainProcess, ProcessFacts, SeenFile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use system_files::{HOME, MAX_LINKS, PathEntry};
use systemd::{SystemdError, Unit, Verb};

/// A Docker host. Calls that are not async block for as long as a disk does; nothing is retried in here.
pub trait Host: Clone + Send + Sync + 'static {
    /// Its certificate directories.
    type Directory: DeliveryDirectory;

    /// Opens a directory below one of `roots`; None where it is missing.
    ///
    /// # Errors
    /// [`DeliveryError`] where it is outside of the roots, or another user could exchange something on the way.
    fn find_directory(&self, roots: &[PathBuf], directory: &Path) -> Result<Option<Self::Directory>, DeliveryError>;

    /// As [`Host::find_directory`]; a directory that is missing is made.
    ///
    /// # Errors
    /// As there.
    fn make_directory(&self, roots: &[PathBuf], directory: &Path) -> Result<Self::Directory, DeliveryError>;

    /// Reads what is at a path; links are not followed.
    ///
    /// # Errors
    /// [`FileError`] where it is there and cannot be read, or is neither a file nor a link.
    fn read(&self, path: &Path) -> Result<PathEntry, FileError>;

    /// Writes a file or a link in one step, or removes it. What is right already is not written again.
    ///
    /// # Errors
    /// [`FileError`]; what was there is still there then.
    fn put(&self, path: &Path, entry: &PathEntry) -> Result<(), FileError>;

    /// Whether a path is there, links followed.
    fn exists(&self, path: &str) -> bool;

    /// Fails where a file of a usual size could not be written to `path` now.
    ///
    /// # Errors
    /// [`FileError`]: no space, a read-only file system, a directory that cannot be changed.
    fn check_room(&self, path: &Path) -> Result<(), FileError>;

    /// Copies the running program to where units find it.
    ///
    /// # Errors
    /// [`FileError`].
    fn install_binary(&self, to: &Path) -> Result<(), FileError>;

    /// Connects to systemd. The calls below do the same where that was not done.
    fn reach_systemd(&self) -> impl Future<Output = Result<(), SystemdError>> + Send;

    /// What systemd knows of a unit; one that does not exist is not loaded.
    fn unit(&self, name: &str) -> impl Future<Output = Result<Unit, SystemdError>> + Send;

    /// The words of a service's ExecStart, as systemd has loaded it.
    fn command(&self, service: &str) -> impl Future<Output = Result<Vec<String>, SystemdError>> + Send;

    /// How systemd would start a service, as it has loaded it.
    fn start_settings(&self, service: &str) -> impl Future<Output = Result<StartSettings, SystemdError>> + Send;

    /// A service's main process; none while it does not run.
    fn main_process(&self, service: &str) -> impl Future<Output = Result<Option<MainProcess>, SystemdError>> + Send;

    /// What a process was started as.
    ///
    /// # Errors
    /// [`FileError`] where the kernel does not say, or the process has ended.
    fn process(&self, pid: u32) -> Result<ProcessFacts, FileError>;

    /// Reads a regular file at an absolute path as a process sees it, links followed; as this program sees it where
    /// there is no process. None where it is missing.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read, or is no regular file.
    fn read_seen(&self, pid: Option<u32>, path: &Path) -> Result<Option<SeenFile>, FileError>;

    /// Has systemd read all unit files again.
    fn reload(&self) -> impl Future<Output = Result<(), SystemdError>> + Send;

    /// Clears a unit's failure and its count of starts, so that the next start is not refused.
    fn reset_failed(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;

    /// Sends SIGHUP to a service's main process.
    fn hang_up(&self, service: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;

    /// Starts, stops or restarts a unit, and waits for the end of the job.
    fn run(&self, verb: Verb, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;

    /// Runs a program as a unit of its own and waits for its end. A unit of that name that still runs is waited for,
    /// and the program is not started.
    fn run_apart(&self, unit: &str, words: &[&str]) -> impl Future<Output = Result<(), SystemdError>> + Send;

    /// TCP addresses that a service's main process listens on; none while it does not run.
    fn listeners(&self, service: &str) -> impl Future<Output = Result<Vec<SocketAddr>, SystemdError>> + Send;

    /// A TCP listener on an address that is `wanted` and of a process other than systemd or the service's own: its
    /// address, and the process in words.
    fn other_listener(
        &self,
        service: &str,
        wanted: impl Fn(&SocketAddr) -> bool + Send,
    ) -> impl Future<Output = Result<Option<(SocketAddr, String)>, SystemdError>> + Send;

    /// The last line of a service's log of the last minutes that says what is wrong.
    fn last_error(&self, service: &str) -> Option<String>;

    /// What `dockerd --validate` says against a configuration; None where it accepts it, or does not know the option
    /// (before 23.0).
    fn validate(&self, command: &[String]) -> Option<String>;

    /// The words of a service's ExecStart, variables not replaced; it needs no system bus, unlike [`Host::command`].
    fn started_with(&self, service: &str) -> Option<Vec<String>>;

    /// A variable of our own environment, which is the service's where systemd runs us before it.
    fn variable(&self, name: &str) -> Option<String>;

    /// Whether the listener at an address lets in clients that it must refuse.
    fn exposure(&self, address: SocketAddr) -> impl Future<Output = Exposure> + Send;

    /// Whether dockerd accepts a client certificate for which nobody has a key.
    fn authority_proof(&self, address: SocketAddr, leaf: &Certificate) -> impl Future<Output = AuthorityProof> + Send;

    /// Asks dockerd over TLS, with a client certificate or without.
    fn probe_tls(&self, address: SocketAddr, identity: Option<&ClientKeyPair>)
    -> impl Future<Output = TlsProbe> + Send;

    /// Asks dockerd over its unix socket what it is.
    ///
    /// # Errors
    /// Where it does not answer, or not as Docker does.
    fn probe_engine(&self, socket: &Path) -> impl Future<Output = io::Result<Engine>> + Send;

    /// Whether an address is one of this host's now.
    fn is_local(&self, ip: IpAddr) -> bool;

    /// Time since some moment before the first call; setting the clock does not change it.
    fn uptime(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Where the links at a path lead in the end: a file that is kept elsewhere stays a link.
    ///
    /// # Errors
    /// As [`Host::read`].
    fn resolve(&self, path: &Path) -> Result<PathBuf, FileError> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.read(&path)? {
                PathEntry::Link(to) => path = path.parent().unwrap_or(Path::new("/")).join(to),
                _ => break,
            }
        }
        Ok(path)
    }

    /// Reads a note of ours in /var/lib/dockseal.
    ///
    /// # Errors
    /// [`FileError`] where it is there and cannot be read.
    fn read_note<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FileError> {
        let path = Path::new(HOME).join(name);
        let unreadable =
            |error| FileError { verb: "read", path: path.display().to_string(), source: io::Error::other(error) };
        match self.read(&path)? {
            PathEntry::File { bytes, .. } => serde_json::from_slice(&bytes).map(Some).map_err(unreadable),
            _ => Ok(None),
        }
    }

    /// Writes a note, for root alone; None removes it.
    ///
    /// # Errors
    /// [`FileError`]; the former one is still there then.
    fn write_note<T: Serialize>(&self, name: &str, note: Option<&T>) -> Result<(), FileError> {
        let encode = |note| serde_json::to_vec(note).expect("a note of plain values encodes");
        let entry = note.map_or(PathEntry::Absent, |note| PathEntry::private(encode(note)));
        self.put(&Path::new(HOME).join(name), &entry)
    }
}

/// An opened certificate directory; [`cert_dir::CertDir`] says what each call does, and in which order they are made.
pub trait DeliveryDirectory: Send + Sync + 'static {
    /// Reads what is there for the object `name`.
    ///
    /// # Errors
    /// [`DeliveryError`] where our part of it cannot be read, or others could exchange it.
    fn contents(&self, name: &str) -> Result<DirContents, DeliveryError>;

    /// Marks it; another marker is replaced only where it is `instead_of`. Later writes fail once it is another.
    ///
    /// # Errors
    /// [`DeliveryError::Claimed`] where it is another's.
    fn claim(&self, marker: &Marker, instead_of: Option<&Marker>) -> Result<(), DeliveryError>;

    /// Writes a generation, which nobody sees before [`DeliveryDirectory::set_current`].
    ///
    /// # Errors
    /// [`DeliveryError`]; nothing is left behind then.
    fn write_generation(&self, name: &str, files: &GenerationFiles<'_>) -> Result<u64, DeliveryError>;

    /// Has the public names show that generation, all at once.
    ///
    /// # Errors
    /// [`DeliveryError`]; they show what they showed before then.
    fn set_current(&self, generation: u64) -> Result<(), DeliveryError>;

    /// Makes the public names.
    ///
    /// # Errors
    /// [`DeliveryError::FileExists`] where one is not ours and `overwrite` does not cover it.
    fn link_names(&self, name: &str, overwrite: Overwrite) -> Result<(), DeliveryError>;

    /// Copies others' files under the public names into a generation, and links the names to it.
    ///
    /// # Errors
    /// [`DeliveryError::TakeOver`] where one of them is not a plain file.
    fn take_over(&self, name: &str) -> Result<Option<u64>, DeliveryError>;

    /// Removes the generations that are neither current nor in `keep`.
    ///
    /// # Errors
    /// [`DeliveryError`] where one cannot be removed.
    fn prune(&self, keep: &[u64]) -> Result<(), DeliveryError>;

    /// Removes all that is ours.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed; to be called again then.
    fn release(&self, name: &str) -> Result<(), DeliveryError>;
}
