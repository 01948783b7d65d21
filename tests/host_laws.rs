//! The laws of a delivery to a Docker host, over a simulated machine: each change of it interrupted, each call failing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::field_reassign_with_default, reason = "other fields are the simulation's own")]

mod sim;
#[path = "host_laws/ways.rs"]
mod ways;
#[path = "host_laws/writers.rs"]
mod writers;

use dockseal::adapters::Clock;
use dockseal::adapters::host::system_files::PathEntry;
use dockseal::adapters::random::{quick_key, serial};
use dockseal::api::docker_host_cert::{Daemon, Delivery, Mode, Restart};
use dockseal::api::status::CompanionStatus;
use dockseal::api::{AssignedHost, HostClaim};
use dockseal::pki::certificate::all_from_pem;
use dockseal::pki::material::Data;
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Dates, LeafProfile, new_authority};
use dockseal::pki::{Authority, Certificate};
use dockseal::reconcile::host::{HostDelivery, deliver};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sim::host::{Fault, Killed, Machine, SimHost};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

const CERTS: &str = "/etc/docker/certs";
const OLD: &str = "/srv/old";
const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const SERVICE: &str = "/usr/lib/systemd/system/docker.service";
const OVERRIDE: &str = "/etc/systemd/system/docker.service.d/override.conf";
const CONSENT: &str = "2026-11-22T10:00:00Z";
const STATE: &str = "/var/lib/dockseal/memory.json";
const STOCK: &str = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS";

fn now() -> Timestamp {
    sim::START.parse().unwrap()
}

fn clock() -> Clock {
    Clock::showing(now)
}

fn dates() -> Dates {
    let day = SignedDuration::from_hours(24);
    Dates { not_before: now() - day, not_after: now() + day * 365 }
}

fn authority(name: &str) -> Authority {
    new_authority(&DistinguishedName::of(name), None, quick_key(), dates(), serial()).unwrap()
}

/// A leaf and its key, PEM.
fn leaf(issuer: &Authority) -> (Certificate, String) {
    let key = quick_key();
    let names = vec!["pandora".to_owned()];
    let profile =
        LeafProfile { common_name: "pandora".into(), dns_names: names, ip_addresses: Vec::new(), usage: Usage::Server };
    let leaf = issuer.sign_leaf(&profile, &key, dates(), serial()).unwrap();
    (leaf, key.to_pem().to_string())
}

/// Ours, and a how-to's.
static AUTHORITIES: LazyLock<[Authority; 2]> = LazyLock::new(|| [authority("Docker CA"), authority("Old CA")]);
/// The first leaf, its successor, and a how-to's.
static LEAVES: LazyLock<[(Certificate, String); 3]> =
    LazyLock::new(|| [leaf(&AUTHORITIES[0]), leaf(&AUTHORITIES[0]), leaf(&AUTHORITIES[1])]);

