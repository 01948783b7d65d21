//! Whose a directory is: every way in which a marker can differ from this delivery's, with and without consent.

use super::*;
use crate::api::condition::Reason;
use crate::api::marker::{Marker, Taken};
use crate::decide::host::ownership::{DeliveredAuthority, claim, claim_daemon, is_ours, marker};

const OURS: &str = "cluster-ours";
const THEIRS: &str = "state-theirs";
const OTHER_KEY: &str = "0123";

/// The DockerHostCert home/pandora of this cluster.
fn host() -> AssignedHost {
    let mut host = request().host;
    host.delivery.directory = "/etc/docker/certs".into();
    host.claim = HostClaim { writer: Some(OURS.into()), ca: Some("homelab".into()), ..HostClaim::default() };
    host
}

fn delivered_key() -> String {
    marker(&host(), &good_material()).authority.expect("its authority is in the bundle")
}

/// The marker of an earlier delivery.
fn there() -> Marker {
    marker(&host(), &good_material())
}

/// The marker that a version before wrote.
fn old() -> Marker {
    Marker { writer: None, authority: None, ca: None, ..there() }
}

/// `ok`, or the id that lets it be replaced; `-` where the message names none.
fn said(there: &Marker, delivered: &DeliveredAuthority, host: &AssignedHost) -> String {
    match claim(Some(there), delivered, host, &good_material()) {
        Ok(ours) => {
            let expected = marker(host, &good_material());
            assert_eq!(
                (&ours.object, &ours.uid, &ours.authority),
                (&expected.object, &expected.uid, &expected.authority)
            );
            "ok".into()
        }
        Err(verdict) => {
            assert_eq!(verdict.reason, Reason::HostConflict);
            let named = verdict.message.split_once("dockseal.dev/take-from: ");
            named.map_or("-", |(_, rest)| rest.split(' ').next().expect("an id")).to_owned()
        }
    }
}

