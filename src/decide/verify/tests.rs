//! One sound host, one thing wrong with it, and the verdict.

use super::*;
use crate::adapters::random::quick_key;
use crate::api::{DockerHostCert, DockerHostCertSpec};
use crate::decide::leaf::desired;
use crate::docker::scan::{PingAnswer, PlainAnswer, StrangerAnswers};
use crate::pki::lifecycle::dates;
use crate::pki::name::DistinguishedName;
use crate::pki::profile::Usage;
use crate::pki::sign::{Authority, Dates, LeafProfile, Serial, new_authority};
use k8s_openapi::jiff::SignedDuration;

const NOW: &str = "2026-11-22T10:00:00Z";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    NOW.parse().expect("an instant")
}

fn days(from: Timestamp, days: i64) -> Dates {
    dates(from, DAY * i32::try_from(days).expect("few"), None)
}

fn authority(from: Timestamp, life: i64) -> Authority {
    new_authority(&DistinguishedName::of("Docker CA"), None, quick_key(), days(from, life), Serial([1; 16]))
        .expect("a name")
}

fn leaf(by: &Authority, usage: Usage, from: Timestamp, life: i64, names: &[&str]) -> Certificate {
    let profile = LeafProfile {
        common_name: "pandora".into(),
        dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ip_addresses: vec!["192.168.1.7".parse().expect("an address")],
        usage,
    };
    by.sign_leaf(&profile, &quick_key(), days(from, life), Serial([2; 16])).expect("a name")
}

/// What can be changed.
struct Scene {
    authority: Authority,
    known: HostFacts,
    scan: ScanResult,
}

impl Scene {
    fn answers(&mut self) -> &mut Answers {
        self.scan.answers.as_mut().expect("the port is open")
    }

    /// It is served, and stored where something is.
    fn serve(&mut self, certificate: &Certificate) {
        self.answers().chain = vec![certificate.der.clone()];
        self.known.stored = self.known.stored.take().map(|_| certificate.clone());
    }

    fn serve_of(&mut self, usage: Usage, from: Timestamp, life: i64, names: &[&str]) {
        let certificate = leaf(&self.authority, usage, from, life, names);
        self.serve(&certificate);
    }

    fn report(&self) -> VerifyReport {
        judge(&self.known, &self.scan, now())
    }

    fn check(&self, id: Question) -> Option<Check> {
        self.report().checks.into_iter().find(|check| check.id == id)
    }
}

fn refusal() -> TlsAnswer {
    TlsAnswer::Refused("received fatal alert: CertificateRequired".into())
}

fn answer(status: u16, is_docker: bool) -> TlsAnswer {
    TlsAnswer::Answered(PingAnswer {
        status,
        is_docker,
        refuses_certificate: false,
        version: is_docker.then(|| "27.0.3".to_owned()),
    })
}

/// A proxy that misses a client certificate.
fn nginx() -> TlsAnswer {
    TlsAnswer::Answered(PingAnswer { status: 400, is_docker: false, refuses_certificate: true, version: None })
}

const NAMES: [&str; 2] = ["pandora.bodkys.house", "pandora"];

