//! A directory of one test: YAML files, a state directory, and what `up` printed. Dropped, it is gone.

use dockseal::adapters::Clock;
use dockseal::local::status_table::Console;
use dockseal::local::{LocalError, UpResult, UpSettings, run_on};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A passphrase that must be seen nowhere.
pub const CANARY: &str = "canary-5f1e-passphrase";

pub const CA: &str = "---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {name: homelab}
spec: {subject: {commonName: Docker CA}}
";

pub fn host(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: {name}}}
spec: {{caRef: {{name: homelab}}, {spec}}}
"
    )
}

#[derive(Clone, Default)]
pub struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

impl CapturedOutput {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub struct Fixture {
    pub root: PathBuf,
    pub state: PathBuf,
    pub out: CapturedOutput,
    pub err: CapturedOutput,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// What there is of one file: kind and mode, inode, time of change, content.
pub type FileState = (u32, u64, i64, i64, Vec<u8>);

impl Fixture {
    pub fn new(yaml: &str) -> Fixture {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dockseal-up-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        std::fs::create_dir(&root).unwrap();
        let fixture =
            Fixture { state: root.join("state"), root, out: CapturedOutput::default(), err: CapturedOutput::default() };
        fixture.write(yaml);
        fixture
    }

    /// At once: an `up` that reads half of it would take the rest for removed.
    pub fn write(&self, yaml: &str) {
        std::fs::write(self.root.join("half.yaml"), yaml).unwrap();
        std::fs::rename(self.root.join("half.yaml"), self.root.join("homelab.yaml")).unwrap();
    }

    pub fn settings(&self, once: bool, timeout: Duration) -> UpSettings {
        UpSettings { files: vec![self.root.join("homelab.yaml")], state: self.state.clone(), once, timeout, host: None }
    }

    pub fn console(&self) -> Console {
        console(&self.out, &self.err)
    }

    pub async fn once(&self, timeout: Duration) -> Result<UpResult, LocalError> {
        self.run(self.settings(true, timeout), Clock::system()).await
    }

    /// `up`, as soon as the directory is nobody's: a child that another test has just forked has a copy of every lock of
    /// this process until it becomes its program, also of a lock of a run that has ended.
    pub fn run(
        &self,
        settings: UpSettings,
        clock: Clock,
    ) -> impl Future<Output = Result<UpResult, LocalError>> + use<> {
        let (out, err) = (self.out.clone(), self.err.clone());
        async move {
            let begun = Instant::now();
            loop {
                let ended = run_on(settings.clone(), console(&out, &err), clock.clone()).await;
                let in_use = ended.as_ref().is_err_and(|error| error.to_string().starts_with("another dockseal"));
                if !in_use || begun.elapsed() > Duration::from_secs(30) {
                    return ended;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    pub async fn ready(&self) {
        let ended = self.once(Duration::from_secs(120)).await.unwrap();
        assert_eq!(ended, UpResult::Ready, "{}{}", self.out.text(), self.err.text());
    }

    /// Is not Ready, and says those words; a busy machine may not have come that far in a second.
    pub async fn refused(&self, words: &[&str]) -> String {
        for seconds in [1, 10, 60] {
            let ended = self.once(Duration::from_secs(seconds)).await.unwrap();
            assert_eq!(ended, UpResult::NotReady, "{}", self.out.text());
            if words.iter().all(|words| self.err.text().contains(words)) {
                return self.err.text();
            }
        }
        panic!("not {words:?}: {}", self.err.text());
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.state.join(below)
    }

    pub fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap_or_default()
    }

    /// Everything below the state directory.
    pub fn tree(&self) -> BTreeMap<PathBuf, FileState> {
        let mut tree = BTreeMap::new();
        walk(&self.state, &mut tree);
        tree
    }

    /// Waits until `holds`, as long as a busy machine may need.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(90), "{what}: {}{}", self.out.text(), self.err.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn console(out: &CapturedOutput, err: &CapturedOutput) -> Console {
    Console { out: Box::new(out.clone()), err: Box::new(err.clone()), size: Box::new(|| None), colour: false }
}

fn walk(path: &Path, tree: &mut BTreeMap<PathBuf, FileState>) {
    let Ok(found) = std::fs::symlink_metadata(path) else { return };
    let content = if found.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    tree.insert(path.to_owned(), (found.mode(), found.ino(), found.mtime(), found.mtime_nsec(), content));
    if found.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), tree);
        }
    }
}