#[test]
fn a_directory_is_ours_where_no_one_elses_clients_would_be_cut_off() {
    let key = DeliveredAuthority::Key;
    let (shared, other) = (key(delivered_key()), key(OTHER_KEY.into()));
    let (nothing, unknown) = (DeliveredAuthority::Nothing, DeliveredAuthority::Unknown);
    let theirs = |marker: Marker| Marker { writer: Some(THEIRS.into()), ..marker };
    let again = |marker: Marker| Marker { uid: "another".into(), ..marker };
    let outside = |marker: Marker| Marker { uid: String::new(), ..marker };
    let styx = |marker: Marker| Marker { object: "DockerHostCert/home/styx".into(), ..marker };
    let strange = |marker: Marker| Marker { authority: Some(OTHER_KEY.into()), ..marker };
    let moved = |marker: Marker| Marker { ca: Some("old".into()), ..marker };
    let without_ca = |marker: Marker| Marker { ca: None, ..marker };
    let plain = host();
    let with = |change: fn(&mut AssignedHost)| {
        let mut host = host();
        change(&mut host);
        host
    };
    let taking = with(|host| host.delivery.take_over = true);
    let nameless = with(|host| host.claim.writer = None);
    let up = with(|host| {
        host.uid = String::new();
        host.claim.writer = Some("state-ours".into());
    });
    let replacing = with(|host| host.claim.replaces = Some(OTHER_KEY.into()));
    let replacing_another = with(|host| host.claim.replaces = Some("4567".into()));
    let unnamed = "marker-"; // and a digest
    let cases: Vec<(&str, Marker, &DeliveredAuthority, &AssignedHost, &str)> = vec![
        ("ours", there(), &shared, &plain, "ok"),
        ("ours, made again", again(there()), &shared, &plain, "ok"),
        ("ours, of another authority", strange(there()), &other, &plain, OTHER_KEY),
        ("the same, with takeOver", strange(there()), &other, &taking, OTHER_KEY),
        ("the same, made again", strange(again(there())), &other, &plain, OTHER_KEY),
        ("another DockerCA was named", moved(strange(there())), &other, &plain, "ok"),
        ("the DockerCA before is not known", without_ca(strange(there())), &other, &plain, OTHER_KEY),
        ("its authority was replaced", strange(there()), &other, &replacing, "ok"),
        ("another one was replaced", strange(there()), &other, &replacing_another, OTHER_KEY),
        ("ours, for another object", styx(there()), &shared, &plain, "-"),
        ("the same, with takeOver", styx(there()), &shared, &taking, "ok"),
        ("the same, of another authority", styx(strange(there())), &other, &taking, OTHER_KEY),
        ("another writer's", theirs(there()), &shared, &plain, THEIRS),
        ("the same, with takeOver", theirs(there()), &shared, &taking, THEIRS),
        ("the same, before it delivered", theirs(there()), &nothing, &taking, THEIRS),
        ("the same, and another DockerCA", theirs(moved(there())), &shared, &plain, THEIRS),
        ("the same, and a replaced authority", theirs(strange(there())), &other, &replacing, THEIRS),
        ("another writer's, another object's", theirs(styx(there())), &other, &taking, THEIRS),
        ("a cluster's, seen by up", there(), &shared, &up, OURS),
        ("our id is not known", there(), &shared, &nameless, "ok"),
        ("our id is not known, made again", again(there()), &shared, &nameless, OURS),
        ("our id is not known, another authority", strange(there()), &other, &nameless, OTHER_KEY),
        ("old, ours", old(), &shared, &plain, "ok"),
        ("old, ours, another authority", old(), &other, &plain, "ok"),
        ("old, ours, damaged", old(), &unknown, &plain, "ok"),
        ("old, our id is not known", old(), &other, &nameless, "ok"),
        ("old, made again", again(old()), &shared, &plain, "ok"),
        ("old, made again, before anything was delivered", again(old()), &nothing, &plain, "ok"),
        ("old, made again, another authority", again(old()), &other, &plain, unnamed),
        ("the same, with takeOver", again(old()), &other, &taking, unnamed),
        ("old, made again, damaged", again(old()), &unknown, &taking, unnamed),
        ("old, from up", outside(old()), &shared, &plain, "ok"),
        ("old, from up, another authority", outside(old()), &other, &plain, unnamed),
        ("old, from up, seen by up", outside(old()), &shared, &up, "ok"),
        ("old, from another up", outside(old()), &other, &up, unnamed),
        ("old, from another up, damaged", outside(old()), &unknown, &up, unnamed),
        ("old, from a cluster, seen by up", old(), &shared, &up, unnamed),
        ("old, another object's", styx(old()), &shared, &plain, "-"),
        ("the same, with takeOver", styx(old()), &shared, &taking, "ok"),
        ("the same, another authority", styx(old()), &other, &taking, unnamed),
        ("an empty marker", Marker::default(), &shared, &plain, "-"),
        ("an empty marker, with takeOver", Marker::default(), &other, &taking, unnamed),
    ];
    for (name, there, delivered, host, expected) in cases {
        let said = said(&there, delivered, host);
        let fits = if expected == unnamed { said.len() == 23 && said.starts_with(unnamed) } else { said == expected };
        assert!(fits, "{name}: {said}");
    }
    assert_eq!(claim(None, &unknown, &host(), &good_material()), Ok(there()));
}

