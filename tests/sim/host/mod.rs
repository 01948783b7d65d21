//! A Docker host in memory: files, a certificate directory, systemd's units and a dockerd. It counts its calls, can
//! fail one of them, and can be killed before any change. After every change it checks what must hold at every moment.

mod directory;
mod dockerd;
mod machine;
mod units;

#[allow(unused_imports, reason = "not every test binary uses it")]
pub use machine::{Fault, Killed, Machine};

use directory::SimDirectory;
use dockseal::adapters::Clock;
use dockseal::adapters::disk::file_error::FileError;
use dockseal::adapters::docker::probe::TlsProbe;
use dockseal::adapters::host::Host;
use dockseal::adapters::host::cert_dir::DeliveryError;
use dockseal::adapters::host::procfs::{MainProcess, ProcessFacts, SeenFile};
use dockseal::adapters::host::system_files::PathEntry;
use dockseal::adapters::host::systemd::{SystemdError, Unit, Verb};
use dockseal::adapters::net::tls_client::ClientKeyPair;
use dockseal::docker::authority_proof::AuthorityProof;
use dockseal::docker::engine::Engine;
use dockseal::docker::exposure::Exposure;
use dockseal::docker::unit::{self, StartSettings};
use dockseal::pki::Certificate;
use dockseal::reconcile::host::daemon;
use futures::FutureExt;
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The number of dockerd's process.
const DOCKERD: u32 = 77;

/// A handle to the machine.
#[derive(Clone)]
pub struct SimHost {
    machine: Arc<Mutex<Machine>>,
    clock: Clock,
    meanwhile: Arc<Mutex<Option<(usize, Meanwhile)>>>,
}

/// What happens between two calls.
type Meanwhile = Box<dyn FnOnce() + Send>;

impl SimHost {
    /// A host of that machine.
    pub fn of(machine: Machine, clock: Clock) -> SimHost {
        SimHost { machine: Arc::new(Mutex::new(machine)), clock, meanwhile: Arc::default() }
    }

    /// The machine itself, for tests to read and to change.
    pub fn open(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock()
    }

    /// Has something happen, on a thread of its own, before the call of that number.
    #[allow(dead_code, reason = "not every test binary uses it")]
    pub fn at_call(&self, number: usize, happens: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock() = Some((number, Box::new(happens)));
    }

    fn let_others_act(&self) {
        let due = self.meanwhile.lock().take_if(|(number, _)| *number <= self.open().calls);
        if let Some((_, happens)) = due {
            std::thread::spawn(happens).join().expect("it does not panic");
        }
    }

    /// One call: it fails where a test asks for that, and what must hold is checked after it.
    fn call<T, E>(
        &self,
        what: &str,
        failure: impl FnOnce() -> E,
        work: impl FnOnce(&mut Machine) -> Result<T, E>,
    ) -> Result<T, E> {
        self.let_others_act();
        let mut machine = self.open();
        if machine.fails(what) {
            return Err(failure());
        }
        let done = work(&mut machine)?;
        machine.check(what);
        Ok(done)
    }

    fn file<T>(&self, verb: &'static str, path: &Path, work: impl FnOnce(&mut Machine) -> T) -> Result<T, FileError> {
        let what = format!("{verb} {}", path.display());
        let path = path.display().to_string();
        let failure = || FileError { verb, path, source: io::Error::other("the test has it fail") };
        self.call(&what, failure, |machine| Ok(work(machine)))
    }

    fn systemd<T>(
        &self,
        verb: &'static str,
        unit: &str,
        work: impl FnOnce(&mut Machine) -> Result<T, String>,
    ) -> Result<T, SystemdError> {
        let error = |result: String| SystemdError::Job { verb, unit: unit.to_owned(), result };
        let what = format!("{verb} {unit}");
        self.call(&what, || error("the test has it fail".into()), |machine| work(machine).map_err(error))
    }
}

impl Host for SimHost {
    type Directory = SimDirectory;

    fn find_directory(&self, roots: &[PathBuf], path: &Path) -> Result<Option<SimDirectory>, DeliveryError> {
        assert!(roots.iter().any(|root| path.starts_with(root)), "{} is below no root", path.display());
        let there = self.call("open", || DeliveryError::Busy(path.into()), |machine| Ok(machine.is_directory(path)))?;
        Ok(there.then(|| SimDirectory::of(self, path)))
    }

    fn make_directory(&self, _: &[PathBuf], path: &Path) -> Result<SimDirectory, DeliveryError> {
        self.call(
            "mkdir",
            || DeliveryError::Busy(path.into()),
            |machine| {
                machine.make_directory(path);
                Ok(())
            },
        )?;
        Ok(SimDirectory::of(self, path))
    }

    fn read(&self, path: &Path) -> Result<PathEntry, FileError> {
        self.file("read", path, |machine| machine.entry(path))
    }

    fn put(&self, path: &Path, entry: &PathEntry) -> Result<(), FileError> {
        self.file("write", path, |machine| machine.put(path, entry))
    }

    fn exists(&self, path: &str) -> bool {
        self.open().bytes(path.as_ref()).is_some()
    }

    fn check_room(&self, path: &Path) -> Result<(), FileError> {
        self.file("write", path, |_| ())
    }

