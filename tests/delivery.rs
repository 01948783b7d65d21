//! The laws of delivery, over a simulation with companions that deliver, fail, wait and say nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod sim;

use dockseal::adapters::store::StoredKind;
use dockseal::api::account::{ObservedResource, ResourceBody, ResourceKey, ResourceKind};
use dockseal::api::assignment::{ENROLLED_ANNOTATION, RESTART_REQUESTED_ANNOTATION};
use dockseal::api::condition::{ConditionType, Reason};
use dockseal::api::reference::DeletionPolicy;
use dockseal::api::status::CompanionStatus;
use dockseal::api::{FINALIZER, FORCE_REMOVE_ANNOTATION, Object, ObjectName, ObjectRef, Spec};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use sim::{
    COMPANIONS, DAY, Interruption, Simulation, authority, days, delivered, delivered_as, homelab, object, settled,
};
use std::collections::{BTreeMap, BTreeSet};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Ready follows the companion, through a renewal as at first.
#[test]
fn ready_follows_what_the_companion_delivers() {
    for mode in ["Files", "Daemon"] {
        let leaf = delivered("pandora", mode);
        let mut sim = settled([authority("1825d"), leaf.clone()]);
        for _ in 0..3 {
            assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotDelivered");
            assert_eq!(sim.says(&leaf.at, ConditionType::Issued), "Issued");
            sim.assert_rests();
            sim.pass(MINUTE);
            sim.deliver(&leaf.at);
            sim.settle();
            assert!(sim.is_ready(&leaf.at), "{:?}", sim.object(&leaf.at));
            sim.assert_sound(&homelab());
            sim.assert_rests();
            sim.pass(days(250));
            sim.settle();
        }
        let own = &sim.object(&leaf.at).previous.conditions;
        assert!(own.iter().all(|known| !["Delivered", "Serving"].contains(&known.type_.as_str())), "they are not ours");
        assert!(sim.store.open().events.iter().all(|(_, reason)| *reason == "Renewal"), "a delivery is no event");
    }
}

#[test]
fn a_companion_that_is_silent_for_ten_minutes_is_told_of_once_and_forgiven_when_it_delivers() {
    let leaf = delivered("pandora", "Files");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    for number in 1..=2 {
        let began = sim.now();
        sim = sim.restarted(); // which forgets nothing of how long it was waited for
        sim.settle();
        sim.jump_to_wake();
        assert!((599..=600).contains(&began.duration_until(sim.now()).as_secs()), "at {}", sim.now());
        sim.settle();
        assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-CompanionSilent");
        sim.assert_rests();
        sim.pass(DAY);
        sim.touch_all();
        sim.settle();
        sim.assert_rests();
        let told = sim.store.open().events.iter().filter(|(_, reason)| *reason == "CompanionSilent").count();
        assert_eq!(told, number);
        sim.deliver(&leaf.at);
        sim.settle();
        assert!(sim.is_ready(&leaf.at));
        sim.edit(&leaf.at, |object| object.generation += 1);
        sim.settle();
        assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotDelivered", "it has not seen this spec yet");
    }
}

#[test]
fn what_the_companion_says_is_wrong_stands_in_ready_and_is_told_once() {
    let leaf = delivered("pandora", "Daemon");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    sim.report(&leaf.at, ConditionType::Delivered, false, Reason::FileConflict);
    sim.settle();
    assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-FileConflict");
    sim.deliver(&leaf.at);
    for reason in [Reason::AwaitingTurn, Reason::RestartPending] {
        sim.report(&leaf.at, ConditionType::Serving, false, reason);
        sim.settle();
        assert_eq!(sim.says(&leaf.at, ConditionType::Ready), format!("-{}", reason.as_str()));
        sim.assert_rests();
    }
    let told: Vec<_> = sim.store.open().events.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(told, ["FileConflict", "RestartPending"], "a turn comes by itself");
}

#[test]
fn a_delivery_without_a_target_is_nobodys_and_says_so() {
    let spec = json!({"caRef": {"name": "homelab"}, "hostname": "pandora", "delivery": {}});
    let leaf = object("DockerHostCert", "pandora", spec);
    let sim = settled([authority("1825d"), leaf.clone()]);
    assert!(sim.is_ready(&leaf.at));
    let object = sim.object(&leaf.at);
    let accepted = object.previous.conditions.iter().find(|known| known.type_ == "Accepted").unwrap();
    assert!(accepted.message.contains("no target"), "{}", accepted.message);
}