/// A client certificate of ours, without a key.
static PROOF: LazyLock<Certificate> = LazyLock::new(|| {
    let profile = LeafProfile {
        common_name: "a proof".into(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Client,
    };
    AUTHORITIES[0].sign_leaf(&profile, &quick_key(), dates(), serial()).unwrap()
});

fn file(text: impl AsRef<[u8]>) -> PathEntry {
    PathEntry::File { bytes: text.as_ref().to_vec(), mode: 0o644, uid: 0, gid: 0 }
}

/// A host as Debian makes it, with that command line.
fn debian(exec: &str) -> Machine {
    let mut machine = Machine::default();
    machine.certs = CERTS.into();
    let service =
        format!("[Unit]\nRequires=docker.socket\n[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart={exec}\n");
    machine.set(SERVICE, file(service));
    machine.set("/usr/lib/systemd/system/docker.socket", file("[Socket]\nListenStream=/run/docker.sock\n"));
    machine.set("/etc/default/docker", file("DOCKER_OPTS=\n"));
    machine.set("/usr/sbin/dockerd", file(b"\x7fELF"));
    machine.set("/etc/passwd", file("root:x:0:0:root:/root:/bin/bash\n"));
    machine
}

/// A how-to's certificate files.
fn old_files(machine: &mut Machine, directory: &str, [cert, key]: [&str; 2]) {
    let at = |name: &str| Path::new(directory).join(name);
    machine.set(at("ca.pem"), file(AUTHORITIES[1].certificate.to_pem()));
    machine.set(at(cert), file(LEAVES[2].0.to_pem()));
    machine.set(at(key), file(&LEAVES[2].1));
}

fn tls_flags(directory: &str, cert: &str, key: &str) -> String {
    format!("--tlsverify --tlscacert={directory}/ca.pem --tlscert={directory}/{cert} --tlskey={directory}/{key}")
}

/// What is delivered, and to which machine.
#[derive(Clone)]
struct Story {
    name: &'static str,
    machine: Machine,
    delivery: HostDelivery,
}

fn secret(number: usize, bundle: &[&Authority]) -> Option<Arc<Data>> {
    let mut data = Data::default();
    data.insert("tls.crt", LEAVES[number].0.to_pem());
    data.insert("tls.key", LEAVES[number].1.clone());
    data.insert("proof.pem", PROOF.to_pem());
    data.insert("ca.crt", bundle.iter().map(|authority| authority.certificate.to_pem()).collect::<String>());
    Some(Arc::new(data))
}

fn delivery(mode: Mode) -> HostDelivery {
    let daemon = Daemon { restart: Restart::Always, ..Daemon::default() };
    let delivery =
        Delivery { mode, directory: CERTS.into(), daemon: Some(daemon), take_over: true, ..Delivery::default() };
    let host = AssignedHost {
        namespace: "home".into(),
        name: "pandora".into(),
        uid: "uid".into(),
        generation: 1,
        secret_name: "pandora-docker-host".into(),
        delivery,
        port: 2376,
        turn: Some(Timestamp::MAX),
        restart_requested_at: None,
        removing: false,
        portainers: Vec::new(),
        claim: HostClaim::default(),
    };
    let [ours, old] = &*AUTHORITIES;
    HostDelivery {
        host,
        secret: secret(0, &[ours, old]),
        roots: vec![CERTS.into()],
        previous: CompanionStatus::default(),
        contained: false,
        address: None,
    }
}

impl Story {
    fn of(name: &'static str, mut machine: Machine, mode: Mode) -> Story {
        machine.boot();
        assert!(machine.dockerd.is_some(), "{name}: dockerd does not start: {:?}", machine.last_error);
        machine.begin();
        Story { name, machine, delivery: delivery(mode) }
    }

    /// What comes after this story has ended.
    fn then(&self, name: &'static str, change: impl FnOnce(&mut Story)) -> Story {
        let (host, status) = self.played();
        let machine = host.open().clone();
        let mut story = Story { name, machine, delivery: HostDelivery { previous: status, ..self.delivery.clone() } };
        change(&mut story);
        story.machine.begin();
        story
    }

    fn played(&self) -> (SimHost, CompanionStatus) {
        let host = SimHost::of(self.machine.clone(), clock());
        let status = settle(&host, &self.delivery);
        (host, status)
    }
}

fn refresh(machine: &mut Machine) {
    machine.boot();
    assert!(machine.dockerd.is_some(), "{:?}", machine.last_error);
}

fn fresh(mode: Mode) -> Story {
    Story::of("a fresh host", debian(STOCK), mode)
}

/// Renewal, changed bundle and removal after a delivery.
fn later(first: &Story) -> Vec<Story> {
    let [ours, old] = &*AUTHORITIES;
    vec![
        first.then("a renewal", |story| story.delivery.secret = secret(1, &[ours, old])),
        first.then("a changed bundle", |story| story.delivery.secret = secret(0, &[ours])),
        first.then("a removal", |story| story.delivery.host.removing = true),
    ]
}

/// Hosts on which a how-to was followed.
fn taken_over() -> Vec<Story> {
    let hosts = |hosts: &str, tls: &str| format!("{{\"hosts\": [\"unix:///run/docker.sock\", \"{hosts}\"]{tls}}}");
    let in_json = |name: &'static str, json: &str| {
        let mut machine = debian("/usr/sbin/dockerd");
        old_files(&mut machine, OLD, ["cert.pem", "key.pem"]);
        machine.set(DAEMON_JSON, file(json));
        Story::of(name, machine, Mode::Daemon)
    };
    let in_flags = |name: &'static str, exec: &str| {
        let mut machine = debian(STOCK);
        old_files(&mut machine, OLD, ["cert.pem", "key.pem"]);
        machine.set(OVERRIDE, file(format!("[Service]\nExecStart=\nExecStart={exec}\n")));
        Story::of(name, machine, Mode::Daemon)
    };
    let tls = format!(
        ", \"tlsverify\": true, \"tlscacert\": \"{OLD}/ca.pem\", \"tlscert\": \"{OLD}/cert.pem\", \"tlskey\": \"{OLD}/key.pem\""
    );
    let flags = tls_flags(OLD, "cert.pem", "key.pem");
    let mut socket = debian(STOCK);
    socket.set("/etc/systemd/system/docker.socket.d/tcp.conf", file("[Socket]\nListenStream=0.0.0.0:2375\n"));
    let mut files = debian(STOCK);
    old_files(&mut files, CERTS, ["pandora.pem", "pandora.key"]);
    let own = tls_flags(CERTS, "pandora.pem", "pandora.key");
    files.set(
        OVERRIDE,
        file(format!("[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H=0.0.0.0:2376 {own}\n")),
    );
    vec![
        in_json("hosts and TLS in daemon.json", &hosts("tcp://0.0.0.0:2376", &tls)),
        in_flags("hosts and TLS in flags", &format!("/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2376 {flags}")),
        in_flags("plain TCP in flags", "/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2375 --tls=false"),
        in_json("plain TCP in daemon.json", &hosts("tcp://0.0.0.0:2375", "")),
        Story::of("plain TCP in docker.socket", socket, Mode::Daemon),
        Story::of("files under our names", files, Mode::Daemon),
    ]
}

