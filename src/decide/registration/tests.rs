//! Which step comes next, and which environment is ours: one good baseline, one change, what is decided.

use super::conflict::{Claim, conflict};
use super::deregister::plan_deregistration;
use super::desired::{RegistrationInput, adopted_marker, marker};
use super::find::{FoundEnvironment, find};
use super::*;
use crate::api::condition::Reason;
use crate::api::portainer_client::{Adoption, PortainerClientSpec, TlsVerification};
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{DockerHostCert, DockerHostCertSpec, Kind, Object, ObjectRef, PortainerClient};
use crate::portainer::{Environment, EnvironmentChange, EnvironmentTls, Group, NewTls, Tag};
use k8s_openapi::jiff::SignedDuration;

const HOME: &str = "home";
const TAG: i64 = 3;
const MEDIA: i64 = 4;
const ADOPTED: i64 = 5;
const FOREIGN: i64 = 6;

fn desired() -> DesiredEnvironment {
    DesiredEnvironment {
        client: "portainer".into(),
        marker: mark(),
        name: "pandora".into(),
        host: "pandora.bodkys.house".into(),
        port: 2376,
        public_url: None,
        group: None,
        tags: vec!["media".into()],
        verify_server: true,
        adopt: false,
    }
}

fn mark() -> String {
    marker(&ObjectRef::new(Kind::PortainerClient, HOME, "portainer"), "0123456789abcdef")
}

fn input() -> RegistrationInput {
    RegistrationInput {
        client: "client".into(),
        bundle: "bundle".into(),
        stored: "leaf".into(),
        proof: Proof::Serves("leaf".into()),
    }
}

/// As it is once it was made and proved.
fn environment(id: i64) -> Environment {
    Environment {
        id,
        name: "pandora".into(),
        kind: 1,
        url: "tcp://pandora.bodkys.house:2376".into(),
        public_url: String::new(),
        group_id: 1,
        tag_ids: vec![TAG, MEDIA],
        status: 1,
        tls: EnvironmentTls { on: true, skip_verify: false, has_ca: true, has_cert: true, has_key: true },
    }
}

fn snapshot(environments: Vec<Environment>) -> ServerSnapshot {
    let tag = |id, name: &str| Tag { id, name: name.into() };
    let mut snapshot = ServerSnapshot {
        instance: "server".into(),
        version: "2.33.5".into(),
        groups: vec![Group { id: 1, name: "Unassigned".into() }, Group { id: 7, name: "ops".into() }],
        tags: vec![
            tag(TAG, &mark()),
            tag(MEDIA, "media"),
            tag(ADOPTED, &adopted_marker(&mark())),
            tag(FOREIGN, "dockseal/elsewhere/portainer/ffffffff"),
        ],
        ..ServerSnapshot::default()
    };
    environments.into_iter().for_each(|environment| snapshot.put(environment));
    snapshot
}

fn report(id: i64) -> EnvironmentReport {
    EnvironmentReport {
        portainer_client: "portainer".into(),
        registrar: Registrar::Controller,
        reason: "Registered".into(),
        id: Some(id),
        instance_id: Some("server".into()),
        client_fingerprint: Some("client".into()),
        trust_bundle: Some("bundle".into()),
        proved_fingerprint: Some("leaf".into()),
        ..EnvironmentReport::default()
    }
}

struct Case {
    desired: DesiredEnvironment,
    input: RegistrationInput,
    snapshot: ServerSnapshot,
    report: EnvironmentReport,
}

fn settled() -> Case {
    Case { desired: desired(), input: input(), snapshot: snapshot(vec![environment(9)]), report: report(9) }
}

fn next(change: impl FnOnce(&mut Case)) -> RegistrationStep {
    let mut case = settled();
    change(&mut case);
    plan(&case.desired, HOME, &case.input, &case.snapshot, &case.report)
}

