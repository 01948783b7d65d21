//! The laws, over a simulation: what holds whatever users, clocks and broken connections do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod sim;

use dockseal::adapters::StoreError;
use dockseal::adapters::random::serial;
use dockseal::adapters::store::StoredKind;
use dockseal::api::condition::{ConditionType, Reason};
use dockseal::api::{
    AUTHORITY_ANNOTATION, IDENTITY_ANNOTATION, Object, RENEW_REQUESTED_ANNOTATION, REPLACE_AUTHORITY_ANNOTATION, Spec,
};
use dockseal::pki::material::Data;
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Dates, LeafProfile, new_authority};
use dockseal::pki::{Certificate, KeyAlgorithm, TrustBundle};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use sim::{DAY, Interruption, Simulation, authority, days, homelab, host, object, settled};
use std::collections::BTreeSet;

/// Visits every wake until `end`; at each of them everything is Ready and sound.
fn live(sim: &mut Simulation, end: Timestamp) {
    while sim.wakes.values().flatten().min().is_some_and(|requeue_at| *requeue_at <= end) {
        sim.jump_to_wake();
        // What had expired a moment before this wake was expired, however soon it is replaced.
        for leaf in sim.leaves() {
            assert!(sim.now() < sim.certificate(&leaf.at).not_after, "{} has expired at {}", leaf.at, sim.now());
        }
        sim.settle();
        assert!(sim.is_ready(&homelab()), "{:?}", sim.object(&homelab()).previous);
        for leaf in sim.leaves() {
            assert!(sim.is_ready(&leaf.at), "{:?}", sim.object(&leaf.at).previous);
        }
        sim.assert_sound(&homelab());
    }
    sim.assert_rests();
}

/// A story of `span` with that authority and leaf; how often each was issued.
fn story(authority_for: &str, leaf_for: &str, span: SignedDuration) -> (usize, usize) {
    let leaf = host("pandora", leaf_for);
    let mut sim = settled([authority(authority_for), leaf.clone()]);
    let end = sim.now().saturating_add(span).unwrap();
    live(&mut sim, end);
    (sim.issuances(&homelab()), sim.issuances(&leaf.at))
}

/// Issuances that two thirds of each life imply, a twentieth earlier at most, and the first one.
fn assert_about(issued: usize, span: SignedDuration, duration: SignedDuration) {
    let two_thirds = duration.as_secs() as f64 * 2.0 / 3.0;
    let fewest = (span.as_secs() as f64 / two_thirds) as usize;
    let most = (span.as_secs() as f64 / (two_thirds * 0.95)) as usize + 2;
    assert!((fewest..=most).contains(&issued), "{issued} issuances, expected {fewest} to {most}");
}

#[test]
fn a_decade_with_365d_throughout() {
    let (authorities, leaves) = story("365d", "365d", days(3650));
    assert_about(authorities, days(3650), days(365));
    assert_about(leaves, days(3650), days(365));
}

#[test]
fn a_decade_with_the_defaults_and_with_short_leaves() {
    let (authorities, leaves) = story("1825d", "365d", days(3650));
    assert_about(authorities, days(3650), days(1825));
    assert_about(leaves, days(3650), days(365));
    assert_about(story("1825d", "90d", days(3650)).1, days(3650), days(90));
}

/// The authority bounds every leaf: nothing may wait for a gain that never comes.
#[test]
fn a_leaf_far_longer_than_its_authority_never_expires() {
    for (authority_for, leaf_for, span) in
        [("1h", "365d", days(3)), ("1h", "1h", days(3)), ("30d", "3650d", days(730)), ("365d", "3650d", days(3650))]
    {
        let duration = dockseal::api::duration::parse(authority_for).unwrap();
        let (authorities, leaves) = story(authority_for, leaf_for, span);
        assert_about(authorities, span, duration);
        assert!(leaves <= 2 * authorities + 1, "{leaves} issuances of a leaf under {authorities} of its authority");
    }
}

#[test]
fn a_fleet_made_in_one_minute_does_not_renew_in_one() {
    let hosts: Vec<_> = (0..200).map(|number| host(&format!("host-{number}"), "365d")).collect();
    let mut sim = settled(std::iter::once(authority("1825d")).chain(hosts));
    sim.assert_rests();
    let renewals: Vec<_> = sim.leaves().iter().map(|leaf| leaf.previous.renew_at.clone().unwrap().0).collect();
    let days: BTreeSet<_> = renewals.iter().map(|at| at.as_second() / DAY.as_secs()).collect();
    assert!(days.len() >= 10, "200 hosts renew on {} days", days.len());
    let busiest =
        days.iter().map(|day| renewals.iter().filter(|at| at.as_second() / DAY.as_secs() == *day).count()).max();
    assert!(busiest.unwrap() < 40, "{busiest:?} hosts renew on one day");
}

#[test]
fn two_writes_and_no_event_for_a_first_issuance_and_one_event_for_a_renewal() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d")]);
    let before = sim.store.open().log.len();
    sim.apply(leaf.clone());
    sim.settle();
    assert_eq!(
        sim.store.open().log[before..],
        ["create home/pandora-docker-host", "publish DockerHostCert/home/pandora"]
    );
    assert_eq!(sim.store.open().events, []);
    sim.pass(days(300));
    sim.settle();
    assert_eq!(sim.store.open().log.len(), before + 4);
    assert_eq!(sim.store.open().events, [(leaf.at, "Renewal")]);
}

