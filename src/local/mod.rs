//! The front end without a cluster: YAML files in, Secrets and statuses as files of a directory out. While it runs it
//! issues, renews, delivers to this machine and registers in Portainer, with the same code as the controller. It never
//! changes the YAML files.

pub mod export;
pub mod manifest_error;
pub mod manifests;
mod registration;
pub mod runner;
pub mod state;
pub mod status_table;
mod this_host;

pub use export::export;

use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::{FileError, read_text};
use crate::adapters::disk::state_directory::DirectoryError;
use crate::adapters::disk::store::{DiskStore, EventSink};
use crate::adapters::disk::watch::FileWatch;
use crate::decide::backoff::Backoff;
use crate::decide::delays::{DEBOUNCE, MAX_SLEEP};
use k8s_openapi::jiff::Timestamp;
use manifest_error::ManifestError;
use manifests::{Loaded, Text, load};
use parking_lot::Mutex;
use runner::Runner;
use state::RunResult;
use status_table::{Console, StatusTable};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use this_host::HostChanges;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

/// The longest sleep where the system does not report changes of files.
const UNWATCHED_SLEEP: Duration = Duration::from_secs(5);
/// After a run that failed.
const RUN_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), MAX_SLEEP);

/// What `up` is to do.
#[derive(Clone, Debug)]
pub struct UpSettings {
    /// YAML files, in their order; `-` is standard input.
    pub files: Vec<PathBuf>,
    pub state: PathBuf,
    /// End as soon as everything is Ready.
    pub once: bool,
    /// With `once`: how long that may take.
    pub timeout: Duration,
    /// The DockerHostCert that is delivered to this machine.
    pub host: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpResult {
    /// With `once`: everything is Ready.
    Ready,
    /// With `once`: not everything is Ready in time.
    NotReady,
    /// SIGINT or SIGTERM was received.
    Stopped,
}

/// Why `up` or `export` could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Read(#[from] FileError),
    #[error(transparent)]
    File(#[from] ManifestError),
    #[error("there is no object of Dockseal in {0}")]
    Nothing(String),
    #[error("--host {0}: no file holds a DockerHostCert of that name with spec.delivery")]
    NoHost(String),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("failed to listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("failed to print: {0}")]
    Print(std::io::Error),
}

/// Runs on standard output and standard error, until everything is Ready (`once`) or a signal stops it.
///
/// # Errors
/// [`LocalError`] where it cannot begin; the state directory is as it was then.
pub async fn run(settings: UpSettings) -> Result<UpResult, LocalError> {
    run_on(settings, Console::standard(), Clock::system()).await
}

/// Runs on that console and by that clock.
///
/// # Errors
/// As [`run`].
pub async fn run_on(settings: UpSettings, console: Console, clock: Clock) -> Result<UpResult, LocalError> {
    let mut sources = Sources::read(&settings.files)?;
    let loaded = objects(&sources.texts)?;
    let deliverable =
        |name: &str| loaded.objects.iter().any(|found| this_host::delivery_to(&found.object, Some(name)).is_some());
    if let Some(name) = settings.host.as_ref().filter(|name| !deliverable(name)) {
        return Err(LocalError::NoHost(name.clone()));
    }
    let table = Arc::new(Mutex::new(StatusTable::new(console)));
    let store = DiskStore::open(&settings.state, events(&table, &clock))?;
    let mut runner = Runner::new(store, clock, Arc::clone(&table), settings.host.clone(), loaded);
    let ended = tokio::select! {
        stopped = stop_signal() => stopped?,
        () = deadline(&settings) => UpResult::NotReady,
        ended = serve(&settings, &mut sources, &mut runner) => ended?,
    };
    table.lock().draw();
    Ok(ended)
}

/// Prints events, each with its time.
fn events(table: &Arc<Mutex<StatusTable>>, clock: &Clock) -> EventSink {
    let (table, clock) = (Arc::clone(table), clock.clone());
    Arc::new(move |line| {
        let now = Timestamp::from_second(clock.now().as_second()).unwrap_or_default();
        table.lock().print_event(&format!("{now} {line}"));
    })
}

async fn stop_signal() -> Result<UpResult, LocalError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(LocalError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(LocalError::Signals)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(UpResult::Stopped)
}

async fn deadline(settings: &UpSettings) {
    match settings.once {
        true => sleep(settings.timeout).await,
        false => std::future::pending().await,
    }
}

/// Runs again and again; the files are read again before each run.
async fn serve(settings: &UpSettings, sources: &mut Sources, runner: &mut Runner) -> Result<UpResult, LocalError> {
    let mut failures = 0;
    let (mut watch, unwatched) = FileWatch::over(&settings.files, &runner.state().store().secrets()?);
    if let Some(why) = &unwatched {
        let seconds = UNWATCHED_SLEEP.as_secs();
        let line =
            format!("files are checked every {seconds} seconds, since the system does not report their changes: {why}");
        runner.state().print_event(&line);
    }
    let mut host_changes = settings.host.as_ref().map(|_| HostChanges::watched());
    loop {
        let result = runner.run_once().await;
        if let (Some(changes), Some(directory)) = (&mut host_changes, runner.state().directory()) {
            changes.keep_to(directory);
        }
        if settings.once && result.ready && !runner.is_syncing() {
            return Ok(UpResult::Ready);
        }
        failures = if result.failed { failures + 1 } else { 0 };
        let clock = runner.state().clock().clone();
        tokio::select! {
            () = rest(&watch, &clock, &result, failures, unwatched.is_some()) => {}
            () = runner.sync_ended() => {}
            () = host_changed(host_changes.as_ref()) => sleep(DEBOUNCE).await,
        }
        if !settings.state.join("secrets").is_dir() {
            // The watch ended with the directory.
            watch = FileWatch::over(&settings.files, &runner.state().store().secrets()?).0;
        }
        match sources.changed() {
            Ok(None) => {}
            Ok(Some(loaded)) => runner.take(loaded),
            Err(error) => runner.state().print_event(&format!("{error} (the files as they were before hold)")),
        }
    }
}

async fn host_changed(changes: Option<&HostChanges>) {
    match changes {
        Some(changes) => changes.changed().await,
        None => std::future::pending().await,
    }
}

/// Sleeps until a file changes, a run is due, a failure may be tried again, or the clock was set back.
async fn rest(watch: &FileWatch, clock: &Clock, result: &RunResult, failures: u32, unwatched: bool) {
    let begun = clock.now();
    // What is overdue already waits for something else: without this it would be tried without end.
    let requeue_at = result.requeue_at.filter(|requeue_at| *requeue_at > begun);
    let retry = (failures > 0).then(|| Instant::now() + RUN_BACKOFF.delay(failures));
    loop {
        let longest = sleep_time(clock.now(), requeue_at, unwatched);
        tokio::select! {
            () = watch.changed() => return sleep(DEBOUNCE).await,
            () = sleep_until(retry.unwrap_or_else(|| Instant::now() + MAX_SLEEP)) => {}
            () = sleep(longest) => {}
        }
        let (now, tried) = (clock.now(), retry.is_some_and(|retry| Instant::now() >= retry));
        let overdue = result.requeue_at.is_some() && requeue_at.is_none() && longest >= MAX_SLEEP;
        if tried || overdue || unwatched || now < begun || requeue_at.is_some_and(|requeue_at| now >= requeue_at) {
            return;
        }
    }
}

fn sleep_time(now: Timestamp, requeue_at: Option<Timestamp>, unwatched: bool) -> Duration {
    let longest = if unwatched { UNWATCHED_SLEEP } else { MAX_SLEEP };
    let until = requeue_at.map(|requeue_at| Duration::try_from(now.duration_until(requeue_at)).unwrap_or_default());
    // A millisecond later, so that it is due then.
    until.map_or(longest, |until| (until + Duration::from_millis(1)).min(longest))
}

/// The files as they were last read.
struct Sources {
    files: Vec<PathBuf>,
    texts: Vec<Text>,
    last_error: Option<String>,
}

impl Sources {
    fn read(files: &[PathBuf]) -> Result<Sources, FileError> {
        let texts = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
        Ok(Sources { files: files.to_vec(), texts, last_error: None })
    }

    /// What the files hold now, where they changed; an error is returned once.
    fn changed(&mut self) -> Result<Option<Loaded>, LocalError> {
        match self.reread() {
            Ok(loaded) => {
                self.last_error = None;
                Ok(loaded)
            }
            Err(error) if self.last_error.as_ref() == Some(&error.to_string()) => Ok(None),
            Err(error) => {
                self.last_error = Some(error.to_string());
                Err(error)
            }
        }
    }

    fn reread(&mut self) -> Result<Option<Loaded>, LocalError> {
        let mut texts = Vec::new();
        for (file, known) in self.files.iter().zip(&self.texts) {
            let once = file == Path::new("-");
            texts.push(if once { Text { file: known.file.clone(), text: known.text.clone() } } else { read(file)? });
        }
        let same = texts.iter().zip(&self.texts).all(|(new, old)| new.text == old.text);
        if same {
            return Ok(None);
        }
        let loaded = objects(&texts)?;
        self.texts = texts;
        Ok(Some(loaded))
    }
}

/// What is in the files. Files without any object are an error: they may be half written.
fn objects(texts: &[Text]) -> Result<Loaded, LocalError> {
    let loaded = load(texts)?;
    if loaded.objects.is_empty() {
        return Err(LocalError::Nothing(texts.iter().map(|text| text.file.as_str()).collect::<Vec<_>>().join(", ")));
    }
    Ok(loaded)
}

fn read(file: &Path) -> Result<Text, FileError> {
    Ok(Text { file: file.display().to_string(), text: read_text(file)? })
}
