//! The machine that this program runs on, as a [`Host`]. It connects to systemd on the first call that needs it.

use super::cert_dir::{CertDir, DeliveryError, DirContents, GenerationFiles, Overwrite};
use super::procfs::{self, MainProcess, ProcessFacts, SeenFile};
use super::system_files::{self, PathEntry};
use super::systemd::{Systemd, SystemdError, Unit, Verb};
use super::{DeliveryDirectory, Host};
use crate::adapters::disk::file_error::FileError;
use crate::adapters::docker::authority_proof::authority_proof;
use crate::adapters::docker::exposure::exposure;
use crate::adapters::docker::probe::{self, TlsProbe};
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::api::marker::Marker;
use crate::docker::authority_proof::AuthorityProof;
use crate::docker::engine::Engine;
use crate::docker::exposure::Exposure;
use crate::docker::unit::StartSettings;
use crate::pki::Certificate;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// This machine, for one delivery or one step: a connection to systemd that went is not made again.
#[derive(Clone)]
pub struct LocalHost {
    systemd: Arc<OnceCell<Systemd>>,
    started: Instant,
}

impl LocalHost {
    /// Connects to nothing yet.
    #[allow(clippy::new_without_default, reason = "it reads the time")]
    pub fn new() -> LocalHost {
        LocalHost { systemd: Arc::default(), started: Instant::now() }
    }

    async fn systemd(&self) -> Result<&Systemd, SystemdError> {
        self.systemd.get_or_try_init(Systemd::reach).await
    }
}

impl Host for LocalHost {
    type Directory = CertDir;

    fn find_directory(&self, roots: &[PathBuf], directory: &Path) -> Result<Option<CertDir>, DeliveryError> {
        CertDir::find(roots, directory)
    }

    fn make_directory(&self, roots: &[PathBuf], directory: &Path) -> Result<CertDir, DeliveryError> {
        CertDir::open(roots, directory)
    }

    fn read(&self, path: &Path) -> Result<PathEntry, FileError> {
        system_files::read(path)
    }

    fn put(&self, path: &Path, entry: &PathEntry) -> Result<(), FileError> {
        if path.starts_with(system_files::HOME) && *entry != PathEntry::Absent {
            system_files::make_home()?;
        }
        system_files::put(path, entry)
    }

    fn exists(&self, path: &str) -> bool {
        system_files::is_there(path)
    }

    fn check_room(&self, path: &Path) -> Result<(), FileError> {
        system_files::room(path)
    }

    fn install_binary(&self, to: &Path) -> Result<(), FileError> {
        system_files::install_binary(to)
    }

    async fn reach_systemd(&self) -> Result<(), SystemdError> {
        self.systemd().await.map(drop)
    }

    async fn unit(&self, name: &str) -> Result<Unit, SystemdError> {
        self.systemd().await?.unit(name).await
    }

    async fn command(&self, service: &str) -> Result<Vec<String>, SystemdError> {
        self.systemd().await?.command(service).await
    }

    async fn start_settings(&self, service: &str) -> Result<StartSettings, SystemdError> {
        self.systemd().await?.start_settings(service).await
    }

    async fn main_process(&self, service: &str) -> Result<Option<MainProcess>, SystemdError> {
        self.systemd().await?.main_process(service).await
    }

    fn process(&self, pid: u32) -> Result<ProcessFacts, FileError> {
        procfs::process(pid)
    }

    fn read_seen(&self, pid: Option<u32>, path: &Path) -> Result<Option<SeenFile>, FileError> {
        procfs::read_seen(pid, path)
    }

    async fn reload(&self) -> Result<(), SystemdError> {
        self.systemd().await?.reload().await
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        self.systemd().await?.reset_failed(unit).await
    }

    async fn hang_up(&self, service: &str) -> Result<(), SystemdError> {
        self.systemd().await?.hang_up(service).await
    }

    async fn run(&self, verb: Verb, unit: &str) -> Result<(), SystemdError> {
        self.systemd().await?.run(verb, unit).await
    }

    async fn run_apart(&self, unit: &str, words: &[&str]) -> Result<(), SystemdError> {
        self.systemd().await?.run_apart(unit, words).await
    }

    async fn listeners(&self, service: &str) -> Result<Vec<SocketAddr>, SystemdError> {
        let process = self.systemd().await?.main_process(service).await?;
        Ok(process.and_then(|process| system_files::listeners(process.pid).ok()).unwrap_or_default())
    }

    async fn other_listener(
        &self,
        service: &str,
        wanted: impl Fn(&SocketAddr) -> bool + Send,
    ) -> Result<Option<(SocketAddr, String)>, SystemdError> {
        let process = self.systemd().await?.main_process(service).await?;
        let own = [Some(1), process.map(|process| process.pid)];
        Ok(system_files::other_listener(&own, wanted))
    }

    fn last_error(&self, service: &str) -> Option<String> {
        system_files::last_error(service)
    }

    fn validate(&self, command: &[String]) -> Option<String> {
        system_files::validate(command)
    }

    fn started_with(&self, service: &str) -> Option<Vec<String>> {
        system_files::started_with(service)
    }

    fn variable(&self, name: &str) -> Option<String> {
        system_files::variable(name)
    }

    async fn exposure(&self, address: SocketAddr) -> Exposure {
        exposure("docker", address).await
    }

    async fn authority_proof(&self, address: SocketAddr, leaf: &Certificate) -> AuthorityProof {
        authority_proof(address, leaf).await
    }

    async fn probe_tls(&self, address: SocketAddr, identity: Option<&ClientKeyPair>) -> TlsProbe {
        probe::tls(address, identity).await
    }

    async fn probe_engine(&self, socket: &Path) -> io::Result<Engine> {
        probe::engine(socket).await
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        probe::is_local(ip)
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl DeliveryDirectory for CertDir {
    fn contents(&self, name: &str) -> Result<DirContents, DeliveryError> {
        CertDir::contents(self, name)
    }

    fn claim(&self, marker: &Marker, instead_of: Option<&Marker>) -> Result<(), DeliveryError> {
        CertDir::claim(self, marker, instead_of)
    }

    fn write_generation(&self, name: &str, files: &GenerationFiles<'_>) -> Result<u64, DeliveryError> {
        CertDir::write_generation(self, name, files)
    }

    fn set_current(&self, generation: u64) -> Result<(), DeliveryError> {
        CertDir::set_current(self, generation)
    }

    fn link_names(&self, name: &str, overwrite: Overwrite) -> Result<(), DeliveryError> {
        CertDir::link_names(self, name, overwrite)
    }

    fn take_over(&self, name: &str) -> Result<Option<u64>, DeliveryError> {
        CertDir::take_over(self, name)
    }

    fn prune(&self, keep: &[u64]) -> Result<(), DeliveryError> {
        CertDir::prune(self, keep)
    }

    fn release(&self, name: &str) -> Result<(), DeliveryError> {
        CertDir::release(self, name)
    }
}
