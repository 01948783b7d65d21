//! Laws of registration, over a Portainer in memory: what holds whatever fails, is killed or is edited by someone else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "sim/portainer.rs"]
mod sim;

use dockseal::adapters::Clock;
use dockseal::adapters::portainer::{Access, Network, RequestTimeouts, ServerCredential};
use dockseal::api::registrar::Registrar;
use dockseal::api::status::EnvironmentReport;
use dockseal::api::{Kind, ObjectRef};
use dockseal::decide::registration::desired::{RegistrationInput, adopted_marker, marker};
use dockseal::decide::registration::{DeregisterRequest, Deregistration, DesiredEnvironment, Proof};
use dockseal::portainer::{Environment, File};
use dockseal::reconcile::registration::server::NameLocks;
use dockseal::reconcile::registration::{
    ClientPair, CompanionRegistration, Connection, RegistrationRequest, RegistrationServer, Registrations, deregister,
};
use futures::FutureExt;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sim::{Call, Fault, SimDocker, SimEnvironment, SimPortainer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

const CA: &[u8] = b"CA of the host";
const URL: &str = "tcp://pandora.bodkys.house:2376";
const START: &str = "2026-11-22T10:00:00Z";
/// What may become of a call. After a kill the next run is of another process.
const FAULTS: [Fault; 9] = [
    Fault::KilledBefore,
    Fault::KilledAfter,
    Fault::Unreachable,
    Fault::Refused(401),
    Fault::Refused(403),
    Fault::Refused(409),
    Fault::Refused(500),
    Fault::TimedOut,
    Fault::TimedOutAfter,
];

/// A client certificate: Portainer and dockerd compare its bytes.
fn pair(number: u32) -> ClientPair {
    let fingerprint = format!("client-{number}");
    let key = Zeroizing::new(format!("key-{number}").into_bytes());
    ClientPair { certificate: fingerprint.clone().into_bytes(), key, fingerprint }
}

fn client() -> ObjectRef {
    ObjectRef::new(Kind::PortainerClient, "home", "portainer")
}

fn desired() -> DesiredEnvironment {
    DesiredEnvironment {
        client: "portainer".into(),
        marker: marker(&client(), "0123456789abcdef"),
        name: "pandora".into(),
        host: "pandora.bodkys.house".into(),
        port: 2376,
        public_url: None,
        group: Some("homelab".into()),
        tags: vec!["media".into()],
        verify_server: true,
        adopt: false,
    }
}

/// One host that is to be registered, the Portainer, and the process that registers it.
struct Fixture {
    portainer: SimPortainer,
    now: Arc<Mutex<Timestamp>>,
    registrations: Registrations,
    desired: DesiredEnvironment,
    pair: ClientPair,
    proof: Proof,
    /// The last report that was published in a status.
    published: Option<EnvironmentReport>,
    others: BTreeMap<i64, SimEnvironment>,
}

impl Fixture {
    fn new() -> Fixture {
        let docker = SimDocker {
            url: URL.into(),
            serves: "leaf".into(),
            ca: CA.into(),
            accepts: pair(1).certificate,
            reachable_by_portainer: true,
            exposed: false,
        };
        let portainer = SimPortainer::new(docker);
        portainer.add("attic", "tcp://attic.bodkys.house:2376", vec![1]);
        portainer.add("local", "unix:///var/run/docker.sock", vec![]);
        let others = portainer.state().environments.clone();
        Fixture {
            registrations: Registrations::over(Arc::new(portainer.clone()), true),
            portainer,
            now: Arc::new(Mutex::new(START.parse().unwrap())),
            desired: desired(),
            pair: pair(1),
            proof: Proof::Ask,
            published: None,
            others,
        }
    }

    fn registered() -> Fixture {
        let mut fixture = Fixture::new();
        fixture.until_registered(1);
        fixture
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Clock::showing(move || *now.lock().unwrap())
    }

    fn advance(&self, span: SignedDuration) {
        let mut now = self.now.lock().unwrap();
        *now = now.saturating_add(span).unwrap();
    }

    fn connection(&self) -> Connection {
        let url = "https://portainer.bodkys.house:9443".into();
        let access = Access { url, roots: None, server_name: None, timeouts: RequestTimeouts::default() };
        let credential = ServerCredential::ApiKey(Zeroizing::new("ptr_key".into()));
        Connection { access, credential, initialize: true, client_pair: self.pair.clone() }
    }

    fn registration(&self) -> CompanionRegistration {
        let previous = self.published.clone().unwrap_or_else(|| self.desired.report(Registrar::Companion));
        let input = RegistrationInput {
            client: self.pair.fingerprint.clone(),
            bundle: "bundle".into(),
            stored: "leaf".into(),
            proof: self.proof.clone(),
        };
        let request = RegistrationRequest {
            namespace: "home".into(),
            desired: self.desired.clone(),
            input,
            bundle: CA.into(),
            previous: previous.clone(),
            registrar: Registrar::Companion,
        };
        CompanionRegistration {
            client: client(),
            host: ObjectRef::new(Kind::DockerHostCert, "home", "pandora"),
            connection: Ok(self.connection()),
            input: self.pair.fingerprint.clone(),
            request: Ok(request),
            before: previous,
        }
    }

    /// Runs once; when to run again, or `None` if the process was killed: then the next run is of another process.
    fn run(&mut self) -> Option<Timestamp> {
        let clock = self.clock();
        let done = self.registrations.register_own_host(self.registration(), &clock).now_or_never();
        self.assert_others_untouched();
        assert!(self.ours().len() <= 1, "{:#?}", self.ours());
        let Some((report, requeue_at)) = done else {
            self.restart();
            return None;
        };
        self.published = Some(report);
        Some(requeue_at)
    }

    /// Another process, which knows no more than what was published.
    fn restart(&mut self) {
        self.registrations = Registrations::over(Arc::new(self.portainer.clone()), true);
    }

    fn is_registered(&self) -> bool {
        self.published.as_ref().is_some_and(EnvironmentReport::is_registered)
    }

    /// It is registered with the current client certificate.
    fn is_current(&self) -> bool {
        let used = self.published.as_ref().and_then(|report| report.client_fingerprint.as_ref());
        self.is_registered() && used == Some(&self.pair.fingerprint)
    }

    /// Runs whenever it is due, at most so often.
    fn until_registered(&mut self, runs: usize) {
        for _ in 0..runs {
            if let Some(requeue_at) = self.run() {
                if self.is_current() && !self.portainer.has_fault() {
                    return self.assert_as_wanted();
                }
                *self.now.lock().unwrap() = requeue_at;
            }
        }
        panic!("not registered after {runs} runs: {:#?}", self.published);
    }

    /// Calls of one run.
    fn calls_of(&mut self, run: impl FnOnce(&mut Fixture)) -> Vec<Call> {
        self.portainer.state().calls.clear();
        run(self);
        self.portainer.state().calls.clone()
    }

    fn ours(&self) -> Vec<SimEnvironment> {
        let state = self.portainer.state();
        state.environments.values().filter(|found| !self.others.contains_key(&found.shown.id)).cloned().collect()
    }

    fn assert_others_untouched(&self) {
        let state = self.portainer.state();
        for (id, other) in &self.others {
            assert_eq!(state.environments.get(id), Some(other), "someone else's environment changed");
        }
    }

    /// Exactly one environment is ours, and Portainer reaches the host by it with the current files.
    fn assert_as_wanted(&self) {
        let ours = self.ours();
        let [found] = ours.as_slice() else { panic!("{} environments: {ours:#?}", ours.len()) };
        let tags = self.tag_names(&found.shown);
        let expected = [self.desired.marker.clone(), "media".into()];
        assert!(expected.iter().all(|tag| tags.contains(tag)), "{tags:?}");
        assert_eq!((found.shown.url.as_str(), found.shown.status, found.shown.group_id), (URL, 1, 2));
        assert_eq!(found.shown.tls.skip_verify, !self.desired.verify_server);
        for files in [&found.disk, &found.proxy] {
            assert_eq!(files.get(File::Cert), Some(self.pair.certificate.as_slice()));
            assert_eq!(files.get(File::Key), Some(self.pair.key.as_slice()));
            assert_eq!(files.get(File::Ca), self.desired.verify_server.then_some(CA));
        }
        assert_eq!(self.published.as_ref().unwrap().id, Some(found.shown.id));
        assert!(
            self.tag_names(&found.shown).contains(&adopted_marker(&self.desired.marker))
                || found.shown.name == "pandora"
        );
    }

    fn tag_names(&self, environment: &Environment) -> Vec<String> {
        let tags = self.portainer.state().tags.clone();
        tags.into_iter().filter(|tag| environment.tag_ids.contains(&tag.id)).map(|tag| tag.name).collect()
    }

    /// Nothing is written any more, whichever process runs and whenever.
    fn assert_rests(&mut self) {
        for restart in [false, true, false] {
            if restart {
                self.restart();
            }
            self.advance(SignedDuration::from_mins(6));
            let calls = self.calls_of(|fixture| _ = fixture.run());
            assert!(self.is_registered() && !calls.iter().any(|call| call.writes()), "{calls:?}");
        }
    }
}

type Change = fn(&mut Fixture);

/// Hosts that are to be registered, by what is special about them.
const VARIANTS: [(&str, Change); 5] = [
    ("plain", |_| {}),
    ("a companion has seen the certificate", |fixture| fixture.proof = Proof::Serves("leaf".into())),
    ("the host is not verified", |fixture| fixture.desired.verify_server = false),
    ("with a public address", |fixture| fixture.desired.public_url = Some("pandora".into())),
    ("adopted", |fixture| {
        fixture.desired.adopt = true;
        fixture.portainer.add("by hand", URL, vec![1]);
    }),
];

#[test]
fn what_is_registered_is_a_fixed_point() {
    for (variant, prepare) in VARIANTS {
        let mut fixture = Fixture::new();
        prepare(&mut fixture);
        fixture.until_registered(1);
        println!("{variant}");
        fixture.assert_rests();
    }
}

/// Begins each story again with each call of its first run failing in each way; `check` sees the end.
fn with_each_fault(begin: impl Fn() -> Fixture, faults: &[Fault], check: impl Fn(&mut Fixture, usize)) {
    for fault in faults {
        let mut failed = 0;
        loop {
            let mut fixture = begin();
            fixture.portainer.state().calls.clear();
            fixture.portainer.inject(failed, *fault);
            fixture.run();
            if fixture.portainer.has_fault() {
                break; // the story has no more calls
            }
            println!("{fault:?} at call {failed}: {:?}", fixture.portainer.state().calls);
            fixture.until_registered(6);
            check(&mut fixture, failed);
            failed += 1;
        }
        assert!(failed >= 6, "{failed} calls failed by {fault:?}");
    }
}

fn count(calls: &[Call], name: &str) -> usize {
    calls.iter().filter(|call| call.0 == name).count()
}

#[test]
fn whatever_becomes_of_a_call_the_host_is_registered_once() {
    for (variant, prepare) in VARIANTS {
        println!("{variant}");
        let begin = || {
            let mut fixture = Fixture::new();
            prepare(&mut fixture);
            fixture
        };
        with_each_fault(begin, &FAULTS, |fixture, _| {
            let calls = fixture.portainer.state().calls.clone();
            assert!(count(&calls, "create") <= 2 && count(&calls, "delete") == 0, "{calls:?}");
            assert_eq!(fixture.portainer.state().leaked_keys, 0);
            fixture.assert_rests();
        });
    }
}

/// A registered host whose client certificate was renewed; dockerd accepts only the new one.
fn renewed() -> Fixture {
    let mut fixture = Fixture::registered();
    fixture.pair = pair(2);
    fixture.portainer.state().docker.accepts = pair(2).certificate;
    fixture
}

#[test]
fn a_renewal_uploads_reloads_and_pings() {
    let mut fixture = renewed();
    let id = fixture.ours()[0].shown.id;
    let calls = fixture.calls_of(|fixture| fixture.until_registered(1));
    let about: Vec<&str> = calls.iter().filter(|call| call.1 == Some(id)).map(|call| call.0).collect();
    assert_eq!(about, ["upload", "upload", "upload", "change", "ping", "snapshot"]);
    assert_eq!(calls.iter().filter(|call| call.writes()).count(), 4, "{calls:?}");
}

#[test]
fn whatever_becomes_of_a_call_a_renewal_keeps_the_environment() {
    with_each_fault(renewed, &FAULTS, |fixture, _| {
        let calls = fixture.portainer.state().calls.clone();
        assert_eq!((count(&calls, "create"), count(&calls, "delete")), (0, 0), "{calls:?}");
        fixture.assert_rests();
    });
}

#[test]
fn a_host_that_portainer_does_not_reach_is_created_seldom() {
    let mut fixture = Fixture::new();
    fixture.portainer.state().docker.reachable_by_portainer = false;
    let end = fixture.now.lock().unwrap().saturating_add(SignedDuration::from_hours(24)).unwrap();
    while *fixture.now.lock().unwrap() < end {
        let requeue_at = fixture.run().unwrap();
        assert!(!fixture.is_registered());
        *fixture.now.lock().unwrap() = requeue_at;
    }
    let calls = fixture.portainer.state().calls.clone();
    let keys = fixture.portainer.state().leaked_keys;
    // After 2, 4, 8, 16, 32 and 60 minutes, then every hour.
    assert!((20..=30).contains(&count(&calls, "create")), "{} creates in a day", count(&calls, "create"));
    assert_eq!((keys, fixture.ours().len()), (count(&calls, "create"), 0));
    fixture.portainer.state().docker.reachable_by_portainer = true;
    fixture.until_registered(2);
}

#[test]
fn nothing_is_created_for_a_host_that_does_not_serve_its_certificate() {
    let spoil: [Change; 4] = [
        |fixture| fixture.portainer.state().docker.exposed = true,
        |fixture| fixture.portainer.state().docker.serves = "another leaf".into(),
        |fixture| fixture.portainer.state().docker.accepts = b"another".to_vec(),
        |fixture| fixture.portainer.state().docker.url = "tcp://elsewhere:2376".into(),
    ];
    for spoil in spoil {
        let mut fixture = Fixture::new();
        spoil(&mut fixture);
        for _ in 0..10 {
            *fixture.now.lock().unwrap() = fixture.run().unwrap();
        }
        let calls = fixture.portainer.state().calls.clone();
        assert!(!fixture.is_registered() && !calls.iter().any(|call| call.writes()), "{calls:?}");
    }
}

#[test]
fn a_host_that_lets_strangers_in_gets_nothing_more_and_is_not_registered_until_it_is_closed() {
    let mut fixture = renewed();
    fixture.portainer.state().docker.exposed = true;
    let calls = fixture.calls_of(|fixture| {
        for _ in 0..5 {
            *fixture.now.lock().unwrap() = fixture.run().unwrap();
        }
    });
    assert!(!fixture.is_registered() && !calls.iter().any(|call| call.writes()), "{calls:?}");
    assert_eq!(fixture.published.as_ref().unwrap().reason, "ExposedByOthers");
    fixture.portainer.state().docker.exposed = false;
    fixture.until_registered(2);
}

#[test]
fn what_someone_edits_is_corrected_and_stays_so() {
    type Edit = fn(&mut SimEnvironment);
    let edits: [(&str, Edit); 8] = [
        ("name", |found| found.shown.name = "renamed".into()),
        ("address", |found| found.shown.url = "tcp://elsewhere:2376".into()),
        ("tags", |found| found.shown.tag_ids = vec![1]),
        ("no tags", |found| found.shown.tag_ids.clear()),
        ("group", |found| found.shown.group_id = 1),
        ("verification", |found| found.shown.tls.skip_verify = true),
        ("no TLS", |found| found.shown.tls = Default::default()),
        ("status", |found| found.shown.status = 2),
    ];
    for (what, edit) in edits {
        println!("{what}");
        let mut fixture = Fixture::registered();
        let id = fixture.ours()[0].shown.id;
        edit(fixture.portainer.state().environments.get_mut(&id).unwrap());
        fixture.advance(SignedDuration::from_mins(6));
        fixture.until_registered(3);
        assert_eq!(fixture.ours()[0].shown.id, id, "{what}: it is another environment");
        fixture.assert_rests();
    }
}

#[test]
fn someone_elses_environment_of_the_same_name_or_address_is_left_alone() {
    for (name, url) in [("pandora", "tcp://elsewhere:2376"), ("pandora", URL)] {
        let mut fixture = Fixture::new();
        fixture.portainer.add(name, url, vec![1]);
        fixture.others = fixture.portainer.state().environments.clone();
        for _ in 0..5 {
            *fixture.now.lock().unwrap() = fixture.run().unwrap();
        }
        let calls = fixture.portainer.state().calls.clone();
        assert!(!calls.iter().any(|call| call.writes()), "{calls:?}");
        assert_eq!(fixture.published.unwrap().reason, "NameConflict");
    }
}

#[test]
fn of_several_environments_of_ours_the_first_stays() {
    let mut fixture = Fixture::registered();
    let first = fixture.ours()[0].shown.clone();
    for _ in 0..2 {
        fixture.portainer.add("pandora", URL, first.tag_ids.clone());
    }
    let duplicates = fixture.ours();
    assert_eq!(duplicates.len(), 3);
    fixture.advance(SignedDuration::from_mins(6));
    fixture.until_registered(2);
    assert_eq!(fixture.ours()[0].shown.id, first.id);
    fixture.assert_rests();
}

/// Deregisters in a new process; `None` if it was killed.
fn deregister_once(fixture: &Fixture, delete: bool) -> Option<Result<Deregistration, String>> {
    let network: Arc<dyn Network> = Arc::new(fixture.portainer.clone());
    let names = Arc::new(NameLocks::default());
    let server = RegistrationServer::new(&network, fixture.connection(), names, Arc::default()).unwrap();
    let request = DeregisterRequest { desired: fixture.desired.clone(), delete };
    let report = fixture.published.clone().unwrap();
    let clock = fixture.clock();
    let done = async {
        server.refresh(&clock).await.map_err(|problem| problem.message)?;
        deregister(&server, "home", &request, &report).await.map_err(|problem| problem.message)
    };
    let done = done.now_or_never();
    fixture.assert_others_untouched();
    done
}

#[test]
fn deregistration_follows_the_policy_whatever_becomes_of_a_call() {
    for (adopt, delete) in [(false, true), (false, false), (true, true), (true, false)] {
        for fault in FAULTS {
            let mut failed = 0;
            loop {
                let mut fixture = Fixture::new();
                if adopt {
                    fixture.desired.adopt = true;
                    fixture.portainer.add("by hand", URL, vec![1]);
                }
                fixture.until_registered(1);
                fixture.portainer.inject(failed, fault);
                let first = deregister_once(&fixture, delete);
                if fixture.portainer.has_fault() {
                    break;
                }
                println!("adopted: {adopt}, delete: {delete}, {fault:?} at call {failed}: {first:?}");
                deregister_once(&fixture, delete).unwrap().unwrap();
                assert_eq!(deregister_once(&fixture, delete).unwrap().unwrap(), Deregistration::Nothing);
                let left = fixture.ours();
                assert_eq!(left.len(), usize::from(adopt || !delete));
                for found in left {
                    let tags = fixture.tag_names(&found.shown);
                    assert!(!tags.iter().any(|tag| tag.starts_with("dockseal/")), "{tags:?}");
                    assert!(tags.contains(&"media".to_owned()), "{tags:?}");
                }
                failed += 1;
            }
            assert!(failed >= 6, "{failed} calls failed by {fault:?}");
        }
    }
}