#[test]
fn a_renewed_authority_reissues_nothing_and_leaves_verify_under_both_its_certificates() {
    let leaf = host("pandora", "1825d");
    let mut sim = settled([authority("1825d")]);
    sim.pass(days(900)); // the leaf is younger, so the authority is renewed before it is due
    sim.apply(leaf.clone());
    sim.settle();
    let (first, old) = (sim.certificate(&leaf.at), sim.authority(&homelab()).authority.certificate);
    sim.pass(days(330));
    sim.settle();
    let new = sim.authority(&homelab());
    assert_ne!(new.authority.certificate, old);
    assert_eq!(new.former, std::slice::from_ref(&old));
    assert_eq!(sim.certificate(&leaf.at), first, "a renewal of the authority reissued a leaf");
    for issuer in [&old, &new.authority.certificate] {
        let der = issuer.der.as_slice().into();
        let anchor = webpki::anchor_from_trusted_cert(&der).unwrap();
        let der = first.der.as_slice().into();
        let leaf = webpki::EndEntityCert::try_from(&der).unwrap();
        let now =
            rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(sim.now().as_second() as u64));
        let usage = webpki::KeyUsage::server_auth();
        leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[anchor], &[], now, usage, None, None).unwrap();
    }
    assert_eq!(sim.store.open().events, [(homelab(), "Renewal")], "a changed bundle makes no event");
    sim.assert_sound(&homelab());
    sim.assert_rests();
}

#[test]
fn an_authority_is_made_once_and_comes_back_only_from_its_backup() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let (backup, leaf_before) = (sim.secret(&sim.object(&homelab()).secret()).unwrap(), sim.certificate(&leaf.at));
    let at = sim.object(&homelab()).secret();
    type Damage = Box<dyn Fn(&Simulation)>;
    let mut damages: Vec<Damage> = vec![Box::new(|sim: &Simulation| {
        let at = sim.object(&homelab()).secret();
        sim.store.open().things.remove(&(StoredKind::Secrets, at)).unwrap();
    })];
    for key in ["tls.crt", "tls.key"] {
        for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA", b"\xff\x00"] {
            damages.push(Box::new(move |sim: &Simulation| {
                let at = sim.object(&homelab()).secret();
                sim.store.meddle(StoredKind::Secrets, &at, |stored| stored.data.insert(key, bytes));
            }));
        }
    }
    for damage in damages {
        for forget_annotation in [false, true] {
            damage(&sim);
            if forget_annotation {
                sim.edit(&homelab(), |object| drop(object.annotations.remove(AUTHORITY_ANNOTATION)));
            }
            sim.edit(&homelab(), |object| {
                object.annotations.insert(REPLACE_AUTHORITY_ANNOTATION.into(), "of another".into());
            });
            sim.settle();
            assert_eq!(sim.says(&homelab(), ConditionType::Issued), "-AuthorityLost");
            assert_eq!(sim.certificate(&leaf.at), leaf_before);
            assert!(sim.is_ready(&leaf.at), "a sound leaf goes on while its authority is lost");
            sim.assert_rests();
            sim.store.put(StoredKind::Secrets, &at, backup.owner.clone(), backup.data.clone());
            sim.touch_all();
            sim.settle();
            assert!(sim.is_ready(&homelab()), "{:?}", sim.object(&homelab()).previous);
            assert_eq!(sim.certificate(&leaf.at), leaf_before);
            sim.assert_sound(&homelab());
            sim.assert_rests();
        }
    }
    assert_eq!(sim.issuances(&homelab()), 1);
}

fn client(name: &str) -> Object {
    object("DockerClientCert", name, json!({"caRef": {"name": "homelab"}, "commonName": name}))
}

/// The identity, which object and Secret both have.
fn identity(sim: &Simulation) -> String {
    let noted = sim.object(&homelab()).annotation(IDENTITY_ANNOTATION).map(str::to_owned);
    let stored = sim.secret(&sim.object(&homelab()).secret()).and_then(|secret| secret.identity);
    assert_eq!(noted, stored.map(|identity| identity.to_string()));
    noted.expect("an authority has an identity")
}

/// What a version without identities left behind, after a restart.
fn made_before_identities(objects: impl IntoIterator<Item = Object>) -> Simulation {
    let sim = settled(objects);
    let at = sim.object(&homelab()).secret();
    sim.store.meddle(StoredKind::Secrets, &at, |stored| stored.identity = None);
    sim.store.open().objects.get_mut(&homelab()).unwrap().annotations.remove(IDENTITY_ANNOTATION);
    sim.restarted()
}