/// Changes the one environment.
fn by_hand(change: impl FnOnce(&mut Environment)) -> impl FnOnce(&mut Case) {
    move |case| change(case.snapshot.environments.get_mut(&9).expect("it is there"))
}

fn upload() -> RegistrationStep {
    let url = Some("tcp://pandora.bodkys.house:2376".into());
    RegistrationStep::Upload(
        9,
        EnvironmentChange { url, tls: Some(NewTls { verify_server: true }), ..EnvironmentChange::default() },
    )
}

fn changed(change: EnvironmentChange) -> RegistrationStep {
    RegistrationStep::Change(9, change)
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    assert_eq!(next(|_| {}), RegistrationStep::Done);
    assert_eq!(next(by_hand(|found| found.url = "https://Pandora.bodkys.house:2376/".into())), RegistrationStep::Done);
    assert_eq!(next(by_hand(|found| found.tag_ids.push(77))), RegistrationStep::Done, "tags of others are theirs");
    assert_eq!(next(by_hand(|found| found.public_url = "by hand".into())), RegistrationStep::Done);
    assert_eq!(next(|case| case.input.proof = Proof::Ask), RegistrationStep::Done);
    assert_eq!(
        next(|case| case.input.stored = "renewed".into()),
        RegistrationStep::Done,
        "dockerd serves the old one on"
    );
}

#[test]
fn what_portainer_holds_is_replaced_where_it_is_not_what_is_wanted() {
    assert_eq!(next(|case| case.input.client = "renewed".into()), upload());
    assert_eq!(next(|case| case.input.bundle = "with another authority".into()), upload());
    assert_eq!(next(|case| case.report.instance_id = Some("another server".into())), upload(), "a restored one");
    assert_eq!(next(|case| case.report = EnvironmentReport::default()), upload(), "found by name and mark");
    assert_eq!(next(|case| case.report.client_fingerprint = None), upload(), "interrupted, or not proved");
    assert_eq!(next(by_hand(|found| found.tls.has_key = false)), upload());
    assert_eq!(next(by_hand(|found| found.tls = EnvironmentTls::default())), upload());
    let moved = EnvironmentChange {
        url: Some("tcp://pandora.bodkys.house:2376".into()),
        tls: Some(NewTls { verify_server: true }),
        ..EnvironmentChange::default()
    };
    assert_eq!(next(by_hand(|found| found.url = "tcp://10.0.0.9:2376".into())), changed(moved.clone()));
    assert_eq!(next(by_hand(|found| found.tls.skip_verify = true)), changed(moved));
    assert_eq!(next(by_hand(|found| (found.tls.skip_verify, found.tls.has_ca) = (true, false))), upload());
}

#[test]
fn what_somebody_edited_is_put_right_and_nothing_else_is_sent() {
    let name = EnvironmentChange { name: Some("pandora".into()), ..EnvironmentChange::default() };
    assert_eq!(next(by_hand(|found| found.name = "renamed".into())), changed(name));
    let tags = EnvironmentChange { tag_ids: Some(vec![77, TAG, MEDIA]), ..EnvironmentChange::default() };
    assert_eq!(next(by_hand(|found| found.tag_ids = vec![77])), changed(tags));
    let group = EnvironmentChange { group_id: Some(7), ..EnvironmentChange::default() };
    assert_eq!(next(|case| case.desired.group = Some("ops".into())), changed(group));
    let public = EnvironmentChange { public_url: Some("pandora".into()), ..EnvironmentChange::default() };
    assert_eq!(next(|case| case.desired.public_url = Some("pandora".into())), changed(public));
}

#[test]
fn a_proof_is_asked_for_where_something_may_have_changed() {
    let prove = RegistrationStep::Prove(9);
    assert_eq!(next(by_hand(|found| found.status = 2)), prove);
    assert_eq!(next(|case| case.input.proof = Proof::Serves("renewed".into())), prove);
    assert_eq!(next(|case| case.report.reason = String::new()), prove);
}

