//! Two Dockseals that deliver to one host, both with takeOver: however they alternate, nobody's clients are cut off
//! without a word of a user, and who was displaced writes nothing more.

use super::*;
use dockseal::decide::host::DaemonState;
use proptest::prelude::*;

const IDS: [&str; 3] = ["cluster-a", "state-b", "cluster-c"];

/// What one of them delivers: its own authority, the same object.
fn delivery_of(writer: usize, mode: Mode) -> HostDelivery {
    let authority = writer.min(1);
    let mut delivery = delivery(mode);
    delivery.host.uid = format!("uid-{writer}");
    delivery.host.claim.writer = Some(IDS[writer].into());
    delivery.secret = secret([0, 2][authority], &[&AUTHORITIES[authority]]);
    delivery
}

fn taking(delivery: &HostDelivery, from: &str) -> HostDelivery {
    let mut delivery = delivery.clone();
    delivery.host.claim.take_from = Some(from.into());
    delivery
}

fn fresh_host() -> SimHost {
    let mut machine = debian(STOCK);
    machine.boot();
    machine.begin();
    SimHost::of(machine, clock())
}

/// Delivers as a process would that lives on.
fn sync(host: &SimHost, delivery: &mut HostDelivery) -> String {
    delivery.previous = once(host, delivery).expect("nothing kills it");
    let delivered = delivery.previous.conditions.iter().find(|condition| condition.type_ == "Delivered");
    delivered.map(|condition| condition.reason.clone()).unwrap_or_default()
}

/// Whose clients are accepted by the files that are shown.
fn trusted(host: &SimHost) -> BTreeSet<String> {
    let [ca, ..] = host.open().shown();
    ca.map(|pem| anchors(&all_from_pem(&pem).unwrap())).unwrap_or_default()
}

fn restarts(host: &SimHost) -> usize {
    host.open().log.iter().filter(|change| change.contains("start docker.service")).count()
}

/// What is on the machine; the note of a request that changes nothing counts, too.
fn all_files(host: &SimHost) -> BTreeMap<PathBuf, PathEntry> {
    host.open().files.clone()
}

#[test]
fn the_first_keeps_the_host_and_the_other_writes_nothing() {
    for mode in [Mode::Files, Mode::Daemon] {
        let host = fresh_host();
        let mut both = [0, 1].map(|writer| delivery_of(writer, mode));
        for _ in 0..3 {
            sync(&host, &mut both[0]);
        }
        let (before, first, begun) = (all_files(&host), trusted(&host), restarts(&host));
        for _ in 0..3 {
            assert_eq!(sync(&host, &mut both[1]), "HostConflict");
            assert_eq!(all_files(&host), before, "{mode:?}: it wrote something");
        }
        assert_eq!((trusted(&host), restarts(&host)), (first, begun));
    }
}

#[test]
fn a_consent_moves_the_host_once_and_the_displaced_one_stops() {
    for mode in [Mode::Files, Mode::Daemon] {
        let host = fresh_host();
        let [mut ours, mut theirs] = [taking(&delivery_of(0, mode), IDS[1]), taking(&delivery_of(1, mode), IDS[0])];
        sync(&host, &mut ours);
        let first = trusted(&host);
        let (mut shown, mut changes) = (first.clone(), 0);
        for _ in 0..8 {
            for writer in [&mut theirs, &mut ours] {
                sync(&host, writer);
                let now = trusted(&host);
                changes += usize::from(std::mem::replace(&mut shown, now.clone()) != now);
            }
        }
        assert_eq!(changes, 2, "{mode:?}: each consent counts once: theirs, then ours");
        assert_eq!(shown, first);
        let before = all_files(&host);
        assert_eq!(sync(&host, &mut theirs), "HostConflict");
        assert_eq!(all_files(&host), before);
        let said = &theirs.previous.conditions.iter().find(|known| known.type_ == "Delivered").unwrap().message;
        assert!(said.contains("dockseal.dev/take-from: cluster-a/2"), "{said}");
        // A third that was never named.
        assert_eq!(sync(&host, &mut taking(&delivery_of(2, mode), IDS[1])), "HostConflict");
    }
}