#[test]
fn an_identity_is_made_once_and_costs_no_write() {
    let ci = client("ci");
    let mut sim = settled([authority("1825d"), ci.clone()]);
    let writes = ["create home/homelab-docker-ca", "remember DockerCA/home/homelab", "create home/homelab-ca-bundle"];
    assert_eq!(sim.store.open().log[..3], writes, "as many as without it");
    let made = identity(&sim);
    let uris = [format!("dockseal://{made}/dcc/home/ci")];
    assert_eq!(sim.certificate(&ci.at).uris, uris);
    let at = sim.object(&homelab()).secret();
    type Loss = Box<dyn Fn(&mut Simulation)>;
    let losses: [(&str, Loss); 5] = [
        ("renewals of both", Box::new(|sim| sim.pass(days(1300)))),
        ("loss of the status", Box::new(|sim| sim.edit(&homelab(), |object| object.previous = Default::default()))),
        ("loss of the annotations", Box::new(|sim| sim.edit(&homelab(), |object| object.annotations.clear()))),
        (
            "a backup of the Secret without it",
            Box::new({
                let at = at.clone();
                move |sim| sim.store.meddle(StoredKind::Secrets, &at, |stored| stored.identity = None)
            }),
        ),
        (
            "replacement after loss of the Secret",
            Box::new(move |sim| {
                let lost = sim.object(&homelab()).previous.fingerprint.clone().unwrap();
                sim.store.open().things.remove(&(StoredKind::Secrets, at.clone())).unwrap();
                sim.edit(&homelab(), |object| {
                    object.annotations.insert(REPLACE_AUTHORITY_ANNOTATION.into(), lost);
                });
            }),
        ),
    ];
    for (what, lose) in losses {
        lose(&mut sim);
        sim.touch_all();
        sim.settle();
        assert_eq!(identity(&sim), made, "{what}");
        assert!(sim.is_ready(&homelab()), "{what}: {:?}", sim.object(&homelab()).previous);
        assert_eq!(sim.certificate(&ci.at).uris, uris, "{what}");
        sim.assert_sound(&homelab());
        sim.assert_rests();
    }
    assert_eq!(sim.issuances(&homelab()), 3, "made, renewed, replaced");
}

#[test]
fn an_upgrade_writes_the_identity_and_issues_nothing_however_a_write_is_cut_off() {
    let objects = || [authority("1825d"), host("pandora", "365d"), client("ci")];
    let mut sim = made_before_identities(objects());
    let before = sim.store.open().log.len();
    sim.settle();
    let writes = ["replace home/homelab-docker-ca", "remember DockerCA/home/homelab"];
    assert_eq!(sim.store.open().log[before..], writes, "once, and nothing else");
    for nth in 0..2 {
        for cut in [Interruption::Before, Interruption::After] {
            let mut sim = made_before_identities(objects());
            let before: Vec<_> = sim.leaves().iter().map(|leaf| sim.certificate(&leaf.at)).collect();
            sim.cut_off(nth, cut);
            sim.settle();
            identity(&sim);
            assert!(sim.leaves().iter().map(|leaf| sim.certificate(&leaf.at)).eq(before), "{nth} cut off {cut:?}");
            assert_eq!(sim.issuances(&homelab()), 1, "{nth} cut off {cut:?}");
            assert_eq!(sim.store.open().events, [], "{nth} cut off {cut:?}");
            sim.assert_rests();
        }
    }
}

#[test]
fn of_two_identities_the_secret_s_counts_and_neither_is_overwritten() {
    let mut sim = settled([authority("1825d")]);
    let (made, other) = (identity(&sim), "0f".repeat(16));
    sim.edit(&homelab(), |object| drop(object.annotations.insert(IDENTITY_ANNOTATION.into(), other.clone())));
    let ci = client("ci");
    sim.apply(ci.clone());
    sim.settle();
    assert_eq!(sim.says(&homelab(), ConditionType::Accepted), "-InvalidSpec");
    assert_eq!(sim.object(&homelab()).annotation(IDENTITY_ANNOTATION), Some(&*other));
    assert_eq!(sim.certificate(&ci.at).uris, [format!("dockseal://{made}/dcc/home/ci")], "it signs all the same");
    sim.assert_rests();
    sim.edit(&homelab(), |object| drop(object.annotations.remove(IDENTITY_ANNOTATION)));
    sim.settle();
    assert_eq!(identity(&sim), made);
    assert!(sim.is_ready(&homelab()));
    // What is no identity is none: it is written anew.
    sim.edit(&homelab(), |object| drop(object.annotations.insert(IDENTITY_ANNOTATION.into(), "x".into())));
    sim.settle();
    assert_eq!(identity(&sim), made);
}

#[test]
fn an_authority_is_replaced_where_its_user_names_the_lost_one_and_only_once() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let lost = sim.object(&homelab()).previous.fingerprint.clone().unwrap();
    let at = sim.object(&homelab()).secret();
    sim.edit(&homelab(), |object| drop(object.annotations.insert(REPLACE_AUTHORITY_ANNOTATION.into(), lost.clone())));
    sim.settle();
    assert_eq!(sim.issuances(&homelab()), 1, "an authority that is there is not replaced");
    for round in 0..2 {
        sim.store.open().things.remove(&(StoredKind::Secrets, at.clone())).unwrap();
        sim.touch_all();
        sim.settle();
        match round {
            0 => {
                assert_ne!(sim.object(&homelab()).previous.fingerprint.clone().unwrap(), lost);
                assert!(sim.is_ready(&leaf.at));
                sim.assert_sound(&homelab());
            }
            _ => assert_eq!(
                sim.says(&homelab(), ConditionType::Issued),
                "-AuthorityLost",
                "one word replaces one authority"
            ),
        }
        sim.assert_rests();
    }
    assert_eq!((sim.issuances(&homelab()), sim.issuances(&leaf.at)), (2, 2));
}

#[test]
fn while_an_authority_is_lost_nothing_is_walked_in_circles() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let at = sim.object(&homelab()).secret();
    sim.store.open().things.remove(&(StoredKind::Secrets, at)).unwrap();
    sim.touch_all();
    sim.settle();
    for _ in 0..50 {
        if sim.jump_to_wake().is_none() {
            break;
        }
        sim.settle();
        sim.assert_rests();
    }
    assert_eq!(sim.issuances(&leaf.at), 1);
}