fn sound() -> Scene {
    let authority = authority(now() - DAY * 30, 365);
    let served = leaf(&authority, Usage::Server, now() - DAY * 30, 365, &NAMES);
    let client = leaf(&authority, Usage::Client, now() - DAY * 30, 365, &[]);
    let answers = Answers {
        strangers: StrangerAnswers {
            plain: PlainAnswer::TlsRequired,
            no_certificate: refusal(),
            self_signed: refusal(),
            impostor: Some(refusal()),
        },
        our_client: Some(answer(200, true)),
        chain: vec![served.der.clone()],
        distrust: None,
        versions: vec![
            (TlsVersion::V10, VersionSupport::No("the version is refused".into())),
            (TlsVersion::V11, VersionSupport::No("the version is refused".into())),
            (TlsVersion::V12, VersionSupport::Yes),
            (TlsVersion::V13, VersionSupport::Yes),
        ],
        plain_http_port: Some(PlainHttpPort::Closed),
    };
    let known = HostFacts {
        host: Some(("home".into(), "pandora".into())),
        trust: vec![authority.certificate.clone()],
        dns_names: NAMES.map(str::to_owned).to_vec(),
        ip_addresses: vec!["192.168.1.7".parse().expect("an address")],
        stored: Some(served),
        renewal: Some(Renewal { at: now() + DAY * 200, due: false }),
        client: Client::Known("DockerClientCert/ci".into(), Box::new(client)),
    };
    let scan = ScanResult {
        host: "pandora.bodkys.house".into(),
        port: 2376,
        port_state: PortState::Open(([192, 168, 1, 7], 2376).into()),
        answers: Some(answers),
    };
    Scene { authority, known, scan }
}

#[test]
fn a_sound_host_is_ok_in_every_question() {
    let report = sound().report();
    let bad: Vec<_> = report.checks.iter().filter(|check| check.result != CheckOutcome::Ok).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!((report.result, report.checks.len()), (CheckOutcome::Ok, 15));
    assert_eq!(report.docker_version.as_deref(), Some("27.0.3"));
    assert_eq!(report.address, "pandora.bodkys.house:2376");
    assert!(report.checks.iter().all(|check| check.remedy.is_none()));
}

type Change = fn(&mut Scene);

