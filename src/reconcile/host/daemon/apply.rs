//! Changes to a Docker host: files in an order in which dockerd can start at any moment and never opens, a restart,
//! and the proof. What was there before is noted before it is touched; `back.rs` is the way back.

use super::StepError;
use super::observe::{DAEMON_JSON, OUR_SOCKET, SERVICE, SOCKET, START_TIMEOUT, observe};
use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::cert_dir::CertDir;
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::host::systemd::{Systemd, Verb};
use crate::api::condition::Reason;
use crate::decide::host::daemon_config::DaemonFiles;
use crate::decide::host::daemon_plan::{paths, unserved};
use crate::decide::host::daemon_state::Stage;
use crate::decide::host::observed::ObservedDaemon;
use crate::decide::host::report::serving;
use crate::decide::host::step_request::{StepRequest, listen_addresses};
use crate::decide::status::Verdict;
use crate::docker::daemon_json::{DaemonJson, TlsPaths, Wanted, enforces_client_auth};
use crate::docker::engine::Engine;
use crate::docker::listen::Listen;
use crate::docker::unit;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Note of what was there before a change.
pub const JOURNAL: &str = "journal.json";
/// A configuration that dockerd is asked about.
const CANDIDATE: &str = "candidate.json";
/// dockerd may take so long to serve after systemd says that it runs.
pub(super) const PROOF_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// live-restore is read at once after SIGHUP.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether it starts.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// What was there before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Journal {
    /// How far the change is.
    pub stage: Stage,
    pub(super) prior: Vec<(PathBuf, PathEntry)>,
    pub(super) current: Option<u64>,
    /// Why it is taken back, once it is.
    #[serde(default)]
    pub(super) fault: Option<String>,
}

impl Journal {
    pub(super) fn prior(&self, path: &str) -> Option<&PathEntry> {
        self.prior.iter().find(|(there, _)| there == Path::new(path)).map(|(_, entry)| entry)
    }

