//! Changes to a Docker host: files in an order in which dockerd can start at any moment and never opens, a restart,
//! the proof, and the way back. What was there before is noted before it is touched.

use super::Trouble;
use super::observe::{DAEMON_JSON, OUR_SOCKET, SERVICE, SOCKET, observe};
use crate::decide::delivery::daemon::{Observed, unserved};
use crate::decide::delivery::memory::Stage;
use crate::decide::delivery::order::Order;
use crate::decide::delivery::target::Layout;
use crate::decide::status::Verdict;
use crate::docker::daemon_json::{DaemonJson, sealed};
use crate::docker::unit;
use crate::world::Clock;
use crate::world::daemon_host::{self, Entry};
use crate::world::host_files::Directory;
use crate::world::synced_files::FileError;
use crate::world::systemd::{Systemd, Verb};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Note of what was there before a change.
pub const JOURNAL: &str = "journal.json";
/// dockerd may take so long to serve after systemd says that it runs.
const PROOF_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// live-restore is read at once after SIGHUP.
const RELOAD_PATIENCE: Duration = Duration::from_secs(5);

/// What was there before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Journal {
    /// How far the change is.
    pub stage: Stage,
    prior: Vec<(PathBuf, Entry)>,
    current: Option<u64>,
}

/// Why a change is taken back.
pub struct Fault(String);

impl Fault {
    /// As a verdict says it.
    pub fn of(verdict: &Verdict) -> Fault {
        Fault(verdict.message.clone())
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault(error.to_string())
    }
}

/// A host that is changed.
pub struct Host<'a> {
    /// Its systemd.
    pub systemd: &'a Systemd,
    /// What is asked.
    pub order: &'a Order,
    /// The time.
    pub clock: &'a Clock,
}

/// The files that a change touches.
const TOUCHED: [&str; 5] =
    [DAEMON_JSON, unit::SOCKET_UNIT, unit::DROP_IN, unit::DOCKER_SOCKET_DROP_IN, unit::SOCKET_WANT];

/// The change has ended.
pub fn forget() -> Result<(), FileError> {
    daemon_host::keep(JOURNAL, None::<&Journal>)
}

