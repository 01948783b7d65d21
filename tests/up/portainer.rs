//! `up` registers what its files select, in the stand-in Portainer: every row of `spec.server` and `spec.environment`.

use crate::fixture::Fixture;
use crate::fleet::{Fleet, material};
use crate::support::docker_like::DockerLike;
use crate::support::dockerd::Dockerd;
use crate::support::portainer::{ADMIN, Call, Fault, Options, Portainer};
use crate::support::ports;
use dockseal::local::UpResult;
use k8s_openapi::jiff::SignedDuration;
use std::time::Duration;

fn writes(calls: &[Call]) -> Vec<String> {
    calls.iter().filter(|call| call.is_write()).map(|call| format!("{} {}", call.method, call.path)).collect()
}

/// The text of an example, with addresses, URL and key of this test.
fn example(portainer: &Portainer, ports: &[(&str, u16)]) -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/portainer.yaml")).unwrap();
    let text = text.replacen("ptr_replace-this", portainer.admin_key(), 1);
    let text =
        text.replacen("url: https://portainer.bodkys.house:9443", &format!("url: '{}'", portainer.url()), 1).replacen(
            "credentialsSecretRef: {name: portainer-admin}",
            "credentialsSecretRef: {name: portainer-admin}\n    allowHTTP: true",
            1,
        );
    ports.iter().fold(text, |text, (name, port)| {
        let hostname = format!("hostname: {name}.bodkys.house\n  address: ");
        assert!(text.contains(&format!("{hostname}{{port: 2376}}")), "{text}");
        text.replacen(&format!("{hostname}{{port: 2376}}"), &format!("{hostname}{{host: 127.0.0.1, port: {port}}}"), 1)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_registers_both_hosts_and_a_second_run_writes_nothing() {
    let portainer = Portainer::start().unwrap();
    let nobody = example(&portainer, &[("atlas", 2376), ("titan", 2376)]);
    let (issued, _) = nobody.rsplit_once("\n---\n").unwrap();
    let fixture = Fixture::new(&format!("{issued}\n"));
    fixture.ready().await;
    let docker = |name: &str| DockerLike::start(&material(&fixture, name)).unwrap();
    let hosts = vec![("atlas".to_owned(), docker("atlas")), ("titan".to_owned(), docker("titan"))];
    let ports = [("atlas", hosts[0].1.address().port()), ("titan", hosts[1].1.address().port())];
    let yaml = example(&portainer, &ports);
    let mut fleet = Fleet::of(fixture, portainer, hosts, yaml);
    fleet.client = "fleet";
    let first = fleet.program(Duration::from_secs(120)).output();
    assert!(first.status.success(), "{first:?}");
    for (name, docker) in &fleet.hosts {
        let id = fleet.id(name);
        let environment = fleet.portainer.environment(id).unwrap();
        assert_eq!((environment.url, environment.kind), (docker.url(), 1));
        let tags = fleet.tags(id);
        assert!(tags[0].starts_with("dockseal/default/fleet/"), "{tags:?}");
        assert_eq!(tags[1..], if name == "titan" { vec!["home", "media"] } else { vec!["home"] });
        fleet.is_reached_with_what_is_stored(name).await;
    }
    let (before, mark) = (fleet.fixture.tree(), fleet.portainer.mark());
    let second = fleet.program(Duration::from_secs(120)).output();
    assert!(second.status.success(), "{second:?}");
    assert_eq!(writes(&fleet.portainer.calls_since(mark)), Vec::<String>::new());
    assert_eq!(fleet.portainer.count_since(mark, "GET", "/api/endpoints"), 1);
    assert_eq!(before, fleet.fixture.tree());
}

#[tokio::test(flavor = "multi_thread")]
async fn group_tags_public_url_and_name_are_the_hosts_own_before_the_clients() {
    let mut fleet = Fleet::new(&["pandora", "titan"]).await;
    let (ops, lab) = (fleet.portainer.add_group("ops"), fleet.portainer.add_group("lab"));
    fleet.edit("environment: {tags: [home]}", "environment: {tags: [home], group: ops}");
    let port = fleet.hosts[0].1.address().port();
    let address = format!("address: {{host: 127.0.0.1, port: {port}}}");
    let own = "portainer: {name: Pandora's box, publicURL: pandora.example, group: lab, tags: [box]}";
    fleet.edit(&address, &format!("{address}, {own}"));
    fleet.ready().await;
    let titan = fleet.portainer.environment(fleet.id("titan")).unwrap();
    assert_eq!((titan.group, titan.public_url.contains("pandora")), (ops, false));
    let found = fleet.portainer.named("Pandora's box");
    assert_eq!((found.len(), fleet.portainer.environments().len()), (1, 2));
    assert_eq!((found[0].group, found[0].public_url.as_str()), (lab, "pandora.example"));
    let tags = fleet.tags(found[0].id);
    assert_eq!((tags.len(), tags[0].as_str(), tags[2].as_str()), (3, "box", "home"), "{tags:?}");
    // Edited, each becomes what it says now, in place; a tag that is no longer named stays.
    fleet.edit(own, "portainer: {name: pandora, publicURL: p.example, group: ops, tags: [crate]}");
    fleet.ready().await;
    let id = fleet.id("pandora");
    let pandora = fleet.portainer.environment(id).unwrap();
    assert_eq!((id, pandora.group, pandora.public_url.as_str()), (found[0].id, ops, "p.example"));
    assert!(fleet.tags(id).contains(&"crate".to_owned()), "{:?}", fleet.tags(id));
    // A group that is not there, and one that is there twice: nothing is made for it.
    let mark = fleet.portainer.mark();
    fleet.edit("group: ops, tags: [crate]", "group: nowhere, tags: [crate]");
    fleet.refused(&["GroupNotFound", "Registered"]).await;
    fleet.portainer.add_group("lab");
    fleet.edit("group: nowhere", "group: lab");
    fleet.refused(&["GroupAmbiguous", "Registered"]).await;
    assert_eq!(writes(&fleet.portainer.calls_since(mark)), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_made_is_taken_over_only_with_consent_and_never_removed() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    let url = fleet.hosts[0].1.url();
    let theirs = fleet.portainer.add_environment("pandora", &url);
    let mark = fleet.portainer.mark();
    fleet.refused(&["NameConflict"]).await;
    assert_eq!(writes(&fleet.portainer.calls_since(mark)), Vec::<String>::new());
    // Under another name, which it keeps.
    fleet.portainer.edit(theirs, |environment| environment.name = "their own name".into());
    fleet.edit(
        "environment: {tags: [home]}",
        "adoption: MatchingURL\n  environment: {tags: [home], deletionPolicy: Delete}",
    );
    fleet.ready().await;
    assert_eq!(fleet.portainer.environments().len(), 1);
    let found = fleet.portainer.environment(theirs).unwrap();
    assert_eq!((found.name.as_str(), found.tls.on), ("their own name", true));
    assert!(fleet.tags(theirs).iter().any(|tag| tag.ends_with("/adopted")), "{:?}", fleet.tags(theirs));
    assert_eq!(fleet.report("pandora")["id"], theirs);
    let mark = fleet.portainer.mark();
    fleet.ready().await;
    assert_eq!(writes(&fleet.portainer.calls_since(mark)), Vec::<String>::new());
    // It leaves: it stays, without our tags.
    fleet.edit("labels: {site: home}", "labels: {site: away}");
    fleet.ready().await;
    assert_eq!((fleet.portainer.environments().len(), fleet.tags(theirs)), (1, vec!["home".to_owned()]));
    // One of another kind is never taken over.
    fleet.portainer.edit(theirs, |environment| environment.kind = 2);
    fleet.portainer.edit(theirs, |environment| environment.name = "pandora".into());
    fleet.edit("labels: {site: away}", "labels: {site: home}");
    fleet.refused(&["NameConflict"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_only_needs_its_acknowledgement() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    fleet.edit("environment: {", "environment: {tlsVerification: ClientOnly, ");
    fleet.refused(&["InvalidSpec"]).await;
    assert_eq!(fleet.portainer.calls().len(), 0);
    fleet.edit("tlsVerification: ClientOnly", "tlsVerification: ClientOnly, acknowledgeUnverifiedServer: true");
    fleet.ready().await;
    let id = fleet.id("pandora");
    let tls = fleet.portainer.environment(id).unwrap().tls;
    assert_eq!((tls.on, tls.skip_verify, tls.ca.as_str()), (true, true, ""));
    assert_eq!(fleet.portainer.tls_file(id, "ca"), None);
    // And back: the files are there before verification is switched on.
    fleet.edit("tlsVerification: ClientOnly, acknowledgeUnverifiedServer: true, ", "");
    fleet.ready().await;
    assert_eq!(fleet.id("pandora"), id);
    assert!(!fleet.portainer.environment(id).unwrap().tls.skip_verify);
    fleet.is_reached_with_what_is_stored("pandora").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_needs_to_be_allowed_before_anything_is_sent() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    fleet.edit(", allowHTTP: true", "");
    fleet.refused(&["InvalidSpec"]).await;
    assert!(fleet.fixture.err.text().contains("allowHTTP"), "{}", fleet.fixture.err.text());
    assert_eq!(fleet.portainer.calls().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_administrator_is_given_one_where_that_is_wanted() {
    let fresh = Options { initialised: false, ..Options::default() };
    let mut fleet = Fleet::with(&["pandora"], fresh).await;
    fleet.by_password(ADMIN.0, ADMIN.1);
    fleet.refused(&["PortainerNotInitialised"]).await;
    assert_eq!(writes(&fleet.portainer.calls()), Vec::<String>::new());
    fleet.edit("allowHTTP: true", "allowHTTP: true, initializeAdmin: true");
    // Too late: it answers 303 to everything.
    fleet.portainer.time_out();
    fleet.refused(&["PortainerNotInitialised"]).await;
    assert_eq!(writes(&fleet.portainer.calls()), Vec::<String>::new());
    fleet.portainer.restart().unwrap();
    fleet.ready().await;
    fleet.id("pandora");
    let mark = fleet.portainer.mark();
    fleet.ready().await;
    assert_eq!(writes(&fleet.portainer.calls_since(mark)), ["POST /api/auth"], "there is one now");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_makes_no_administrator() {
    let fresh = Options { initialised: false, ..Options::default() };
    let mut fleet = Fleet::with(&["pandora"], fresh).await;
    fleet.edit("allowHTTP: true", "allowHTTP: true, initializeAdmin: true");
    fleet.refused(&["NotAdministrator"]).await;
    assert_eq!(writes(&fleet.portainer.calls()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_leaves_the_selector_keeps_its_environment_without_our_tag() {
    let mut fleet = Fleet::new(&["pandora", "titan"]).await;
    let running = fleet.running();
    let both = |fleet: &Fleet| ["pandora", "titan"].iter().all(|name| fleet.reason(name) == "Registered");
    fleet.fixture.until("both are registered", || both(&fleet)).await;
    let (pandora, titan) = (fleet.id("pandora"), fleet.id("titan"));
    let before = fleet.tags(titan);
    fleet.edit("{name: pandora, labels: {site: home}}", "{name: pandora, labels: {site: away}}");
    fleet.fixture.until("it is no longer ours", || fleet.tags(pandora) == ["home"]).await;
    fleet.fixture.until("its status says so", || fleet.report("pandora")["reason"] == "Deregistered").await;
    assert_eq!((fleet.portainer.environments().len(), fleet.tags(titan)), (2, before.clone()));
    fleet.edit("{name: pandora, labels: {site: away}}", "{name: pandora, labels: {site: home}}");
    fleet.fixture.until("it is ours again", || fleet.reason("pandora") == "Registered").await;
    assert_eq!((fleet.id("pandora"), fleet.id("titan")), (pandora, titan));
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_renewed_while_up_runs_is_rotated_in_place() {
    // Three quarters of an hour ago, so that what is renewed now is valid by every clock.
    let mut fleet = Fleet::begun(&["pandora", "titan"], Options::default(), 45 * 60).await;
    fleet.edit("commonName: portainer.lan", "commonName: portainer.lan\n  duration: 1h");
    let running = fleet.running();
    let both = |fleet: &Fleet| ["pandora", "titan"].iter().all(|name| fleet.reason(name) == "Registered");
    fleet.fixture.until("both are registered", || both(&fleet)).await;
    let ids = (fleet.id("pandora"), fleet.id("titan"));
    fleet.asked(ids.0).await;
    let stored = || fleet.fixture.read("secrets/default/portainer-portainer-client/tls.crt");
    let first = stored();
    let mark = fleet.portainer.mark();
    fleet.later(Duration::from_secs(45 * 60));
    fleet.fixture.until("it is renewed", || !stored().is_empty() && stored() != first).await;
    let rotated = |name: &str, id: u64| {
        fleet.portainer.tls_file(id, "cert") == Some(stored())
            && fleet.reason(name) == "Registered"
            && fleet.report(name)["clientFingerprint"].as_str().is_some_and(|known| {
                known == dockseal::pki::Certificate::from_pem(stored().as_bytes()).unwrap().fingerprint()
            })
    };
    fleet.fixture.until("it is rotated", || rotated("pandora", ids.0) && rotated("titan", ids.1)).await;
    assert_eq!((fleet.id("pandora"), fleet.id("titan")), ids);
    assert_eq!(fleet.portainer.count_since(mark, "POST", "/api/endpoints"), 0);
    assert_eq!(fleet.portainer.count_since(mark, "DELETE", "/api/endpoints/*"), 0);
    fleet.is_reached_with_what_is_stored("pandora").await;
    fleet.is_reached_with_what_is_stored("titan").await;
    drop(running);
}

/// Nobody delivers it here: what dockerd serves is asked, and Portainer proved anew when that is another certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_new_certificate_is_proved_as_soon_as_its_dockerd_serves_it() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    let running = fleet.running();
    fleet.fixture.until("it is registered", || fleet.reason("pandora") == "Registered").await;
    let id = fleet.id("pandora");
    let proved = |fleet: &Fleet| fleet.report("pandora")["provedFingerprint"].clone();
    let first = proved(&fleet);
    let stored = |fleet: &Fleet| fleet.fixture.read("secrets/default/pandora-docker-host/tls.crt");
    let old = stored(&fleet);
    fleet.edit("hostname: pandora.lan", "hostname: pandora.example");
    fleet.fixture.until("it is reissued", || !stored(&fleet).is_empty() && stored(&fleet) != old).await;
    let mark = fleet.portainer.mark();
    let looked = || fleet.portainer.count_since(mark, "GET", "/api/endpoints") > 1;
    fleet.until_later(Duration::from_secs(301), "it is looked at", looked).await;
    assert_eq!((proved(&fleet), fleet.id("pandora")), (first.clone(), id), "dockerd serves the old one");
    fleet.hosts[0].1.reload(&material(&fleet.fixture, "pandora")).unwrap();
    fleet.until_later(Duration::from_secs(301), "it is proved", || proved(&fleet) != first).await;
    let leaf = dockseal::pki::Certificate::from_pem(stored(&fleet).as_bytes()).unwrap();
    assert_eq!((proved(&fleet), fleet.id("pandora")), (leaf.fingerprint().into(), id));
    assert_eq!(fleet.portainer.count_since(mark, "POST", "/api/upload/tls/*"), 0, "Portainer's files are the same");
    drop(running);
}

/// A host that does not serve its certificate yet, that is not there, and one that is no host of ours: Portainer, which
/// would keep a private key of each failed creation, is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_asked_before_portainer_is() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    let old = material(&fleet.fixture, "pandora");
    fleet.edit("hostname: pandora.lan", "hostname: pandora.example");
    fleet.refused(&["AwaitingServing"]).await;
    fleet.hosts[0].1.stop();
    fleet.refused(&["HostUnreachable"]).await;
    fleet.hosts[0].1.go_on().unwrap();
    let stranger = Fleet::new(&["pandora"]).await;
    fleet.hosts[0].1.reload(&material(&stranger.fixture, "pandora")).unwrap();
    assert_eq!(fleet.once(Duration::from_secs(2)).await.unwrap(), UpResult::NotReady);
    assert!(["AwaitingServing", "HostUnreachable"].contains(&fleet.reason("pandora").as_str()));
    fleet.hosts[0].1.reload(&old).unwrap();
    fleet.refused(&["AwaitingServing"]).await;
    assert_eq!(writes(&fleet.portainer.calls()), Vec::<String>::new());
    fleet.hosts[0].1.reload(&material(&fleet.fixture, "pandora")).unwrap();
    fleet.ready().await;
    fleet.id("pandora");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_dockerd_is_registered() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    let port = ports::free().unwrap();
    let file = |name: &str| fleet.fixture.path(&format!("secrets/default/pandora-docker-host/{name}"));
    let _dockerd = Dockerd::start_on(port, &file("tls.crt"), &file("tls.key"), &file("ca.crt")).unwrap();
    let like = fleet.hosts[0].1.address().port();
    fleet.hosts[0].1.stop();
    fleet.edit(&format!("port: {like}"), &format!("port: {port}"));
    fleet.ready().await;
    let id = fleet.id("pandora");
    fleet.asked(id).await;
    let first = fleet.portainer.tls_file(id, "cert");
    fleet.edit("commonName: portainer.lan", "commonName: portainer.example");
    fleet.ready().await;
    assert_ne!(fleet.portainer.tls_file(id, "cert"), first);
    assert_eq!(fleet.id("pandora"), id);
    fleet.asked(id).await;
}

/// Registered before, the host is Ready by its status until the rotation has ended.
#[tokio::test(flavor = "multi_thread")]
async fn once_does_not_end_in_the_middle_of_a_slow_rotation() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    fleet.ready().await;
    let id = fleet.id("pandora");
    fleet.edit("commonName: portainer.lan", "commonName: portainer.example");
    fleet.portainer.inject("POST", "/api/upload/tls/cert", Fault::Hang(Duration::from_secs(4)));
    fleet.ready().await;
    assert_eq!(fleet.id("pandora"), id);
    fleet.is_reached_with_what_is_stored("pandora").await;
}

/// Portainer holds the creation of a host that only it does not reach for two minutes: the others' statuses are written
/// long before, and so they are where the time is over first.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_keeps_no_other_from_its_status() {
    let fleet = Fleet::new(&["pandora", "titan", "attic"]).await;
    fleet.portainer.inject("POST", "/api/endpoints", Fault::Hang(Duration::from_secs(600)));
    let ended = fleet.once(Duration::from_secs(20)).await.unwrap();
    assert_eq!(ended, UpResult::NotReady);
    let registered = fleet.hosts.iter().filter(|(name, _)| fleet.reason(name) == "Registered").count();
    assert_eq!((registered, fleet.portainer.environments().len()), (2, 2), "{}", fleet.fixture.out.text());
    // While `up` runs, what hung is noted as soon as it has ended, and nothing is begun twice meanwhile.
    fleet.portainer.reinstall().unwrap();
    let mark = fleet.portainer.mark();
    fleet.portainer.inject("POST", "/api/endpoints", Fault::Hang(Duration::from_secs(4)));
    let running = fleet.running();
    let all = || fleet.hosts.iter().all(|(name, _)| fleet.reason(name) == "Registered" && on_this(&fleet, name));
    fleet.fixture.until("all are registered", all).await;
    assert_eq!(fleet.portainer.count_since(mark, "POST", "/api/endpoints"), 3);
    assert_eq!(fleet.portainer.environments().len(), 3);
    drop(running);
}

/// Its status names the server of now.
fn on_this(fleet: &Fleet, name: &str) -> bool {
    fleet.report(name)["instanceId"] == *fleet.portainer.instance()
}

/// Portainer answers every look, and fails at each change: it is asked again by and by, though nothing else changes, and
/// sooner than the list is looked at anyway.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_fails_again_and_again_is_tried_again() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    fleet.ready().await;
    let id = fleet.id("pandora");
    fleet.portainer.inject_times(usize::MAX, "POST", "/api/upload/tls/*", Fault::Status(403));
    fleet.edit("commonName: portainer.lan", "commonName: portainer.example");
    let mut fixture = fleet.rooms();
    let mut before = SignedDuration::ZERO;
    for _ in 0..3 {
        let mark = fleet.portainer.mark();
        let uploads = || fleet.portainer.count_since(mark, "POST", "/api/upload/tls/*");
        let round = fixture.run_once().await;
        let tried = uploads();
        assert!((1..=6).contains(&tried), "{tried}");
        let wait = fixture.state().clock().now().duration_until(round.requeue_at.expect("it is tried again"));
        println!("tried {tried} times, then a rest of {wait}");
        assert!(wait > before && wait < SignedDuration::from_mins(4), "{wait} after {before}");
        fixture.run_once().await;
        assert_eq!(uploads(), tried, "before its time");
        before = wait;
        fleet.later(Duration::from_secs(wait.as_secs().unsigned_abs() + 1));
    }
    fleet.portainer.heal();
    fixture.run_once().await;
    assert_eq!(fleet.id("pandora"), id);
    fleet.is_reached_with_what_is_stored("pandora").await;
}

/// Switched off for the night: Portainer shows it as down, and is written to no more than before.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_switched_off_costs_no_write() {
    let fleet = Fleet::new(&["pandora", "titan"]).await;
    let running = fleet.running();
    let registered = |name: &str| fleet.reason(name) == "Registered";
    fleet.fixture.until("both are registered", || registered("pandora") && registered("titan")).await;
    let id = fleet.id("pandora");
    fleet.hosts[0].1.stop();
    fleet.portainer.edit(id, |environment| environment.status = 2);
    let mark = fleet.portainer.mark();
    fleet.until_later(Duration::from_secs(301), "it is noticed", || fleet.reason("pandora") == "HostUnreachable").await;
    for _ in 0..4 {
        let mark = fleet.portainer.mark();
        let looked = || fleet.portainer.count_since(mark, "GET", "/api/endpoints") > 0;
        fleet.until_later(Duration::from_secs(301), "it is looked at", looked).await;
    }
    assert_eq!(writes(&fleet.portainer.calls_since(mark)), Vec::<String>::new());
    assert!(registered("titan"));
    fleet.hosts[0].1.go_on().unwrap();
    fleet.until_later(Duration::from_secs(301), "it is back", || registered("pandora")).await;
    assert_eq!(fleet.id("pandora"), id);
    assert_eq!(fleet.portainer.environment(id).unwrap().status, 1, "a snapshot was asked for");
    drop(running);
}
