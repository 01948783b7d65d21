//! Everything that keeps a host from being registered has a name of its own, costs no key, and ends with its cause.

use super::calls;
use super::fixture::{Fixture, client, is_discreet, until};
use crate::fixture::{Namespace, base64, fails, find, is};
use crate::support::portainer::{ADMIN, Fault, Options, Portainer};
use anyhow::{Context, ensure};
use dockseal::pki::profile::Usage;
use serde_json::{Value, json};

/// What is wrong; whether it is the server's fault; the reason.
const CASES: [(&str, bool, &str); 18] = [
    ("missing", true, "CredentialsNotFound"),
    ("empty", true, "CredentialsNotFound"),
    ("refused", true, "CredentialsRefused"),
    ("wrong-password", true, "CredentialsRefused"),
    ("standard", true, "NotAdministrator"),
    ("banned", true, "LoginBanned"),
    ("stopped", true, "PortainerUnreachable"),
    ("untrusted", true, "PortainerNotTrusted"),
    ("timed-out", true, "PortainerNotInitialised"),
    ("fresh", true, "PortainerNotInitialised"),
    ("conflict", false, "NameConflict"),
    ("kind", false, "NameConflict"),
    ("no-group", false, "GroupNotFound"),
    ("two-groups", false, "GroupAmbiguous"),
    ("host-stopped", false, "HostUnreachable"),
    ("not-reached", false, "EnvironmentUnreachable"),
    ("too-old", false, "PortainerTooOld"),
    ("serves-another", false, "AwaitingServing"),
];

#[tokio::test]
async fn every_cause_has_its_reason_and_no_refusal_costs_a_key() -> anyhow::Result<()> {
    let namespace = Namespace::new("portainer-reasons").await?;
    let controller = namespace.controller("portainer-reasons").await?;
    let mut fixture = Fixture::new(namespace, &CASES.map(|(name, ..)| name)).await?;
    let authority = https(&mut fixture).await?;
    for (name, ..) in CASES {
        spoil(&fixture, name).await.with_context(|| name)?;
    }
    let clients = CASES.map(|(name, ..)| yaml(&fixture, name));
    fixture.namespace.apply(&clients.concat()).await?;
    let mut messages = Vec::new();
    for (name, of_server, reason) in CASES {
        let what = format!("dockerhostcert/{name}");
        let told =
            fixture.namespace.until(&what, |host| fails(host, "Registered", reason)).await.with_context(|| name)?;
        let message = find(&told, "Registered").context("it is there")?["message"].to_string();
        ensure!(fails(&told, "Ready", reason), "{name}: {:#}", told["status"]);
        messages.push(message);
        let of_client = if of_server { reason } else { "NotRegistered" };
        let what = format!("portainerclient/{name}");
        let told = fixture.namespace.until(&what, |client| fails(client, "Registered", of_client)).await;
        let told = told.with_context(|| name)?;
        let names_it = find(&told, "Registered").is_some_and(|found| found["message"].to_string().contains(name));
        ensure!(of_server || names_it, "{name} is not named: {:#}", told["status"]);
    }
    messages.sort();
    messages.dedup();
    ensure!(messages.len() + 4 >= CASES.len(), "they say the same: {messages:#?}");
    for pair in &fixture.pairs {
        let files = pair.portainer.tls_files();
        ensure!(files.is_empty(), "{} was given {:?}: {:#?}", pair.name, files.keys(), pair.told());
        let writes = pair.portainer.calls().into_iter().filter(|call| call.is_write());
        let asked = writes.filter(|call| call.path == "/api/endpoints" || call.path.contains("/upload/")).count();
        ensure!(asked == usize::from(pair.name == "not-reached"), "{}: {:#?}", pair.name, pair.told());
        let logins = pair.portainer.calls().iter().filter(|call| call.is("POST", "/api/auth")).count();
        let allowed = if pair.name == "banned" { BANNING + 1 } else { 1 };
        ensure!(logins <= allowed, "{} logins at {}", logins, pair.name);
    }
    let portainers: Vec<&Portainer> = fixture.pairs.iter().map(|pair| &pair.portainer).collect();
    is_discreet(&fixture.namespace, &controller, &portainers).await?;

    for (name, ..) in CASES {
        cure(&fixture, name, &authority).await.with_context(|| name)?;
    }
    for (name, ..) in CASES.iter().filter(|(name, ..)| !LATER.contains(name)) {
        fixture.registered(name).await.with_context(|| format!("{name}: {:#?}", fixture.pair(name).told()))?;
        let leaked = fixture.pair(name).portainer.tls_key_dirs();
        ensure!(leaked.is_empty(), "{name}: keys were left in {leaked:?}");
    }
    is_discreet(&fixture.namespace, &controller, &portainers).await
}