fn delivery(object: &mut Object) -> &mut dockseal::api::docker_host_cert::Delivery {
    let Spec::Host(spec) = &mut object.spec else { panic!("a host") };
    object.generation += 1;
    spec.delivery.as_mut().expect("a delivery")
}

fn role(namespace: &str, account: &str) -> ResourceKey {
    ResourceKey::new(ResourceKind::Role, namespace, &format!("dockseal-{account}"))
}

/// Resource and names of every rule of a Role.
fn rules(sim: &Simulation, key: &ResourceKey) -> Vec<(String, Vec<String>)> {
    let part = sim.store.open().parts.get(key).cloned();
    let Some(ResourceBody::Role(rules)) = part.map(|part| part.body) else { return Vec::new() };
    let rule = |rule: k8s_openapi::api::rbac::v1::PolicyRule| {
        (rule.resources.unwrap().join(","), rule.resource_names.expect("a rule without names is for all"))
    };
    rules.into_iter().map(rule).collect()
}

/// What everything that accounts are made of says, without versions.
fn bodies(sim: &Simulation) -> BTreeMap<ResourceKey, (Option<String>, bool, String)> {
    let tables = sim.store.open();
    let body = |part: &ObservedResource| (part.owner.clone(), part.labelled, format!("{:?}", part.body));
    tables.parts.iter().map(|(key, part)| (key.clone(), body(part))).collect()
}

fn reasons(sim: &Simulation) -> Vec<&'static str> {
    sim.store.open().events.iter().map(|(_, reason)| *reason).collect()
}

#[test]
fn an_account_has_exactly_the_rights_that_it_needs_and_is_gone_with_its_last_host() {
    let leaf = delivered("pandora", "Files");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        rules(&sim, &role("home", "node-pandora")),
        [
            ("secrets".to_owned(), names(&["pandora-docker-host"])),
            ("dockerhostcerts/status".to_owned(), names(&["pandora"])),
        ]
    );
    assert_eq!(rules(&sim, &role(COMPANIONS, "node-pandora")), [("configmaps".to_owned(), names(&["node-pandora"]))]);
    let mint = role(COMPANIONS, "companion-mint");
    assert_eq!(rules(&sim, &mint), [("serviceaccounts/token".to_owned(), names(&["node-pandora"]))]);
    let assigned = sim.assignment("node-pandora").unwrap();
    assert_eq!((assigned.hosts.len(), assigned.hosts[0].port, assigned.hosts[0].generation), (1, 2376, 1));
    sim.edit(&leaf.at, |object| {
        drop(object.annotations.insert(RESTART_REQUESTED_ANNOTATION.into(), "2026-11-22T10:00:00Z".into()));
    });
    sim.settle();
    let assigned = sim.assignment("node-pandora").unwrap();
    assert_eq!(assigned.hosts[0].restart_requested_at.as_deref(), Some("2026-11-22T10:00:00Z"));
    sim.deliver(&leaf.at);
    sim.settle();
    sim.assert_rests();
    sim.delete(&leaf.at);
    sim.settle();
    assert_eq!(bodies(&sim), BTreeMap::new());
    assert_eq!(reasons(&sim), ["Retained"]);
    let log = sim.store.open().log.clone();
    let last = |word: &str| log.iter().rposition(|write| write.contains(word)).expect(word);
    assert!(last("discard Role home") < last("discard ConfigMap"), "rights go first: {log:?}");
    assert!(last("discard ConfigMap") < last("discard ServiceAccount"));
}

#[test]
fn a_secret_of_somebody_else_is_never_readable_by_bearing_the_name_that_a_host_wants() {
    let mut sim = Simulation::of([authority("1825d")]);
    let leaf = delivered("pandora", "Files");
    sim.store.put(StoredKind::Secrets, &leaf.secret(), None, Default::default());
    sim.apply(leaf.clone());
    sim.settle();
    assert_eq!(sim.says(&leaf.at, ConditionType::Issued), "-SecretConflict");
    let readable =
        |sim: &Simulation| rules(sim, &role("home", "node-pandora")).iter().any(|(what, _)| what == "secrets");
    assert!(!readable(&sim));
    sim.store.open().things.remove(&(StoredKind::Secrets, leaf.secret()));
    sim.jump_to_wake();
    sim.settle();
    assert!(readable(&sim), "its own is");
    sim.store.meddle(StoredKind::Secrets, &leaf.secret(), |stored| (stored.owner, stored.labelled) = (None, false));
    sim.touch_all();
    sim.settle();
    assert!(!readable(&sim), "somebody took the name over");
}

