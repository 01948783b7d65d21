//! What the machine holds, its faults, and what must be true of it at every moment.

use super::SimHost;
use super::dockerd::Dockerd;
use dockseal::adapters::Clock;
use dockseal::adapters::host::procfs::SeenFile;
use dockseal::adapters::host::system_files::PathEntry;
use dockseal::docker::unit::SERVICE;
use dockseal::reconcile::host::daemon;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// What goes wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Everything of ours ends before the change of that number, counted from 0.
    Kill(usize),
    /// Only the step on dockerd ends there, if it is the step that makes the change.
    KillStep(usize),
    /// The power goes there, and comes back.
    Power(usize),
    /// The call of that number fails.
    Fail(usize),
}

/// What a killed process unwinds with.
pub struct Killed;

/// The machine.
#[derive(Clone, Default)]
pub struct Machine {
    /// Files and links by path; a directory is there where something is in it.
    pub files: BTreeMap<PathBuf, PathEntry>,
    /// Every change that was made.
    pub log: Vec<String>,
    /// What was written anywhere.
    pub written: Vec<(PathBuf, PathEntry)>,
    /// How many calls were made.
    pub calls: usize,
    /// Of calls that ask the same between two changes, the first: its number.
    pub distinct: BTreeMap<(usize, String), usize>,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// Since it was started.
    pub uptime: Duration,
    /// dockerd's last words.
    pub last_error: Option<String>,
    /// Listeners of other processes.
    pub others: Vec<(SocketAddr, String)>,
    /// dockerd does not start with the leaf of that fingerprint, though `--validate` takes it.
    pub refused_leaf: Option<String>,
    /// dockerd does not admit clients of the authority with that key, though it loads its certificate.
    pub refused_authority: Option<String>,
    /// Whether starts are tried at every moment: boots and restarts, in a copy.
    pub tries_starts: bool,
    /// dockerd, while it runs.
    pub dockerd: Option<Dockerd>,
    /// Counts changes of files and starts of dockerd.
    pub(super) moment: i64,
    /// The moment of each file's last change.
    changed: BTreeMap<PathBuf, i64>,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) loaded: BTreeMap<String, BTreeMap<PathBuf, PathEntry>>,
    pub(super) active: BTreeMap<String, &'static str>,
    pub(super) streams: BTreeMap<String, Vec<String>>,
    /// The certificate directory, where a test delivers.
    pub certs: PathBuf,
    /// What was true one change ago.
    held: Option<Held>,
    /// How many changes there had been then.
    checked: usize,
    sets: BTreeSet<[Option<Vec<u8>>; 3]>,
}

/// What may only become better.
#[derive(Clone, Default)]
struct Held {
    exposed: BTreeSet<SocketAddr>,
    exposed_on_start: Option<BTreeSet<SocketAddr>>,
}

impl Machine {
    /// Removes what only the test's own bookkeeping is for: what was true before is no longer asked for.
    pub fn begin(&mut self) {
        (self.held, self.calls, self.fault) = (None, 0, None);
        (self.log, self.sets, self.distinct, self.written) = Default::default();
        self.check("the beginning");
    }

    /// Counts a call; whether it is the one that fails.
    pub(super) fn fails(&mut self, what: &str) -> bool {
        let number = self.calls;
        self.calls += 1;
        self.distinct.entry((self.log.len(), what.to_owned())).or_insert(number);
        let fails = self.fault == Some(Fault::Fail(number));
        if fails {
            self.fault = None;
            self.log.push(format!("FAILED {what}"));
        }
        fails
    }

    /// To be called before each change: it may never be made.
    pub(super) fn change(&mut self, what: &str) {
        self.check(what);
        let number = self.log.len();
        match self.fault {
            Some(Fault::Power(at)) if at == number => {
                (self.fault, self.last_error) = (None, None);
                self.boot();
                self.log.push("the power goes and comes".to_owned());
                self.check("the boot");
                std::panic::resume_unwind(Box::new(Killed));
            }
            Some(Fault::Kill(at)) if at == number => {
                self.fault = None;
                std::panic::resume_unwind(Box::new(Killed));
            }
            Some(Fault::KillStep(at)) if at == number => std::panic::resume_unwind(Box::new(Killed)),
            _ => self.log.push(what.to_owned()),
        }
    }

    /// Whether the step is started again after it was killed.
    pub(super) fn step_restarts(&mut self) -> bool {
        matches!(self.fault.take(), Some(Fault::KillStep(_)))
    }

    /// What must hold at every moment.
    pub(super) fn check(&mut self, what: &str) {
        if self.held.is_some() && self.checked == self.log.len() {
            return; // nothing changed
        }
        self.checked = self.log.len();
        let exposed = self.exposed();
        let before = self.held.clone();
        if let Some(Held { exposed: before, .. }) = &before {
            assert!(exposed.is_subset(before), "at {what}: dockerd answers anybody on {exposed:?}");
        }
        let mut on_start = before.as_ref().and_then(|held| held.exposed_on_start.clone());
        if self.tries_starts && self.refused_leaf.is_none() {
            let opened = self.exposed_on_start(what);
            if let Some(before) = &on_start {
                assert!(opened.is_subset(before), "at {what}: a start of dockerd opens {opened:?}");
            }
            on_start = Some(opened);
        }
        self.check_set(what);
        self.held = Some(Held { exposed, exposed_on_start: on_start });
    }