/// What others change after a delivery.
fn drifts(first: &Story) -> Vec<Story> {
    vec![
        first.then("TLS out of daemon.json", |story| story.machine.set(DAEMON_JSON, file("{}"))),
        first.then("TLS out of daemon.json, and a restart", |story| {
            story.machine.set(DAEMON_JSON, file("{\"debug\": true}"));
            refresh(&mut story.machine);
        }),
        first.then("no drop-in", |story| {
            story.machine.set("/etc/systemd/system/docker.service.d/zz-dockseal.conf", PathEntry::Absent);
        }),
        first.then("a public name replaced", |story| {
            story.machine.set(Path::new(CERTS).join("pandora.pem"), file(LEAVES[2].0.to_pem()));
            story.machine.tries_starts = false; // that dockerd would not start is not our doing
        }),
    ]
}

fn files_mode() -> Vec<Story> {
    let first = fresh(Mode::Files);
    let mut how_to = debian(STOCK);
    old_files(&mut how_to, CERTS, ["pandora.pem", "pandora.key"]);
    let taken_over = Story::of("files under our names", how_to, Mode::Files);
    later(&first).into_iter().chain([first, taken_over]).collect()
}

fn daemon_mode() -> Vec<Story> {
    let first = fresh(Mode::Daemon);
    let more = later(&first).into_iter().chain(drifts(&first)).chain(taken_over());
    let mut stories: Vec<Story> = more.chain([first]).collect();
    let flags = stories.iter().find(|story| story.name == "hosts and TLS in flags").unwrap();
    let removed = flags.then("a removal after a take-over", |story| story.delivery.host.removing = true);
    stories.push(removed);
    stories
}

/// Deliveries that dockerd refuses.
fn refused() -> Vec<Story> {
    let refuse = |story: &mut Story, number: usize| story.machine.refused_leaf = Some(LEAVES[number].0.fingerprint());
    let mut first = fresh(Mode::Daemon);
    let renewal = first.then("a renewal that is refused", |story| {
        let [ours, old] = &*AUTHORITIES;
        story.delivery.secret = secret(1, &[ours, old]);
        refuse(story, 1);
    });
    let unfit = |story: &mut Story| {
        story.machine.refused_authority = Some(AUTHORITIES[0].certificate.key_fingerprint());
    };
    let mut authority = fresh(Mode::Daemon);
    authority.name = "a first delivery of an authority that is refused";
    unfit(&mut authority);
    refuse(&mut first, 0);
    first.name = "a first delivery that is refused";
    let take_overs = taken_over().into_iter().filter(|story| !story.name.starts_with("plain"));
    let take_overs = take_overs.map(|mut story| {
        refuse(&mut story, 0);
        story
    });
    let mut of_authority: Vec<Story> = taken_over();
    of_authority.truncate(1);
    of_authority.iter_mut().for_each(unfit);
    take_overs.chain(of_authority).chain([first, authority, renewal]).collect()
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap());