#[test]
fn an_enrolled_host_has_an_account_while_it_is_enrolled() {
    let leaf = delivered_as("nas", json!({"target": "Enrolled"}));
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotEnrolled");
    assert_eq!(bodies(&sim), BTreeMap::new());
    for _ in 0..2 {
        sim.edit(&leaf.at, |object| drop(object.annotations.insert(ENROLLED_ANNOTATION.into(), "now".into())));
        sim.settle();
        assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotDelivered");
        let own = rules(&sim, &role(COMPANIONS, "host-home.nas"));
        assert_eq!(
            own.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(),
            ["configmaps", "serviceaccounts/token"]
        );
        assert_eq!(rules(&sim, &role(COMPANIONS, "companion-mint")), [], "the DaemonSet mints for nodes alone");
        sim.assert_rests();
        sim.edit(&leaf.at, |object| drop(object.annotations.remove(ENROLLED_ANNOTATION)));
        sim.settle();
        assert_eq!(bodies(&sim), BTreeMap::new());
        assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotEnrolled");
    }
}

#[test]
fn an_object_that_moves_leaves_its_old_node_before_it_reaches_the_new_one() {
    let leaf = delivered("pandora", "Files");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    sim.deliver(&leaf.at);
    sim.settle();
    let before = sim.store.open().log.len();
    sim.edit(&leaf.at, |object| delivery(object).node_name = Some("attic".into()));
    sim.settle();
    let log = sim.store.open().log[before..].to_vec();
    let place =
        |word: &str| log.iter().position(|write| write.contains(word)).unwrap_or_else(|| panic!("{word} in {log:?}"));
    assert!(place("discard RoleBinding home/dockseal-node-pandora") < place("make Role home/dockseal-node-attic"));
    assert!(place("discard Role home/dockseal-node-pandora") < place("make Role home/dockseal-node-attic"));
    assert!(sim.assignment("node-pandora").is_none());
    assert_eq!(sim.assignment("node-attic").unwrap().hosts[0].name, "pandora");
    assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotDelivered", "what is on the old node does not count");
    assert_eq!(reasons(&sim), ["Retained"]);
    sim.deliver(&leaf.at);
    sim.settle();
    assert!(sim.is_ready(&leaf.at));
    sim.assert_rests();
}

#[test]
fn two_objects_that_want_one_node_leave_it_to_one_and_take_turns_only_when_it_goes() {
    let on = |name: &str, mode: &str, directory: &str| {
        delivered_as(name, json!({"target": "Node", "nodeName": "pandora", "mode": mode, "directory": directory}))
    };
    let (first, second) = (on("a", "Daemon", "/etc/docker/certs/a"), on("b", "Daemon", "/etc/docker/certs/b"));
    for order in [[&first, &second], [&second, &first]] {
        let mut sim = settled([authority("1825d"), order[0].clone()]);
        sim.apply(order[1].clone());
        sim.settle();
        sim.deliver(&order[0].at);
        sim.settle();
        assert!(sim.is_ready(&order[0].at), "whoever is named has it");
        assert_eq!(sim.says(&order[1].at, ConditionType::Ready), "-HostConflict");
        let told = |sim: &Simulation| {
            let hosts = sim.assignment("node-pandora").unwrap().hosts;
            hosts.into_iter().map(|host| host.name).collect::<Vec<_>>()
        };
        assert_eq!(told(&sim), [order[0].at.name.to_string()]);
        assert_eq!(reasons(&sim).iter().filter(|reason| **reason == "HostConflict").count(), 1);
        sim = sim.restarted();
        sim.settle();
        sim.assert_rests();
        assert_eq!(told(&sim), [order[0].at.name.to_string()], "a restart changes nothing");
        // In mode Files there is no conflict, and with the other's end there is none either.
        sim.edit(&order[1].at, |object| delivery(object).mode = dockseal::api::docker_host_cert::Mode::Files);
        sim.settle();
        assert_eq!(told(&sim), ["a", "b"]);
        sim.edit(&order[1].at, |object| delivery(object).mode = dockseal::api::docker_host_cert::Mode::Daemon);
        sim.settle();
        assert_eq!(sim.says(&order[1].at, ConditionType::Ready), "-HostConflict");
        sim.delete(&order[0].at);
        sim.settle();
        assert_eq!(told(&sim), [order[1].at.name.to_string()]);
        assert_eq!(sim.says(&order[1].at, ConditionType::Ready), "-NotDelivered");
        sim.assert_rests();
    }
}