    /// Units of sockets are others than they were when systemd opened them.
    fn sockets_changed(&self) -> Result<bool, FileError> {
        for path in [unit::SOCKET_UNIT, unit::DROP_IN, unit::DOCKER_SOCKET_DROP_IN] {
            if self.prior(path) != Some(&system_files::read(path.as_ref())?) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Why a change is taken back.
pub enum RollbackCause {
    /// It was tried, and did not work.
    Failed(String),
    /// It cannot be tried now.
    Refused(Verdict),
}

impl RollbackCause {
    /// As a verdict says it.
    pub fn of(verdict: &Verdict) -> RollbackCause {
        RollbackCause::Failed(verdict.message.clone())
    }
}

impl<E: Into<StepError>> From<E> for RollbackCause {
    fn from(error: E) -> RollbackCause {
        match error.into() {
            StepError::Refused(verdict) => RollbackCause::Refused(verdict),
            trouble => RollbackCause::Failed(trouble.to_string()),
        }
    }
}

/// A host that is changed.
pub struct DockerHost<'a> {
    /// Its systemd.
    pub systemd: &'a Systemd,
    /// What is asked.
    pub order: &'a StepRequest,
    /// The time.
    pub clock: &'a Clock,
}

/// The files that a change touches.
const TOUCHED: [&str; 5] =
    [DAEMON_JSON, unit::SOCKET_UNIT, unit::DROP_IN, unit::DOCKER_SOCKET_DROP_IN, unit::SOCKET_WANT];

/// The change has ended.
pub fn forget() -> Result<(), FileError> {
    system_files::keep(JOURNAL, None::<&Journal>)
}

impl DockerHost<'_> {
    /// Writes files that dockerd reads on its next start.
    pub async fn write(&self, observed: &ObservedDaemon, layout: &DaemonFiles) -> Result<(), StepError> {
        self.begin(observed, Stage::Writing)?;
        self.put_all(observed, layout)?;
        self.systemd.reload().await?;
        self.point(observed)
    }

    /// Closes what stands open: files, then dockerd with all its sockets.
    pub async fn close(&self, observed: &ObservedDaemon, layout: &DaemonFiles) -> Result<(), StepError> {
        self.begin(observed, Stage::Closing)?;
        self.put_all(observed, layout)?;
        self.systemd.reload().await?;
        self.restart(true).await?;
        Ok(forget()?) // the way back would open it again
    }

    /// Has dockerd serve, and proves it.
    pub async fn serve(
        &self,
        observed: &ObservedDaemon,
        layout: &DaemonFiles,
        sockets: bool,
    ) -> Result<ObservedDaemon, RollbackCause> {
        self.begin(observed, Stage::Writing)?;
        let kept = self.keep_containers(observed, layout).await?;
        self.put_all(observed, layout)?;
        self.systemd.reload().await?;
        self.point(observed)?;
        // Their files may have been written long ago, when dockerd could not be restarted.
        let journal = system_files::recall::<Journal>(JOURNAL)?;
        let sockets_wait = journal.map_or(Ok(true), |journal| journal.sockets_changed())?;
        self.advance(Stage::Restarting)?;
        self.restart(sockets || sockets_wait).await?;
        self.prove(observed.engine.filter(|_| kept)).await
    }

    /// Takes our files away, the listener first.
    pub async fn remove(
        &self,
        observed: &ObservedDaemon,
        layout: &DaemonFiles,
        restart: bool,
    ) -> Result<(), StepError> {
        self.begin(observed, Stage::Writing)?;
        system_files::put(unit::SOCKET_WANT.as_ref(), &PathEntry::Absent)?;
        if self.systemd.unit(OUR_SOCKET).await?.loaded {
            self.systemd.run(Verb::Stop, OUR_SOCKET).await?;
        }
        put_text(unit::DROP_IN, layout.drop_in.as_deref())?;
        self.systemd.reload().await?;
        put_text(unit::SOCKET_UNIT, None)?;
        put_text(unit::DOCKER_SOCKET_DROP_IN, layout.docker_socket.as_deref())?;
        self.put_daemon_json(layout)?;
        self.systemd.reload().await?;
        forget()?;
        if restart {
            self.restart(false).await?;
        }
        Ok(())
    }

    /// What is noted of an unfinished change stays: it is older.
    fn begin(&self, observed: &ObservedDaemon, stage: Stage) -> Result<(), FileError> {
        if let Some(journal) = system_files::recall::<Journal>(JOURNAL)? {
            return system_files::keep(JOURNAL, Some(&Journal { stage, ..journal }));
        }
        let mut prior = Vec::new();
        for path in TOUCHED.map(PathBuf::from) {
            let path = if path == Path::new(DAEMON_JSON) { system_files::behind_links(&path)? } else { path };
            let entry = system_files::read(&path)?;
            prior.push((path, entry));
        }
        system_files::keep(JOURNAL, Some(&Journal { stage, prior, current: observed.current, fault: None }))
    }

    fn advance(&self, stage: Stage) -> Result<(), FileError> {
        match system_files::recall::<Journal>(JOURNAL)? {
            Some(journal) => system_files::keep(JOURNAL, Some(&Journal { stage, ..journal })),
            None => Ok(()),
        }
    }

    /// TLS before the listener. `hosts` goes before the flags come, and others' flags before our TLS keys come: dockerd
    /// refuses to start with both.
    fn put_all(&self, observed: &ObservedDaemon, layout: &DaemonFiles) -> Result<(), FileError> {
        put_text(unit::SOCKET_UNIT, layout.socket.as_deref())?;
        let hosts = observed.found.daemon_json.as_deref().and_then(|text| DaemonJson::parse(text).ok());
        match hosts.is_some_and(|json| json.hosts().is_some()) {
            true => self.put_daemon_json(layout).and_then(|()| put_text(unit::DROP_IN, layout.drop_in.as_deref()))?,
            false => put_text(unit::DROP_IN, layout.drop_in.as_deref()).and_then(|()| self.put_daemon_json(layout))?,
        }
        put_text(unit::DOCKER_SOCKET_DROP_IN, layout.docker_socket.as_deref())?;
        let link = PathEntry::Link(PathBuf::from(unit::SOCKET_UNIT));
        system_files::put(unit::SOCKET_WANT.as_ref(), if layout.wanted { &link } else { &PathEntry::Absent })
    }

    /// Permissions and owner stay.
    pub(super) fn put_daemon_json(&self, layout: &DaemonFiles) -> Result<(), FileError> {
        let path = system_files::behind_links(DAEMON_JSON.as_ref())?;
        let there = system_files::read(&path)?;
        let entry = match (&layout.daemon_json, there) {
            (None, _) => PathEntry::Absent,
            (Some(bytes), PathEntry::File { mode, uid, gid, .. }) => {
                PathEntry::File { bytes: bytes.clone(), mode, uid, gid }
            }
            (Some(bytes), _) => PathEntry::File { bytes: bytes.clone(), mode: 0o644, uid: 0, gid: 0 },
        };
        system_files::put(&path, &entry)
    }

    pub(super) fn directory(&self) -> Result<Option<CertDir>, StepError> {
        let directory = Path::new(&self.order.host.delivery.directory);
        Ok(CertDir::find(&[directory.to_owned()], directory)?)
    }

    fn point(&self, observed: &ObservedDaemon) -> Result<(), StepError> {
        match (&observed.files, self.directory()?) {
            (Some(files), Some(directory)) if observed.current != Some(files.generation) => {
                Ok(directory.set_current(files.generation)?)
            }
            _ => Ok(()),
        }
    }

    /// Turns live-restore on in the dockerd that runs, where it is wished for and off. Whether containers outlive it.
    async fn keep_containers(&self, observed: &ObservedDaemon, layout: &DaemonFiles) -> Result<bool, StepError> {
        let on = |text: Option<&[u8]>| {
            text.and_then(|text| DaemonJson::parse(text).ok()).and_then(|json| json.live_restore()) == Some(true)
        };
        let off = observed.engine.is_some_and(|engine| !engine.live_restore);
        if !off || !on(layout.daemon_json.as_deref()) {
            return Ok(observed.engine.is_some_and(|engine| engine.live_restore));
        }
        let before = observed.found.daemon_json.as_deref().unwrap_or_default();
        if let Ok(json) = DaemonJson::parse(before) {
            let text = json.with_live_restore().render();
            self.put_daemon_json(&DaemonFiles { daemon_json: Some(text), ..DaemonFiles::default() })?;
        }
        self.systemd.hang_up(SERVICE).await?;
        let deadline = Instant::now() + RELOAD_TIMEOUT;
        while Instant::now() < deadline {
            if observe(self.order, self.systemd).await?.engine.is_some_and(|engine| engine.live_restore) {
                return Ok(true);
            }
            sleep(PROBE_INTERVAL).await;
        }
        Err(StepError::Refused(serving(
            Reason::RestartPending,
            "dockerd does not turn live-restore on, and containers would stop",
        )))
    }

    /// Whether the change can be made: room for its files, dockerd's own opinion of its configuration, and nobody else
    /// on its addresses. Nothing is touched before.
    pub async fn check(&self, observed: &ObservedDaemon, layout: &DaemonFiles) -> Result<(), StepError> {
        let refused = |what: String| StepError::Refused(serving(Reason::DaemonUnusable, what));
        let journal = format!("{}/{JOURNAL}", system_files::HOME);
        for file in [&journal, DAEMON_JSON, unit::SOCKET_UNIT] {
            let room = system_files::room(file.as_ref());
            room.map_err(|error| refused(format!("{error}; dockerd was not touched")))?;
        }
        let text = layout.daemon_json.as_deref().unwrap_or_default();
        enforces_client_auth(text)
            .map_err(|error| refused(format!("daemon.json would not demand client certificates: {error}")))?;
        if let Some(said) = self.validate(observed, text)? {
            return Err(refused(format!(
                "dockerd --validate refuses the configuration that it would have, so it was not touched: {said}"
            )));
        }
        self.ports_free().await
    }

    /// What dockerd says against the configuration, with the files of the generation that it is to serve.
    fn validate(&self, observed: &ObservedDaemon, text: &[u8]) -> Result<Option<String>, StepError> {
        let Some((files, json)) = observed.files.as_ref().zip(DaemonJson::parse(text).ok()) else { return Ok(None) };
        let TlsPaths { ca, cert, key } = paths(self.order);
        let inside = |path: String| {
            let (directory, name) = path.rsplit_once('/').unwrap_or_default();
            let file = CertDir::generation_file(Path::new(directory), files.generation, name);
            file.to_string_lossy().into_owned()
        };
        let (ca, cert, key) = (inside(ca), inside(cert), inside(key));
        let wanted = Wanted { ca: &ca, cert: &cert, key: &key, live_restore: false, drop_hosts: true };
        let candidate = format!("{}/{CANDIDATE}", system_files::HOME);
        let entry = PathEntry::File { bytes: json.merged(&wanted).render(), mode: 0o600, uid: 0, gid: 0 };
        system_files::put(candidate.as_ref(), &entry)?;
        let mut words = observed.found.command();
        words.extend(["--config-file".to_owned(), candidate.clone()]);
        let said = system_files::validate(&words);
        system_files::put(candidate.as_ref(), &PathEntry::Absent)?;
        Ok(said.map(|said| said.replace(&candidate, DAEMON_JSON)))
    }

    /// Nobody but dockerd, or systemd for it, listens where dockerd is to.
    async fn ports_free(&self) -> Result<(), StepError> {
        let mine = [Some(1), self.systemd.main_pid(SERVICE).await?];
        for listen in listen_addresses(&self.order.host).unwrap_or_default() {
            let others = system_files::other_listener(&mine, |address| {
                Listen::parse(&address.to_string()).is_ok_and(|there| listen.covers(&there) || there.covers(&listen))
            });
            if let Some((address, who)) = others {
                return Err(StepError::Refused(serving(
                    Reason::DaemonConflict,
                    format!(
                        "{who} listens on {address}, where dockerd is to: stop it, or choose another port; dockerd was \
                         not touched"
                    ),
                )));
            }
        }
        Ok(())
    }

    /// Starts dockerd anew; with its sockets where they changed, since systemd opens none while it runs.
    pub(super) async fn restart(&self, sockets: bool) -> Result<(), StepError> {
        for unit in [SERVICE, SOCKET, OUR_SOCKET] {
            let _ = self.systemd.reset_failed(unit).await; // one that never ran has nothing to reset
        }
        let restarted = async {
            if !sockets {
                return self.systemd.run(Verb::Restart, SERVICE).await;
            }
            // Sockets first, else a client starts dockerd between the two; each by name, since a unit that somebody
            // edited may not be bound to the others.
            for unit in [OUR_SOCKET, SOCKET, SERVICE] {
                if self.systemd.unit(unit).await?.loaded {
                    self.systemd.run(Verb::Stop, unit).await?;
                }
            }
            self.systemd.run(Verb::Start, SOCKET).await?;
            self.systemd.run(Verb::Start, SERVICE).await
        };
        tokio::select! {
            restarted = restarted => Ok(restarted?),
            () = self.hangs() => Err(StepError::Hangs(START_TIMEOUT.as_secs())),
        }
    }

    /// Ends when dockerd has been starting for too long.
    async fn hangs(&self) {
        let mut since = Instant::now();
        while since.elapsed() < START_TIMEOUT {
            sleep(CHECK_INTERVAL).await;
            if self.systemd.unit(SERVICE).await.is_ok_and(|unit| unit.active != "activating") {
                since = Instant::now();
            }
        }
    }

    /// Asks until dockerd serves as wanted and nobody without a certificate.
    async fn prove(&self, before: Option<Engine>) -> Result<ObservedDaemon, RollbackCause> {
        let deadline = Instant::now() + PROOF_TIMEOUT;
        loop {
            let now = observe(self.order, self.systemd).await?;
            let fault = match (now.exposed.first(), &now.engine) {
                (Some(open), _) => {
                    let fault = format!("dockerd answered {open} to somebody without a certificate");
                    return Err(RollbackCause::Failed(fault));
                }
                (None, None) => Some("dockerd does not answer on its unix socket".to_owned()),
                (None, Some(_)) => {
                    unserved(&now, self.clock.now()).filter(|_| !now.listeners.iter().all(|listener| listener.absent))
                }
            };
            let lost = before.zip(now.engine).filter(|(before, now)| now.running < before.running);
            let lost = lost.map(|(before, now)| format!("{} of {} containers run", now.running, before.running));
            let Some(fault) = fault.or(lost) else { return Ok(now) };
            // systemd could not open it: another listens there. It does not try again by itself.
            let closed = self.systemd.unit(OUR_SOCKET).await?.active == "failed";
            if closed || Instant::now() > deadline {
                return Err(RollbackCause::Failed(fault));
            }
            sleep(PROBE_INTERVAL).await;
        }
    }
}

fn put_text(path: &str, text: Option<&str>) -> Result<(), FileError> {
    system_files::put(path.as_ref(), &text.map_or(PathEntry::Absent, PathEntry::public))
}
