//! Docker hosts, a Portainer, and the files that bring them together: certificates are issued first, then each host
//! serves its own, as a user's hosts do before Portainer may reach them.

use crate::fixture::{CA, Fixture};
use crate::support::docker_like::{DockerLike, Material};
use crate::support::load;
use crate::support::portainer::{Options, Portainer};
use dockseal::adapters::Clock;
use dockseal::local::manifests::{Text, load};
use dockseal::local::runner::Runner as Rooms;
use dockseal::local::status_table::StatusTable;
use dockseal::local::{LocalError, UpResult};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What is in the Secret of every fleet that is given no other.
const KEY_LINE: &str = "stringData: {apiKey: 'KEY'}";

pub struct Fleet {
    pub fixture: Fixture,
    pub portainer: Portainer,
    pub hosts: Vec<(String, DockerLike)>,
    /// Files with a PortainerClient that selects all hosts, `URL` and `KEY` filled in.
    pub yaml: String,
    /// Name of the PortainerClient.
    pub client: &'static str,
    offset: Arc<AtomicI64>,
}

impl Fleet {
    /// Hosts of those names, which serve their certificates, and a Portainer that knows none of them.
    pub async fn new(names: &[&str]) -> Fleet {
        Fleet::with(names, Options::default()).await
    }

    /// The same with another Portainer.
    pub async fn with(names: &[&str], options: Options) -> Fleet {
        Fleet::begun(names, options, 0).await
    }

    /// The same, begun so many seconds ago by the runner's clock.
    pub async fn begun(names: &[&str], options: Options, ago: i64) -> Fleet {
        let offset = Arc::new(AtomicI64::new(-ago));
        let portainer = Portainer::with(options).unwrap();
        let before: String = names.iter().map(|name| host(name, 2376)).collect();
        let fixture = Fixture::new(&format!("{CA}{before}"));
        let ended = fixture.run(fixture.settings(true, Duration::from_secs(120)), clock(&offset)).await.unwrap();
        assert_eq!(ended, UpResult::Ready, "{}{}", fixture.out.text(), fixture.err.text());
        let hosts: Vec<(String, DockerLike)> = names
            .iter()
            .map(|name| ((*name).to_owned(), DockerLike::start(&material(&fixture, name)).unwrap()))
            .collect();
        let hosts_yaml: String = hosts.iter().map(|(name, docker)| host(name, docker.address().port())).collect();
        let yaml = format!("{}{CA}{hosts_yaml}{}", secret(&portainer), client(&portainer.url()));
        Fleet { offset, ..Fleet::of(fixture, portainer, hosts, yaml) }
    }

    /// Of those parts.
    pub fn of(fixture: Fixture, portainer: Portainer, hosts: Vec<(String, DockerLike)>, yaml: String) -> Fleet {
        fixture.write(&yaml);
        Fleet { fixture, portainer, hosts, yaml, client: "portainer", offset: Arc::default() }
    }

    /// Other files from now on: `from`, which must be there, becomes `to`.
    pub fn edit(&mut self, from: &str, to: &str) {
        assert!(self.yaml.contains(from), "{from} is not in {}", self.yaml);
        self.yaml = self.yaml.replace(from, to);
        self.fixture.write(&self.yaml);
    }

    /// The credential is that user's.
    pub fn by_password(&mut self, username: &str, password: &str) {
        let key = KEY_LINE.replace("KEY", self.portainer.admin_key());
        self.edit(&key, &format!("stringData: {{username: {username}, password: '{password}'}}"));
    }

    /// By the runner's clock so much later.
    pub fn later(&self, by: Duration) {
        self.offset.fetch_add(i64::try_from(by.as_secs()).unwrap(), Ordering::SeqCst);
        self.fixture.write(&self.yaml); // or it would nap for a minute by the real clock
    }