#[test]
fn what_bears_an_accounts_name_and_is_somebody_elses_stays_and_gets_no_rights() {
    let leaf = delivered("pandora", "Files");
    let whole = bodies(&settled([authority("1825d"), leaf.clone()]));
    for key in whole.keys().filter(|key| key.account() == Some("node-pandora")) {
        for labelled in [false, true] {
            let theirs = ObservedResource {
                version: String::new(),
                owner: None,
                labelled,
                body: ResourceBody::ConfigMap(BTreeMap::from([("theirs".into(), "yes".into())])),
            };
            let mut sim = settled([authority("1825d")]);
            sim.edit_part(key, |_| Some(theirs.clone()));
            sim.apply(leaf.clone());
            sim.settle();
            assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-AccountConflict", "{key}");
            assert_eq!(sim.store.open().parts[key].body, theirs.body);
            if key.kind == ResourceKind::ServiceAccount {
                assert_eq!(rules(&sim, &role("home", "node-pandora")), [], "a stranger gets no rights");
            }
            sim.touch_all();
            sim.settle();
            assert_eq!(reasons(&sim), ["AccountConflict"], "it is told once");
            // Nothing watches what has no label: it is checked again later.
            sim.store.meddle_part(key, |_| None);
            if labelled {
                sim.edit_part(key, |_| None);
            }
            sim.pass(SignedDuration::from_mins(2));
            sim.settle();
            assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotDelivered", "{key} labelled {labelled}");
            assert_eq!(bodies(&sim), whole);
            sim.assert_rests();
        }
    }
}

#[test]
fn drift_is_put_right_and_writes_nothing_else() {
    let leaf = delivered("pandora", "Files");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    let whole = bodies(&sim);
    for key in whole.keys() {
        let edits: [fn(Option<ObservedResource>) -> Option<ObservedResource>; 3] = [
            |_| None,
            |part| part.map(|part| ObservedResource { labelled: false, ..part }),
            |part| {
                part.map(|mut part| {
                    match &mut part.body {
                        ResourceBody::ServiceAccount { automount } => *automount = None,
                        ResourceBody::ConfigMap(data) => {
                            drop(data.insert("assignment.json".into(), "{\"hosts\":[]}".into()))
                        }
                        ResourceBody::Role(rules) => rules.iter_mut().for_each(|rule| rule.verbs.push("*".into())),
                        ResourceBody::RoleBinding(role, _) => role.name = "cluster-admin".into(),
                    }
                    part
                })
            },
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            let before = sim.store.open().log.len();
            sim.edit_part(key, edit);
            sim.settle();
            assert_eq!(bodies(&sim), whole, "{key}, edit {number}");
            let about = |write: &&String| write.contains(&key.to_string());
            let log = sim.store.open().log[before..].to_vec();
            assert_eq!(log.iter().filter(about).count(), log.len(), "{log:?}");
            sim.assert_rests();
        }
    }
}

#[test]
fn what_no_longer_applies_is_taken_back_from_what_the_companion_reported() {
    let leaf = delivered("pandora", "Daemon");
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    sim.deliver(&leaf.at);
    sim.settle();
    sim.edit(&leaf.at, |object| delivery(object).mode = dockseal::api::docker_host_cert::Mode::Files);
    sim.settle();
    let companion = sim.object(&leaf.at).companion;
    assert!(companion.condition(ConditionType::Serving).is_none() && companion.host.served_fingerprint.is_none());
    assert!(companion.condition(ConditionType::Delivered).is_some());
    sim.assert_rests();
    sim.edit(&leaf.at, |object| {
        let Spec::Host(spec) = &mut object.spec else { panic!("a host") };
        (spec.delivery, object.generation) = (None, object.generation + 1);
    });
    sim.settle();
    assert_eq!(sim.object(&leaf.at).companion, CompanionStatus::default());
    assert!(sim.is_ready(&leaf.at));
    assert_eq!(bodies(&sim), BTreeMap::new());
    sim.assert_rests();
}