/// The whole life of an authority, a host and a client, one write of it cut off: each is issued as often as without.
#[test]
fn nothing_is_issued_twice_however_a_write_is_cut_off() {
    let life = |fault: Option<(usize, Interruption)>, lagging: bool, restart: bool| {
        let client = object("DockerClientCert", "ci", json!({"caRef": {"name": "homelab"}, "commonName": "ci"}));
        let mut sim = Simulation::of([authority("730d"), host("pandora", "365d"), client.clone()]);
        sim.store.open().fault = fault;
        sim.store.open().lagging = lagging;
        sim.settle();
        for span in [250, 250, 5] {
            sim.pass(days(span));
            if restart {
                sim = sim.restarted();
            }
            sim.settle();
        }
        let asked = sim.now().to_string();
        sim.edit(&client.at, |object| drop(object.annotations.insert(RENEW_REQUESTED_ANNOTATION.into(), asked)));
        sim.pass(SignedDuration::from_secs(1));
        sim.settle();
        sim.touch_all(); // what lags is seen at the second look
        sim.settle();
        sim.assert_rests();
        sim.assert_sound(&homelab());
        assert!(sim.store.open().objects.values().all(world_ready), "{fault:?}");
        let issuances = [homelab(), host("pandora", "365d").at, client.at].map(|at| sim.issuances(&at));
        let writes = sim.store.open().log.len();
        (issuances, writes)
    };
    let (undisturbed, writes) = life(None, false, false);
    assert_eq!(undisturbed, [2, 3, 4]);
    for nth in 0..writes {
        for cut in [Interruption::Before, Interruption::After] {
            for (lagging, restart) in [(false, false), (true, false), (true, true)] {
                let (issuances, _) = life(Some((nth, cut)), lagging, restart);
                assert_eq!(
                    issuances, undisturbed,
                    "write {nth} cut off {cut:?}, lagging {lagging}, restarted {restart}"
                );
            }
        }
    }
}