#[test]
fn nothing_is_written_for_a_host_that_does_not_answer_unless_portainer_reached_it() {
    let away = || Proof::Not(RegistrationProblem::new(Reason::HostUnreachable, "it does not answer"));
    let lost = next(|case| (case.input.proof, case.report.reason) = (away(), "HostUnreachable".into()));
    waits(&lost, Reason::HostUnreachable, "does not answer");
    assert_eq!(next(|case| case.input.proof = away()), RegistrationStep::Done, "it is not asked by us alone");
    let renewed = next(|case| (case.input.proof, case.input.client) = (away(), "renewed".into()));
    assert_eq!(renewed, upload());
    let moved = next(|case| (case.input.proof, case.desired.port) = (away(), 2377));
    waits(&moved, Reason::HostUnreachable, "does not answer");
    let exposed = || Proof::Not(RegistrationProblem::new(Reason::ExposedByOthers, "it lets everybody in"));
    let open = next(|case| case.input.proof = exposed());
    waits(&open, Reason::ExposedByOthers, "everybody");
    let open = next(|case| (case.input.proof, case.input.client) = (exposed(), "renewed".into()));
    waits(&open, Reason::ExposedByOthers, "everybody");
}

#[test]
fn an_environment_is_made_after_its_tags_and_only_where_dockerd_is_known_to_serve() {
    let empty = |case: &mut Case| case.snapshot.environments.clear();
    let RegistrationStep::Create(new) = next(empty) else { panic!("it is not made") };
    assert_eq!((new.name.as_str(), new.url.as_str()), ("pandora", "tcp://pandora.bodkys.house:2376"));
    assert_eq!((new.tag_ids, new.group_id, new.verify_server), (vec![TAG, MEDIA], None, true));
    let step = next(|case| (case.snapshot.environments.clear(), case.snapshot.tags.clear()).0);
    assert_eq!(step, RegistrationStep::MakeTags(vec![mark(), "media".into()]));
    let problem = RegistrationProblem::new(Reason::AwaitingServing, "words");
    for proof in [Proof::Not(problem), Proof::Serves("older".into())] {
        let step = next(|case| {
            case.snapshot.environments.clear();
            case.input.proof = proof;
        });
        assert!(
            matches!(&step, RegistrationStep::Wait(problem) if problem.reason == Reason::AwaitingServing),
            "{step:?}"
        );
    }
}

fn waits(step: &RegistrationStep, reason: Reason, words: &str) {
    let RegistrationStep::Wait(problem) = step else { panic!("{step:?}") };
    assert!(problem.reason == reason && problem.message.contains(words), "{problem:?}");
}

#[test]
fn a_group_is_the_only_one_of_its_name() {
    waits(&next(|case| case.desired.group = Some("gone".into())), Reason::GroupNotFound, "no environment group gone");
    let twice = next(|case| {
        case.desired.group = Some("ops".into());
        case.snapshot.groups.push(Group { id: 8, name: "ops".into() });
    });
    waits(&twice, Reason::GroupAmbiguous, "several environment groups ops");
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let foreign = |change: fn(&mut Environment)| {
        next(move |case| {
            case.report = EnvironmentReport::default();
            let environment = case.snapshot.environments.get_mut(&9).expect("it is there");
            environment.tag_ids.clear();
            change(environment);
        })
    };
    waits(&foreign(|_| {}), Reason::NameConflict, "adoption: MatchingURL");
    waits(&foreign(|found| found.kind = 4), Reason::NameConflict, "another kind");
    waits(&foreign(|found| found.url = "tcp://other:2376".into()), Reason::NameConflict, "tcp://other:2376");
    waits(&foreign(|found| found.tag_ids = vec![FOREIGN]), Reason::NameConflict, "dockseal/elsewhere/portainer");
}

