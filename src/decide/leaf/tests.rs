//! Tables: one good host, one mutation each, and the field that is refused or the reason to issue.

use super::plan::{LeafPlan, LeafSecret, LeafStep, ObservedLeaf, Signer, plan, requeue_at};
use super::{AuthorityView, DesiredLeaf, desired};
use crate::api::condition::{ConditionType, Reason};
use crate::api::docker_host_cert::Address;
use crate::api::key::{Algorithm, RotationPolicy};
use crate::api::reference::CaRef;
use crate::api::status::{CompanionStatus, ControllerStatus};
use crate::api::{AuthorityIdentity, DockerClientCertSpec, DockerHostCertSpec, Kind, Object, ObjectRef, Spec};
use crate::decide::Problem;
use crate::pki::constraints::{Subnet, permit};
use crate::pki::lifecycle;
use crate::pki::material::LeafFacts;
use crate::pki::name::DistinguishedName;
use crate::pki::sign::{Dates, Serial, new_authority};
use crate::pki::{Authority, Certificate, KeyAlgorithm, PrivateKey};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use x509_cert::ext::pkix::NameConstraints;

/// Ed25519, 32 equal bytes each: for the authority, for leaves, for another authority.
const KEYS: [&str; 3] = [
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC\n-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD\n-----END PRIVATE KEY-----\n",
];