    fn install_binary(&self, to: &Path) -> Result<(), FileError> {
        self.file("install", to, |machine| machine.put(to, &PathEntry::public("the program")))
    }

    async fn reach_systemd(&self) -> Result<(), SystemdError> {
        self.systemd("reach", "systemd", |_| Ok(()))
    }

    async fn unit(&self, name: &str) -> Result<Unit, SystemdError> {
        self.systemd("look at", name, |machine| Ok(machine.unit(name)))
    }

    async fn command(&self, service: &str) -> Result<Vec<String>, SystemdError> {
        self.systemd("look at", service, |machine| Ok(machine.exec().argv()))
    }

    async fn start_settings(&self, service: &str) -> Result<StartSettings, SystemdError> {
        self.systemd("ask how to start", service, |machine| Ok(machine.start_settings()))
    }

    async fn main_process(&self, service: &str) -> Result<Option<MainProcess>, SystemdError> {
        self.systemd("look for", service, |machine| {
            let process = |started| MainProcess { pid: DOCKERD, started: machine.instant(started) };
            Ok(machine.dockerd.as_ref().map(|dockerd| process(dockerd.started)))
        })
    }

    fn process(&self, pid: u32) -> Result<ProcessFacts, FileError> {
        assert_eq!(pid, DOCKERD);
        let read = self.file("read", Path::new("/proc/77"), |machine| machine.dockerd.clone())?;
        Ok(read.expect("it runs").process)
    }

    fn read_seen(&self, _: Option<u32>, path: &Path) -> Result<Option<SeenFile>, FileError> {
        self.file("look into", path, |machine| machine.seen(path))
    }

    async fn reload(&self) -> Result<(), SystemdError> {
        self.systemd("reload", "systemd", |machine| {
            machine.reload();
            Ok(())
        })
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        self.systemd("reset", unit, |machine| {
            machine.reset_failed(unit);
            Ok(())
        })
    }

    async fn hang_up(&self, service: &str) -> Result<(), SystemdError> {
        self.systemd("signal", service, Machine::hang_up)
    }

    async fn run(&self, verb: Verb, unit: &str) -> Result<(), SystemdError> {
        let word = match verb {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        };
        self.systemd(word, unit, |machine| machine.run(word, unit))
    }

    /// The step, in the same process. A step that is killed alone is started again, as its unit says.
    async fn run_apart(&self, unit: &str, words: &[&str]) -> Result<(), SystemdError> {
        assert_eq!(words, [unit::BINARY, "daemon-step"]);
        self.systemd("run", unit, |_| Ok(()))?;
        loop {
            let ended = AssertUnwindSafe(daemon::step(self, &self.clock)).catch_unwind().await;
            match ended {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => {
                    let result = error.to_string();
                    return Err(SystemdError::Job { verb: "run", unit: unit.to_owned(), result });
                }
                Err(killed) if killed.is::<Killed>() && self.open().step_restarts() => {}
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }

    async fn listeners(&self, service: &str) -> Result<Vec<SocketAddr>, SystemdError> {
        self.systemd("look at", service, |machine| Ok(machine.tcp_listeners()))
    }

    async fn other_listener(
        &self,
        service: &str,
        wanted: impl Fn(&SocketAddr) -> bool + Send,
    ) -> Result<Option<(SocketAddr, String)>, SystemdError> {
        self.systemd("look at", service, |machine| {
            Ok(machine.others.iter().find(|(address, _)| wanted(address)).cloned())
        })
    }

    fn last_error(&self, _: &str) -> Option<String> {
        self.open().last_error.clone()
    }

    fn validate(&self, command: &[String]) -> Option<String> {
        self.open().validate(command)
    }

    fn started_with(&self, _: &str) -> Option<Vec<String>> {
        Some(self.open().exec().argv())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.open().variable(name)
    }

    async fn exposure(&self, address: SocketAddr) -> Exposure {
        let done = self.call("probe", || (), |machine| Ok(machine.exposure(address)));
        done.unwrap_or_else(|()| Exposure::Unreachable("the test has it fail".into()))
    }

    async fn authority_proof(&self, address: SocketAddr, leaf: &Certificate) -> AuthorityProof {
        let done = self.call("probe", || (), |machine| Ok(machine.authority_proof(address, leaf)));
        done.unwrap_or_else(|()| AuthorityProof::Unknown("the test has it fail".into()))
    }

    async fn probe_tls(&self, address: SocketAddr, identity: Option<&ClientKeyPair>) -> TlsProbe {
        let closed = || TlsProbe::Closed("the test has it fail".into());
        let done = self.call("probe", || (), |machine| Ok(machine.probe_tls(address, identity)));
        done.unwrap_or_else(|()| closed())
    }

    async fn probe_engine(&self, socket: &Path) -> io::Result<Engine> {
        let failure = || io::Error::other("the test has it fail");
        self.call("probe", failure, |machine| {
            machine.engine(socket).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))
        })
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback()
    }

    fn uptime(&self) -> Duration {
        self.open().uptime
    }

    async fn sleep(&self, time: Duration) {
        self.open().uptime += time;
        tokio::task::yield_now().await;
    }
}