#[test]
fn a_consent_counts_once() {
    let theirs = Marker { writer: Some(THEIRS.into()), authority: Some(OTHER_KEY.into()), ..there() };
    let delivered = DeliveredAuthority::Key(OTHER_KEY.into());
    let asks = |text: &str| {
        let mut host = host();
        host.claim.take_from = Some(text.into());
        host
    };
    for text in ["state-others", "theirs", "", "*", "state-theirs/x", "state-theirs/0", "state-theirs cluster-ours"] {
        assert_eq!(said(&theirs, &delivered, &asks(text)), THEIRS, "{text:?}");
    }
    let taken = claim(Some(&theirs), &delivered, &asks(THEIRS), &good_material()).expect("it is asked for");
    assert_eq!(taken.writer.as_deref(), Some(OURS));
    assert_eq!(taken.taken, [Taken { by: OURS.into(), from: THEIRS.into(), times: 1 }]);
    let rests = claim(Some(&taken), &delivered, &asks(THEIRS), &good_material()).expect("it is ours");
    assert_eq!(rests, taken, "and is not written again");
    // They took it back, by their own consent; ours is used up.
    let back = Marker { taken: taken.taken.clone(), ..theirs.clone() };
    for (text, expected) in [(THEIRS, "state-theirs/2"), ("state-theirs/1", "state-theirs/2"), ("state-theirs/2", "ok")]
    {
        assert_eq!(said(&back, &delivered, &asks(text)), expected);
    }
    // A third has it.
    let third = Marker { writer: Some("cluster-third".into()), ..back };
    assert_eq!(said(&third, &delivered, &asks(THEIRS)), "cluster-third");
    // An authority of our own, by its key; our own id is no consent to that.
    let strange = Marker { authority: Some(OTHER_KEY.into()), ..there() };
    assert_eq!(said(&strange, &delivered, &asks(OTHER_KEY)), "ok");
    assert_eq!(said(&strange, &delivered, &asks(OURS)), OTHER_KEY);
}

#[test]
fn a_refusal_names_both() {
    let theirs = Marker { writer: Some(THEIRS.into()), ..there() };
    let said = |there: &Marker, host: &AssignedHost| {
        claim(Some(there), &DeliveredAuthority::Unknown, host, &good_material()).expect_err("another's").message
    };
    let message = said(&theirs, &host());
    for words in [THEIRS, OURS, "DockerHostCert/home/pandora", "/etc/docker/certs", "once"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(!message.contains("refused then"), "{message}");
    let strange = Marker { authority: Some(OTHER_KEY.into()), ..theirs };
    assert!(said(&strange, &host()).ends_with("Clients of the authority there are refused then"));
    let mut nameless = host();
    nameless.claim.writer = None;
    nameless.uid = "another".into();
    assert!(said(&there(), &nameless).contains("this cluster, whose id the controller may not read"));
}

#[test]
fn only_what_is_ours_is_removed() {
    let mut nameless = host();
    nameless.claim.writer = None;
    for (name, there, host, ours) in [
        ("ours", there(), host(), true),
        ("old", old(), host(), true),
        ("ours, another authority", Marker { authority: None, ..there() }, host(), true),
        ("our id is not known", there(), nameless, true),
        ("another writer's", Marker { writer: Some(THEIRS.into()), ..there() }, host(), false),
        ("another uid", Marker { uid: "another".into(), ..there() }, host(), false),
        ("another object", Marker { object: "DockerHostCert/home/styx".into(), ..there() }, host(), false),
    ] {
        assert_eq!(is_ours(&there, &host), ours, "{name}");
    }
}

#[test]
fn a_dockerd_that_another_configured_is_left_alone() {
    let state = |writer: Option<&str>| DaemonState { writer: writer.map(str::to_owned), ..DaemonState::default() };
    let mut asks = host();
    asks.claim.take_from = Some(THEIRS.into());
    let ours = Ok((Some(OURS.to_owned()), Vec::new()));
    assert_eq!(claim_daemon(&state(None), &host()), ours, "a version before");
    assert_eq!(claim_daemon(&state(Some(OURS)), &host()), ours);
    let refused = claim_daemon(&state(Some(THEIRS)), &host()).expect_err("another's");
    assert!(refused.contains(THEIRS) && refused.contains(OURS), "{refused}");
    let (writer, taken) = claim_daemon(&state(Some(THEIRS)), &asks).expect("it is asked for");
    assert_eq!((writer.as_deref(), taken.len()), (Some(OURS), 1));
    let back = DaemonState { taken, ..state(Some(THEIRS)) };
    assert!(claim_daemon(&back, &asks).expect_err("once").contains("state-theirs/2"));
    let mut nameless = host();
    nameless.claim.writer = None;
    let (writer, _) = claim_daemon(&state(Some(OURS)), &nameless).expect("as before");
    assert_eq!(writer.as_deref(), Some(OURS), "who configured it is not forgotten");
}