/// The same authority and certificates under another writer: a cluster that was restored has another kube-system, and a
/// state directory moved into a cluster. One annotation on all objects lets it have all hosts, and nothing is restarted.
#[test]
fn a_successor_is_accepted_by_the_former_writers_id_and_restarts_nothing() {
    for mode in [Mode::Files, Mode::Daemon] {
        for (former, uid) in [("cluster-before", "uid-before"), ("state-before", "")] {
            let host = fresh_host();
            let mut before = delivery_of(0, mode);
            before.host.uid = uid.into();
            before.host.claim.writer = Some(former.into());
            for _ in 0..2 {
                sync(&host, &mut before);
            }
            let (restarted, served) = (restarts(&host), trusted(&host));
            let mut after = HostDelivery { previous: CompanionStatus::default(), ..delivery_of(0, mode) };
            assert_eq!(sync(&host, &mut after), "HostConflict");
            let mut after = taking(&after, former);
            assert_eq!(sync(&host, &mut after), "Delivered");
            assert_eq!((restarts(&host), trusted(&host)), (restarted, served));
            assert!(
                after.previous.conditions.iter().all(|known| known.status == "True"),
                "{:?}",
                after.previous.conditions
            );
            let files = all_files(&host);
            assert_eq!(sync(&host, &mut before), "HostConflict");
            assert_eq!(all_files(&host), files);
        }
    }
}

/// What a version before left: no writer anywhere. It goes on, and is named from then on.
#[test]
fn a_host_of_a_version_before_goes_on_and_is_named() {
    for mode in [Mode::Files, Mode::Daemon] {
        let host = fresh_host();
        let mut before = delivery_of(0, mode);
        before.host.claim = HostClaim::default();
        for _ in 0..2 {
            sync(&host, &mut before);
        }
        let owner = Path::new(CERTS).join(".dockseal/owner");
        let text = format!("{}\n{}\n", before.host.object(), before.host.uid);
        host.open().files.insert(owner.clone(), PathEntry::public(&text));
        let restarted = restarts(&host);
        let mut after = HostDelivery { previous: before.previous, ..delivery_of(0, mode) };
        assert_eq!(sync(&host, &mut after), "Delivered");
        assert_eq!(restarts(&host), restarted);
        let text = String::from_utf8(host.open().bytes(&owner).unwrap()).unwrap();
        assert!(text.contains(IDS[0]), "{text}");
        assert_eq!(sync(&host, &mut delivery_of(1, mode)), "HostConflict");
    }
}

/// One dockerd, two directories.
#[test]
fn a_dockerd_is_one_writers_too() {
    let host = fresh_host();
    let (mut ours, mut theirs) = (delivery_of(0, Mode::Daemon), delivery_of(1, Mode::Daemon));
    theirs.host.delivery.directory = "/srv/theirs".into();
    theirs.roots = vec!["/srv/theirs".into()];
    sync(&host, &mut ours);
    let before = all_files(&host);
    assert_eq!(sync(&host, &mut theirs), "HostConflict");
    assert_eq!(all_files(&host), before);
    // Clients of ours would be refused, as on a how-to's host; in the same directory, ours is kept until theirs is proved.
    assert_eq!(sync(&host, &mut taking(&theirs, IDS[0])), "DaemonConflict");
    let mut same = taking(&delivery_of(1, Mode::Daemon), IDS[0]);
    sync(&host, &mut same);
    let state: DaemonState = serde_json::from_slice(&host.open().bytes(STATE.as_ref()).unwrap()).unwrap();
    assert_eq!(state.writer.as_deref(), Some(IDS[1]), "{:?}", same.previous.conditions);
    let before = all_files(&host);
    ours.host.delivery.directory = "/srv/ours".into();
    ours.roots = vec!["/srv/ours".into()];
    assert_eq!(sync(&host, &mut ours), "HostConflict", "and it does not come back by another directory");
    assert_eq!(all_files(&host), before);
}