    /// What a boot now, and a restart now, would open. dockerd starts and has its unix socket, but perhaps not where
    /// unit files wait to be read.
    fn exposed_on_start(&self, what: &str) -> BTreeSet<SocketAddr> {
        let mut found = BTreeSet::new();
        for boots in [true, false] {
            let mut copy = Machine { held: None, fault: None, tries_starts: false, ..self.clone() };
            match boots {
                true => copy.boot(),
                false => drop(copy.run("restart", SERVICE)),
            }
            let unix = copy.dockerd.as_ref().is_some_and(|dockerd| !dockerd.unix.is_empty());
            let waits = !boots && copy.unit(SERVICE).stale;
            assert!(unix || waits, "at {what}: dockerd does not start (boot: {boots}): {:?}", copy.last_error);
            found.extend(copy.exposed());
        }
        found
    }

    /// The public names show one set: what was there first, or one generation.
    fn check_set(&mut self, what: &str) {
        let shown = self.shown();
        if self.held.is_none() {
            self.sets.insert(shown.clone());
        }
        for generation in self.generations() {
            let inside = self.names().map(|name| self.bytes(&generation.join(name)));
            self.sets.insert(inside);
        }
        let fits = |set: &[Option<Vec<u8>>; 3]| {
            shown.iter().zip(set).all(|(shown, wanted)| shown.is_none() || shown == wanted)
        };
        assert!(self.sets.iter().any(fits), "at {what}: the public names show parts of two sets");
    }

    /// ca.pem, certificate and key, as the public names show them.
    pub fn shown(&self) -> [Option<Vec<u8>>; 3] {
        self.names().map(|name| self.bytes(&self.certs.join(name)))
    }

    fn names(&self) -> [&'static str; 3] {
        ["ca.pem", "pandora.pem", "pandora.key"]
    }

    fn generations(&self) -> BTreeSet<PathBuf> {
        let ours = self.certs.join(".dockseal");
        let inside = self.files.keys().filter_map(|path| path.parent());
        inside.filter(|parent| parent.parent() == Some(&ours)).map(Path::to_owned).collect()
    }

    /// The certificate directory's files but for ours: what a test compares.
    pub fn configuration(&self) -> BTreeMap<PathBuf, PathEntry> {
        let ours = self.certs.join(".dockseal");
        let notes = ["order.json", "answer.json"];
        let compared = |path: &&PathBuf| !path.starts_with(&ours) && !notes.iter().any(|note| path.ends_with(note));
        self.files.keys().filter(compared).map(|path| (path.clone(), self.files[path].clone())).collect()
    }

    // Files.

    /// What is at a path.
    pub fn entry(&self, path: &Path) -> PathEntry {
        let at = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => self.canonical(parent).join(name),
            _ => path.to_owned(),
        };
        self.files.get(&at).cloned().unwrap_or(PathEntry::Absent)
    }

    /// Writes, where that is a change.
    pub fn put(&mut self, path: &Path, entry: &PathEntry) {
        if self.entry(path) == *entry {
            return;
        }
        self.change(&format!("write {}", path.display()));
        self.written.push((path.to_owned(), entry.clone()));
        self.set(path, entry.clone());
    }

    /// Writes without counting it: what others do.
    pub fn set(&mut self, path: impl AsRef<Path>, entry: PathEntry) {
        self.moment += 1;
        self.changed.insert(path.as_ref().to_owned(), self.moment);
        match entry {
            PathEntry::Absent => drop(self.files.remove(path.as_ref())),
            entry => drop(self.files.insert(path.as_ref().to_owned(), entry)),
        }
    }

    /// What a file holds, links followed.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        match self.files.get(&self.canonical(path))? {
            PathEntry::File { bytes, .. } => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.bytes(path.as_ref()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file as a process sees it; none where it is missing.
    pub(super) fn seen(&self, path: &Path) -> Option<SeenFile> {
        let bytes = self.bytes(path)?;
        let (path, links) = self.followed(path);
        let moment = |path: &PathBuf| self.changed.get(path).copied().unwrap_or_default();
        let changed = links.iter().chain([&path]).map(moment).max().unwrap_or_default();
        Some(SeenFile { path, bytes, whole: true, changed: self.instant(changed) })
    }

    /// A moment as an instant.
    pub(super) fn instant(&self, moment: i64) -> Timestamp {
        Timestamp::from_second(moment).expect("a small number")
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        self.followed(path).0
    }

    /// Where links lead, and those that were met.
    fn followed(&self, path: &Path) -> (PathBuf, Vec<PathBuf>) {
        let mut met = Vec::new();
        let mut ahead: Vec<_> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
        let (mut here, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = ahead.pop() {
            match Path::new(&name).components().next() {
                Some(Component::RootDir) => here = PathBuf::from("/"),
                Some(Component::ParentDir) => drop(here.pop()),
                _ => match self.files.get(&here.join(&name)) {
                    Some(PathEntry::Link(to)) if links < 16 => {
                        links += 1;
                        met.push(here.join(&name));
                        ahead.extend(to.components().rev().map(|part| part.as_os_str().to_owned()));
                    }
                    _ => here.push(name),
                },
            }
        }
        (here, met)
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.directories.contains(path) || self.files.keys().any(|file| file.starts_with(path) && file != path)
    }

    pub(super) fn make_directory(&mut self, path: &Path) {
        if !self.is_directory(path) {
            self.change("mkdir");
            self.directories.insert(path.to_owned());
        }
    }

    /// Whether the guard lets dockerd's listener open, as the program itself decides it.
    pub(super) fn guard(&self) -> bool {
        let copy = Machine { fault: None, tries_starts: false, ..self.clone() };
        daemon::guard(&SimHost::of(copy, Clock::showing(|| Timestamp::UNIX_EPOCH))).is_ok()
    }
}