/// Tried again after minutes, since every try may leave a key.
const LATER: [&str; 1] = ["not-reached"];
/// So many logins at once are too many.
const BANNING: usize = 12;

/// Replaces the Portainers that are started in another way; the authority of the one that speaks TLS.
async fn https(fixture: &mut Fixture) -> anyhow::Result<String> {
    let authority = calls::authority().await?;
    let (chain, key, ..) = calls::leaf(&authority, Usage::Server).await?;
    let tls = Options { https: Some((chain, key.to_pem().to_string())), ..Options::default() };
    let fresh = Options { initialised: false, ..Options::default() };
    for (name, options) in [("untrusted", tls), ("fresh", fresh)] {
        let pair = fixture.pairs.iter_mut().find(|pair| pair.name == name).context("it is there")?;
        pair.portainer = Portainer::with(options)?;
    }
    Ok(authority.certificate.to_pem())
}

async fn spoil(fixture: &Fixture, name: &str) -> anyhow::Result<()> {
    let pair = fixture.pair(name);
    let (portainer, docker) = (&pair.portainer, &pair.docker);
    match name {
        "banned" => {
            let attempts = (0..BANNING).map(|_| super::fixture::log_in(portainer, "nobody", "wrong"));
            ensure!(futures::future::try_join_all(attempts).await?.contains(&403), "it bans nobody");
        }
        "stopped" => portainer.stop(),
        "timed-out" => portainer.time_out(),
        "conflict" => drop(portainer.add_environment(name, "tcp://somewhere.else:2376")),
        "kind" => {
            let id = portainer.add_environment(name, &docker.url());
            portainer.edit(id, |environment| environment.kind = 2);
        }
        "two-groups" => drop((portainer.add_group("ops"), portainer.add_group("ops"))),
        "host-stopped" => docker.stop(),
        "not-reached" => portainer.inject("POST", "/api/endpoints", Fault::Status(500)),
        "too-old" => {
            portainer.set_version("2.33.4");
            docker.set_version("29.0.0");
        }
        "serves-another" => {
            let ours = super::fixture::material(&fixture.namespace, name).await?;
            fixture.renew(&[format!("dockerhostcert/{name}")]).await?;
            docker.reload(&ours)?;
        }
        _ => {}
    }
    Ok(())
}

fn yaml(fixture: &Fixture, name: &str) -> String {
    let portainer = &fixture.pair(name).portainer;
    let more = if name.ends_with("group") || name.ends_with("groups") { "environment: {group: ops}" } else { "" };
    let yaml = client(name, portainer, more);
    let (key, password) = (format!("apiKey: {}", portainer.admin_key()), |it: &str| login("admin", it));
    match name {
        "missing" => yaml.replace("name: missing-admin}, stringData", "name: missing-other}, stringData"),
        "empty" => yaml.replace("apiKey:", "apikey:"),
        "refused" => yaml.replace(&key, "apiKey: ptr_wrong"),
        "wrong-password" => yaml.replace(&key, &password("not the password")),
        "standard" => yaml.replace(&key, &format!("apiKey: {}", portainer.add_user("reader", 2))),
        "banned" | "fresh" => yaml.replace(&key, &password(ADMIN.1)),
        _ => yaml,
    }
}