/// A host whose delivery, and perhaps its Secret, is deleted with it; delivered and Ready.
fn to_be_removed(secret: DeletionPolicy) -> (Simulation, ObjectRef) {
    let delivery = json!({"target": "Node", "nodeName": "pandora", "mode": "Daemon", "deletionPolicy": "Delete"});
    let mut leaf = delivered_as("pandora", delivery);
    let Spec::Host(spec) = &mut leaf.spec else { panic!("a host") };
    spec.secret_deletion_policy = secret;
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    sim.deliver(&leaf.at);
    sim.settle();
    assert!(sim.is_ready(&leaf.at));
    assert_eq!(sim.object(&leaf.at).finalizers, [FINALIZER]);
    sim.assert_rests();
    (sim, leaf.at)
}

#[test]
fn what_was_delivered_goes_first_then_the_secret_then_the_object() {
    for policy in [DeletionPolicy::Retain, DeletionPolicy::Delete] {
        let (mut sim, at) = to_be_removed(policy);
        let secret = sim.object(&at).secret();
        sim.delete(&at);
        sim.settle();
        let assigned = sim.assignment("node-pandora").unwrap();
        assert!(assigned.hosts[0].removing && assigned.hosts[0].generation == 2);
        assert_eq!(sim.says(&at, ConditionType::Ready), "-Removing");
        assert!(sim.secret(&secret).is_some());
        assert!(!rules(&sim, &role("home", "node-pandora")).is_empty(), "it still reports");
        sim.assert_rests();
        sim.pass(SignedDuration::from_hours(23));
        sim.settle();
        sim.report(&at, ConditionType::Delivered, false, Reason::Removed);
        sim.settle();
        assert!(!sim.store.open().objects.contains_key(&at), "it is gone");
        assert_eq!(sim.secret(&secret).is_some(), policy == DeletionPolicy::Retain);
        assert_eq!(bodies(&sim), BTreeMap::new());
        assert_eq!(reasons(&sim), [] as [&str; 0]);
    }
}

#[test]
fn a_finalizer_lets_go_after_a_day_or_at_once_where_that_is_asked_for_and_says_so() {
    for forced in [false, true] {
        let (mut sim, at) = to_be_removed(DeletionPolicy::Delete);
        sim.delete(&at);
        sim.settle();
        match forced {
            true => {
                sim.edit(&at, |object| drop(object.annotations.insert(FORCE_REMOVE_ANNOTATION.into(), "true".into())))
            }
            false => sim.pass(DAY),
        }
        sim.settle();
        assert!(!sim.store.open().objects.contains_key(&at), "it is gone");
        assert_eq!(reasons(&sim), ["FinalizerForced"]);
        assert_eq!(bodies(&sim), BTreeMap::new());
    }
}

#[test]
fn nobody_waits_for_a_companion_that_was_never_there() {
    let delivery = json!({"target": "Node", "nodeName": "typo", "deletionPolicy": "Delete"});
    let leaf = delivered_as("pandora", delivery);
    let mut sim = settled([authority("1825d"), leaf.clone()]);
    sim.delete(&leaf.at);
    sim.settle();
    assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-Removing");
    sim.pass(SignedDuration::from_mins(10));
    sim.settle();
    assert!(!sim.store.open().objects.contains_key(&leaf.at), "it is gone");
    assert_eq!(reasons(&sim), [] as [&str; 0]);
}

#[test]
fn a_namespace_that_is_going_holds_up_no_other_and_its_finalizers_let_go() {
    let beside = |mut object: Object| {
        object.at = ObjectRef::new(object.at.kind, "lab", &object.at.name);
        object
    };
    let on = |name: &str| json!({"target": "Node", "nodeName": "pandora", "deletionPolicy": "Delete", "directory": format!("/etc/docker/certs/{name}")});
    let (here, there) = (delivered_as("here", on("here")), beside(delivered_as("there", on("there"))));
    let mut sim = settled([authority("1825d"), beside(authority("1825d")), there.clone()]);
    sim.deliver(&there.at);
    sim.settle();
    assert!(sim.is_ready(&there.at));
    sim.delete(&there.at);
    sim.store.open().going = Some("lab".into());
    for kind in [ResourceKind::Role, ResourceKind::RoleBinding] {
        let key = ResourceKey::new(kind, "lab", "dockseal-node-pandora");
        sim.edit_part(&key, |_| None);
    }
    sim.settle();
    assert!(sim.assignment("node-pandora").unwrap().hosts[0].removing, "its companion is told all the same");
    sim.apply(here.clone());
    sim.settle();
    assert_eq!(sim.says(&here.at, ConditionType::Ready), "-NotDelivered");
    sim.deliver(&here.at);
    sim.settle();
    assert!(sim.is_ready(&here.at));
    assert_eq!(sim.says(&there.at, ConditionType::Ready), "-Removing");
    for _ in 0..11 {
        sim.pass(MINUTE);
        sim.settle();
    }
    assert!(!sim.store.open().objects.contains_key(&there.at), "it is gone");
    assert_eq!(reasons(&sim), ["FinalizerForced"]);
    sim.assert_rests();
}