    /// Later and later by the runner's clock, until `holds`: what was under way noted an instant that has passed since. Not
    /// too much later, since sessions end after some hours: a busy machine is given time first.
    pub async fn until_later(&self, by: Duration, what: &str, holds: impl Fn() -> bool) {
        for patience in [3, 6, 12, 24, 48] {
            self.later(by);
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(patience) {
                if holds() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        panic!("{what}: {}{}", self.fixture.out.text(), self.fixture.err.text());
    }

    pub async fn once(&self, timeout: Duration) -> Result<UpResult, LocalError> {
        self.fixture.run(self.fixture.settings(true, timeout), clock(&self.offset)).await
    }

    pub async fn ready(&self) {
        let ended = self.once(Duration::from_secs(120)).await.unwrap();
        assert_eq!(ended, UpResult::Ready, "{}{}", self.fixture.out.text(), self.fixture.err.text());
    }

    /// Is not Ready, and each host's status says so; a busy machine may not have come that far in two seconds.
    pub async fn refused(&self, reasons: &[&str]) {
        let mut said = Vec::new();
        for seconds in [2, 10, 60] {
            let ended = self.once(Duration::from_secs(seconds)).await.unwrap();
            assert_eq!(ended, UpResult::NotReady, "{}", self.fixture.out.text());
            said = self.hosts.iter().map(|(name, _)| self.reason(name)).collect();
            if said == reasons {
                return;
            }
        }
        panic!("{said:?} instead of {reasons:?}: {}", self.fixture.out.text());
    }

    /// `up` until it is dropped.
    pub fn running(&self) -> Running {
        let settings = self.fixture.settings(false, Duration::ZERO);
        Running(tokio::spawn(self.fixture.run(settings, clock(&self.offset))))
    }

    /// The steps of `up`, without its waiting.
    pub fn rooms(&self) -> Rooms {
        let loaded = load(&[Text { file: "homelab.yaml".into(), text: self.yaml.clone().into() }]).unwrap();
        let store = load::store(&self.fixture.state).unwrap();
        let board = Arc::new(Mutex::new(StatusTable::new(self.fixture.console())));
        Rooms::new(store, clock(&self.offset), board, None, loaded)
    }

    /// What a host's status says of its environment.
    pub fn report(&self, name: &str) -> Value {
        let text = self.fixture.read(&format!("status/DockerHostCert/default/{name}.yaml"));
        let status: Value = serde_saphyr::from_str(&text).unwrap_or_default();
        status["environments"][0].clone()
    }

    pub fn reason(&self, name: &str) -> String {
        self.report(name)["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// The one environment of that host, Registered.
    pub fn id(&self, name: &str) -> u64 {
        assert_eq!(self.reason(name), "Registered", "{}", self.report(name));
        let found = self.portainer.named(name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(self.report(name)["id"], found[0].id, "{name}");
        found[0].id
    }

    /// Names of the tags of an environment.
    pub fn tags(&self, id: u64) -> Vec<String> {
        let tags = self.portainer.tags();
        let mut names: Vec<String> =
            self.portainer.environment(id).unwrap().tags.iter().map(|tag| tags[tag].name.clone()).collect();
        names.sort();
        names
    }

    /// The host was last asked with the client certificate that is stored now, by Portainer's proxy.
    pub async fn is_reached_with_what_is_stored(&self, name: &str) {
        let id = self.id(name);
        let secret = format!("secrets/default/{}-portainer-client", self.client);
        let stored = |file: &str| self.fixture.read(&format!("{secret}/{file}"));
        assert_eq!(self.portainer.tls_file(id, "cert").unwrap(), stored("tls.crt"), "{name}");
        assert_eq!(self.portainer.tls_file(id, "key").unwrap(), stored("tls.key"), "{name}");
        self.asked(id).await;
        let (_, docker) = self.hosts.iter().find(|(known, _)| known == name).unwrap();
        let leaf = dockseal::pki::Certificate::from_pem(stored("tls.crt").as_bytes()).unwrap();
        assert_eq!(docker.last_serial(), Some(leaf.serial), "{name}: Portainer's proxy has another certificate");
    }

    /// A user opens the environment: Portainer keeps a proxy with the present files.
    pub async fn asked(&self, id: u64) {
        use dockseal::adapters::portainer::{Access, PortainerApi, PortainerServer, RequestTimeouts, ServerCredential};
        let access =
            Access { url: self.portainer.url(), roots: None, server_name: None, timeouts: RequestTimeouts::default() };
        let key = ServerCredential::ApiKey(zeroize::Zeroizing::new(self.portainer.admin_key().to_owned()));
        PortainerApi::new(&access, key).unwrap().ping(i64::try_from(id).unwrap()).await.unwrap();
    }

    /// `dockseal up FILE --once`, a process of its own.
    pub fn program(&self, timeout: Duration) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockseal"));
        command.arg("up").arg(self.fixture.root.join("homelab.yaml")).args(["--once", "--timeout"]);
        command
            .arg(format!("{}s", timeout.as_secs()))
            .arg("--state")
            .arg(&self.fixture.state)
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Program(command)
    }

    /// A copy of the state directory.
    pub fn save(&self) -> PathBuf {
        let copy = self.fixture.root.join("saved");
        run(Command::new("cp").arg("-a").arg(&self.fixture.state).arg(&copy));
        copy
    }

    /// The state directory as it was saved.
    pub fn load(&self, saved: &std::path::Path) {
        std::fs::remove_dir_all(&self.fixture.state).unwrap();
        run(Command::new("cp").arg("-a").arg(saved).arg(&self.fixture.state));
    }
}

pub struct Program(Command);

impl Program {
    /// As soon as the directory is nobody's; see [`Door::run`].
    pub fn output(&mut self) -> Output {
        let begun = Instant::now();
        loop {
            let output = self.0.output().unwrap();
            let in_use = String::from_utf8_lossy(&output.stderr).contains("another dockseal");
            if !in_use || begun.elapsed() > Duration::from_secs(30) {
                return output;
            }
        }
    }

    /// Starts it; nobody reads what it prints.
    pub fn spawn(&mut self) -> Child {
        self.0.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// `up`, until it is dropped.
pub struct Running(JoinHandle<Result<UpResult, LocalError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a host serves with: its own files, and its authority's clients.
pub fn material(fixture: &Fixture, name: &str) -> Material {
    let read = |file: &str| fixture.read(&format!("secrets/default/{name}-docker-host/{file}"));
    Material { chain: read("tls.crt"), key: read("tls.key"), clients: read("ca.crt") }
}

/// A host that is reached at 127.0.0.1.
pub fn host(name: &str, port: u16) -> String {
    let mut yaml = String::new();
    write!(
        yaml,
        "---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: {name}, labels: {{site: home}}}}
spec: {{caRef: {{name: homelab}}, hostname: {name}.lan, address: {{host: 127.0.0.1, port: {port}}}}}
"
    )
    .unwrap();
    yaml
}

pub fn secret(portainer: &Portainer) -> String {
    let line = KEY_LINE.replace("KEY", portainer.admin_key());
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: portainer-admin}}\n{line}\n")
}

pub fn client(url: &str) -> String {
    format!(
        "---
apiVersion: dockseal.dev/v1alpha1
kind: PortainerClient
metadata: {{name: portainer}}
spec:
  caRef: {{name: homelab}}
  commonName: portainer.lan
  server: {{url: '{url}', allowHTTP: true, credentialsSecretRef: {{name: portainer-admin}}}}
  hostSelector: {{matchLabels: {{site: home}}}}
  environment: {{tags: [home]}}
"
    )
}

fn clock(offset: &Arc<AtomicI64>) -> Clock {
    let offset = Arc::clone(offset);
    Clock::showing(move || Timestamp::now() + SignedDuration::from_secs(offset.load(Ordering::SeqCst)))
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
