//! The door without a cluster: YAML files in, Secrets and statuses as files out, by the same hallway as the
//! controller's. It issues, renews, delivers to this machine and registers in Portainer while it runs.

pub mod export;
pub mod manifests;
mod registration;
pub mod runner;
pub mod status_table;
mod this_host;

pub use export::export;

use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::{FileError, read_text};
use crate::adapters::disk::state_directory::DirectoryError;
use crate::adapters::disk::store::{DiskStore, EventSink};
use crate::adapters::disk::watch::FileWatch;
use k8s_openapi::jiff::Timestamp;
use manifests::{Loaded, ManifestError, Text, load};
use parking_lot::Mutex;
use runner::{RunResult, Runner};
use status_table::{Console, StatusTable};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use this_host::HostChanges;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

/// Editors write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// The longest nap: a clock that was set shows after it.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// The longest nap where the system does not tell of changes.
const UNWATCHED_SLEEP: Duration = Duration::from_secs(5);
/// The first wait after a failure; it doubles up to [`LONGEST_NAP`].
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

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
    /// With `once`: it is not, and the time is over.
    NotReady,
    /// Somebody asked it to stop.
    Stopped,
}

/// Why `up` or `export` could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// A file holds something wrong.
    #[error(transparent)]
    File(#[from] ManifestError),
    /// No file holds an object.
    #[error("there is no object of Dockseal in {0}")]
    Nothing(String),
    /// `--host` names nothing that could be delivered.
    #[error("--host {0}: no file holds a DockerHostCert of that name with spec.delivery")]
    NoHost(String),
    /// The state directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("failed to listen for signals: {0}")]
    Signals(std::io::Error),
    /// The output cannot be written.
    #[error("failed to print: {0}")]
    Print(std::io::Error),
}

/// Runs the door on standard output and standard error, until everything is Ready (`once`) or somebody stops it.
///
/// # Errors
/// [`LocalError`] where it cannot begin; the state directory is as it was then.
pub async fn run(settings: UpSettings) -> Result<UpResult, LocalError> {
    run_on(settings, Console::standard(), Clock::system()).await
}

/// Runs the door on that console and by that clock.
///
/// # Errors
/// As [`run`].
pub async fn run_on(settings: UpSettings, console: Console, clock: Clock) -> Result<UpResult, LocalError> {
    let mut sources = Sources::read(&settings.files)?;
    let loaded = objects(&sources.texts)?;
    let deliverable =
        |name: &str| loaded.objects.iter().any(|found| this_host::wishes(&found.object, Some(name)).is_some());
    if let Some(name) = settings.host.as_ref().filter(|name| !deliverable(name)) {
        return Err(LocalError::NoHost(name.clone()));
    }
    let board = Arc::new(Mutex::new(StatusTable::new(console)));
    let store = DiskStore::open(&settings.state, events(&board, &clock))?;
    let mut door = Runner::new(store, clock, Arc::clone(&board), settings.host.clone(), loaded);
    let ended = tokio::select! {
        stopped = stop_signal() => stopped?,
        () = deadline(&settings) => UpResult::NotReady,
        ended = serve(&settings, &mut sources, &mut door, &board) => ended?,
    };
    board.lock().draw();
    Ok(ended)
}

