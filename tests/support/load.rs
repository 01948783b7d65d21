//! Many hosts that `up` registers in the stand-in: what it asks for, how much at a time, and how long that takes. The
//! figures of docs/benchmarks.md, and the limits that a test holds them to, come from here.

use super::docker_like::{DockerLike, Material};
use super::portainer::{Call, Fault, LogPosition, Portainer, most_in_flight};
use super::scratch::Scratch;
use anyhow::{Context as _, ensure};
use dockseal::adapters::disk::state_directory::DirectoryError;
use dockseal::adapters::{Clock, DiskStore};
use dockseal::local::manifests::{Loaded, Text, load};
use dockseal::local::runner::Runner;
use dockseal::local::state::RunResult;
use dockseal::local::status_table::{Console, StatusTable};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A server is looked at so often.
const INTERVAL: Duration = Duration::from_secs(300);
const LONG: Duration = Duration::from_secs(3600);

/// The hosts, each of which serves its certificate, and the Portainer.
pub struct Load {
    dir: Scratch,
    count: usize,
    portainer: Portainer,
    docker: DockerLike,
    /// The last of them, which can be made to hang.
    last: DockerLike,
    offset: Arc<AtomicI64>,
}

/// What a registration of all took.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    pub calls: usize,
    pub most_in_flight: usize,
    /// From the first call until all but one had been registered.
    pub all_but_one: Duration,
}

/// What an interval took in which nothing changed.
#[derive(Clone, Debug)]
pub struct Steady {
    /// `GET /api/endpoints`, and whatever else was asked.
    pub calls: Vec<String>,
    /// In the state directory.
    pub written: Vec<PathBuf>,
    /// For all hosts, without the look.
    pub visits: Duration,
}

/// Who hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hanging {
    Nobody,
    /// One host takes connections and says nothing.
    Host,
    /// Portainer, while it makes one of the environments, as it does where only it does not get through.
    Creation,
}

impl Load {
    /// Issues certificates to that many, and lets each serve its own.
    pub async fn new(count: usize) -> anyhow::Result<Load> {
        raise_limit();
        let dir = Scratch::new("crowd")?;
        let offset = Arc::default();
        let portainer = Portainer::start()?;
        let mut door = door(&dir, &offset, &authority_and_hosts(count, &|_| ("127.0.0.1".into(), 2376)))?;
        ensure!(door.run_once().await.ready, "not every certificate was issued");
        let materials = (0..count).map(|number| material(&dir, number)).collect::<anyhow::Result<Vec<_>>>()?;
        let docker = DockerLike::start_each(&materials[..count - 1])?;
        let last = DockerLike::start(&materials[count - 1])?;
        Ok(Load { dir, count, portainer, docker, last, offset })
    }

    /// Registers all of them in an empty Portainer. A host or the server may hang meanwhile.
    pub async fn register(&mut self, hanging: Hanging) -> anyhow::Result<(Registered, Runner)> {
        self.portainer.reinstall()?;
        let _ = std::fs::remove_dir_all(self.dir.path().join("state/status"));
        match hanging {
            Hanging::Nobody => {}
            Hanging::Host => self.last.pause(),
            Hanging::Creation => self.portainer.inject("POST", "/api/endpoints", Fault::Hang(LONG)),
        }
        let mut door = door(&self.dir, &self.offset, &self.yaml())?;
        let mark = self.portainer.mark();
        let waits = hanging == Hanging::Nobody;
        let walking = tokio::spawn(async move {
            let mut round = door.run_once().await;
            while !round.ready && waits {
                door.sync_ended().await; // a round waits for nobody who is slow
                round = door.run_once().await;
            }
            (door, round)
        });
        let all_but_one = self.all_but_one(mark).await?;
        self.last.resume();
        if hanging == Hanging::Creation {
            ensure!(self.portainer.calls_since(mark).iter().any(is_held), "the one that hangs has ended");
            self.portainer.stop();
        }
        let (door, round) = walking.await?;
        let calls = self.portainer.calls_since(mark);
        ensure!(round.ready || hanging != Hanging::Nobody, "not all are registered");
        let registered = Registered { calls: calls.len(), most_in_flight: most_in_flight(&calls), all_but_one };
        if hanging != Hanging::Nobody {
            self.portainer.restart()?;
        }
        Ok((registered, door))
    }

    /// Lets intervals pass in which nothing changes.
    pub async fn rest(&self, door: &mut Runner, intervals: usize) -> anyhow::Result<Vec<Steady>> {
        let mut found = Vec::new();
        for _ in 0..intervals {
            self.offset.fetch_add(i64::try_from(INTERVAL.as_secs())? + 1, Ordering::SeqCst);
            let mark = self.portainer.mark();
            let before = files(&self.dir.path().join("state"))?;
            let round = door.run_once().await;
            ensure!(round.ready, "something is not Ready any more");
            let begun = Instant::now();
            door.register(&mut RunResult::default()).await; // the look is not due: these are the visits alone
            let visits = begun.elapsed();
            let calls = self.portainer.calls_since(mark);
            let calls = calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
            let after = files(&self.dir.path().join("state"))?;
            let written = after.difference(&before).map(|(path, ..)| path.clone()).collect();
            found.push(Steady { calls, written, visits });
        }
        Ok(found)
    }