fn key(number: usize) -> PrivateKey {
    PrivateKey::from_pem(KEYS[number].as_bytes(), None).expect("a key")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn made() -> Timestamp {
    at("2026-11-22T10:00:00Z")
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

fn host_spec() -> DockerHostCertSpec {
    let ca_ref = CaRef { name: "homelab".into() };
    let mut spec = DockerHostCertSpec { ca_ref, hostname: Some("pandora.bodkys.house".into()), ..Default::default() };
    (spec.include_loopback, spec.duration) = (true, "365d".into());
    spec.private_key.algorithm = Algorithm::Ed25519;
    spec
}

fn object(spec: Spec) -> Object {
    Object {
        at: ObjectRef::new(Kind::DockerHostCert, "home", "pandora"),
        uid: String::new(),
        version: String::new(),
        generation: 1,
        created: None,
        deleted: None,
        finalizers: Vec::new(),
        annotations: Default::default(),
        labels: Default::default(),
        spec,
        fault: None,
        previous: ControllerStatus::default(),
        companion: CompanionStatus::default(),
    }
}

fn host(change: impl FnOnce(&mut DockerHostCertSpec)) -> Object {
    let mut spec = host_spec();
    change(&mut spec);
    object(Spec::Host(Box::new(spec)))
}

fn client(common_name: &str) -> Object {
    let ca_ref = CaRef { name: "homelab".into() };
    let spec =
        DockerClientCertSpec { ca_ref, common_name: common_name.into(), duration: "365d".into(), ..Default::default() };
    object(Spec::Client(Box::new(spec)))
}

#[test]
fn a_host_becomes_names_addresses_and_dates() {
    let wanted = desired(&host(|spec| {
        spec.hostname = Some("Pandora.Bodkys.House.".into());
        spec.dns_names = vec!["pandora".into(), "PANDORA.bodkys.house".into()];
        spec.ip_addresses = vec!["192.168.1.7".into(), "127.0.0.1".into()];
        spec.address = Some(Address { host: Some("1.2.3.4".into()), port: 2376 });
        spec.renew_before = Some("100d".into());
    }))
    .expect("a good host");
    assert_eq!(wanted.profile.common_name, "pandora.bodkys.house");
    assert_eq!(wanted.profile.dns_names, ["pandora.bodkys.house", "pandora"]);
    let addresses: Vec<_> = wanted.profile.ip_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.168.1.7", "127.0.0.1", "1.2.3.4"]);
    assert_eq!((wanted.duration, wanted.renew_before), (days(365), Some(days(100))));
}

#[test]
fn where_there_is_no_hostname_the_first_address_is_the_common_name() {
    let wanted =
        desired(&host(|spec| (spec.hostname, spec.ip_addresses) = (None, vec!["fd00::1".into(), "10.0.0.1".into()])));
    assert_eq!(wanted.expect("a good host").profile.common_name, "fd00::1");
}

#[test]
fn what_cannot_be_used_is_refused_with_its_field() {
    type Change = fn(&mut DockerHostCertSpec);
    let table: [(&str, Change); 20] = [
        ("spec.hostname:", |spec| spec.hostname = None),
        ("spec.hostname:", |spec| spec.hostname = Some(String::new())),
        ("spec.hostname:", |spec| spec.hostname = Some("192.168.1.7".into())),
        ("spec.hostname:", |spec| spec.hostname = Some("*.bodkys.house".into())),
        ("spec.hostname:", |spec| spec.hostname = Some("a b".into())),
        ("spec.hostname:", |spec| spec.hostname = Some(format!("{}.{}", "a".repeat(40), "b".repeat(24)))),
        ("spec.dnsNames:", |spec| spec.dns_names = vec!["10.0.0.1".into()]),
        ("spec.dnsNames:", |spec| spec.dns_names = vec!["a.*.b".into()]),
        ("spec.ipAddresses:", |spec| spec.ip_addresses = vec!["pandora".into()]),
        ("spec.ipAddresses:", |spec| spec.ip_addresses = vec!["::ffff:10.0.0.1".into()]),
        ("spec.address.host:", |spec| spec.address = Some(Address { host: Some("a b".into()), port: 2376 })),
        ("spec.address.port:", |spec| spec.address = Some(Address { host: None, port: 0 })),
        ("spec.address.port:", |spec| spec.address = Some(Address { host: None, port: 65536 })),
        ("spec.duration:", |spec| spec.duration = "1y".into()),
        ("spec.duration:", |spec| spec.duration = "36526d".into()),
        ("spec.renewBefore:", |spec| spec.renew_before = Some("365d".into())),
        ("spec.renewBefore:", |spec| spec.renew_before = Some("soon".into())),
        ("spec.privateKey.size:", |spec| spec.private_key.size = Some(256)),
        ("spec.privateKey.size:", |spec| {
            (spec.private_key.algorithm, spec.private_key.size) = (Algorithm::Rsa, Some(1024))
        }),
        ("spec.privateKey.size:", |spec| {
            (spec.private_key.algorithm, spec.private_key.size) = (Algorithm::Ecdsa, Some(521))
        }),
    ];
    for (number, (field, change)) in table.into_iter().enumerate() {
        let problem = desired(&host(change)).expect_err("a refusal");
        assert_eq!((problem.condition, problem.reason), (ConditionType::Accepted, Reason::InvalidSpec), "{number}");
        assert!(problem.message.starts_with(field), "{number}: {} is not about {field}", problem.message);
    }
    let mut named_ca = host(|_| {});
    named_ca.at.name = "ca".into();
    assert!(desired(&named_ca).expect_err("a refusal").message.starts_with("metadata.name:"));
    for common_name in ["", ".", "a\u{7}", &"ü".repeat(33)] {
        let problem = desired(&client(common_name)).expect_err("a refusal");
        assert!(problem.message.starts_with("spec.commonName:"), "{common_name:?}");
    }
    assert!(desired(&client("Jörg, CI")).is_ok());
}

fn authority(number: usize, made: Timestamp, duration: SignedDuration, rules: Option<&NameConstraints>) -> Authority {
    let dates = lifecycle::dates(made, duration, None);
    new_authority(&DistinguishedName::of("Docker CA"), rules, key(number), dates, Serial([number as u8; 16]))
        .expect("an authority")
}

fn view(authority: &Authority) -> Signer {
    let certificate = authority.certificate.clone();
    let bundle = certificate.to_pem();
    Signer::Ready(Arc::new(AuthorityView::new(certificate, bundle)))
}

/// A host that is as it should be: issued when `made`, for a year, under an authority of five.
struct Case {
    desired: DesiredLeaf,
    observed: ObservedLeaf,
    now: Timestamp,
}

fn leaf(authority: &Authority, desired: &DesiredLeaf, dates: Dates) -> Certificate {
    authority.sign_leaf(&desired.profile, &key(1), dates, Serial([9; 16])).expect("a leaf")
}

/// A client's certificate without a URI, or with that of another identity, is as good as one with it.
#[test]
fn a_uri_is_never_a_reason() {
    let authority = authority(0, made(), days(1825), None);
    let wanted = DesiredLeaf { algorithm: KeyAlgorithm::Ed25519, ..desired(&client("ci")).expect("it is accepted") };
    let dates = lifecycle::dates(made(), days(90), None);
    let with = |uri| authority.sign_client(&wanted.profile, uri, &key(1), dates, Serial([9; 16])).expect("a leaf");
    let identity = AuthorityIdentity::new([1; 16]);
    let ci = ObjectRef::new(Kind::DockerClientCert, "home", "ci");
    let uri = identity.client_uri(&ci).expect("a client has one");
    for certificate in
        [leaf(&authority, &wanted, dates), with(&uri), with("dockseal://another/dcc/home/ci"), with("x:y")]
    {
        for known in [None, Some(identity)] {
            let view = AuthorityView::new(authority.certificate.clone(), authority.certificate.to_pem());
            let signer = Signer::Ready(Arc::new(view.with_identity(known)));
            let observed = ObservedLeaf {
                stored: LeafSecret::Ours(facts(&certificate, &signer)),
                signer,
                rival: None,
                requested: None,
                issued_before: true,
            };
            let planned = plan(&wanted, &observed, made());
            assert_eq!(planned.step, LeafStep::Keep, "{:?} under {known:?}", certificate.uris);
        }
    }
}

fn facts(certificate: &Certificate, signer: &Signer) -> LeafFacts {
    let Signer::Ready(view) = signer else { panic!("a signer") };
    let der = certificate.der.clone().into_boxed_slice();
    LeafFacts { certificate: Some(der), bundle_digest: view.bundle_digest, copies_match: true }
}

fn case_of(object: &Object, authority: &Authority) -> Case {
    let desired = desired(object).expect("a good object");
    let signer = view(authority);
    let dates = lifecycle::dates(made(), desired.duration, Some(authority.certificate.not_after));
    let stored = LeafSecret::Ours(facts(&leaf(authority, &desired, dates), &signer));
    let observed = ObservedLeaf { stored, signer, rival: None, requested: None, issued_before: true };
    Case { desired, observed, now: at("2026-12-22T10:00:00Z") }
}

fn five_years() -> Authority {
    authority(0, made(), days(1825), None)
}

fn good() -> Case {
    case_of(&host(|_| {}), &five_years())
}

fn planned(change: impl FnOnce(&mut Case)) -> LeafPlan {
    let mut case = good();
    change(&mut case);
    plan(&case.desired, &case.observed, case.now)
}

fn issued(plan: &LeafPlan) -> Option<Reason> {
    match &plan.step {
        LeafStep::Issue { reason, .. } => Some(*reason),
        _ => None,
    }
}

fn refused(plan: &LeafPlan) -> Option<Reason> {
    match &plan.step {
        LeafStep::Refuse(Problem { reason, .. }) => Some(*reason),
        _ => None,
    }
}

#[test]
fn a_good_host_is_kept_until_it_is_due() {
    let plan = planned(|_| {});
    assert_eq!(plan.step, LeafStep::Keep);
    assert_eq!(
        plan.requeue_at,
        Some(super::plan::renew_at(&good().desired, plan.current.as_ref().expect("a certificate")))
    );
}

#[test]
fn every_reason_to_issue_has_its_place_in_the_order() {
    type Change = fn(&mut Case);
    // Each change is laid over all that stand below it, and wins.
    let order: [(Reason, Change); 6] = [
        (Reason::FirstIssuance, |case| {
            (case.observed.stored, case.observed.issued_before) = (LeafSecret::Absent, false)
        }),
        (Reason::SecretMissing, |case| {
            (case.observed.stored, case.observed.issued_before) = (LeafSecret::Absent, true)
        }),
        (Reason::IssuerChanged, |case| case.observed.signer = view(&authority(2, made(), days(1825), None))),
        (Reason::SpecChanged, |case| case.desired.profile.dns_names.push("more.bodkys.house".into())),
        (Reason::Renewal, |case| case.now = at("2027-08-01T10:00:00Z")),
        (Reason::Requested, |case| case.observed.requested = Some("2026-12-01T00:00:00Z".into())),
    ];
    for (place, (expected, _)) in order.iter().enumerate() {
        let plan = planned(|case| order[place..].iter().rev().for_each(|(_, change)| change(case)));
        assert_eq!(issued(&plan), Some(*expected));
        assert_eq!(issued(&planned(order[place].1)), Some(*expected), "alone");
    }
    let damaged = |case: &mut Case| {
        case.observed.stored =
            LeafSecret::Ours(LeafFacts { certificate: None, bundle_digest: [0; 32], copies_match: true });
    };
    assert_eq!(issued(&planned(damaged)), Some(Reason::SecretDamaged));
}

#[test]
fn the_spec_counts_but_never_its_dates() {
    type Change = fn(&mut Case);
    let changes: [(bool, Change); 8] = [
        (true, |case| case.desired.profile.common_name = "other".into()),
        (true, |case| case.desired.profile.ip_addresses.clear()),
        (true, |case| case.desired.profile.usage = crate::pki::profile::Usage::Client),
        (true, |case| case.desired.algorithm = crate::pki::KeyAlgorithm::EcdsaP256),
        (false, |case| case.desired.profile.ip_addresses.reverse()),
        (false, |case| case.desired.duration = days(3650)),
        (false, |case| case.desired.duration = days(1)),
        (false, |case| case.desired.keep_key = true),
    ];
    for (number, (counts, change)) in changes.into_iter().enumerate() {
        assert_eq!(issued(&planned(change)), counts.then_some(Reason::SpecChanged), "{number}");
    }
}

#[test]
fn the_key_is_kept_only_where_the_user_says_so_and_it_is_the_one_that_is_wanted() {
    let keeps = |plan: &LeafPlan| matches!(plan.step, LeafStep::Issue { keep_key: true, .. });
    let kept = desired(&host(|spec| spec.private_key.rotation_policy = RotationPolicy::Never)).expect("a good host");
    let due = at("2027-08-01T10:00:00Z");
    assert!(!keeps(&planned(|case| case.now = due)));
    assert!(keeps(&planned(|case| (case.now, case.desired) = (due, kept.clone()))));
    assert!(!keeps(&planned(|case| {
        case.desired = DesiredLeaf { algorithm: crate::pki::KeyAlgorithm::EcdsaP384, ..kept.clone() };
    })));
}

#[test]
fn a_renewal_that_its_authority_bounds_happens_only_where_it_gains_a_tenth() {
    let end = |authority: &Authority| authority.certificate.not_after;
    let short = authority(0, made(), days(300), None);
    let case = |authority: &Authority| case_of(&host(|_| {}), authority);
    let mut clamped = case(&short);
    clamped.now = at("2027-07-01T10:00:00Z");
    let step = plan(&clamped.desired, &clamped.observed, clamped.now);
    assert_eq!(step.current.as_ref().map(|current| current.not_after), Some(end(&short)), "clamped to its issuer");
    assert_eq!(step.step, LeafStep::Keep, "nothing is gained under the same authority");
    for (gain, renews) in [(days(29), false), (days(30), true)] {
        let later = Authority {
            certificate: short.renew(Some(1), lifecycle::dates(made(), days(300) + gain, None), Serial([3; 16])),
            ..short.clone()
        };
        clamped.observed.signer = view(&later);
        let step = plan(&clamped.desired, &clamped.observed, clamped.now);
        assert_eq!(issued(&step), renews.then_some(Reason::Renewal), "a gain of {gain:#}, of a life of 300 days");
        if let LeafStep::Issue { dates, .. } = step.step {
            assert_eq!(dates.not_after, end(&later));
        }
    }
}

#[test]
fn an_authority_that_has_ended_signs_nothing() {
    let ended = authority(0, at("2026-11-22T10:00:00Z"), days(10), None);
    let plan = planned(|case| (case.observed.signer, case.observed.stored) = (view(&ended), LeafSecret::Absent));
    assert_eq!(refused(&plan), Some(Reason::AuthorityNotReady));
}

#[test]
fn a_request_counts_once_and_only_when_its_time_has_come() {
    let asked = |text: &str| planned(|case| case.observed.requested = Some(text.into()));
    assert_eq!(issued(&asked("2026-11-22T10:00:00Z")), None, "it was issued at that second");
    assert_eq!(issued(&asked("2026-11-22T10:00:00.5Z")), Some(Reason::Requested));
    assert_eq!(issued(&asked("2026-12-22T10:00:00Z")), Some(Reason::Requested));
    let ahead = asked("2026-12-22T10:00:00.1Z");
    assert_eq!((ahead.step, ahead.requeue_at), (LeafStep::Keep, Some(at("2026-12-22T10:00:01Z"))));
    let typo = asked("yesterday");
    assert_eq!((typo.step, typo.notice.map(|notice| notice.reason)), (LeafStep::Keep, Some(Reason::InvalidSpec)));
    let due = planned(|case| {
        case.observed.requested = Some("yesterday".into());
        case.now += days(300);
    });
    assert_eq!(issued(&due), Some(Reason::Renewal), "a typo in an annotation must not let a host expire");
}

#[test]
fn a_certificate_from_the_future_is_replaced() {
    assert_eq!(issued(&planned(|case| case.now = at("2026-11-22T09:54:59Z"))), Some(Reason::Renewal));
    assert_eq!(planned(|case| case.now = at("2026-11-22T09:55:00Z")).step, LeafStep::Keep);
}

#[test]
fn a_changed_bundle_is_written_beside_the_same_pair() {
    let change = |digest: [u8; 32], copies: bool| {
        planned(|case| {
            let LeafSecret::Ours(facts) = &mut case.observed.stored else { panic!("a Secret") };
            (facts.bundle_digest, facts.copies_match) =
                (if digest[0] == 0 { facts.bundle_digest } else { digest }, copies);
        })
    };
    assert_eq!(change([0; 32], true).step, LeafStep::Keep);
    assert_eq!(change([1; 32], true).step, LeafStep::Rebundle);
    assert_eq!(change([0; 32], false).step, LeafStep::Rebundle);
}

#[test]
fn refusals_come_before_every_reason() {
    let rival = ObjectRef::new(Kind::DockerHostCert, "home", "older");
    let due = at("2027-08-01T10:00:00Z");
    let absent = |case: &mut Case| case.observed.stored = LeafSecret::Absent;
    assert_eq!(
        refused(&planned(|case| (case.observed.rival, case.now) = (Some(rival.clone()), due))),
        Some(Reason::SecretConflict)
    );
    assert_eq!(
        refused(&planned(|case| case.observed.stored = LeafSecret::NotOurs(None))),
        Some(Reason::SecretConflict)
    );
    assert_eq!(
        refused(&planned(|case| case.observed.stored = LeafSecret::NotOurs(Some(rival)))),
        Some(Reason::SecretConflict)
    );
    assert_eq!(refused(&planned(|case| case.observed.signer = Signer::NotFound)), Some(Reason::AuthorityNotFound));
    let away = || Signer::NotReady("it is lost".into());
    assert_eq!(planned(|case| case.observed.signer = away()).step, LeafStep::Keep, "a sound certificate goes on");
    assert_eq!(
        refused(&planned(|case| (case.observed.signer, case.now) = (away(), due))),
        Some(Reason::AuthorityNotReady)
    );
    let missing = planned(|case| {
        absent(case);
        case.observed.signer = away();
    });
    assert_eq!(refused(&missing), Some(Reason::AuthorityNotReady));
}

#[test]
fn name_constraints_hold_for_names_addresses_and_clients_that_look_like_hosts() {
    let networks = ["192.168.0.0/16", "127.0.0.0/8"].map(|text| Subnet::parse(text).expect("a network"));
    let rules = permit(&["bodkys.house".into()], &networks);
    let table = [
        (None, host(|_| {})),
        (Some("pandora.example"), host(|spec| spec.dns_names = vec!["pandora.example".into()])),
        (Some("10.0.0.1"), host(|spec| spec.ip_addresses = vec!["10.0.0.1".into()])),
        (Some("fd00::1"), host(|spec| spec.ip_addresses = vec!["fd00::1".into()])),
        (None, client("ci.bodkys.house")),
        (None, client("Jane Doe")),
        (Some("ci.example"), client("ci.example")),
    ];
    for (outside, object) in table {
        let constrained = authority(0, made(), days(1825), Some(&rules));
        let mut case = case_of(&object, &constrained);
        case.observed.stored = LeafSecret::Absent;
        let plan = plan(&case.desired, &case.observed, case.now);
        assert_eq!(refused(&plan), outside.map(|_| Reason::NotPermitted), "{outside:?}");
        if let (Some(outside), LeafStep::Refuse(problem)) = (outside, &plan.step) {
            assert!(problem.message.contains(outside), "{}", problem.message);
        }
    }
}

#[test]
fn a_wake_is_never_past() {
    let case = good();
    let current = planned(|_| {}).current.expect("a certificate");
    let end = current.not_after;
    let requeue_at = |now| requeue_at(&case.desired, &current, &case.observed, now);
    let second = SignedDuration::from_secs(1);
    assert_eq!(requeue_at(end - second - second), Some(end - second));
    assert_eq!(requeue_at(end - second), Some(end));
    assert_eq!((requeue_at(end), requeue_at(end + days(1))), (None, None));
}