fn world_ready(object: &Object) -> bool {
    object.previous.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[test]
fn a_lost_authority_is_replaced_once_however_a_write_is_cut_off() {
    for nth in 0..6 {
        for cut in [Interruption::Before, Interruption::After] {
            let leaf = host("pandora", "365d");
            let mut sim = settled([authority("1825d"), leaf.clone()]);
            let lost = sim.object(&homelab()).previous.fingerprint.clone().unwrap();
            let at = sim.object(&homelab()).secret();
            sim.store.open().things.remove(&(StoredKind::Secrets, at)).unwrap();
            sim.edit(&homelab(), |object| drop(object.annotations.insert(REPLACE_AUTHORITY_ANNOTATION.into(), lost)));
            sim.cut_off(nth, cut);
            sim.settle();
            sim.assert_sound(&homelab());
            sim.assert_rests();
            assert!(sim.is_ready(&leaf.at));
            assert_eq!((sim.issuances(&homelab()), sim.issuances(&leaf.at)), (2, 2), "write {nth} cut off {cut:?}");
        }
    }
}

#[test]
fn a_secret_of_somebody_else_is_never_written() {
    let mut foreign = Data::default();
    foreign.insert("password", b"hunter2".to_vec());
    let leaf = host("pandora", "365d");
    for (at, owner) in [(homelab(), "home/homelab-docker-ca"), (leaf.at.clone(), "home/pandora-docker-host")] {
        let mut sim = Simulation::of([authority("1825d"), leaf.clone()]);
        let place = sim.object(&at).secret();
        sim.store.put(StoredKind::Secrets, &place, None, foreign.clone());
        sim.settle();
        assert_eq!(sim.says(&at, ConditionType::Issued), "-SecretConflict", "{owner}");
        assert!(sim.secret(&place).unwrap().data == foreign, "{owner} was written");
        sim.assert_rests();
        sim.store.open().things.remove(&(StoredKind::Secrets, place));
        assert!(sim.jump_to_wake().is_some(), "nothing watches a Secret that is not ours, so somebody must look again");
        sim.settle();
        assert!(sim.is_ready(&at), "{:?}", sim.object(&at).previous);
        assert!(sim.is_ready(&leaf.at));
    }
}

#[test]
fn a_secret_that_became_somebody_elses_while_memory_lagged_is_never_written() {
    let leaf = host("pandora", "1825d");
    let mut sim = settled([authority("1825d")]);
    sim.pass(days(900));
    sim.apply(leaf.clone());
    sim.settle();
    sim.assert_rests(); // memory shows its Secret now
    sim.pass(days(330)); // the authority is renewed, so the bundle beside the leaf's pair is to be written anew
    sim.store.open().lagging = true;
    let at = leaf.secret();
    sim.store.meddle(StoredKind::Secrets, &at, |stored| (stored.owner, stored.labelled) = (None, false));
    let theirs = sim.secret(&at).unwrap();
    sim.settle();
    let found = sim.secret(&at).unwrap();
    assert!(found.version == theirs.version && found.data == theirs.data);
    assert_eq!(sim.says(&leaf.at, ConditionType::Issued), "-SecretConflict");
}

#[test]
fn an_authority_gets_its_label_back_and_keeps_its_certificate() {
    let mut sim = settled([authority("1825d"), host("pandora", "365d")]);
    let at = sim.object(&homelab()).secret();
    let before = sim.secret(&at).unwrap();
    sim.store.meddle(StoredKind::Secrets, &at, |stored| stored.labelled = false);
    sim.touch_all();
    sim.settle();
    let after = sim.secret(&at).unwrap();
    assert!(after.labelled, "without it no watch shows when it goes");
    assert!(after.data == before.data);
    sim.assert_sound(&homelab());
    sim.assert_rests();
}

#[test]
fn an_empty_fingerprint_is_none() {
    let mut sim = settled([authority("1825d")]);
    let fingerprint = sim.object(&homelab()).annotations[AUTHORITY_ANNOTATION].clone();
    sim.edit(&homelab(), |object| {
        for annotation in [AUTHORITY_ANNOTATION, REPLACE_AUTHORITY_ANNOTATION] {
            object.annotations.insert(annotation.into(), String::new());
        }
    });
    sim.settle();
    assert!(sim.is_ready(&homelab()), "{:?}", sim.object(&homelab()).previous);
    assert_eq!(sim.object(&homelab()).annotations[AUTHORITY_ANNOTATION], fingerprint);
}

#[test]
fn a_config_map_of_somebody_else_is_never_written_and_holds_up_nothing() {
    let mut foreign = Data::default();
    foreign.insert("ca.crt", b"theirs".to_vec());
    let leaf = host("pandora", "365d");
    let mut sim = Simulation::of([authority("1825d"), leaf.clone()]);
    let place = homelab().beside("homelab-ca-bundle");
    sim.store.put(StoredKind::ConfigMaps, &place, None, foreign.clone());
    sim.settle();
    assert_eq!(sim.says(&homelab(), ConditionType::Accepted), "-ConfigMapConflict");
    assert_eq!(sim.says(&homelab(), ConditionType::Issued), "Issued");
    assert!(sim.is_ready(&leaf.at));
    assert!(sim.store.open().things[&(StoredKind::ConfigMaps, place)].data == foreign);
    sim.assert_rests();
}

#[test]
fn two_objects_that_want_one_secret_leave_it_to_one() {
    let spec = |name: &str| json!({"caRef": {"name": "homelab"}, "hostname": name, "secretName": "shared"});
    let (first, second) = (object("DockerHostCert", "a", spec("a")), object("DockerHostCert", "b", spec("b")));
    for order in [[&first, &second], [&second, &first]] {
        let mut sim = settled([authority("1825d"), order[0].clone()]);
        sim.apply(order[1].clone());
        sim.settle();
        assert!(sim.is_ready(&order[0].at), "the one that the Secret names has it");
        assert_eq!(sim.says(&order[1].at, ConditionType::Issued), "-SecretConflict");
        sim.assert_rests();
        for _ in 0..20 {
            sim.jump_to_wake();
            sim.settle();
        }
        assert_eq!(sim.certificate(&order[0].at).common_name, Some(order[0].at.name.to_string()));
        assert!(sim.is_ready(&order[0].at));
    }
}

/// Each of a thousand such objects asked for the Secret every minute.
#[test]
fn of_many_that_want_a_secret_of_somebody_else_the_first_alone_asks_for_it_each_minute() {
    let names = ["a", "b", "c", "d"];
    let spec = |name: &str| json!({"caRef": {"name": "homelab"}, "hostname": name, "secretName": "shared"});
    let leaves = names.map(|name| object("DockerHostCert", name, spec(name)));
    let mut sim = settled([authority("1825d")]);
    let mut foreign = Data::default();
    foreign.insert("password", b"hunter2".to_vec());
    sim.store.put(StoredKind::Secrets, &leaves[0].secret(), None, foreign);
    leaves.iter().for_each(|leaf| sim.apply(leaf.clone()));
    sim.settle();
    sim.assert_rests();
    let soon = sim.now() + SignedDuration::from_mins(2);
    let asking: Vec<bool> = leaves.iter().map(|leaf| sim.wakes[&leaf.at].is_some_and(|wake| wake <= soon)).collect();
    assert_eq!(asking, [true, false, false, false]);
}

#[test]
fn an_object_made_again_goes_on_with_its_certificate() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let (ca, certificate) = (sim.authority(&homelab()).authority.certificate, sim.certificate(&leaf.at));
    sim.apply(authority("1825d")); // without status and annotations, as `kubectl apply` makes it
    sim.apply(leaf.clone());
    sim.settle();
    assert_eq!(sim.authority(&homelab()).authority.certificate, ca);
    assert_eq!(sim.certificate(&leaf.at), certificate);
    assert!(sim.is_ready(&leaf.at));
    assert_eq!(sim.store.open().events, []);
    sim.assert_rests();
}

#[test]
fn a_spec_that_asks_for_another_authority_is_told_and_the_one_that_was_made_works_on() {
    let mut sim = settled([authority("1825d")]);
    let made = sim.authority(&homelab()).authority.certificate;
    sim.edit(&homelab(), |object| {
        let Spec::Authority(spec) = &mut object.spec else { unreachable!("it is an authority") };
        spec.subject.get_or_insert_default().common_name = "Another".into();
    });
    let later = host("attic", "365d");
    sim.apply(later.clone());
    sim.settle();
    assert_eq!(sim.authority(&homelab()).authority.certificate, made);
    assert!(sim.is_ready(&later.at), "the authority signs on");
    assert!(!sim.is_ready(&homelab()), "its spec is not what it is");
}

#[test]
fn a_clock_of_1970_dates_nothing() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let (today, before) = (sim.now(), sim.certificate(&leaf.at));
    sim.jump(Timestamp::from_second(3600).unwrap());
    assert!(matches!(sim.failure(&leaf.at), Some(StoreError::ClockBehind(_))));
    sim.jump(today);
    sim.touch_all();
    sim.settle();
    assert_eq!(sim.certificate(&leaf.at), before);
}