#[test]
fn one_thing_wrong_is_one_verdict() {
    use CheckOutcome::{Fail, Ok, Unknown, Warning};
    use Question as Q;
    let table: &[(Question, CheckOutcome, &str, Change)] = &[
        (Q::PlainHttp, Fail, "is answered", |s| {
            s.answers().strangers.plain = PlainAnswer::Answered("HTTP/1.1 200 OK".into())
        }),
        (Q::PlainHttp, Ok, "hangs up", |s| s.answers().strangers.plain = PlainAnswer::HungUp),
        (Q::PlainHttp, Unknown, "late", |s| s.answers().strangers.plain = PlainAnswer::Silence("late".into())),
        (Q::NoCertificate, Fail, "is answered", |s| s.answers().strangers.no_certificate = answer(200, true)),
        (Q::NoCertificate, Fail, "HTTP 403", |s| s.answers().strangers.no_certificate = answer(403, true)),
        (Q::NoCertificate, Fail, "HTTP 400", |s| s.answers().strangers.no_certificate = answer(400, false)),
        (Q::NoCertificate, Ok, "HTTP 400", |s| s.answers().strangers.no_certificate = nginx()),
        (Q::NoCertificate, Unknown, "hangs up", |s| s.answers().strangers.no_certificate = TlsAnswer::HungUp),
        (Q::OurClient, Fail, "hangs up", |s| s.answers().our_client = Some(TlsAnswer::HungUp)),
        (Q::NoCertificate, Fail, "HTTP 404", |s| s.answers().strangers.no_certificate = answer(404, false)),
        (Q::NoCertificate, Unknown, "late", |s| {
            s.answers().strangers.no_certificate = TlsAnswer::Silence("late".into())
        }),
        (Q::SelfSigned, Fail, "is answered", |s| s.answers().strangers.self_signed = answer(200, true)),
        (Q::OtherAuthority, Fail, "is answered", |s| s.answers().strangers.impostor = Some(answer(200, true))),
        (Q::OurClient, Fail, "is refused", |s| s.answers().our_client = Some(refusal())),
        (Q::OurClient, Fail, "no answer", |s| s.answers().our_client = Some(TlsAnswer::Silence("late".into()))),
        (Q::OurClient, Fail, "HTTP 403", |s| s.answers().our_client = Some(answer(403, true))),
        (Q::OurClient, Unknown, "the key", |s| s.answers().our_client = Some(TlsAnswer::Unusable("the key".into()))),
        (Q::OurClient, Unknown, "there is none", |s| {
            s.known.client = Client::None("there is none".into());
            s.answers().our_client = None;
        }),
        (Q::OurClient, Fail, "ended at", |s| {
            let old = leaf(&s.authority, Usage::Client, now() - DAY * 30, 1, &[]);
            s.known.client = Client::Known("ci".into(), Box::new(old));
            s.answers().our_client = Some(refusal());
        }),
        (Q::Docker, Fail, "not Docker", |s| s.answers().our_client = Some(answer(200, false))),
        (Q::Chain, Unknown, "no trust bundle", |s| s.known.trust.clear()),
        (Q::Chain, Fail, "same name and another key", |s| {
            s.known.trust = vec![authority(now() - DAY, 365).certificate];
        }),
        (Q::Chain, Fail, "is valid from", |s| {
            let old = authority(now() - DAY * 400, 365);
            s.known.trust = vec![old.certificate.clone()];
            let served = leaf(&old, Usage::Server, now() - DAY, 365, &NAMES);
            s.serve(&served);
        }),
        (Q::Chain, Fail, "do not accept it: NameConstraintViolation", |s| {
            s.answers().distrust = Some("NameConstraintViolation".into());
        }),
        (Q::Names, Fail, "does not name nas.example", |s| s.scan.host = "nas.example".into()),
        (Q::Names, Fail, "does not name 192.168.1.8", |s| s.scan.host = "192.168.1.8".into()),
        (Q::Names, Ok, "192.168.1.7", |s| s.scan.host = "192.168.1.7".into()),
        (Q::Names, Fail, "does not name new.bodkys.house", |s| s.known.dns_names.push("new.bodkys.house".into())),
        (Q::Names, Fail, "does not name 10.0.0.1", |s| {
            s.known.ip_addresses.push("10.0.0.1".parse().expect("an address"));
        }),
        (Q::Expiry, Fail, "ended at", |s| s.serve_of(Usage::Server, now() - DAY * 20, 19, &NAMES)),
        (Q::Expiry, Fail, "not valid before", |s| s.serve_of(Usage::Server, now() + DAY, 19, &NAMES)),
        (Q::Expiry, Warning, "30 days left", |s| {
            s.known.renewal = None;
            s.serve_of(Usage::Server, now() - DAY * 20, 50, &NAMES);
        }),
        (Q::Expiry, Ok, "31 days left", |s| {
            s.known.renewal = None;
            s.serve_of(Usage::Server, now() - DAY * 20 + SignedDuration::from_hours(25), 50, &NAMES);
        }),
        (Q::Expiry, Ok, "6 days left", |s| {
            s.known.renewal = Some(Renewal { at: now() + DAY, due: false });
            s.serve_of(Usage::Server, now() - SignedDuration::from_hours(1), 7, &NAMES);
        }),
        (Q::Renewal, Fail, "should have been renewed", |s| {
            s.known.renewal = Some(Renewal { at: now() - DAY, due: true });
        }),
        (Q::KeyUsage, Fail, "no serverAuth", |s| s.serve_of(Usage::Client, now() - DAY, 365, &NAMES)),
        (Q::KeyUsage, Fail, "an authority's own", |s| {
            let own = s.authority.certificate.clone();
            s.serve(&own);
        }),
        (Q::TlsVersions, Fail, "TLS 1.1 is spoken", |s| s.answers().versions[1].1 = VersionSupport::Yes),
        (Q::TlsVersions, Warning, "TLS 1.3 is refused, 1.2 is spoken", |s| {
            s.answers().versions[3].1 = VersionSupport::No("alert".into());
        }),
        (Q::TlsVersions, Unknown, "whether TLS 1.0", |s| {
            s.answers().versions[0].1 = VersionSupport::Unknown("late".into())
        }),
        (Q::TlsVersions, Fail, "TLS 1.2 and 1.3 is refused", |s| {
            s.answers().versions[2].1 = VersionSupport::No("alert".into());
            s.answers().versions[3].1 = VersionSupport::No("alert".into());
        }),
        (Q::Stored, Fail, "was not restarted yet", |s| {
            let older = leaf(&s.authority, Usage::Server, now() - DAY * 60, 365, &NAMES);
            s.answers().chain = vec![older.der];
        }),
        (Q::Stored, Fail, "another certificate of the same authority", |s| {
            let newer = leaf(&s.authority, Usage::Server, now() - DAY, 365, &NAMES);
            s.answers().chain = vec![newer.der];
        }),
        (Q::Stored, Fail, "from another authority", |s| {
            let foreign = leaf(&authority(now() - DAY * 90, 365), Usage::Server, now() - DAY * 60, 365, &NAMES);
            s.answers().chain = vec![foreign.der];
        }),
        (Q::PlainPort, Fail, "without any certificate", |s| s.answers().plain_http_port = Some(PlainHttpPort::Docker)),
        (Q::PlainPort, Warning, "a server listens", |s| s.answers().plain_http_port = Some(PlainHttpPort::Other)),
    ];
    for (number, (id, result, words, change)) in table.iter().enumerate() {
        let mut scene = sound();
        change(&mut scene);
        let check = scene.check(*id).unwrap_or_else(|| panic!("{number}: {} is not asked", id.word()));
        assert_eq!(check.result, *result, "{number}: {check:?}");
        assert!(check.message.contains(words), "{number}: {check:?}");
        assert_eq!(check.remedy.is_some(), *result != Ok, "{number}: {check:?}");
        assert!(scene.report().result >= *result, "{number}");
    }
}