fn login(name: &str, password: &str) -> String {
    format!("username: {name}, password: {password}")
}

async fn cure(fixture: &Fixture, name: &str, authority: &str) -> anyhow::Result<()> {
    let pair = fixture.pair(name);
    let (portainer, docker) = (&pair.portainer, &pair.docker);
    let id = || portainer.environments()[0].id;
    let key = json!({"apiKey": base64(portainer.admin_key())});
    match name {
        "missing" => {
            let meta = json!({"name": format!("{name}-admin")});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": key});
            return fixture.namespace.create(&secret).await.map(drop);
        }
        "empty" | "refused" | "standard" | "wrong-password" | "banned" => {
            return fixture.namespace.merge(&format!("secret/{name}-admin"), json!({"data": key})).await.map(drop);
        }
        "stopped" | "timed-out" => portainer.restart()?,
        "untrusted" => {
            let data = json!({"ca.crt": base64(authority)});
            let secret =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "portainer-ca"}, "data": data});
            fixture.namespace.create(&secret).await?;
            let tls = json!({"caSecretRef": {"name": "portainer-ca", "key": "ca.crt"}});
            let patch = json!({"spec": {"server": {"tls": tls}}});
            return fixture.namespace.merge(&format!("portainerclient/{name}"), patch).await.map(drop);
        }
        "fresh" => {
            let patch = json!({"spec": {"server": {"initializeAdmin": true}}});
            return fixture.namespace.merge(&format!("portainerclient/{name}"), patch).await.map(drop);
        }
        "conflict" | "kind" => portainer.remove_environment(id()),
        "no-group" => drop(portainer.add_group("ops")),
        "two-groups" => {
            let patch = json!({"spec": {"portainer": {"group": "Unassigned"}}});
            return fixture.namespace.merge(&format!("dockerhostcert/{name}"), patch).await.map(drop);
        }
        "host-stopped" => docker.go_on()?,
        "too-old" => portainer.set_version("2.33.5"),
        "serves-another" => docker.reload(&super::fixture::material(&fixture.namespace, name).await?)?,
        _ => {}
    }
    fixture.look(name).await
}

#[tokio::test]
async fn a_user_logs_in_once_and_once_more_where_the_session_ended() -> anyhow::Result<()> {
    let namespace = Namespace::new("portainer-login").await?;
    let controller = namespace.controller("portainer-login").await?;
    let fixture = Fixture::new(namespace, &["login"]).await?;
    let pair = fixture.pair("login");
    let by_key = format!("apiKey: {}", pair.portainer.admin_key());
    fixture.namespace.apply(&client("login", &pair.portainer, "").replace(&by_key, &login(ADMIN.0, ADMIN.1))).await?;
    fixture.registered("login").await?;
    let logins = || pair.portainer.calls().iter().filter(|call| call.is("POST", "/api/auth")).count();
    for _ in 0..3 {
        let lists = || pair.portainer.calls().iter().filter(|call| call.is("GET", "/api/endpoints")).count();
        let before = lists();
        fixture.look("login").await?;
        until("it is not looked at", || lists() > before).await?;
    }
    ensure!(logins() == 1, "{} logins: {:#?}", logins(), pair.told());
    fixture.namespace.until("portainerclient/login", |client| is(client, "Ready", "True")).await?;
    // A restart ends every session.
    pair.portainer.restart()?;
    fixture.look("login").await?;
    let said = |client: &Value| find(client, "Registered").is_some();
    fixture.namespace.until("portainerclient/login", said).await?;
    until("it does not ask", || pair.portainer.calls().iter().any(|call| call.status == Some(401))).await?;
    ensure!(logins() <= 2, "{} logins: {:#?}", logins(), pair.told());
    is_discreet(&fixture.namespace, &controller, &[&pair.portainer]).await
}
