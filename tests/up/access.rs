//! How `up` gets into a Portainer: credentials, its certificate, and what it answers to strangers. Nothing secret shows.

use crate::fixture::host;
use crate::fleet::Fleet;
use crate::support::listening::{Listening, listen};
use crate::support::portainer::{ADMIN, Call, Fault, Options};
use dockseal::adapters::random::{quick_key, serial};
use dockseal::pki::lifecycle::dates;
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{LeafProfile, new_authority};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const STATUS: &str = "/api/system/status";

fn logins(fleet: &Fleet) -> usize {
    fleet.portainer.calls().iter().filter(|call| call.is("POST", "/api/auth")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_logs_in_once_for_many_calls() {
    let mut fleet = Fleet::new(&["pandora", "titan", "attic", "cellar"]).await;
    fleet.by_password(ADMIN.0, ADMIN.1);
    let running = fleet.running();
    let all = |fleet: &Fleet| fleet.hosts.iter().all(|(name, _)| fleet.reason(name) == "Registered");
    fleet.fixture.until("all are registered", || all(&fleet)).await;
    for look in 1..=15 {
        let before = fleet.portainer.mark();
        let listed = || fleet.portainer.count_since(before, "GET", "/api/endpoints") > 0;
        fleet.until_later(Duration::from_secs(301), &format!("look {look}"), listed).await;
    }
    assert_eq!(logins(&fleet), 1);
    assert!(fleet.portainer.calls().len() > 30, "{}", fleet.portainer.calls().len());
    drop(running);
}

/// Portainer's tokens die with its process, and it bans who logs in again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_died_is_followed_by_one_login() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    fleet.by_password(ADMIN.0, ADMIN.1);
    let running = fleet.running();
    fleet.fixture.until("it is registered", || fleet.reason("pandora") == "Registered").await;
    let (begun, id) = (Instant::now(), fleet.id("pandora"));
    fleet.portainer.restart().unwrap();
    // No second login within a minute of the first, however often it is looked at.
    while logins(&fleet) == 1 {
        assert!(begun.elapsed() < Duration::from_secs(300), "{}", fleet.fixture.err.text());
        fleet.later(Duration::from_secs(400));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fleet.reason("pandora"), "Registered", "Portainer still reaches the host");
    }
    let calls = fleet.portainer.calls();
    let logins_at: Vec<_> = calls.iter().filter(|call| call.is("POST", "/api/auth")).map(|call| call.began).collect();
    let apart = logins_at[1].duration_since(logins_at[0]);
    assert!(apart > Duration::from_secs(50), "{apart:?}");
    for _ in 0..3 {
        let before = fleet.portainer.mark();
        let listed = || fleet.portainer.count_since(before, "GET", "/api/endpoints") > 0;
        fleet.until_later(Duration::from_secs(400), "it is looked at", listed).await;
    }
    assert_eq!((logins(&fleet), fleet.id("pandora")), (2, id));
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_tried_once_and_again_in_an_hour() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    fleet.by_password(ADMIN.0, "not this password");
    let running = fleet.running();
    fleet.fixture.until("it is refused", || fleet.reason("pandora") == "CredentialsRefused").await;
    for number in 0..6 {
        let other = format!("attic-{number}");
        fleet.later(Duration::from_secs(301));
        // Files that change are a reason to look, and none to log in.
        fleet.fixture.write(&format!("{}{}", fleet.yaml, host(&other, "hostname: attic.lan")));
        fleet
            .fixture
            .until(&other, || fleet.fixture.path(&format!("secrets/default/{other}-docker-host")).exists())
            .await;
    }
    assert_eq!(logins(&fleet), 1);
    assert_eq!(fleet.reason("pandora"), "CredentialsRefused");
    fleet.until_later(Duration::from_secs(3600), "it is tried again", || logins(&fleet) == 2).await;
    fleet.edit("not this password", ADMIN.1);
    fleet.fixture.until("the right one is tried at once", || fleet.reason("pandora") == "Registered").await;
    assert_eq!(logins(&fleet), 3);
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_administrators_or_none_at_all_are_told_apart() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    let (admin, standard) = (fleet.portainer.admin_key().to_owned(), fleet.portainer.add_user("somebody", 2));
    fleet.edit(&admin, &standard);
    fleet.refused(&["NotAdministrator"]).await;
    fleet.edit(&standard, "ptr_nobody");
    fleet.refused(&["CredentialsRefused"]).await;
    fleet.edit("stringData: {apiKey: 'ptr_nobody'}", "stringData: {token: 'ptr_nobody'}");
    fleet.refused(&["CredentialsNotFound"]).await;
    fleet.edit("metadata: {name: portainer-admin}", "metadata: {name: somebody-else}");
    fleet.refused(&["CredentialsNotFound"]).await;
    assert!(!fleet.portainer.calls().iter().any(Call::is_write), "nothing was written");
    fleet.edit("metadata: {name: somebody-else}", "metadata: {name: portainer-admin}");
    fleet.edit("stringData: {token: 'ptr_nobody'}", &format!("stringData: {{apiKey: '{admin}'}}"));
    fleet.ready().await;
    fleet.id("pandora");
}

/// An authority's PEM, and a chain and key for a server of that name.
fn issued(name: &str) -> (String, String, String) {
    let dates = || dates(Timestamp::now(), SignedDuration::from_hours(24), None);
    let authority =
        new_authority(&DistinguishedName::of("Portainer CA"), None, quick_key(), dates(), serial()).unwrap();
    let (usage, key) = (Usage::Server, quick_key());
    let profile =
        LeafProfile { common_name: name.into(), dns_names: vec![name.parse().unwrap()], ip_addresses: vec![], usage };
    let leaf = authority.sign_leaf(&profile, &key, dates(), serial()).unwrap();
    (authority.certificate.to_pem(), leaf.to_pem(), key.to_pem().to_string())
}