#[test]
fn a_clock_that_was_years_ahead_costs_one_certificate_there_and_one_back() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let today = sim.now();
    for round in 1..=3 {
        for now in [today.saturating_add(days(3650 + round)).unwrap(), today.saturating_add(days(round)).unwrap()] {
            sim.jump(now);
            sim.touch_all();
            sim.settle();
            sim.assert_sound(&homelab());
            sim.assert_rests();
            assert!(sim.is_ready(&leaf.at));
        }
    }
    assert_eq!(sim.issuances(&leaf.at), 7, "each jump costs a leaf one certificate");
    assert!(sim.issuances(&homelab()) <= 7);
}

#[test]
fn a_clock_that_was_minutes_off_costs_nothing() {
    let leaf = host("pandora", "365d");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    for seconds in [-240, 240, -200, 86_400 * 30, -86_400 * 30] {
        sim.pass(SignedDuration::from_secs(seconds));
        sim.touch_all();
        sim.settle();
        assert!(sim.is_ready(&leaf.at));
    }
    assert_eq!((sim.issuances(&homelab()), sim.issuances(&leaf.at)), (1, 1));
}

/// The Secret of an openssl evening, with an authority made at the beginning of every story and valid for so long.
fn evening(sim: &Simulation, life: SignedDuration) -> Data {
    let key = sim.key(KeyAlgorithm::EcdsaP256);
    let pem = key.to_pem();
    let dates = Dates { not_before: sim.now(), not_after: sim.now().saturating_add(life).unwrap() };
    let made = new_authority(&DistinguishedName::of("by hand"), None, key, dates, serial()).unwrap();
    let mut data = Data::default();
    data.insert("ca-key.pem", pem.as_bytes());
    data.insert("ca.pem", made.certificate.to_pem());
    data
}

#[test]
fn an_adopted_authority_is_copied_once_and_lives_on_however_short_it_was() {
    for life in [days(365), SignedDuration::from_secs(240)] {
        let leaf = host("pandora", "30d");
        let adopting = object("DockerCA", "homelab", json!({"existing": {"secretRef": {"name": "old-ca"}}}));
        let mut sim = Simulation::of([adopting, leaf.clone()]);
        let (from, data) = (homelab().beside("old-ca"), evening(&sim, life));
        let ours = Certificate::from_pem(data.get("ca.pem").unwrap()).unwrap().key_fingerprint();
        sim.settle();
        assert_eq!(sim.says(&homelab(), ConditionType::Issued), "-ExistingNotFound");
        sim.store.put(StoredKind::Secrets, &from, None, data.clone());
        sim.touch_all();
        sim.settle();
        assert!(sim.secret(&from).unwrap().data == data, "the original is read and no more");
        sim.store.open().things.remove(&(StoredKind::Secrets, from));
        sim.touch_all();
        sim.settle();
        sim.assert_sound(&homelab());
        let end = sim.now().saturating_add(life.min(days(365)) + DAY).unwrap();
        live(&mut sim, end);
        assert_eq!(sim.object(&homelab()).previous.fingerprint, Some(ours));
        identity(&sim);
    }
}

#[test]
fn while_trust_is_missing_the_authority_works_on_with_the_bundle_that_was() {
    let spec = json!({"subject": {"commonName": "Docker CA"}, "additionalTrust": [{"secretRef": {"name": "older"}}]});
    let leaf = host("pandora", "365d");
    let mut sim = Simulation::of([object("DockerCA", "homelab", spec), leaf.clone()]);
    let from = homelab().beside("older");
    sim.store.put(StoredKind::Secrets, &from, None, evening(&sim, days(9000)));
    sim.settle();
    sim.pass(days(1216));
    sim.settle();
    let bundle = sim.authority(&homelab()).bundle;
    assert_eq!(TrustBundle::from_pem(&bundle).unwrap().certificates().len(), 3, "new, old and trusted besides");
    sim.store.open().things.remove(&(StoredKind::Secrets, from)).unwrap();
    sim.touch_all();
    sim.settle();
    assert_eq!(sim.says(&homelab(), ConditionType::Accepted), "-TrustNotFound");
    assert_eq!(sim.authority(&homelab()).bundle, bundle);
    assert!(sim.is_ready(&leaf.at));
    let at = sim.object(&homelab()).secret();
    sim.store.meddle(StoredKind::Secrets, &at, |stored| stored.data.insert("ca.crt", b"rubbish".to_vec()));
    sim.touch_all();
    sim.settle();
    sim.assert_sound(&homelab()); // both certificates of the authority are trusted still
    sim.assert_rests();
}