/// No EKU, or clientAuth beside serverAuth: dockerd takes both for a client's.
#[test]
fn a_host_whose_certificate_is_a_clients_too_is_told() {
    for (usages, words) in [
        (None, "no extended key usage"),
        (
            Some(vec![crate::pki::certificate::SERVER_AUTH, crate::pki::certificate::CLIENT_AUTH]),
            "clientAuth in addition",
        ),
    ] {
        let scene = sound();
        let mut certificate = scene.known.stored.clone().expect("it is stored");
        certificate.extended_usage = usages;
        let found =
            served::checks(&scene.known, &scene.scan, scene.scan.answers.as_ref().expect("open"), &certificate, now());
        let check = found.into_iter().find(|check| check.id == Question::KeyUsage).expect("it is asked");
        assert_eq!(check.result, CheckOutcome::Fail);
        assert!(check.message.contains(words), "{check:?}");
    }
}

#[test]
fn a_closed_port_is_one_verdict_and_says_how_it_is_closed() {
    for (port_state, words) in [
        (PortState::Refused("refused".into()), "nobody listens"),
        (PortState::NoRoute("no route".into()), "there is no route"),
        (PortState::TimedOut("timed out".into()), "does not answer"),
        (PortState::Unresolved("unknown".into()), "has no address"),
    ] {
        let mut scene = sound();
        (scene.scan.port_state, scene.scan.answers) = (port_state, None);
        let report = scene.report();
        assert_eq!(report.result, CheckOutcome::Fail);
        assert!(report.checks[0].message.contains(words), "{report:?}");
        let ids: Vec<_> = report.checks.iter().map(|check| check.id).collect();
        assert_eq!(ids, [Question::Port, Question::Renewal]);
    }
}