fn ca_secret(pem: &str) -> String {
    let lines: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: portainer-ca}}\nstringData:\n  ca.crt: |\n{lines}")
}

#[tokio::test(flavor = "multi_thread")]
async fn portainers_own_certificate_is_verified_by_ca_and_name() {
    let (ca, chain, key) = issued("portainer.example");
    let options = Options { https: Some((chain, key)), ..Options::default() };
    let mut fleet = Fleet::with(&["pandora"], options).await;
    let (other, _, _) = issued("portainer.example");
    let ours = ca_secret(&ca);
    fleet.edit(
        "---\napiVersion: dockseal.dev/v1alpha1\nkind: PortainerClient",
        &format!("{ours}---\napiVersion: dockseal.dev/v1alpha1\nkind: PortainerClient"),
    );
    let by_ca = "caSecretRef: {name: portainer-ca, key: ca.crt}";
    let right = format!("tls: {{{by_ca}, serverName: portainer.example}}");
    fleet.edit("allowHTTP: true", &right);
    for (what, from, to, reason) in [
        ("neither", right.as_str(), "tls: {}", "PortainerNotTrusted"),
        ("another name", "serverName: portainer.example", "serverName: other.example", "PortainerNotTrusted"),
        ("the address as name", ", serverName: portainer.example", "", "PortainerNotTrusted"),
        ("another CA", ours.as_str(), &ca_secret(&other), "PortainerNotTrusted"),
        ("the system's CAs", &format!("{by_ca}, "), "", "PortainerNotTrusted"),
        ("a key that is not there", "key: ca.crt", "key: tls.crt", "CredentialsNotFound"),
    ] {
        let yaml = fleet.yaml.clone();
        fleet.edit(from, to);
        println!("{what}");
        fleet.refused(&[reason]).await;
        fleet.yaml = yaml;
    }
    assert_eq!(fleet.portainer.calls().len(), 0, "no credential was sent");
    fleet.fixture.write(&fleet.yaml);
    fleet.ready().await;
    fleet.id("pandora");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_named_and_tried_again() {
    let fleet = Fleet::new(&["pandora"]).await;
    fleet.portainer.inject_times(usize::MAX, "GET", STATUS, Fault::Status(303));
    fleet.refused(&["PortainerNotInitialised"]).await;
    assert!(fleet.portainer.calls().iter().all(|call| call.is("GET", STATUS)), "no credential was sent");
    fleet.portainer.heal();
    fleet.portainer.stop();
    fleet.refused(&["PortainerUnreachable"]).await;
    fleet.portainer.restart().unwrap();
    fleet.ready().await;
    let id = fleet.id("pandora");
    // Away again: what was proved stands.
    fleet.portainer.stop();
    let ended = fleet.once(Duration::from_secs(2)).await.unwrap();
    assert_eq!(fleet.reason("pandora"), "Registered", "{ended:?}");
    fleet.portainer.restart().unwrap();
    fleet.ready().await;
    assert_eq!(fleet.id("pandora"), id);
}

/// A server in Portainer's place that redirects every request to the real one.
fn elsewhere(to: &str) -> (String, Listening) {
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 303 See Other\r\nlocation: {to}/api/system/status\r\ncontent-length: 0\r\n\r\n");
    let listening = Listening::start(vec![listener], move |mut stream| {
        let answer = answer.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, listening.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    let (url, _listening) = elsewhere(&fleet.portainer.url());
    let portainer = fleet.portainer.url();
    fleet.edit(&portainer, &url);
    fleet.refused(&["PortainerFailed"]).await;
    assert_eq!(fleet.portainer.calls().len(), 0);
}

/// Lines that hold a key, a password or a token.
fn secrets(fleet: &Fleet) -> Vec<String> {
    let mut found = vec![fleet.portainer.admin_key().to_owned(), ADMIN.1.to_owned(), "not this password".to_owned()];
    for (path, print) in fleet.fixture.tree() {
        if path.ends_with("tls.key") {
            let pem = String::from_utf8(print.4).unwrap();
            found.extend(pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
        }
    }
    assert!(found.len() > 8, "the keys of all objects");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_or_kept_in_a_status() {
    let mut fleet = Fleet::new(&["pandora", "titan"]).await;
    let mut said = String::new();
    // What is not Ready takes all of that time; a busy machine needs some of it.
    let mut ran = |fleet: &Fleet, seconds: u64| {
        let output = fleet.program(Duration::from_secs(seconds)).output();
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        for (path, print) in fleet.fixture.tree() {
            if path.starts_with(fleet.fixture.path("status")) {
                said.push_str(&String::from_utf8_lossy(&print.4));
            }
        }
        output.status.code()
    };
    fleet.portainer.inject("POST", "/api/endpoints", Fault::Status(500));
    fleet.portainer.inject("POST", "/api/endpoints", Fault::Cut);
    assert_eq!(ran(&fleet, 10), Some(4));
    std::fs::remove_dir_all(fleet.fixture.path("status")).unwrap();
    assert_eq!(ran(&fleet, 120), Some(0));
    fleet.by_password(ADMIN.0, "not this password");
    assert_eq!(ran(&fleet, 10), Some(4));
    fleet.edit("not this password", ADMIN.1);
    assert_eq!(ran(&fleet, 120), Some(0));
    assert!(said.contains("Registered") && said.contains("CredentialsRefused"), "{said}");
    assert!(!said.contains("PRIVATE KEY") && !said.contains("Bearer"), "{said}");
    for secret in secrets(&fleet) {
        assert!(!said.contains(&secret), "{secret}");
    }
}