#[test]
fn a_name_alone_is_no_claim_whoever_marked_it() {
    // Two hosts were given one name: the second must not take what the first made.
    let elsewhere = next(|case| {
        case.report = EnvironmentReport::default();
        case.snapshot.environments.get_mut(&9).expect("it is there").url = "tcp://attic:2376".into();
    });
    waits(&elsewhere, Reason::NameConflict, "tcp://attic:2376");
    // Another cluster has objects of the same names, and an authority of its own.
    let (other, family) = (77, "dockseal/home/portainer/99999999");
    let foreign = |report: EnvironmentReport| {
        next(move |case| {
            case.snapshot.tags.push(Tag { id: other, name: family.into() });
            case.snapshot.environments.get_mut(&9).expect("it is there").tag_ids = vec![other, MEDIA];
            case.report = report;
        })
    };
    waits(&foreign(EnvironmentReport::default()), Reason::NameConflict, family);
    let RegistrationStep::Change(9, change) = foreign(report(9)) else { panic!("its own, by an authority before") };
    assert_eq!(change.tag_ids, Some(vec![other, MEDIA, TAG]));
}

#[test]
fn what_works_by_a_replaced_authority_is_left_until_dockerd_follows() {
    let replaced = |proof: Proof| {
        next(move |case| {
            case.snapshot.tags.push(Tag { id: 77, name: "dockseal/home/portainer/99999999".into() });
            case.snapshot.environments.get_mut(&9).expect("it is there").tag_ids = vec![77, MEDIA];
            (case.input.client, case.input.bundle) = ("of the new".into(), "of the new".into());
            case.input.proof = proof;
        })
    };
    waits(&replaced(Proof::Serves("older".into())), Reason::AwaitingServing, "serves another certificate");
    assert!(matches!(replaced(Proof::Serves("leaf".into())), RegistrationStep::Upload(9, _)));
}

#[test]
fn nothing_is_taken_over_before_dockerd_serves_what_is_stored() {
    let step = next(|case| {
        (case.desired.adopt, case.report) = (true, EnvironmentReport::default());
        case.snapshot.environments.get_mut(&9).expect("it is there").tag_ids.clear();
        case.input.proof = Proof::Serves("of before".into());
    });
    waits(&step, Reason::AwaitingServing, "serves another certificate");
}

#[test]
fn adoption_takes_over_what_has_the_address_keeps_its_name_and_no_other_kind() {
    let adopting = |change: fn(&mut Environment)| {
        next(move |case| {
            case.desired.adopt = true;
            case.report = EnvironmentReport::default();
            let environment = case.snapshot.environments.get_mut(&9).expect("it is there");
            (environment.name, environment.tag_ids) = ("by hand".into(), vec![77]);
            change(environment);
        })
    };
    let RegistrationStep::Upload(9, change) = adopting(|_| {}) else { panic!("it is not taken over") };
    assert_eq!((change.name, change.tag_ids), (None, Some(vec![77, TAG, ADOPTED, MEDIA])));
    assert!(matches!(adopting(|found| found.kind = 4), RegistrationStep::Create(_)));
    assert!(matches!(adopting(|found| found.tag_ids = vec![FOREIGN]), RegistrationStep::Create(_)));
    waits(&adopting(|found| (found.name, found.kind) = ("pandora".into(), 4)), Reason::NameConflict, "another kind");
    // Once taken over it is known by its marks, whatever its name.
    let known = |report: EnvironmentReport| {
        next(move |case| {
            case.report = report;
            let environment = case.snapshot.environments.get_mut(&9).expect("it is there");
            (environment.name, environment.tag_ids) = ("by hand".into(), vec![TAG, MEDIA, ADOPTED]);
        })
    };
    assert_eq!(known(report(9)), RegistrationStep::Done);
    assert_eq!(known(EnvironmentReport::default()), upload());
    // Its marks were removed by hand: what was reported still says whose it was.
    let bare = next(|case| {
        case.report = EnvironmentReport { adopted: true, ..report(9) };
        let environment = case.snapshot.environments.get_mut(&9).expect("it is there");
        (environment.name, environment.tag_ids) = ("by hand".into(), vec![]);
    });
    let marks = EnvironmentChange { tag_ids: Some(vec![TAG, ADOPTED, MEDIA]), ..EnvironmentChange::default() };
    assert_eq!(bare, changed(marks));
}