#[test]
fn what_cannot_be_written_again_and_again_is_told_to_those_who_need_it() {
    let leaf = delivered("pandora", "Files");
    let mut sim = settled([authority("1825d")]);
    sim.store.open().going = Some("home".into());
    sim.apply(leaf.clone());
    sim.settle();
    assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-StoreFailed");
    assert_eq!(reasons(&sim), ["StoreFailed"]);
    sim.store.open().going = None;
    sim.pass(MINUTE);
    sim.settle();
    assert_eq!(sim.says(&leaf.at, ConditionType::Ready), "-NotDelivered");
    sim.assert_rests();
}

/// The turns that are in assignments, as their companions see them.
fn turns(sim: &Simulation, hosts: &[ObjectRef]) -> Vec<(ObjectRef, Timestamp)> {
    let accounts: BTreeSet<String> = hosts.iter().filter_map(|at| sim.object(at).account()).collect();
    let assigned = accounts.iter().filter_map(|account| sim.assignment(account));
    let hosts = assigned.flat_map(|assignment| assignment.hosts);
    hosts.filter_map(|host| Some((host.object(), host.turn?))).collect()
}

fn fleet(count: usize) -> (Simulation, Vec<ObjectRef>) {
    let hosts: Vec<_> = (0..count).map(|number| delivered(&format!("host-{number}"), "Daemon")).collect();
    let ats: Vec<_> = hosts.iter().map(|host| host.at.clone()).collect();
    let mut sim = settled(std::iter::once(authority("1825d")).chain(hosts));
    ats.iter().for_each(|at| sim.deliver(at));
    sim.settle();
    (sim, ats)
}

/// All wait for a turn; some use it, some fail, some say nothing at all, and the controller is restarted in between.
#[test]
fn never_two_have_a_turn_and_everybody_gets_one() {
    let (mut sim, hosts) = fleet(12);
    for at in &hosts {
        sim.pass(SignedDuration::from_secs(1));
        sim.report(at, ConditionType::Serving, false, Reason::AwaitingTurn);
    }
    let mut served = Vec::new();
    for round in 0..200 {
        sim.settle();
        let now = turns(&sim, &hosts);
        assert!(now.len() <= 1, "two at a time: {now:?}");
        sim.assert_rests();
        if round % 3 == 2 {
            sim = sim.restarted();
            sim.settle();
            assert_eq!(turns(&sim, &hosts), now, "a restart grants and takes nothing");
        }
        let Some((at, end)) = now.into_iter().next() else {
            match hosts.iter().all(|at| sim.is_ready(at) || sim.says(at, ConditionType::Ready) == "-RolledBack") {
                true => break,
                false => panic!("somebody waits and nobody has a turn"),
            }
        };
        assert!(sim.now() < end && end <= sim.now().saturating_add(SignedDuration::from_mins(10)).unwrap());
        let again = served.contains(&at);
        served.push(at.clone());
        match (served.len() % 4, again) {
            (0, false) => {
                // It says nothing: the turn ends by itself, and it goes to the end of the line.
                let others =
                    hosts.iter().any(|other| *other != at && sim.says(other, ConditionType::Ready) == "-AwaitingTurn");
                sim.jump(end.saturating_add(SignedDuration::from_secs(59)).unwrap());
                sim.settle();
                assert_eq!(turns(&sim, &hosts).len(), 1, "a restart may have begun at the very end");
                sim.pass(SignedDuration::from_secs(1));
                sim.settle();
                let next = turns(&sim, &hosts);
                assert!(!others || next.iter().all(|(next, _)| *next != at), "another comes first");
            }
            (1, _) => sim.report(&at, ConditionType::Serving, false, Reason::RolledBack),
            _ => sim.deliver(&at),
        }
    }
    let had: BTreeSet<_> = served.iter().collect();
    assert_eq!(had.len(), hosts.len(), "everybody got one");
    assert_eq!(served[0], hosts[0], "the one that waited longest first");
}