#[test]
fn a_port_without_tls_fails_and_judges_no_certificate() {
    let mut scene = sound();
    let unknown = |version| (version, VersionSupport::Unknown("it does not speak TLS".to_owned()));
    let versions = [TlsVersion::V10, TlsVersion::V11, TlsVersion::V12, TlsVersion::V13].map(unknown).to_vec();
    *scene.answers() = Answers {
        strangers: StrangerAnswers {
            plain: PlainAnswer::Answered("HTTP/1.1 200 OK".into()),
            no_certificate: TlsAnswer::NotTls,
            self_signed: TlsAnswer::NotTls,
            impostor: None,
        },
        our_client: Some(TlsAnswer::NotTls),
        chain: Vec::new(),
        distrust: None,
        versions,
        plain_http_port: None,
    };
    let report = scene.report();
    let fails = report.checks.iter().filter(|check| check.result == CheckOutcome::Fail).count();
    assert_eq!(fails, 4, "{report:?}");
    let remedy = |scene: &Scene| scene.check(Question::OurClient).and_then(|check| check.remedy).expect("a remedy");
    assert!(remedy(&scene).contains("root rights"), "{}", remedy(&scene));
    assert_eq!(report.served, None);
    assert!(!report.checks.iter().any(|check| check.id == Question::Chain));
    // sshd, say.
    scene.answers().strangers.plain = PlainAnswer::HungUp;
    assert!(remedy(&scene).contains("another program"), "{}", remedy(&scene));
    assert_eq!(scene.check(Question::PlainHttp).map(|check| check.result), Some(CheckOutcome::Unknown));
}

#[test]
fn without_an_object_only_what_can_be_known_is_asked() {
    let mut scene = sound();
    scene.known = HostFacts {
        host: None,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        stored: None,
        renewal: None,
        client: Client::None("none is given".into()),
        ..scene.known
    };
    scene.answers().our_client = None;
    let report = scene.report();
    assert_eq!(report.result, CheckOutcome::Unknown);
    let missing = [Question::Stored, Question::Renewal, Question::Docker];
    assert!(report.checks.iter().all(|check| !missing.contains(&check.id)), "{report:?}");
    assert_eq!((report.host, report.namespace), (None, None));
}

#[test]
fn an_intermediate_that_is_served_leads_to_the_root() {
    let mut scene = sound();
    let root = scene.authority.certificate.clone();
    // An authority's own certificate, served between: what is signed by a signed one is found.
    let between = authority(now() - DAY, 365);
    let served = leaf(&between, Usage::Server, now() - DAY, 365, &NAMES);
    scene.answers().chain = vec![served.der.clone(), between.certificate.der.clone()];
    assert_eq!(scene.check(Question::Chain).map(|check| check.result), Some(CheckOutcome::Fail), "{root:?}");
    scene.known.trust = vec![between.certificate];
    assert_eq!(scene.check(Question::Chain).map(|check| check.result), Some(CheckOutcome::Ok));
}

#[test]
fn words_in_lines_are_those_of_json() {
    for id in [Question::PlainHttp, Question::OtherAuthority, Question::TlsVersions, Question::Port] {
        assert_eq!(serde_json::to_value(id).expect("JSON"), id.word());
    }
}

#[test]
fn a_renewal_is_overdue_after_ten_minutes_and_never_where_it_would_gain_nothing() {
    let spec = DockerHostCertSpec {
        hostname: Some("pandora".into()),
        duration: "365d".into(),
        renew_before: Some("122d".into()),
        ..DockerHostCertSpec::default()
    };
    let wanted = desired(&DockerHostCert::new("pandora", spec).into()).expect("a sound spec");
    let issued = now() - DAY * 200;
    let long = authority(issued, 3650);
    let stored = leaf(&long, Usage::Server, issued, 365, &["pandora"]);
    let at = crate::decide::leaf::plan::renew_at(&wanted, &stored);
    assert!(at > now(), "{at}");
    let due = |authority: &Authority, after: SignedDuration| {
        renewal(&wanted, &stored, std::slice::from_ref(&authority.certificate), at + after).due
    };
    let minutes = SignedDuration::from_mins;
    assert_eq!([-1, 9, 11].map(|after| due(&long, minutes(after))), [false, false, true]);
    // A fresh one is younger than those ten minutes.
    let fresh = std::slice::from_ref(&long.certificate);
    assert!(!renewal(&wanted, &stored, fresh, issued).due);
    let mut bounding = long.clone();
    bounding.certificate.not_after = stored.not_after;
    assert!(!due(&bounding, minutes(11)), "its authority ends with it");
}