/// Delivers once; None where it was killed.
fn once(host: &SimHost, delivery: &HostDelivery) -> Option<CompanionStatus> {
    match catch_unwind(AssertUnwindSafe(|| RUNTIME.block_on(deliver(host, delivery, &clock())))) {
        Ok(result) => Some(result.status),
        Err(killed) if killed.is::<Killed>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Delivers until nothing changes any more.
fn settle(host: &SimHost, delivery: &HostDelivery) -> CompanionStatus {
    let mut delivery = delivery.clone();
    for _ in 0..6 {
        let before = host.open().configuration();
        let status = once(host, &delivery).expect("nothing kills it");
        if status == delivery.previous && before == host.open().configuration() {
            return status;
        }
        delivery.previous = status;
    }
    panic!("it does not come to rest: {:?}", delivery.previous.conditions);
}

/// The delivery after one that ended so, or was killed.
fn next(host: &SimHost, delivery: &HostDelivery, before: Option<CompanionStatus>) -> CompanionStatus {
    let previous = before.unwrap_or_else(|| delivery.previous.clone());
    once(host, &HostDelivery { previous, ..delivery.clone() }).expect("nothing kills it")
}

/// dockerd's unix sockets, its TCP listeners, the leaf that it serves, and whose clients it accepts.
type Served = (Vec<String>, Vec<std::net::SocketAddr>, Option<(String, BTreeSet<String>)>);

/// What a story ends with, as far as it is the same each time.
#[derive(Clone, Debug, PartialEq)]
struct End {
    configuration: BTreeMap<PathBuf, String>,
    shown: (Option<BTreeSet<String>>, Option<String>),
    daemon: Option<Served>,
    conditions: Vec<(String, String, String)>,
}

/// Our own client certificates are new each time.
fn anchors(certificates: &[Certificate]) -> BTreeSet<String> {
    let known = AUTHORITIES.iter().map(|authority| authority.certificate.fingerprint()).collect::<Vec<_>>();
    certificates.iter().map(Certificate::fingerprint).filter(|found| known.contains(found)).collect()
}

/// What the step remembers, but for what an interruption may change: a drift is counted twice, a generation has another
/// number, a rollback has another cause.
fn state(machine: &Machine) -> String {
    let mut state: serde_json::Value = serde_json::from_slice(&machine.bytes(STATE.as_ref()).unwrap()).unwrap();
    state["drifts"] = (state["drifts"] != serde_json::json!([])).into();
    if let Some(rejected) = state["rejected"].as_object_mut() {
        rejected.retain(|key, _| key == "digest");
    }
    state.to_string()
}

fn end(machine: &Machine, status: &CompanionStatus) -> End {
    let text = |entry: PathEntry| format!("{:?}", entry.bytes().map(String::from_utf8_lossy).ok_or(&entry));
    let mut configuration: BTreeMap<PathBuf, String> =
        machine.configuration().into_iter().map(|(path, entry)| (path, text(entry))).collect();
    if let Some(memory) = configuration.get_mut(Path::new(STATE)) {
        *memory = state(machine);
    }
    let [ca, cert, _] = machine.shown();
    let mut dockerd = machine.dockerd.clone();
    dockerd.iter_mut().for_each(|dockerd| dockerd.tcp.sort());
    End {
        configuration,
        shown: (
            ca.map(|pem| anchors(&all_from_pem(&pem).unwrap())),
            cert.map(|pem| Certificate::from_pem(&pem).unwrap().fingerprint()),
        ),
        daemon: dockerd.map(|dockerd| {
            let tls = dockerd.tls.map(|tls| (tls.leaf.fingerprint(), anchors(&tls.anchors.unwrap_or_default())));
            (dockerd.unix, dockerd.tcp, tls)
        }),
        conditions: status
            .conditions
            .iter()
            .map(|condition| (condition.type_.clone(), condition.status.clone(), condition.reason.clone()))
            .collect(),
    }
}

fn same(found: &End, wanted: &End, what: &str) {
    if found == wanted {
        return;
    }
    let paths: BTreeSet<_> = found.configuration.keys().chain(wanted.configuration.keys()).collect();
    for path in paths {
        let (found, wanted) = (found.configuration.get(path), wanted.configuration.get(path));
        assert_eq!(found, wanted, "{}: {what}", path.display());
    }
    panic!(
        "{what}: {:?} {:?} {:?}\nnot {:?} {:?} {:?}",
        found.shown, found.daemon, found.conditions, wanted.shown, wanted.daemon, wanted.conditions
    );
}

/// A delivery without a fault.
struct Undisturbed {
    end: End,
    changes: usize,
    /// Numbers of calls, of each that differs.
    calls: Vec<usize>,
    written: Vec<(PathBuf, PathEntry)>,
}

/// Delivers without a fault, and tries starts of dockerd at every moment.
fn undisturbed(story: &Story) -> Undisturbed {
    let mut machine = story.machine.clone();
    machine.tries_starts = story.delivery.host.delivery.mode == Mode::Daemon && story.name != "a public name replaced";
    machine.begin();
    let host = SimHost::of(machine, clock());
    let status = next(&host, &story.delivery, None);
    let machine = host.open();
    let end = end(&machine, &status);
    if machine.refused_leaf.is_none() && machine.refused_authority.is_none() {
        ready(story, &end);
    }
    Undisturbed {
        end,
        changes: machine.log.len(),
        calls: machine.distinct.values().copied().collect(),
        written: machine.written.clone(),
    }
}

fn ready(story: &Story, end: &End) {
    let wanted = match (story.delivery.host.removing, story.delivery.host.delivery.mode) {
        (true, _) => "Removed",
        (false, Mode::Daemon) => "Serving",
        (false, Mode::Files) => "Delivered",
    };
    assert!(end.conditions.iter().any(|(_, _, reason)| reason == wanted), "{}: {end:#?}", story.name);
}

#[test]
fn a_second_delivery_changes_nothing() {
    for story in files_mode().into_iter().chain(daemon_mode()) {
        let (host, status) = story.played();
        ready(&story, &end(&host.open(), &status));
        host.open().begin();
        let again = HostDelivery { previous: status.clone(), ..story.delivery.clone() };
        assert_eq!(once(&host, &again), Some(status), "{}", story.name);
        let notes = ["/var/lib/dockseal/order.json", "/var/lib/dockseal/answer.json"];
        let changes = host.open().log.clone();
        let changes: Vec<_> = changes.iter().filter(|change| !notes.iter().any(|note| change.contains(note))).collect();
        assert!(changes.is_empty(), "{}: {changes:?}", story.name);
    }
}

/// Whatever ends before any change: what comes after it ends as if nothing had happened.
fn interrupted(story: &Story, kind: fn(usize) -> Fault) {
    let Undisturbed { end: wanted, changes, .. } = undisturbed(story);
    for number in 0..changes {
        let host = SimHost::of(story.machine.clone(), clock());
        host.open().fault = Some(kind(number));
        let killed = once(&host, &story.delivery);
        host.open().fault = None;
        let status = next(&host, &story.delivery, killed);
        let machine = host.open();
        same(&end(&machine, &status), &wanted, &format!("{}: {:?}: {:#?}", story.name, kind(number), machine.log));
    }
}

#[test]
fn a_delivery_of_files_that_is_killed_anywhere_is_completed_by_the_next() {
    files_mode().iter().for_each(|story| interrupted(story, Fault::Kill));
}

#[test]
fn a_delivery_that_is_killed_anywhere_is_completed_by_the_next() {
    daemon_mode().iter().for_each(|story| interrupted(story, Fault::Kill));
}

#[test]
fn a_step_that_is_killed_anywhere_goes_on_when_systemd_starts_it_again() {
    daemon_mode().iter().for_each(|story| interrupted(story, Fault::KillStep));
}

#[test]
fn a_delivery_that_a_power_cut_ends_anywhere_is_completed_by_the_next() {
    let edited = |story: &&Story| story.name == "a public name replaced"; // with which dockerd does not start
    daemon_mode().iter().filter(|story| !edited(story)).for_each(|story| interrupted(story, Fault::Power));
}

/// A call fails: what was there is as it was or as wanted, and the next delivery ends as wanted. Where the change was
/// rolled back for it, everything is as it was before, and a user's consent has it tried again.
#[test]
fn a_call_that_fails_anywhere_is_made_good_by_the_next_delivery() {
    let alike =
        |story: &Story| ["no drop-in", "TLS out of daemon.json", "a public name replaced"].contains(&story.name);
    for story in files_mode().into_iter().chain(daemon_mode()).filter(|story| !alike(story)) {
        let Undisturbed { end: wanted, calls, written, .. } = undisturbed(&story);
        for number in calls {
            let host = SimHost::of(story.machine.clone(), clock());
            host.open().fault = Some(Fault::Fail(number));
            let failed = once(&host, &story.delivery);
            as_it_was_or_as_wanted(&story, &host.open(), &written);
            let status = next(&host, &story.delivery, failed);
            let what = format!("{}: call {number}: {:#?}", story.name, host.open().log);
            let rolled_back = status.conditions.iter().any(|condition| condition.reason == "RolledBack");
            let status = match rolled_back {
                false => status,
                true => {
                    untouched(&story, &host.open(), &what);
                    consent(&host, &story.delivery, status)
                }
            };
            same(&end(&host.open(), &status), &without_consent(wanted.clone(), rolled_back), &what);
        }
    }
}

/// dockerd's configuration is of what was there, or of what an undisturbed delivery writes.
fn as_it_was_or_as_wanted(story: &Story, machine: &Machine, written: &[(PathBuf, PathEntry)]) {
    let ours = |path: &Path| path.starts_with("/var/lib/dockseal") || path.starts_with(CERTS);
    for (path, entry) in machine.configuration().into_iter().filter(|(path, _)| !ours(path)) {
        let known = story.machine.files.get(&path) == Some(&entry) || written.contains(&(path.clone(), entry));
        assert!(known, "{}: {} is neither: {:#?}", story.name, path.display(), machine.log);
    }
}

fn consent(host: &SimHost, delivery: &HostDelivery, previous: CompanionStatus) -> CompanionStatus {
    let mut delivery = HostDelivery { previous, ..delivery.clone() };
    delivery.host.restart_requested_at = Some(CONSENT.into());
    settle(host, &delivery)
}

/// The consent is remembered; a drift before it is forgiven.
fn without_consent(mut end: End, consented: bool) -> End {
    if let Some(state) = end.configuration.get_mut(Path::new(STATE)).filter(|_| consented) {
        let mut read: serde_json::Value = serde_json::from_str(state).unwrap();
        (read["consent"], read["drifts"]) = (CONSENT.into(), false.into());
        *state = read.to_string();
    }
    end
}

/// dockerd's configuration is byte for byte what it was, and dockerd runs with it.
fn untouched(story: &Story, machine: &Machine, what: &str) {
    if !story.machine.exposed().is_empty() {
        return assert!(machine.exposed().is_empty(), "{what}"); // what was closed is not opened again
    }
    let others = |machine: &Machine| {
        let mut files = machine.configuration();
        files.retain(|path, _| !path.starts_with("/var/lib/dockseal") && !path.starts_with(CERTS));
        files
    };
    assert_eq!(others(machine), others(&story.machine), "{what}");
    let read = |bytes: Option<Vec<u8>>| bytes.map(|pem| Certificate::from_pem(&pem).unwrap().fingerprint());
    let [_, before, _] = story.machine.shown();
    let [_, after, _] = machine.shown();
    assert!(before.is_none() || read(before) == read(after), "{what}");
    let facts = |machine: &Machine| {
        let dockerd = machine.dockerd.clone().expect("dockerd runs");
        let tls = dockerd.tls.map(|tls| (tls.leaf.fingerprint(), tls.anchors.as_deref().map(anchors)));
        (dockerd.unix, dockerd.tcp, tls)
    };
    assert_eq!(facts(machine), facts(&story.machine), "{what}");
}

#[test]
fn what_dockerd_refuses_is_rolled_back_byte_for_byte_and_not_tried_again() {
    for story in refused() {
        let (host, status) = story.played();
        assert!(status.conditions.iter().any(|found| found.reason == "RolledBack"), "{}: {status:?}", story.name);
        untouched(&story, &host.open(), story.name);
        host.open().begin();
        let again = HostDelivery { previous: status.clone(), ..story.delivery.clone() };
        assert_eq!(once(&host, &again), Some(status), "{}", story.name);
        let log = host.open().log.clone();
        assert!(!log.iter().any(|change| change.contains("start ")), "{}: {log:?}", story.name);
    }
}

#[test]
fn a_rollback_that_is_interrupted_anywhere_is_completed_by_the_next_delivery() {
    for story in refused() {
        for kind in [Fault::Kill as fn(usize) -> Fault, Fault::KillStep, Fault::Power] {
            interrupted(&story, kind);
        }
    }
}