#[test]
fn hosts_of_two_authorities_do_not_wait_for_each_other() {
    let other = object("DockerCA", "other", json!({"subject": {"commonName": "Other CA"}}));
    let mut hosts = [delivered("one", "Daemon"), delivered("two", "Daemon")];
    let Spec::Host(spec) = &mut hosts[1].spec else { panic!("a host") };
    spec.ca_ref.name = "other".into();
    let ats = hosts.each_ref().map(|host| host.at.clone());
    let mut sim = settled([authority("1825d"), other].into_iter().chain(hosts));
    for at in &ats {
        sim.report(at, ConditionType::Serving, false, Reason::AwaitingTurn);
    }
    sim.settle();
    assert_eq!(turns(&sim, &ats).len(), 2);
}

/// One write fails, or succeeds and nobody says so, anywhere in the life of a few hosts: in the end all is as without.
#[test]
fn accounts_are_right_however_a_write_is_cut_off() {
    let life = |fault: Option<(usize, Interruption)>, restart: bool| {
        let (one, two) = (delivered("one", "Daemon"), delivered("two", "Daemon"));
        let mut sim = Simulation::of([authority("1825d"), one.clone(), two.clone()]);
        sim.store.open().fault = fault;
        sim.settle();
        let ats = [one.at.clone(), two.at.clone()];
        for at in &ats {
            sim.deliver(at);
            sim.report(at, ConditionType::Serving, false, Reason::AwaitingTurn);
        }
        for _ in 0..2 {
            sim.settle();
            if restart {
                sim = sim.restarted();
                sim.settle();
            }
            let now = turns(&sim, &ats);
            assert_eq!(now.len(), 1, "{fault:?}");
            sim.deliver(&now[0].0);
        }
        sim.edit(&one.at, |object| delivery(object).node_name = Some("attic".into()));
        sim.settle();
        sim.delete(&two.at);
        sim.settle();
        if restart {
            sim = sim.restarted();
            sim.settle();
        }
        sim.touch_all();
        sim.settle();
        let writes = sim.store.open().log.len();
        sim.assert_rests();
        (bodies(&sim), writes)
    };
    let (undisturbed, writes) = life(None, false);
    assert_eq!(undisturbed.len(), 7, "attic's account and the mint");
    for nth in 0..writes {
        for cut in [Interruption::Before, Interruption::After] {
            for restart in [false, true] {
                assert_eq!(
                    life(Some((nth, cut)), restart).0,
                    undisturbed,
                    "write {nth} cut off {cut:?}, restart {restart}"
                );
            }
        }
    }
}

/// A user edits, moves and deletes, and objects drift; the rest is as if it had begun with what is left.
#[derive(Clone, Debug)]
enum Act {
    Move(usize, usize),
    Mode(usize, bool),
    Directory(usize, usize),
    Drop(usize),
    Delete(usize),
    Deliver(usize),
    Await(usize),
    Drift(usize, bool),
    Pass(i64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0usize..4, 0usize..3).prop_map(|(host, node)| Act::Move(host, node)),
        (0usize..4, prop::bool::ANY).prop_map(|(host, daemon)| Act::Mode(host, daemon)),
        (0usize..4, 0usize..3).prop_map(|(host, directory)| Act::Directory(host, directory)),
        (0usize..4).prop_map(Act::Drop),
        (0usize..4).prop_map(Act::Delete),
        (0usize..4).prop_map(Act::Deliver),
        (0usize..4).prop_map(Act::Await),
        (0usize..20, prop::bool::ANY).prop_map(|(part, gone)| Act::Drift(part, gone)),
        (1i64..2000).prop_map(Act::Pass),
        Just(Act::Restart),
    ]
}