#[test]
fn trust_that_cannot_be_read_or_is_too_much_changes_no_bundle_and_says_so() {
    let spec = json!({"subject": {"commonName": "Docker CA"}, "additionalTrust": [{"secretRef": {"name": "older"}}]});
    let leaf = host("pandora", "365d");
    let mut sim = Simulation::of([object("DockerCA", "homelab", spec), leaf.clone()]);
    let from = homelab().beside("older");
    let data = evening(&sim, days(9000));
    sim.store.put(StoredKind::Secrets, &from, None, data.clone());
    sim.settle();
    let bundle = sim.authority(&homelab()).bundle;
    let mut damaged = data.clone();
    damaged.insert("other.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let block = |bytes: usize| pem::encode(&pem::Pem::new("CERTIFICATE", vec![0; bytes]));
    let mut oversized = data.clone();
    oversized.insert("other.pem", block(17 << 10));
    let mut endless = data.clone();
    endless.insert("other.pem", block(1 << 20));
    let mut huge = data;
    let ca = sim.authority(&homelab()).authority;
    let dns_names = (0..200).map(|number| format!("a-name-of-quite-some-length-{number}.bodkys.house")).collect();
    let profile = LeafProfile { common_name: "x".into(), dns_names, ip_addresses: Vec::new(), usage: Usage::Server };
    let dates = Dates { not_before: sim.now(), not_after: sim.now().saturating_add(days(30)).unwrap() };
    let leaf_key = sim.key(KeyAlgorithm::EcdsaP256);
    let many = (0..40).map(|_| ca.sign_leaf(&profile, &leaf_key, dates, serial()).unwrap().to_pem());
    huge.insert("other.pem", many.collect::<String>());
    let not_found = "-TrustNotFound";
    let cases = [(damaged, not_found), (oversized, not_found), (endless, not_found), (huge, "-InvalidSpec")];
    for (data, said) in cases {
        sim.store.put(StoredKind::Secrets, &from, None, data);
        sim.touch_all();
        sim.settle();
        assert_eq!(sim.says(&homelab(), ConditionType::Accepted), said);
        assert_eq!(sim.authority(&homelab()).bundle, bundle);
        assert!(sim.is_ready(&leaf.at));
        sim.assert_rests();
    }
}

#[test]
fn a_passphrase_seals_the_key_and_without_it_nothing_is_lost() {
    let spec = json!({"subject": {"commonName": "Docker CA"}, "passphraseSecretRef": {"name": "pass", "key": "word"}});
    let leaf = host("pandora", "365d");
    let mut sim = Simulation::of([object("DockerCA", "homelab", spec), leaf.clone()]);
    sim.settle();
    assert_eq!(sim.says(&homelab(), ConditionType::Issued), "-PassphraseNotFound");
    let pass = homelab().beside("pass");
    for (word, says) in
        [("secret\n", "Issued"), ("wrong", "-PassphraseWrong"), ("", "-PassphraseNotFound"), ("secret", "Issued")]
    {
        let mut data = Data::default();
        data.insert("word", word.as_bytes());
        sim.store.put(StoredKind::Secrets, &pass, None, data);
        sim.touch_all();
        sim.settle();
        assert_eq!(sim.says(&homelab(), ConditionType::Issued), says, "{word:?}");
        assert!(sim.is_ready(&leaf.at));
        sim.assert_rests();
    }
    let stored = sim.secret(&sim.object(&homelab()).secret()).unwrap();
    assert!(stored.data.get("tls.key").unwrap().starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert_eq!((sim.issuances(&homelab()), sim.issuances(&leaf.at)), (1, 1));
}

/// A meddler, a user or the clock.
#[derive(Clone, Debug)]
enum Act {
    Jump(i64),
    Wake,
    Delete(usize),
    Damage(usize, &'static str, usize),
    Unlabel(usize),
    Disown(usize),
    Rename(usize),
    Ask(usize),
    LoseBundle,
    EditBundle,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let key = prop::sample::select(vec!["tls.crt", "tls.key", "ca.crt", "cert.pem", "key.pem", "ca.pem"]);
    prop_oneof![
        3 => (-20_000_000i64..700_000_000).prop_map(Act::Jump),
        2 => (-40_000i64..40_000).prop_map(Act::Jump),
        3 => Just(Act::Wake),
        1 => (0usize..4).prop_map(Act::Delete),
        2 => (0usize..4, key, 0usize..900).prop_map(|(leaf, key, length)| Act::Damage(leaf, key, length)),
        1 => (0usize..4).prop_map(Act::Unlabel),
        1 => (0usize..4).prop_map(Act::Disown),
        1 => (0usize..4).prop_map(Act::Rename),
        1 => (0usize..4).prop_map(Act::Ask),
        1 => Just(Act::LoseBundle),
        1 => Just(Act::EditBundle),
        1 => Just(Act::Restart),
    ]
}

fn span() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["1h", "2h", "24h", "30d", "90d", "365d", "1825d", "3650d", "36525d"])
}

fn key() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        12 => Just(json!({"algorithm": "ECDSA"})),
        4 => Just(json!({"algorithm": "ECDSA", "size": 384})),
        8 => Just(json!({"algorithm": "Ed25519"})),
        1 => Just(json!({"algorithm": "RSA", "size": 2048})),
    ]
}

fn leaf(number: usize) -> impl Strategy<Value = Object> {
    (span(), key(), prop::bool::ANY, prop::option::of(1i64..60), 0usize..3).prop_map(
        move |(duration, mut key, keep, before, kind)| {
            let name = format!("leaf-{number}");
            let hours = dockseal::api::duration::parse(duration).unwrap().as_hours();
            key["rotationPolicy"] = json!(if keep { "Never" } else { "Always" });
            let mut spec = json!({"caRef": {"name": "homelab"}, "duration": duration, "privateKey": key});
            if let Some(before) =
                before.map(|percent| hours * percent / 100).filter(|hours| *hours > 0 && duration != "36525d")
            {
                spec["renewBefore"] = json!(format!("{before}h"));
            }
            match kind {
                0 => {
                    spec["hostname"] = json!(format!("{name}.bodkys.house."));
                    spec["ipAddresses"] = json!(["192.168.1.7", "127.0.0.1"]);
                    spec["address"] = json!({"host": "1.2.3.4"});
                    object("DockerHostCert", &name, spec)
                }
                kind => {
                    spec["commonName"] = json!(format!("{name}.bodkys.house"));
                    object(if kind == 1 { "DockerClientCert" } else { "PortainerClient" }, &name, spec)
                }
            }
        },
    )
}