    /// Takes all of them out of the selector; the calls of that, and the most of them at a time.
    pub async fn leave(&self, door: &mut Runner) -> anyhow::Result<(usize, usize)> {
        let mark = self.portainer.mark();
        let yaml = self.yaml().replace("hostSelector: {}", "hostSelector: {matchLabels: {site: nowhere}}");
        door.take(loaded(&yaml)?);
        while self.portainer.count_since(mark, "PUT", "/api/endpoints/*") < self.count {
            door.run_once().await;
        }
        let calls = self.portainer.calls_since(mark);
        Ok((calls.len(), most_in_flight(&calls)))
    }

    /// How many environments there are, and how many hosts.
    pub fn environments(&self) -> (usize, usize) {
        (self.portainer.environments().len(), self.count)
    }

    /// A registration ends with a snapshot.
    async fn all_but_one(&self, mark: LogPosition) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            let calls = self.portainer.calls_since(mark);
            let ended = |call: &Call| call.ended.filter(|_| call.is("POST", "/api/endpoints/*/snapshot"));
            let mut ended: Vec<Instant> = calls.iter().filter_map(ended).collect();
            if ended.len() >= self.count - 1 {
                ended.sort();
                return Ok(ended[self.count - 2].duration_since(calls[0].began));
            }
            ensure!(begun.elapsed() < Duration::from_secs(300), "{} of {} are registered", ended.len(), self.count);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn yaml(&self) -> String {
        let address = |number: usize| {
            let address = self.docker.addresses().get(number).copied().unwrap_or(self.last.address());
            (address.ip().to_string(), address.port())
        };
        let (key, url) = (self.portainer.admin_key(), self.portainer.url());
        let hosts = authority_and_hosts(self.count, &address);
        format!(
            "{hosts}---
apiVersion: v1
kind: Secret
metadata: {{name: portainer-admin}}
stringData: {{apiKey: '{key}'}}
---
apiVersion: dockseal.dev/v1alpha1
kind: PortainerClient
metadata: {{name: portainer}}
spec:
  caRef: {{name: crowd}}
  commonName: portainer.lan
  server: {{url: '{url}', allowHTTP: true, credentialsSecretRef: {{name: portainer-admin}}}}
  hostSelector: {{}}
  environment: {{tags: [crowd]}}
"
        )
    }
}

/// Every host has the address that it is dialled at in its certificate from the beginning: 127.77.0.1 and up.
fn authority_and_hosts(count: usize, address: &dyn Fn(usize) -> (String, u16)) -> String {
    let mut yaml = String::from(
        "apiVersion: dockseal.dev/v1alpha1\nkind: DockerCA\nmetadata: {name: crowd}\nspec: {subject: {commonName: Crowd}}\n",
    );
    for number in 0..count {
        let (dialled, port) = address(number);
        let [high, low] = u16::try_from(number + 1).expect("a crowd is smaller").to_be_bytes();
        write!(
            yaml,
            "---\napiVersion: dockseal.dev/v1alpha1\nkind: DockerHostCert\nmetadata: {{name: host-{number}}}\n\
             spec: {{caRef: {{name: crowd}}, hostname: host-{number}.lan, ipAddresses: [127.77.{high}.{low}, 127.0.0.1], \
             address: {{host: {dialled}, port: {port}}}}}\n"
        )
        .expect("a String takes everything");
    }
    yaml
}

/// A state directory, as soon as it is nobody's: a child that another thread has just forked has a copy of every lock of
/// this process until it becomes its program, also of one that was given back.
pub fn store(path: &Path) -> anyhow::Result<DiskStore> {
    let begun = Instant::now();
    loop {
        match DiskStore::open(path, Arc::new(|_| {})) {
            Err(DirectoryError::InUse { .. }) if begun.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return Ok(opened?),
        }
    }
}

fn door(dir: &Scratch, offset: &Arc<AtomicI64>, yaml: &str) -> anyhow::Result<Runner> {
    let offset = Arc::clone(offset);
    let clock = Clock::showing(move || Timestamp::now() + SignedDuration::from_secs(offset.load(Ordering::SeqCst)));
    let (out, err) = (Box::new(std::io::sink()), Box::new(std::io::sink()));
    let console = Console { out, err, size: Box::new(|| None), colour: false };
    Ok(Runner::new(
        store(&dir.path().join("state"))?,
        clock,
        Arc::new(Mutex::new(StatusTable::new(console))),
        None,
        loaded(yaml)?,
    ))
}

fn loaded(yaml: &str) -> anyhow::Result<Loaded> {
    Ok(load(&[Text { file: "crowd.yaml".into(), text: yaml.to_owned().into() }])?)
}

fn material(dir: &Scratch, number: usize) -> anyhow::Result<Material> {
    let directory = dir.path().join(format!("state/secrets/default/host-{number}-docker-host"));
    let read = |file: &str| std::fs::read_to_string(directory.join(file)).with_context(|| format!("host {number}"));
    Ok(Material { chain: read("tls.crt")?, key: read("tls.key")?, clients: read("ca.crt")? })
}

/// Every file, with what changes when it is written.
fn files(directory: &Path) -> anyhow::Result<HashSet<(PathBuf, u64, i64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = HashSet::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = std::fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            found.extend(files(&path)?);
        }
        found.insert((path, metadata.ino(), metadata.ctime_nsec()));
    }
    Ok(found)
}

fn is_held(call: &Call) -> bool {
    call.fault.is_some() && call.ended.is_none()
}

/// Each host is a listener, and a connection of Portainer's at both ends.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
