//! Files that the version before wrote are read, and written again as they were: see `tests/fixtures/README.md`.
#![allow(clippy::disallowed_methods, reason = "this test copies fixtures")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use dockseal::adapters::Clock;
use dockseal::api::Assignment;
use dockseal::companion::install::Enrolled;
use dockseal::decide::host::DaemonState;
use dockseal::decide::host::step_request::{StepRequest, StepResult};
use dockseal::local::status_table::Console;
use dockseal::local::{UpResult, UpSettings, export, run_on};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
const HOMELAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/homelab.yaml");

/// A copy of the state directory; dropped, it is gone.
struct State(PathBuf);

impl State {
    fn copied() -> State {
        let to = std::env::temp_dir().join(format!("dockseal-compatibility-{}", std::process::id()));
        copy(&Path::new(FIXTURES).join("state-0.1"), &to);
        State(to)
    }

    /// Every file below it.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        collect(&self.0, &mut files);
        files
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => drop(files.insert(path.clone(), std::fs::read_to_string(&path).unwrap())),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_of_0_1_goes_on_as_it_is() {
    let state = State::copied();
    let before = state.files();
    let settings = UpSettings {
        files: vec![HOMELAB.into()],
        state: state.0.clone(),
        once: true,
        timeout: Duration::from_secs(120),
        host: None,
    };
    let sink = || Box::new(std::io::sink());
    let console = Console { out: sink(), err: sink(), size: Box::new(|| None), colour: false };
    let within_all_lives: Timestamp = "2026-12-15T00:00:00Z".parse().unwrap();
    let ended = run_on(settings, console, Clock::showing(move || within_all_lives)).await.unwrap();
    assert_eq!(ended, UpResult::Ready);
    assert_eq!(state.files(), before, "nothing is issued anew, and no file has another form");
    let mut manifests = Vec::new();
    export(&state.0, &mut manifests).unwrap();
    let manifests = String::from_utf8(manifests).unwrap();
    assert_eq!(manifests.matches("kind: Secret").count(), 5, "{manifests}");
}

/// A note is read, and says the same when it is written again.
fn read_and_written<T: Serialize + DeserializeOwned>(file: &str) -> T {
    let text = std::fs::read_to_string(Path::new(FIXTURES).join("notes-0.1").join(file)).unwrap();
    let note: T = serde_json::from_str(&text).unwrap();
    let (before, after): (Value, Value) = (serde_json::from_str(&text).unwrap(), serde_json::to_value(&note).unwrap());
    assert_eq!(after, before, "{file}");
    note
}

#[test]
fn notes_of_0_1_are_read() {
    let assignment: Assignment = read_and_written("assignment.json");
    let request: StepRequest = read_and_written("order.json");
    assert_eq!(assignment.hosts, [request.host]);
    let state: DaemonState = read_and_written("memory.json");
    assert!(state.listener_removed && state.drifts.len() == 2, "{state:?}");
    let result: StepResult = read_and_written("answer.json");
    assert_eq!(result.rejected, state.rejected);
    let closed: String = read_and_written("closed.json");
    assert_eq!(closed, "pandora");
    let enrolled: Enrolled = read_and_written("enrolled.json");
    assert_eq!(enrolled.account, "host-default.pandora");
}