fn ca() -> impl Strategy<Value = Object> {
    (span(), key(), prop::bool::ANY).prop_map(|(duration, key, constrained)| {
        let mut spec =
            json!({"subject": {"commonName": "Docker CA", "country": "de"}, "duration": duration, "privateKey": key});
        if constrained {
            let ranges = ["192.168.0.0/16", "127.0.0.0/8", "1.2.3.4/32"];
            spec["nameConstraints"] = json!({"permittedDNSDomains": ["bodkys.house"], "permittedIPRanges": ranges});
        }
        object("DockerCA", "homelab", spec)
    })
}

fn perform(sim: &mut Simulation, act: &Act, leaves: &[Object]) {
    let pick = |number: &usize| leaves[number % leaves.len()].clone();
    let secret_of = |leaf: &Object| leaf.secret();
    match act {
        Act::Jump(seconds) => sim.pass(SignedDuration::from_secs(*seconds)),
        Act::Wake => drop(sim.jump_to_wake()),
        Act::Delete(number) => drop(sim.store.open().things.remove(&(StoredKind::Secrets, secret_of(&pick(number))))),
        Act::Damage(number, key, length) => {
            sim.store.meddle(StoredKind::Secrets, &secret_of(&pick(number)), |stored| {
                let bytes = stored.data.get(key).unwrap_or_default();
                let cut = bytes[..bytes.len().min(*length)].to_vec();
                stored.data.insert(key, cut);
            })
        }
        Act::Unlabel(number) => {
            sim.store.meddle(StoredKind::Secrets, &secret_of(&pick(number)), |stored| stored.labelled = false)
        }
        Act::Disown(number) => disown(sim, &pick(number)),
        Act::Rename(number) => sim.edit(&pick(number).at, |object| {
            if let dockseal::api::Spec::Host(spec) = &mut object.spec {
                spec.dns_names.push("renamed.bodkys.house".into());
            }
        }),
        Act::Ask(number) => {
            let now = sim.now().to_string();
            sim.edit(&pick(number).at, |object| {
                drop(object.annotations.insert(RENEW_REQUESTED_ANNOTATION.into(), now))
            });
        }
        Act::LoseBundle => {
            drop(sim.store.open().things.remove(&(StoredKind::ConfigMaps, homelab().beside("homelab-ca-bundle"))))
        }
        Act::EditBundle => {
            let at = sim.object(&homelab()).secret();
            sim.store.meddle(StoredKind::Secrets, &at, |stored| stored.data.insert("ca.crt", b"rubbish".to_vec()));
        }
        Act::Restart => {
            let store = std::mem::replace(sim, Simulation::of([]));
            *sim = store.restarted();
        }
    }
    sim.touch_all(); // jumps back are seen at the next event, and every other act is one
    sim.settle();
}

/// Another client takes a Secret over, and later releases the name.
fn disown(sim: &mut Simulation, leaf: &Object) {
    sim.store.meddle(StoredKind::Secrets, &leaf.secret(), |stored| (stored.owner, stored.labelled) = (None, false));
    let before = sim.secret(&leaf.secret());
    sim.touch_all();
    sim.settle();
    let after = sim.secret(&leaf.secret());
    assert_eq!(
        before.as_ref().map(|stored| &stored.version),
        after.as_ref().map(|stored| &stored.version),
        "a stranger's Secret was written"
    );
    if before.is_some() {
        assert_eq!(sim.says(&leaf.at, ConditionType::Issued), format!("-{}", Reason::SecretConflict.as_str()));
    }
    sim.store.open().things.remove(&(StoredKind::Secrets, leaf.secret()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everything_is_ready_and_sound_and_at_rest_afterwards(
        ca in ca(),
        leaves in (leaf(0), leaf(1), leaf(2)),
        acts in prop::collection::vec(act(), 1..9),
    ) {
        let leaves = [leaves.0, leaves.1, leaves.2];
        let mut sim = settled(std::iter::once(ca).chain(leaves.clone()));
        let fingerprint = sim.object(&homelab()).previous.fingerprint.clone();
        let made = identity(&sim);
        for act in &acts {
            let before: Vec<_> = leaves.iter().map(|leaf| sim.issuances(&leaf.at)).collect();
            perform(&mut sim, act, &leaves);
            prop_assert!(sim.is_ready(&homelab()), "{:?}", sim.object(&homelab()).previous);
            for (leaf, before) in leaves.iter().zip(before) {
                prop_assert!(sim.is_ready(&leaf.at), "{:?}", sim.object(&leaf.at).previous);
                prop_assert!(sim.issuances(&leaf.at) <= before + 1, "{} thrashes", leaf.at);
            }
            sim.assert_sound(&homelab());
            sim.assert_rests();
        }
        prop_assert_eq!(sim.object(&homelab()).previous.fingerprint.clone(), fingerprint, "the authority was replaced");
        let recorded = sim.object(&homelab()).annotation(AUTHORITY_ANNOTATION).map(str::to_owned);
        prop_assert_eq!(recorded, sim.object(&homelab()).previous.fingerprint.clone());
        prop_assert_eq!(identity(&sim), made, "the identity was replaced");
    }
}
