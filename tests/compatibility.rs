//! Files that the version before wrote are read, and written again as they were: see `tests/fixtures/README.md`.
#![allow(clippy::disallowed_methods, reason = "this test copies fixtures")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use dockseal::adapters::Clock;
use dockseal::api::marker::Marker;
use dockseal::api::{Assignment, AuthorityIdentity};
use dockseal::companion::install::Enrolled;
use dockseal::decide::host::DaemonState;
use dockseal::decide::host::step_request::{StepRequest, StepResult};
use dockseal::local::status_table::Console;
use dockseal::local::{UpResult, UpSettings, export, run_on};
use dockseal::pki::Certificate;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
const HOMELAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/homelab.yaml");

/// The two files in which an upgrade notes the authority's identity.
const IDENTITY: &str = "identities/default/homelab";
const AUTHORITY_NOTE: &str = "secrets/default/homelab-docker-ca/.dockseal.json";

static COPIES: AtomicU32 = AtomicU32::new(0);

/// A copy of the state directory; dropped, it is gone.
struct State(PathBuf);

impl State {
    fn copied() -> State {
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let to = std::env::temp_dir().join(format!("dockseal-compatibility-{}-{number}", std::process::id()));
        copy(&Path::new(FIXTURES).join("state-0.1"), &to);
        State(to)
    }

    /// `dockseal up` at that instant, until everything is Ready.
    async fn up(&self, now: &str) {
        let settings = UpSettings {
            files: vec![HOMELAB.into()],
            state: self.0.clone(),
            once: true,
            timeout: Duration::from_secs(120),
            host: None,
        };
        let sink = || Box::new(std::io::sink());
        let console = Console { out: sink(), err: sink(), size: Box::new(|| None), colour: false };
        let now: Timestamp = now.parse().unwrap();
        let ended = run_on(settings, console, Clock::showing(move || now)).await.unwrap();
        assert_eq!(ended, UpResult::Ready);
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

/// Files that only one has or that differ, by path: a test that fails prints no keys.
fn differing<'a>(before: &'a BTreeMap<PathBuf, String>, after: &'a BTreeMap<PathBuf, String>) -> Vec<&'a PathBuf> {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_of_0_1_goes_on_as_it_is() {
    let state = State::copied();
    let before = state.files();
    state.up("2026-12-15T00:00:00Z").await; // within all lives
    let after = state.files();
    let [identity, note] = [IDENTITY, AUTHORITY_NOTE].map(|file| state.0.join(file));
    assert_eq!(differing(&before, &after), [&identity, &note], "nothing is issued anew, and no file has another form");
    let text = after[&identity].trim();
    assert!(AuthorityIdentity::parse(text).is_some(), "{text}");
    let [mut noted, known] =
        [&after, &before].map(|files| serde_json::from_str::<BTreeMap<String, String>>(&files[&note]).unwrap());
    assert_eq!(noted.remove("identity").as_deref(), Some(text), "it is beside the key, too");
    assert_eq!(noted, known, "what an older version reads of it is the same");
    state.up("2026-12-16T00:00:00Z").await;
    assert_eq!(differing(&after, &state.files()), Vec::<&PathBuf>::new(), "an identity is made once");
    let mut manifests = Vec::new();
    export(&state.0, &mut manifests).unwrap();
    let manifests = String::from_utf8(manifests).unwrap();
    assert_eq!(manifests.matches("kind: Secret").count(), 5, "{manifests}");
}

/// A client of 0.1 has no URI: that is no reason, and its next certificate has one.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_certificates_of_clients_of_0_1_name_the_authority() {
    let state = State::copied();
    state.up("2026-12-15T00:00:00Z").await;
    let identity = state.files()[&state.0.join(IDENTITY)].trim().to_owned();
    let clients = [("dcc", "ci", "ci-docker-client"), ("ptc", "portainer", "portainer-portainer-client")];
    let uris = |secret: &str| {
        let pem = std::fs::read(state.0.join("secrets/default").join(secret).join("tls.crt")).unwrap();
        Certificate::from_pem(&pem).unwrap().uris
    };
    assert!(clients.iter().all(|(.., secret)| uris(secret).is_empty()));
    state.up("2027-09-01T00:00:00Z").await; // every leaf is due, and the authority is not
    for (kind, name, secret) in clients {
        assert_eq!(uris(secret), [format!("dockseal://{identity}/{kind}/default/{name}")], "{name}");
    }
    assert!(uris("pandora-docker-host").is_empty(), "hosts have their names");
    state.up("2030-04-01T00:00:00Z").await; // the authority is due
    let authority = std::fs::read(state.0.join("secrets/default/homelab-docker-ca/tls.crt")).unwrap();
    assert_eq!(Certificate::from_pem(&authority).unwrap().path_length, Some(1));
    assert_eq!(state.files()[&state.0.join(IDENTITY)].trim(), identity, "a renewal keeps it");
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

#[test]
fn a_marker_of_0_1_is_read_and_ours_is_by_0_1() {
    let text = std::fs::read_to_string(Path::new(FIXTURES).join("notes-0.1/owner")).unwrap();
    let marker = Marker::parse(&text);
    assert_eq!(marker.object, "DockerHostCert/default/pandora");
    assert_eq!(marker.uid, "5b1b3b9e-0001-4a41-9a6c-3f2b5a1d9c00");
    assert_eq!(marker.to_text(), text);
    let named = Marker { writer: Some("cluster-1".into()), ..marker };
    assert!(named.to_text().starts_with(&text), "a version before reads the first line");
}