#[test]
fn of_several_made_at_a_time_the_lowest_stays_whoever_asks() {
    for known in [report(9), report(12), EnvironmentReport::default()] {
        let step = next(|case| {
            case.snapshot = snapshot(vec![environment(9), environment(12), environment(15)]);
            case.report = known;
        });
        let RegistrationStep::DeleteDuplicates(mut duplicates) = step else { panic!("{step:?}") };
        duplicates.sort_unstable();
        assert_eq!(duplicates, [12, 15]);
    }
    let foreign = Environment { tag_ids: Vec::new(), ..environment(12) };
    assert_eq!(next(|case| case.snapshot.put(foreign)), RegistrationStep::Done, "somebody else's is not touched");
    let adopted = Environment { tag_ids: vec![TAG, ADOPTED], ..environment(12) };
    assert_eq!(next(|case| case.snapshot.put(adopted)), RegistrationStep::Done, "nor what was taken over");
}

#[test]
fn a_number_counts_with_its_server_and_its_mark() {
    let case = settled();
    let found = |snapshot: &ServerSnapshot, report: &EnvironmentReport| {
        let found = find(&case.desired, HOME, snapshot, report);
        matches!(found, Ok(FoundEnvironment::Ours(environment, _)) if environment.id == 9)
    };
    assert!(found(&case.snapshot, &case.report));
    let bare = |name: &str, url: &str| {
        snapshot(vec![Environment { tag_ids: vec![], name: name.into(), url: url.into(), ..environment(9) }])
    };
    let url = "tcp://pandora.bodkys.house:2376";
    assert!(found(&bare("pandora", url), &report(9)), "a mark that was removed by hand is put back");
    assert!(found(&bare("renamed too", url), &report(9)));
    assert!(!found(&bare("pandora", "tcp://other:2376"), &report(9)));
    let elsewhere = EnvironmentReport { instance_id: Some("another".into()), ..report(9) };
    assert!(!found(&bare("pandora", url), &elsewhere));
}

#[test]
fn what_goes_is_removed_or_loses_our_mark_and_nothing_of_others_is_touched() {
    let parting = |delete, environment: Environment| {
        plan_deregistration(
            &DeregisterRequest { desired: desired(), delete },
            HOME,
            &snapshot(vec![environment]),
            &report(9),
        )
    };
    assert_eq!(parting(true, environment(9)), Deregistration::Delete(9));
    assert_eq!(parting(false, environment(9)), Deregistration::Untag(9, vec![MEDIA]));
    let adopted = Environment { tag_ids: vec![77, TAG, ADOPTED], ..environment(9) };
    assert_eq!(parting(true, adopted), Deregistration::Untag(9, vec![77]), "somebody else made it");
    let bare = Environment { tag_ids: vec![MEDIA], ..environment(9) };
    assert_eq!(parting(true, bare), Deregistration::Nothing);
    let other = Environment { name: "other".into(), url: "tcp://other:2376".into(), ..environment(9) };
    assert_eq!(parting(true, other), Deregistration::Nothing, "the number was given to something else");
    let edge = Environment { kind: 4, ..environment(9) };
    assert_eq!(parting(true, edge), Deregistration::Nothing);
    let unknown = |environment: Environment| {
        plan_deregistration(
            &DeregisterRequest { desired: desired(), delete: true },
            HOME,
            &snapshot(vec![environment]),
            &EnvironmentReport::default(),
        )
    };
    assert_eq!(unknown(environment(9)), Deregistration::Delete(9), "it was made, and that was not written down");
    let namesake = Environment { url: "tcp://attic:2376".into(), ..environment(9) };
    assert_eq!(unknown(namesake), Deregistration::Nothing, "another host of the same name");
}