#[test]
fn a_displaced_writer_removes_nothing() {
    for mode in [Mode::Files, Mode::Daemon] {
        let host = fresh_host();
        let mut ours = delivery_of(0, mode);
        sync(&host, &mut ours);
        sync(&host, &mut taking(&delivery_of(1, mode), IDS[0]));
        let before = all_files(&host);
        ours.host.removing = true;
        assert_eq!(sync(&host, &mut ours), "Removed");
        assert_eq!(all_files(&host), before);
    }
}

/// The other's whole delivery falls between any two calls of ours.
#[test]
fn at_most_one_change_of_trust_wherever_two_deliveries_meet() {
    for (name, settled, consent) in [
        ("both are new", false, None),
        ("ours is there", true, None),
        ("and theirs may replace it", true, Some(IDS[0])),
    ] {
        for call in 0.. {
            let host = fresh_host();
            let mut ours = delivery_of(0, Mode::Files);
            let mut theirs = delivery_of(1, Mode::Files);
            theirs.host.claim.take_from = consent.map(str::to_owned);
            if settled {
                sync(&host, &mut ours);
                ours.secret = secret(1, &[&AUTHORITIES[0]]); // a renewal is due
            }
            host.open().begin();
            let (on, meanwhile) = (host.clone(), theirs.clone());
            host.at_call(call, move || drop(once(&on, &meanwhile)));
            sync(&host, &mut ours);
            let happened = host.open().calls > call;
            let mut last = trusted(&host);
            let mut changes = 0;
            for _ in 0..3 {
                for writer in [&mut theirs, &mut ours] {
                    sync(&host, writer);
                    let now = trusted(&host);
                    changes += usize::from(std::mem::replace(&mut last, now.clone()) != now);
                }
            }
            let consented = usize::from(consent.is_some());
            assert!(changes <= consented, "{name}: {changes} changes after they met at call {call}");
            let [ours, theirs] = AUTHORITIES.each_ref().map(|known| BTreeSet::from([known.certificate.fingerprint()]));
            let allowed = match (settled, consent) {
                (false, _) => vec![&ours, &theirs],
                (true, None) => vec![&ours],
                (true, Some(_)) => vec![&theirs],
            };
            assert!(allowed.contains(&&last), "{name}: {last:?} has it after they met at call {call}");
            if !happened {
                assert!(call > 5, "{name}: calls were counted");
                break;
            }
        }
    }
}

/// Who syncs, and with which consent.
fn acts() -> impl Strategy<Value = Vec<(usize, Option<usize>)>> {
    prop::collection::vec((0usize..3, prop::option::of(0usize..3)), 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_change_of_who_delivers_was_asked_for(acts in acts(), daemon in any::<bool>()) {
        let mode = if daemon { Mode::Daemon } else { Mode::Files };
        let host = fresh_host();
        let mut writers = [0, 1, 2].map(|writer| delivery_of(writer, mode));
        let owner = |host: &SimHost| {
            let marker = host.open().bytes(&Path::new(CERTS).join(".dockseal/owner"))?;
            dockseal::api::marker::Marker::parse(&String::from_utf8(marker).unwrap()).writer
        };
        let mut used = BTreeSet::new();
        for (writer, consent) in acts {
            let before = (owner(&host), trusted(&host));
            writers[writer].host.claim.take_from = consent.map(|from| IDS[from].to_owned());
            sync(&host, &mut writers[writer]);
            let after = (owner(&host), trusted(&host));
            if let (Some(before_owner), true) = (&before.0, before != after) {
                prop_assert_eq!(after.0.as_deref(), Some(IDS[writer]));
                prop_assert_eq!(consent.map(|from| IDS[from]), Some(before_owner.as_str()));
                prop_assert!(used.insert((writer, consent)), "a consent counted twice");
            }
        }
    }
}
