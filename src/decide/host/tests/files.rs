//! What a Secret must hold, what becomes of the files on the host, and what is reported of them.

use super::*;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::CompanionStatus;
use crate::decide::host::files::{FilesStep, ObservedFiles, plan};
use crate::decide::host::report::{DeliveryOutcome, delivered, report};
use crate::decide::status::Verdict;
use crate::pki::DockerTrust;

const DIRECTORY: &str = "/etc/docker/certs";

#[test]
fn material_is_sound_or_says_what_is_wrong() {
    let (issuer, other) = (authority(0, 1825), authority(2, 1825));
    let good = leaf(&issuer, Usage::Server, &["pandora"], 365);
    let bundle = [issuer.certificate.clone()];
    let without = |key: &str| {
        let mut data = Data::default();
        for there in ["tls.crt", "tls.key", "ca.crt"].into_iter().filter(|there| *there != key) {
            data.insert(there, secret(&good, &bundle).get(there).expect("it is there"));
        }
        data
    };
    let mut mismatched = secret(&good, &bundle);
    mismatched.insert("tls.key", KEYS[2]);
    let cases = [
        (without("tls.crt"), "has no tls.crt"),
        (without("tls.key"), "has no tls.key"),
        (without("ca.crt"), "has no ca.crt"),
        (mismatched, "tls.key of another certificate"),
        (secret(&leaf(&issuer, Usage::Server, &["pandora"], 0), &bundle), "valid from"),
        (secret(&leaf(&issuer, Usage::Client, &["pandora"], 365), &bundle), "not for servers"),
        (secret(&leaf(&issuer, Usage::Server, &[], 365), &bundle), "without subjectAltName"),
        (secret(&good, &[other.certificate]), "no valid authority"),
        (secret(&good, &[authority(0, 0).certificate]), "no valid authority"),
    ];
    for (data, words) in cases {
        let verdict = material::read("pandora-docker-host", &data, now()).expect_err(words);
        assert_eq!(verdict.reason, Reason::MaterialUnsound);
        assert!(verdict.message.contains(words) && verdict.message.contains("keeps what it has"), "{verdict:?}");
    }
    assert!(!format!("{:?}", good_material()).contains("PRIVATE"));
}

/// The step in a word, or the reason of its refusal.
fn step(take_over: bool, shown: &ObservedFiles) -> String {
    match plan(DIRECTORY, shown, &good_material(), take_over, now()) {
        FilesStep::Use(generation) => format!("use {generation}"),
        FilesStep::Write(false) => "write".into(),
        FilesStep::Write(true) => "take over".into(),
        FilesStep::Refuse(verdict) => verdict.reason.as_str().into(),
    }
}

#[test]
fn files_are_written_once_and_others_only_taken_over() {
    let others = |trusted_before: DockerTrust| ObservedFiles {
        others: vec!["ca.pem".into(), "pandora.key".into()],
        trusted_before,
        ..ObservedFiles::default()
    };
    let of = |authorities: Vec<Certificate>| DockerTrust { certificates: authorities, ..DockerTrust::default() };
    let known = of(vec![authority(0, 30).certificate, authority(2, 0).certificate]);
    let lost = of(vec![authority(0, 30).certificate, authority(2, 30).certificate]);
    let unknown = DockerTrust { unknown: vec!["block 1".into()], ..known.clone() };
    let skipped = DockerTrust { skipped: vec!["block 1".into()], ..known.clone() };
    let key_alone = ObservedFiles { others: vec!["pandora.key".into()], ..ObservedFiles::default() };
    let matching = ObservedFiles { matching: Some(3), ..ObservedFiles::default() };
    let edited = ObservedFiles { delivered: true, matching: Some(3), ..others(unknown.clone()) };
    let cases = [
        ("nothing there", ObservedFiles::default(), "write", "write"),
        ("there already", matching, "use 3", "use 3"),
        ("others' files", others(known), "FileConflict", "take over"),
        ("clients would be refused", others(lost), "FileConflict", "FileConflict"),
        ("an unreadable ca.pem", others(unknown), "FileConflict", "FileConflict"),
        ("one with what Docker passes over", others(skipped), "FileConflict", "take over"),
        ("a key alone trusts nobody", key_alone, "FileConflict", "take over"),
        ("ours, edited", edited, "use 3", "use 3"),
    ];
    for (name, shown, without, with) in cases {
        assert_eq!((step(false, &shown), step(true, &shown)), (without.into(), with.into()), "{name}");
    }
}

#[test]
fn a_report_changes_only_with_what_it_is_about() {
    let material = good_material();
    let leaf = material.certificate.fingerprint();
    let outcome = DeliveryOutcome {
        in_place: Some((leaf.clone(), material.bundle_digest())),
        served: Some(leaf),
        delivered: Some(delivered(DIRECTORY, &material)),
        serving: Some(Verdict::new(ConditionType::Serving, true, Reason::Serving, "it is served")),
    };
    let first = report(&outcome, &CompanionStatus::default(), 1, now());
    assert_eq!(report(&outcome, &first, 1, days(3)), first);
    let unserved = DeliveryOutcome { served: None, ..outcome.clone() };
    let second = report(&unserved, &first, 1, days(3));
    assert_eq!((second.host.served_at, second.host.served_fingerprint), (None, None));
    assert_eq!(second.host.delivered_at, first.host.delivered_at);
    let other = DeliveryOutcome { in_place: Some(("other".into(), material.bundle_digest())), ..outcome };
    let third = report(&other, &first, 1, days(3));
    assert_ne!(third.host.delivered_at, first.host.delivered_at);
    assert_eq!(third.host.served_at, first.host.served_at);
    assert_eq!(third.conditions, first.conditions);
}