#[test]
fn of_two_clients_of_one_server_the_older_has_the_host() {
    let claim = |client: &str, instance: Option<&str>| Claim {
        client: client.into(),
        created: None,
        instance: instance.map(str::to_owned),
        registered: false,
    };
    let two = [claim("a", Some("server")), claim("b", Some("server")), claim("c", Some("another")), claim("d", None)];
    assert_eq!(conflict("a", &two), None);
    let problem = conflict("b", &two).expect("the second loses");
    assert!(
        problem.reason == Reason::NameConflict && problem.message.contains("PortainerClient a registers"),
        "{problem:?}"
    );
    assert_eq!((conflict("c", &two), conflict("d", &two)), (None, None));
    let held = [claim("a", Some("server")), Claim { registered: true, ..claim("b", Some("server")) }];
    assert_eq!(conflict("b", &held), None, "the one that registered it keeps it");
    assert!(conflict("a", &held).is_some());
}

#[test]
fn an_order_is_what_both_specs_say() {
    let mut client = PortainerClientSpec { host_selector: Some(Default::default()), ..Default::default() };
    client.environment.tags = vec!["home".into(), "media".into(), "dockseal/posing".into()];
    client.environment.group = Some("homelab".into());
    client.environment.tls_verification = TlsVerification::ClientOnly;
    client.adoption = Adoption::MatchingUrl;
    let mut host = DockerHostCertSpec { hostname: Some("pandora.bodkys.house.".into()), ..Default::default() };
    let desired = |client: &PortainerClientSpec, host: &DockerHostCertSpec| {
        let client = Object::from(PortainerClient::new("portainer", client.clone()));
        let host = Object::from(DockerHostCert::new("pandora", host.clone()));
        DesiredEnvironment::of(&client, &host, "0123456789abcdef").expect("an order")
    };
    let first = desired(&client, &host);
    assert_eq!((first.name.as_str(), first.url()), ("pandora", "tcp://pandora.bodkys.house:2376".into()));
    assert_eq!((first.tags, first.group), (vec!["home".into(), "media".into()], Some("homelab".into())));
    assert_eq!(
        (first.verify_server, first.adopt, first.marker.as_str()),
        (false, true, "dockseal/default/portainer/01234567")
    );
    host.portainer = Some(crate::api::docker_host_cert::PortainerEnvironment {
        name: Some("Pandora".into()),
        group: Some("ops".into()),
        tags: vec!["media".into(), "gpu".into()],
        ..Default::default()
    });
    (host.hostname, host.ip_addresses) = (None, vec!["fd00::7".into()]);
    let second = desired(&client, &host);
    assert_eq!((second.name.as_str(), second.url()), ("Pandora", "tcp://[fd00::7]:2376".into()));
    assert_eq!(second.tags, ["gpu", "home", "media"]);
    assert_eq!(second.group.as_deref(), Some("ops"));
}

#[test]
fn tries_come_later_each_time_and_latest_where_each_leaves_a_key() {
    use backoff::{INTERVAL, retry_delay};
    let unreachable = |failures| retry_delay(Reason::EnvironmentUnreachable, failures);
    assert_eq!((unreachable(1), unreachable(2)), (SignedDuration::from_mins(2), SignedDuration::from_mins(4)));
    assert_eq!(unreachable(99), SignedDuration::from_hours(1));
    let visited =
        |id| EnvironmentReport { id, reason: "EnvironmentUnreachable".into(), ..EnvironmentReport::default() };
    assert_eq!(backoff::after_sync(&visited(None), 1), SignedDuration::from_mins(2));
    assert_eq!(backoff::after_sync(&visited(Some(7)), 1), SignedDuration::from_secs(15));
    assert_eq!(retry_delay(Reason::PortainerUnreachable, 99), INTERVAL);
    assert!(retry_delay(Reason::LoginBanned, 1) > SignedDuration::from_hours(1));
}