/// Deeds, each with its time.
fn events(board: &Arc<Mutex<StatusTable>>, clock: &Clock) -> EventSink {
    let (board, clock) = (Arc::clone(board), clock.clone());
    Arc::new(move |line| {
        let now = Timestamp::from_second(clock.now().as_second()).unwrap_or_default();
        board.lock().say(&format!("{now} {line}"));
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

/// Round after round; the files are read again before each.
async fn serve(
    settings: &UpSettings,
    sources: &mut Sources,
    door: &mut Runner,
    board: &Mutex<StatusTable>,
) -> Result<UpResult, LocalError> {
    let mut failures = 0;
    let (mut watch, blind) = FileWatch::over(&settings.files, &door.store().secrets()?);
    if let Some(why) = &blind {
        let seconds = UNWATCHED_SLEEP.as_secs();
        let line =
            format!("changes are looked for every {seconds} seconds, since the system does not tell of them: {why}");
        board.lock().say(&line);
    }
    let mut others = settings.host.as_ref().map(|_| HostChanges::watched());
    loop {
        let round = door.round().await;
        if let (Some(others), Some(directory)) = (&mut others, door.directory()) {
            others.keep_to(directory);
        }
        if settings.once && round.ready && !door.is_syncing() {
            return Ok(UpResult::Ready);
        }
        failures = if round.failed { failures + 1 } else { 0 };
        let clock = door.clock().clone();
        tokio::select! {
            () = rest(&watch, &clock, &round, failures, blind.is_some()) => {}
            () = door.synced() => {}
            () = meddled(others.as_ref()) => sleep(DEBOUNCE).await,
        }
        if !settings.state.join("secrets").is_dir() {
            watch = FileWatch::over(&settings.files, &door.store().secrets()?).0; // the former went with the directory
        }
        match sources.changed() {
            Ok(None) => {}
            Ok(Some(loaded)) => door.take(loaded),
            Err(error) => board.lock().say(&format!("{error} (the files as they were before hold)")),
        }
    }
}

async fn meddled(others: Option<&HostChanges>) {
    match others {
        Some(others) => others.noticed().await,
        None => std::future::pending().await,
    }
}

/// Sleeps until something changed, time is due, a failure may be tried again, or the clock was set back.
async fn rest(watch: &FileWatch, clock: &Clock, round: &RunResult, failures: u32, blind: bool) {
    let begun = clock.now();
    let requeue_at = round.requeue_at.filter(|requeue_at| *requeue_at > begun); // what is overdue waits for something else, and for no spin
    let again = (failures > 0).then(|| Instant::now() + backoff(failures));
    loop {
        let nap = nap(clock.now(), requeue_at, blind);
        tokio::select! {
            () = watch.changed() => return sleep(DEBOUNCE).await,
            () = sleep_until(again.unwrap_or_else(|| Instant::now() + MAX_SLEEP)) => {}
            () = sleep(nap) => {}
        }
        let (now, tried) = (clock.now(), again.is_some_and(|again| Instant::now() >= again));
        let overdue = round.requeue_at.is_some() && requeue_at.is_none() && nap >= MAX_SLEEP;
        if tried || overdue || blind || now < begun || requeue_at.is_some_and(|requeue_at| now >= requeue_at) {
            return;
        }
    }
}

fn nap(now: Timestamp, requeue_at: Option<Timestamp>, blind: bool) -> Duration {
    let longest = if blind { UNWATCHED_SLEEP } else { MAX_SLEEP };
    let until = requeue_at.map(|requeue_at| Duration::try_from(now.duration_until(requeue_at)).unwrap_or_default());
    // An instant after it, so that its time has come then.
    until.map_or(longest, |until| (until + Duration::from_millis(1)).min(longest))
}

fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(MAX_SLEEP)
}

/// The files as they were last read.
struct Sources {
    files: Vec<PathBuf>,
    texts: Vec<Text>,
    fault: Option<String>,
}

impl Sources {
    fn read(files: &[PathBuf]) -> Result<Sources, FileError> {
        let texts = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
        Ok(Sources { files: files.to_vec(), texts, fault: None })
    }

    /// What the files hold now, where it is something else; what is wrong is said once.
    fn changed(&mut self) -> Result<Option<Loaded>, LocalError> {
        match self.reread() {
            Ok(loaded) => {
                self.fault = None;
                Ok(loaded)
            }
            Err(error) if self.fault.as_ref() == Some(&error.to_string()) => Ok(None),
            Err(error) => {
                self.fault = Some(error.to_string());
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

/// What is in the files. Where that is no object at all they are being written, for one.
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