impl Host<'_> {
    /// Writes files that dockerd reads on its next start.
    pub async fn write(&self, observed: &Observed, layout: &Layout) -> Result<(), Trouble> {
        self.begin(observed, Stage::Writing)?;
        self.put_all(observed, layout)?;
        self.systemd.reload().await?;
        self.point(observed)
    }

    /// Closes what stands open: files, then dockerd with all its sockets.
    pub async fn close(&self, observed: &Observed, layout: &Layout) -> Result<(), Trouble> {
        self.begin(observed, Stage::Closing)?;
        self.put_all(observed, layout)?;
        self.systemd.reload().await?;
        self.restart(true).await?;
        Ok(forget()?) // the way back would open it again
    }

    /// Has dockerd serve, and proves it.
    pub async fn serve(&self, observed: &Observed, layout: &Layout, sockets: bool) -> Result<Observed, Fault> {
        self.begin(observed, Stage::Writing)?;
        self.keep_containers(observed, layout).await?;
        self.put_all(observed, layout)?;
        self.systemd.reload().await?;
        self.point(observed)?;
        self.check(layout)?;
        self.advance(Stage::Restarting)?;
        self.restart(sockets).await?;
        self.prove(observed).await
    }

    /// Takes our files away, the listener first.
    pub async fn remove(&self, observed: &Observed, layout: &Layout, restart: bool) -> Result<(), Trouble> {
        self.begin(observed, Stage::Writing)?;
        daemon_host::put(unit::SOCKET_WANT.as_ref(), &Entry::Absent)?;
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

    /// Puts back what was there, and says what came of it.
    pub async fn roll_back(&self, fault: &Fault) -> Result<String, Trouble> {
        let said = daemon_host::last_error(SERVICE).map(|line| format!(" (dockerd: {line})")).unwrap_or_default();
        let Some(mut journal) = daemon_host::recall::<Journal>(JOURNAL)? else { return Ok(fault.0.clone()) };
        journal.stage = Stage::RollingBack;
        daemon_host::keep(JOURNAL, Some(&journal))?;
        for (path, prior) in journal.prior.iter().rev() {
            daemon_host::put(path, prior)?;
        }
        if let (Some(current), Some(directory)) = (journal.current, self.directory()?) {
            directory.point(current)?;
        }
        self.systemd.reload().await?;
        let started = self.restart(true).await;
        forget()?;
        let fault = &fault.0;
        Ok(match started {
            Ok(()) => format!(
                "{fault}{said}; everything is as it was before, and dockerd runs. It is not tried again \
                               until the certificate, the spec or dockerd's configuration changes"
            ),
            Err(error) => {
                format!("{fault}{said}; everything is as it was before, and dockerd does not run even so: {error}")
            }
        })
    }

    /// What is noted of an unfinished change stays: it is older.
    fn begin(&self, observed: &Observed, stage: Stage) -> Result<(), FileError> {
        if let Some(journal) = daemon_host::recall::<Journal>(JOURNAL)? {
            return daemon_host::keep(JOURNAL, Some(&Journal { stage, ..journal }));
        }
        let mut prior = Vec::new();
        for path in TOUCHED.map(PathBuf::from) {
            let path = if path == Path::new(DAEMON_JSON) { daemon_host::behind_links(&path)? } else { path };
            let entry = daemon_host::read(&path)?;
            prior.push((path, entry));
        }
        daemon_host::keep(JOURNAL, Some(&Journal { stage, prior, current: observed.current }))
    }

    fn advance(&self, stage: Stage) -> Result<(), FileError> {
        match daemon_host::recall::<Journal>(JOURNAL)? {
            Some(journal) => daemon_host::keep(JOURNAL, Some(&Journal { stage, ..journal })),
            None => Ok(()),
        }
    }

    /// TLS before the listener. `hosts` goes before the flags come, and others' flags before our TLS keys come: dockerd
    /// refuses to start with both.
    fn put_all(&self, observed: &Observed, layout: &Layout) -> Result<(), FileError> {
        put_text(unit::SOCKET_UNIT, layout.socket.as_deref())?;
        let hosts = observed.found.daemon_json.as_deref().and_then(|text| DaemonJson::parse(text).ok());
        match hosts.is_some_and(|json| json.hosts().is_some()) {
            true => self.put_daemon_json(layout).and_then(|()| put_text(unit::DROP_IN, layout.drop_in.as_deref()))?,
            false => put_text(unit::DROP_IN, layout.drop_in.as_deref()).and_then(|()| self.put_daemon_json(layout))?,
        }
        put_text(unit::DOCKER_SOCKET_DROP_IN, layout.docker_socket.as_deref())?;
        let link = Entry::Link(PathBuf::from(unit::SOCKET_UNIT));
        daemon_host::put(unit::SOCKET_WANT.as_ref(), if layout.wanted { &link } else { &Entry::Absent })
    }

    /// Permissions and owner stay.
    fn put_daemon_json(&self, layout: &Layout) -> Result<(), FileError> {
        let path = daemon_host::behind_links(DAEMON_JSON.as_ref())?;
        let there = daemon_host::read(&path)?;
        let entry = match (&layout.daemon_json, there) {
            (None, _) => Entry::Absent,
            (Some(bytes), Entry::File { mode, uid, gid, .. }) => Entry::File { bytes: bytes.clone(), mode, uid, gid },
            (Some(bytes), _) => Entry::File { bytes: bytes.clone(), mode: 0o644, uid: 0, gid: 0 },
        };
        daemon_host::put(&path, &entry)
    }

    fn directory(&self) -> Result<Option<Directory>, Trouble> {
        let directory = Path::new(&self.order.host.delivery.directory);
        Ok(Directory::find(&[directory.to_owned()], directory)?)
    }

    fn point(&self, observed: &Observed) -> Result<(), Trouble> {
        match (&observed.files, self.directory()?) {
            (Some(files), Some(directory)) if observed.current != Some(files.generation) => {
                Ok(directory.point(files.generation)?)
            }
            _ => Ok(()),
        }
    }

    /// Turns live-restore on in the dockerd that runs, where it is wished for and off.
    async fn keep_containers(&self, observed: &Observed, layout: &Layout) -> Result<(), Trouble> {
        let on = |text: Option<&[u8]>| {
            text.and_then(|text| DaemonJson::parse(text).ok()).and_then(|json| json.live_restore()) == Some(true)
        };
        let off = observed.engine.is_some_and(|engine| !engine.live_restore);
        if !off || !on(layout.daemon_json.as_deref()) {
            return Ok(());
        }
        let before = observed.found.daemon_json.as_deref().unwrap_or_default();
        if let Ok(json) = DaemonJson::parse(before) {
            let text = json.with_live_restore().render();
            self.put_daemon_json(&Layout { daemon_json: Some(text), ..Layout::default() })?;
        }
        self.systemd.hang_up(SERVICE).await?;
        let deadline = Instant::now() + RELOAD_PATIENCE;
        while Instant::now() < deadline {
            if observe(self.order, self.systemd).await?.engine.is_some_and(|engine| engine.live_restore) {
                return Ok(());
            }
            sleep(ASK_EVERY).await;
        }
        Err(Trouble::Refused(crate::decide::delivery::restart::serving(
            crate::api::condition::Reason::RestartPending,
            "dockerd does not turn live-restore on, and containers would stop",
        )))
    }

    /// Ours, then dockerd's own: what it would refuse is not tried.
    fn check(&self, layout: &Layout) -> Result<(), Fault> {
        let text = layout.daemon_json.as_deref().unwrap_or_default();
        sealed(text).map_err(|error| Fault(format!("daemon.json would not demand client certificates: {error}")))?;
        let words = vec!["dockerd".into(), "--config-file".into(), DAEMON_JSON.into(), "-H".into(), "fd://".into()];
        match daemon_host::validate(&words) {
            None => Ok(()),
            Some(said) => Err(Fault(format!("dockerd --validate refuses the configuration: {said}"))),
        }
    }

    /// Starts dockerd anew; with its sockets where they changed, since systemd opens none while it runs.
    async fn restart(&self, sockets: bool) -> Result<(), Trouble> {
        for unit in [SERVICE, SOCKET, OUR_SOCKET] {
            let _ = self.systemd.reset_failed(unit).await; // one that never ran has nothing to reset
        }
        match sockets {
            true => {
                // Sockets first, else a client starts dockerd between the two; each by name, since a unit that somebody
                // edited may not be bound to the others.
                for unit in [OUR_SOCKET, SOCKET, SERVICE] {
                    if self.systemd.unit(unit).await?.loaded {
                        self.systemd.run(Verb::Stop, unit).await?;
                    }
                }
                self.systemd.run(Verb::Start, SOCKET).await?;
                self.systemd.run(Verb::Start, SERVICE).await?;
            }
            false => self.systemd.run(Verb::Restart, SERVICE).await?,
        }
        Ok(())
    }

    /// Asks until dockerd serves as wanted and nobody without a certificate.
    async fn prove(&self, before: &Observed) -> Result<Observed, Fault> {
        let deadline = Instant::now() + PROOF_PATIENCE;
        loop {
            let now = observe(self.order, self.systemd).await?;
            let fault = match (now.exposed.first(), &now.engine) {
                (Some(open), _) => {
                    return Err(Fault(format!("dockerd answered {open} to somebody without a certificate")));
                }
                (None, None) => Some("dockerd does not answer on its unix socket".to_owned()),
                (None, Some(_)) => {
                    unserved(&now, self.clock.now()).filter(|_| !now.heard.iter().all(|heard| heard.absent))
                }
            };
            let lost = before.engine.filter(|engine| engine.live_restore).zip(now.engine);
            let lost = lost.filter(|(before, now)| now.running < before.running);
            let lost = lost.map(|(before, now)| format!("{} of {} containers run", now.running, before.running));
            let Some(fault) = fault.or(lost) else { return Ok(now) };
            if Instant::now() > deadline {
                return Err(Fault(fault));
            }
            sleep(ASK_EVERY).await;
        }
    }
}

fn put_text(path: &str, text: Option<&str>) -> Result<(), FileError> {
    daemon_host::put(path.as_ref(), &text.map_or(Entry::Absent, Entry::public))
}