fn perform(sim: &mut Simulation, act: &Act, hosts: &[ObjectRef]) {
    let there = |host: &usize, sim: &Simulation| {
        let at = hosts[*host].clone();
        let object = sim.store.open().objects.get(&at).cloned();
        object.filter(|object| object.delivery().is_some()).map(|_| at)
    };
    let certs = |number: &usize| format!("/etc/docker/certs/{number}");
    match act {
        Act::Move(host, node) => there(host, sim).into_iter().for_each(|at| {
            sim.edit(&at, |object| delivery(object).node_name = Some(ObjectName::joined(&format!("node-{node}"))));
        }),
        Act::Mode(host, daemon) => there(host, sim).into_iter().for_each(|at| {
            use dockseal::api::docker_host_cert::Mode::{Daemon, Files};
            sim.edit(&at, |object| delivery(object).mode = if *daemon { Daemon } else { Files });
        }),
        Act::Directory(host, number) => there(host, sim).into_iter().for_each(|at| {
            sim.edit(&at, |object| delivery(object).directory = certs(number));
        }),
        Act::Drop(host) => there(host, sim).into_iter().for_each(|at| {
            sim.edit(&at, |object| {
                let Spec::Host(spec) = &mut object.spec else { panic!("a host") };
                (spec.delivery, object.generation) = (None, object.generation + 1);
            });
        }),
        Act::Delete(host) => there(host, sim).into_iter().for_each(|at| sim.delete(&at)),
        Act::Deliver(host) => there(host, sim).into_iter().for_each(|at| sim.deliver(&at)),
        Act::Await(host) => there(host, sim).into_iter().for_each(|at| {
            sim.deliver(&at);
            sim.report(&at, ConditionType::Serving, false, Reason::AwaitingTurn);
        }),
        Act::Drift(number, gone) => {
            let key = sim.store.open().parts.keys().nth(*number).cloned();
            let edit = |part: Option<ObservedResource>| {
                part.filter(|_| !gone).map(|part| ObservedResource { labelled: false, ..part })
            };
            key.into_iter().for_each(|key| sim.edit_part(&key, edit));
        }
        Act::Pass(seconds) => sim.pass(SignedDuration::from_secs(*seconds)),
        Act::Restart => *sim = std::mem::replace(sim, Simulation::of([])).restarted(),
    }
    sim.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_rights_are_those_of_the_assignments_and_of_nobody_else(acts in prop::collection::vec(act(), 1..14)) {
        let objects: Vec<_> = (0..4).map(|number| {
            let delivery = json!({"target": "Node", "nodeName": format!("node-{}", number % 3), "mode": "Daemon"});
            delivered_as(&format!("host-{number}"), delivery)
        }).collect();
        let hosts: Vec<_> = objects.iter().map(|object| object.at.clone()).collect();
        let mut sim = settled(std::iter::once(authority("1825d")).chain(objects));
        for act in &acts {
            perform(&mut sim, act, &hosts);
            assert_lawful(&sim, &hosts);
            sim.assert_rests();
        }
    }
}

/// Every right stands in an assignment, nobody is told to two, and two have neither one daemon, one directory nor a
/// turn.
fn assert_lawful(sim: &Simulation, hosts: &[ObjectRef]) {
    let keys: Vec<ResourceKey> = sim.store.open().parts.keys().cloned().collect();
    let accounts: BTreeSet<String> = keys.iter().filter_map(|key| key.account()).map(str::to_owned).collect();
    let (mut told, mut turns) = (BTreeSet::new(), 0);
    for account in accounts.iter().filter(|account| *account != "companion-mint") {
        let assigned = sim.assignment(account).unwrap_or_default().hosts;
        let (mut directories, mut daemons) = (BTreeSet::new(), 0);
        for host in &assigned {
            assert!(told.insert(host.object()), "{} is told to two", host.object());
            assert!(directories.insert(&host.delivery.directory), "{account}: two in one directory");
            daemons += usize::from(host.delivery.mode == dockseal::api::docker_host_cert::Mode::Daemon);
            turns += usize::from(host.turn.is_some());
            assert_eq!(sim.object(&host.object()).account().as_deref(), Some(account.as_str()));
        }
        assert!(daemons <= 1, "{account}: two have the daemon");
        let named: BTreeSet<&str> = assigned.iter().map(|host| &*host.name).collect();
        let rules = rules(sim, &role("home", account));
        let may: Vec<_> =
            rules.iter().filter(|(what, _)| what == "dockerhostcerts/status").flat_map(|(_, names)| names).collect();
        assert_eq!(may.into_iter().map(String::as_str).collect::<BTreeSet<_>>(), named, "{account}");
    }
    assert!(turns <= 1);
    for at in hosts {
        let Some(object) = sim.store.open().objects.get(at).cloned() else { continue };
        let waits = object.delivery().is_some() && sim.says(at, ConditionType::Ready) != "-HostConflict";
        assert_eq!(told.contains(at), waits, "{at}: {}", sim.says(at, ConditionType::Ready));
    }
}
