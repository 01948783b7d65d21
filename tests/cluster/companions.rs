//! What the controller does for companions: accounts with exactly their rights, assignments, turns, and what Ready
//! makes of what companions report. The companions here are the test's, each with its account's own token.

use crate::fixture::{Namespace, fails, find, homelab, host, is, versions};
use crate::support::controller::Controller;
use crate::support::faults::{Entry, FaultProxy};
use anyhow::{Context, ensure};
use dockseal::adapters::Clock;
use dockseal::api::assignment::{ASSIGNMENT_KEY, AssignedHost, Assignment};
use dockseal::controller::{self, ControllerSettings};
use dockseal::decide::delivery::Allowlist;
use futures::{StreamExt, TryStreamExt};
use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A namespace of objects and one of accounts.
struct Fixture {
    home: Namespace,
    companions: Namespace,
}

impl Fixture {
    async fn new(name: &str) -> anyhow::Result<Fixture> {
        let home = Namespace::new(name).await?;
        let companions = Namespace::of(home.cluster, &format!("{name}-companions")).await?;
        Ok(Fixture { home, companions })
    }

    fn arguments(&self) -> Vec<&str> {
        let listed = [
            "--companion-namespace",
            &self.companions.name,
            "--companion-source-namespace",
            &self.home.name,
            "--companion-directory",
            "/etc/docker/certs",
            "--companion-directory",
            "/srv/docker",
        ];
        [&self.home.scope()[..], &listed[..]].concat()
    }

    async fn controller(&self, name: &str) -> anyhow::Result<Controller> {
        self.controller_through(&self.home.cluster.kubeconfig(), name).await
    }

    async fn controller_through(&self, kubeconfig: &Path, name: &str) -> anyhow::Result<Controller> {
        Controller::start(self.home.cluster, kubeconfig, name, &self.arguments()).await
    }

    /// The companion of an account, once there is one.
    async fn companion(&self, account: &str) -> anyhow::Result<Companion> {
        self.companions.until(&format!("configmap/{account}"), |_| true).await?;
        let token = self.companions.token(account).await?;
        let (home, companions) = (self.home.seen_with(&token).await?, self.companions.seen_with(&token).await?);
        Ok(Companion { account: account.to_owned(), home, companions })
    }

    /// Everything that accounts are made of.
    async fn parts(&self) -> anyhow::Result<Vec<Value>> {
        let kinds = ["role", "rolebinding", "serviceaccount", "configmap"];
        let all = [self.home.list(&["role", "rolebinding"]).await?, self.companions.list(&kinds).await?].concat();
        let ours = |part: &Value| part["metadata"]["annotations"]["dockseal.dev/account"].is_string();
        Ok(all.into_iter().filter(ours).collect())
    }

    async fn no_parts(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let parts = self.parts().await?;
            if parts.is_empty() {
                return Ok(());
            }
            ensure!(started.elapsed() < crate::fixture::SOON, "still there: {parts:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A companion that does what it is told, with its account's own rights.
struct Companion {
    account: String,
    home: Namespace,
    companions: Namespace,
}

impl Companion {
    async fn assigned(&self, fits: impl Fn(&Assignment) -> bool) -> anyhow::Result<Vec<AssignedHost>> {
        let read = |map: &Value| Assignment::parse(map["data"][ASSIGNMENT_KEY].as_str().unwrap_or_default());
        let what = format!("configmap/{}", self.account);
        let map = self.companions.until(&what, |map| read(map).is_some_and(|assignment| fits(&assignment))).await?;
        Ok(read(&map).context("an assignment")?.hosts)
    }

    /// Reads the Secret, and says that it is there; in mode Daemon, what it says of serving.
    async fn deliver(&self, name: &str, serving: Option<(&str, &str)>) -> anyhow::Result<()> {
        let hosts = self.assigned(|assignment| assignment.hosts.iter().any(|host| host.name == *name)).await?;
        let host = hosts.iter().find(|host| host.name == name).context("it is told of the host")?;
        let secret = self.home.until(&format!("secret/{}", host.secret_name), |_| true).await?;
        let certificate = dockseal::pki::Certificate::from_pem(&crate::fixture::secret_bytes(&secret, "tls.crt"))?;
        let bundle = dockseal::pki::sha256_hex(&crate::fixture::secret_bytes(&secret, "ca.crt"));
        let fingerprint = certificate.fingerprint();
        let mut status = json!({
            "host": {"deliveredFingerprint": fingerprint, "deliveredBundle": bundle},
            "conditions": [condition("Delivered", "True", "Delivered", host.generation)],
        });
        if let Some((holds, reason)) = serving {
            status["host"]["servedFingerprint"] = json!(fingerprint);
            let conditions = status["conditions"].as_array_mut().context("an array")?;
            conditions.push(condition("Serving", holds, reason, host.generation));
        }
        self.home.report(name, &status).await.map(|_| ())
    }
}

/// Waits until it is so: the API server hears of Roles and accounts a moment after they are written.
async fn eventually(what: &str, so: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !so().await {
        ensure!(started.elapsed() < crate::fixture::SOON, "not so: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn condition(type_: &str, status: &str, reason: &str, generation: i64) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": format!("so says the companion: {reason}"),
        "observedGeneration": generation, "lastTransitionTime": "2026-11-22T10:00:00Z",
    })
}

/// A host with a delivery to the node of that name.
fn on_node(name: &str, node: &str, more: &str) -> String {
    host(name, &format!("delivery: {{target: Node, nodeName: {node}, {more}}}"))
}

/// Each rule as `verbs resource names`.
fn rules(role: &Value) -> Vec<String> {
    let words = |value: &Value| {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(",")
    };
    let rules = role["rules"].as_array().into_iter().flatten();
    let rule = |rule: &Value| {
        format!(
            "{} {}/{} {}",
            words(&rule["verbs"]),
            words(&rule["apiGroups"]),
            words(&rule["resources"]),
            words(&rule["resourceNames"])
        )
    };
    rules.map(rule).collect()
}

#[tokio::test]
async fn an_account_has_exactly_its_rights_and_they_are_enough() -> anyhow::Result<()> {
    let fixture = Fixture::new("accounts").await?;
    let controller = fixture.controller("accounts").await?;
    fixture.home.apply(&(homelab(&["other"]) + &on_node("pandora", "node.one", "mode: Daemon"))).await?;
    let companion = fixture.companion("node-node.one").await?;
    companion.deliver("pandora", Some(("True", "Serving"))).await?;
    fixture.home.all_ready().await?;
    let role = "role/dockseal-node-node.one";
    assert_eq!(
        rules(&fixture.home.get(role).await?),
        ["watch /secrets pandora-docker-host", "get,patch dockseal.dev/dockerhostcerts/status pandora"]
    );
    assert_eq!(rules(&fixture.companions.get(role).await?), ["watch /configmaps node-node.one"]);
    let mint = fixture.companions.until("role/dockseal-companion-mint", |_| true).await?;
    assert_eq!(rules(&mint), ["create /serviceaccounts/token node-node.one"]);
    let account = fixture.companions.get("serviceaccount/node-node.one").await?;
    assert_eq!(account["automountServiceAccountToken"], false);
    assert_eq!(account["metadata"]["labels"]["dockseal.dev/managed"], "true");
    let binding = fixture.home.get("rolebinding/dockseal-node-node.one").await?;
    let subject = json!([{"kind": "ServiceAccount", "name": "node-node.one", "namespace": fixture.companions.name}]);
    assert_eq!((&binding["subjects"], &binding["roleRef"]["name"]), (&subject, &json!("dockseal-node-node.one")));
    // Its token opens its own and nothing else.
    for (what, allowed) in [
        ("secret/pandora-docker-host", true),
        ("secret/other-docker-host", false),
        ("secret/homelab-docker-ca", false),
        ("secret", false),
        ("dockerhostcert/pandora", false),
        ("dockerhostcert", false),
        ("configmap/homelab-ca-bundle", false),
    ] {
        assert_eq!(companion.home.get(what).await.is_ok(), allowed, "{what}");
    }
    assert!(companion.home.report("other", &json!({"host": {}})).await.is_err(), "another's status");
    assert!(
        companion.companions.get("configmap").await.is_err()
            && companion.companions.token("node-node.one").await.is_err()
    );
    // A restart writes nothing.
    let before = versions(&fixture.parts().await?);
    controller.stop()?;
    let again = fixture.controller("accounts").await?;
    again.ready("leading").await?;
    assert_eq!(versions(&fixture.parts().await?), before);
    Ok(())
}

#[tokio::test]
async fn an_enrolled_host_gets_an_account_that_mints_for_itself_alone() -> anyhow::Result<()> {
    let fixture = Fixture::new("enrolled").await?;
    let _controller = fixture.controller("enrolled").await?;
    fixture.home.apply(&(homelab(&[]) + &host("nas", "delivery: {target: Enrolled}"))).await?;
    let what = "dockerhostcert/nas";
    fixture.home.until(what, |host| fails(host, "Ready", "NotEnrolled")).await?;
    fixture.home.annotate(what, "dockseal.dev/enrolled", "2026-11-22T10:00:00Z").await?;
    let account = "host-enrolled.nas";
    let companion = fixture.companion(account).await?;
    let role = fixture.companions.get(&format!("role/dockseal-{account}")).await?;
    let expected = [format!("watch /configmaps {account}"), format!("create /serviceaccounts/token {account}")];
    assert_eq!(rules(&role), expected);
    companion.deliver("nas", None).await?;
    eventually("it mints for itself", async || companion.companions.token(account).await.is_ok()).await?;
    fixture.home.until(what, |host| is(host, "Ready", "True")).await?;
    fixture.home.merge(what, json!({"metadata": {"annotations": {"dockseal.dev/enrolled": null}}})).await?;
    fixture.home.until(what, |host| fails(host, "Ready", "NotEnrolled")).await?;
    fixture.no_parts().await?;
    eventually("its token opens nothing", async || companion.companions.token(account).await.is_err()).await
}

#[tokio::test]
async fn nothing_is_delivered_that_is_not_listed() -> anyhow::Result<()> {
    let fixture = Fixture::new("unlisted").await?;
    let hosts = [
        on_node("inside", "one", "directory: /srv/docker/a"),
        on_node("outside", "two", "directory: /srv/dockerfiles"),
        host("bare", "delivery: {}"),
    ];
    fixture.home.apply(&(homelab(&[]) + &hosts.concat())).await?;
    let unserved = fixture.home.controller("unlisted-unserved").await?;
    fixture.home.until("dockerhostcert/inside", |host| fails(host, "Ready", "NotListed")).await?;
    fixture.home.until("dockerhostcert/bare", |host| is(host, "Ready", "True")).await?;
    unserved.stop()?;
    let _controller = fixture.controller("unlisted").await?;
    fixture.companion("node-one").await?.deliver("inside", None).await?;
    fixture.home.until("dockerhostcert/inside", |host| is(host, "Ready", "True")).await?;
    fixture.home.until("dockerhostcert/outside", |host| fails(host, "Ready", "NotListed")).await?;
    ensure!(fixture.home.apply(&on_node("misnamed", "No_Node", "")).await.is_err(), "no node has such a name");
    ensure!(fixture.companions.get("serviceaccount/node-two").await.is_err());
    fixture.home.event("outside", "NotListed").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_somebody_elses_stays_and_what_is_ours_is_put_right() -> anyhow::Result<()> {
    let fixture = Fixture::new("parts").await?;
    let theirs = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "dockseal-node-one"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    });
    fixture.home.create(&theirs).await?;
    let _controller = fixture.controller("parts").await?;
    fixture.home.apply(&(homelab(&[]) + &on_node("pandora", "one", ""))).await?;
    let what = "dockerhostcert/pandora";
    let conflict = fixture.home.until(what, |host| fails(host, "Ready", "AccountConflict")).await?;
    let message = find(&conflict, "Ready").context("Ready")?["message"].to_string();
    ensure!(message.contains("Role parts/dockseal-node-one"), "{message}");
    assert_eq!(fixture.home.get("role/dockseal-node-one").await?["rules"], theirs["rules"]);
    fixture.home.delete("role/dockseal-node-one").await?;
    fixture.companion("node-one").await?.deliver("pandora", None).await?;
    fixture.home.until(what, |host| is(host, "Ready", "True")).await?;
    fixture.companions.until("role/dockseal-companion-mint", |_| true).await?;
    // Drift, one by one.
    let rules = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let other = json!({"subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]});
    let unlabelled = json!({"metadata": {"labels": {"dockseal.dev/managed": null}}});
    for (namespace, part, patch) in [
        (&fixture.home, "role/dockseal-node-one", &rules),
        (&fixture.companions, "role/dockseal-node-one", &rules),
        (&fixture.companions, "role/dockseal-companion-mint", &rules),
        (&fixture.home, "rolebinding/dockseal-node-one", &other),
        (&fixture.companions, "serviceaccount/node-one", &json!({"automountServiceAccountToken": true})),
        (
            &fixture.companions,
            "configmap/node-one",
            &json!({"data": {"assignment.json": "{\"hosts\":[]}", "more": "x"}}),
        ),
        (&fixture.home, "role/dockseal-node-one", &unlabelled),
        (&fixture.companions, "serviceaccount/node-one", &unlabelled),
        (&fixture.home, "rolebinding/dockseal-node-one", &Value::Null),
        (&fixture.companions, "configmap/node-one", &Value::Null),
        (&fixture.companions, "serviceaccount/node-one", &Value::Null),
    ] {
        let before = namespace.get(part).await?;
        match patch.is_null() {
            true => namespace.delete(part).await?,
            false => namespace.merge(part, patch.clone()).await?,
        };
        let same = |now: &Value| {
            let fields = ["rules", "subjects", "data", "automountServiceAccountToken"];
            fields.iter().all(|field| now[field] == before[field])
                && now["metadata"]["labels"] == before["metadata"]["labels"]
        };
        namespace.until(part, same).await.with_context(|| format!("{part} after {patch}"))?;
    }
    // A binding cannot be given another Role: it is made again.
    let binding = fixture.home.get("rolebinding/dockseal-node-one").await?;
    fixture.home.delete("rolebinding/dockseal-node-one").await?;
    let mut usurping = binding.clone();
    usurping["metadata"] = json!({
        "name": "dockseal-node-one", "labels": binding["metadata"]["labels"], "annotations": binding["metadata"]["annotations"]
    });
    usurping["roleRef"]["name"] = json!("another");
    // Whoever is faster: it ends as it should be.
    drop(fixture.home.create(&usurping).await);
    fixture.home.until("rolebinding/dockseal-node-one", |now| now["roleRef"] == binding["roleRef"]).await?;
    Ok(())
}

#[tokio::test]
async fn two_hosts_of_one_node_leave_it_to_one_and_what_stays_is_said() -> anyhow::Result<()> {
    let fixture = Fixture::new("conflict").await?;
    let _controller = fixture.controller("conflict").await?;
    fixture.home.apply(&(homelab(&[]) + &on_node("first", "one", "mode: Daemon"))).await?;
    let companion = fixture.companion("node-one").await?;
    companion.deliver("first", Some(("True", "Serving"))).await?;
    fixture.home.all_ready().await?;
    fixture.home.apply(&on_node("second", "one", "mode: Daemon, directory: /srv/docker")).await?;
    let second = "dockerhostcert/second";
    let lost = fixture.home.until(second, |host| fails(host, "Ready", "HostConflict")).await?;
    let message = find(&lost, "Ready").context("Ready")?["message"].to_string();
    ensure!(message.contains("DockerHostCert/conflict/first"), "{message}");
    companion.assigned(|assignment| assignment.hosts.len() == 1).await?;
    fixture.home.delete("dockerhostcert/first").await?;
    let told = companion.assigned(|assignment| assignment.hosts.iter().all(|host| host.name == "second")).await?;
    ensure!(told.len() == 1, "{told:?}");
    let stays = fixture.home.event("first", "Retained").await?;
    ensure!(
        stays["message"].as_str().is_some_and(|text| text.contains("files in /etc/docker/certs stay")),
        "{stays:#}"
    );
    fixture.home.until(second, |host| fails(host, "Ready", "NotDelivered")).await?;
    // And to another node: the old one's rights go.
    fixture.home.merge(second, json!({"spec": {"delivery": {"nodeName": "two"}}})).await?;
    let other = fixture.companion("node-two").await?;
    other.deliver("second", Some(("True", "Serving"))).await?;
    fixture.home.until(second, |host| is(host, "Ready", "True")).await?;
    fixture.home.gone("role/dockseal-node-one").await.context("the old node's rights")?;
    let shut = async || companion.home.get("secret/second-docker-host").await.is_err();
    eventually("its token opens nothing", shut).await?;
    // Delivery leaves the spec: the companion's part of the status is removed with it.
    fixture.home.merge(second, json!({"spec": {"delivery": null}})).await?;
    let bare = |host: &Value| {
        find(host, "Delivered").is_none() && find(host, "Serving").is_none() && host["status"]["host"].is_null()
    };
    fixture.home.until(second, |host| is(host, "Ready", "True") && bare(host)).await?;
    fixture.no_parts().await
}

#[tokio::test]
async fn mode_files_has_no_condition_serving() -> anyhow::Result<()> {
    let fixture = Fixture::new("files").await?;
    let _controller = fixture.controller("files").await?;
    fixture.home.apply(&(homelab(&[]) + &on_node("pandora", "one", "mode: Daemon"))).await?;
    fixture.companion("node-one").await?.deliver("pandora", Some(("True", "Serving"))).await?;
    fixture.home.all_ready().await?;
    let what = "dockerhostcert/pandora";
    fixture.home.merge(what, json!({"spec": {"delivery": {"mode": "Files"}}})).await?;
    let host = fixture.home.until(what, |host| find(host, "Serving").is_none()).await?;
    ensure!(find(&host, "Delivered").is_some() && !host["status"]["host"]["deliveredFingerprint"].is_null());
    ensure!(host["status"]["host"]["servedFingerprint"].is_null(), "{:#}", host["status"]);
    Ok(())
}

#[tokio::test]
async fn one_host_of_an_authority_at_a_time_has_its_turn() -> anyhow::Result<()> {
    let fixture = Fixture::new("turns").await?;
    let mut controller = fixture.controller("turns").await?;
    let names: Vec<String> = (0..5).map(|number| format!("host-{number}")).collect();
    let hosts: String = names.iter().map(|name| on_node(name, name, "mode: Daemon")).collect();
    fixture.home.apply(&(homelab(&[]) + &hosts)).await?;
    let mut companions = Vec::new();
    for name in &names {
        let companion = fixture.companion(&format!("node-{name}")).await?;
        companion.deliver(name, Some(("False", "AwaitingTurn"))).await?;
        companions.push(companion);
    }
    let mut had: Vec<String> = Vec::new();
    let started = Instant::now();
    while had.len() < names.len() {
        ensure!(started.elapsed() < crate::fixture::SOON, "only {had:?} had a turn");
        let mut with_turn = Vec::new();
        for companion in &companions {
            with_turn.extend(companion.assigned(|_| true).await?.into_iter().filter(|host| host.turn.is_some()));
        }
        ensure!(with_turn.len() <= 1, "two at a time: {with_turn:?}");
        let Some(host) = with_turn.first() else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if had.len() == 2 {
            controller.kill(); // the next leader knows whose turn it is
            controller = fixture.controller("turns").await?;
            controller.ready("leading").await?;
        }
        let index = names.iter().position(|name| host.name == **name).context("one of them")?;
        companions[index].deliver(&host.name, Some(("True", "Serving"))).await?;
        companions[index].assigned(|assignment| assignment.hosts.iter().all(|host| host.turn.is_none())).await?;
        had.push(host.name.to_string());
    }
    fixture.home.all_ready().await.map(|_| ())
}

#[tokio::test]
async fn what_was_delivered_goes_before_its_object() -> anyhow::Result<()> {
    let fixture = Fixture::new("removal").await?;
    let _controller = fixture.controller("removal").await?;
    let hosts = ["gone", "forced"].map(|name| on_node(name, name, "deletionPolicy: Delete"));
    fixture.home.apply(&(homelab(&[]) + &hosts.concat())).await?;
    for name in ["gone", "forced"] {
        fixture.companion(&format!("node-{name}")).await?.deliver(name, None).await?;
    }
    fixture.home.all_ready().await?;
    for name in ["gone", "forced"] {
        let what = format!("dockerhostcert/{name}");
        fixture.home.until(&what, |host| host["metadata"]["finalizers"] == json!(["dockseal.dev/secret"])).await?;
        fixture.home.delete(&what).await?;
        fixture.home.until(&what, |host| fails(host, "Ready", "Removing")).await?;
        let companion = fixture.companion(&format!("node-{name}")).await?;
        let told = companion.assigned(|assignment| assignment.hosts.iter().all(|host| host.removing)).await?;
        match name {
            "gone" => {
                let removed = condition("Delivered", "False", "Removed", told[0].generation);
                companion.home.report(name, &json!({"conditions": [removed]})).await?;
            }
            _ => drop(fixture.home.annotate(&what, "dockseal.dev/force-remove", "true").await?),
        }
        fixture.home.gone(&what).await?;
        fixture.home.get(&format!("secret/{name}-docker-host")).await.context("the Secret outlives its object")?;
    }
    fixture.home.event("forced", "FinalizerForced").await?;
    fixture.no_parts().await
}

/// In this process, with a clock that is moved: eleven minutes in a moment.
#[tokio::test]
async fn a_companion_that_says_nothing_for_ten_minutes_is_called_silent() -> anyhow::Result<()> {
    let fixture = Fixture::new("silent").await?;
    let minutes = Arc::new(AtomicI64::new(0));
    let ahead = Arc::clone(&minutes);
    let clock = Clock::showing(move || Timestamp::now() + SignedDuration::from_mins(ahead.load(Ordering::SeqCst)));
    let kubeconfig = kube::config::Kubeconfig::read_from(fixture.home.cluster.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    let settings = ControllerSettings {
        destinations: dockseal::adapters::net::destinations::Destinations::anywhere(),
        namespaces: vec![fixture.home.name.clone()],
        admin: ([127, 0, 0, 1], 0).into(),
        probes: None,
        lease_namespace: fixture.home.name.clone(),
        identity: "silent".into(),
        allowlist: Allowlist {
            companions: Some(fixture.companions.name.clone()),
            sources: vec![fixture.home.name.clone()],
            directories: vec!["/etc/docker/certs".into()],
            portainer: false,
        },
    };
    let running = controller::run(kube::Client::try_from(config)?, settings, clock, std::future::pending());
    let running = tokio::spawn(running);
    fixture.home.apply(&(homelab(&[]) + &on_node("pandora", "one", ""))).await?;
    let what = "dockerhostcert/pandora";
    fixture.home.until(what, |host| fails(host, "Ready", "NotDelivered")).await?;
    minutes.store(11, Ordering::SeqCst);
    fixture.home.until(what, |host| fails(host, "Ready", "CompanionSilent")).await?;
    fixture.home.event("pandora", "CompanionSilent").await?;
    fixture.companion("node-one").await?.deliver("pandora", None).await?;
    fixture.home.until(what, |host| is(host, "Ready", "True")).await?;
    running.abort();
    Ok(())
}

#[tokio::test]
async fn fifty_hosts_at_rest_cost_no_write_and_no_list() -> anyhow::Result<()> {
    let fixture = Fixture::new("fifty").await?;
    let proxy = FaultProxy::start(fixture.home.cluster)?;
    let kubeconfig = fixture.home.cluster.kubeconfig_through(proxy.url())?;
    let _controller = fixture.controller_through(&kubeconfig, "fifty").await?;
    let names: Vec<String> = (0..50).map(|number| format!("host-{number}")).collect();
    let hosts: String = names.iter().map(|name| on_node(name, name, "mode: Daemon")).collect();
    fixture.home.apply(&(homelab(&[]) + &hosts)).await?;
    let deliver = async |name: &String| {
        fixture.companion(&format!("node-{name}")).await?.deliver(name, Some(("True", "Serving"))).await
    };
    futures::stream::iter(&names).map(deliver).buffer_unordered(8).try_collect::<Vec<_>>().await?;
    fixture.home.all_ready().await?;
    let mint =
        fixture.companions.until("role/dockseal-companion-mint", |role| rules(role)[0].matches("node-").count() == 50);
    mint.await?;
    // Each account was made once: an account, two Roles, two bindings, an assignment.
    let made = |entry: &Entry| entry.method == Method::POST && entry.answer == Some(201);
    let parts = ["/serviceaccounts", "/roles", "/rolebindings"];
    let count = |part: &str| proxy.count(|entry| made(entry) && entry.path.ends_with(part));
    assert_eq!(parts.map(count), [50, 101, 100], "the mint is a Role, too");
    let quiet = |entry: &Entry| {
        let list = entry.method == Method::GET && !entry.is_watch() && !entry.path.contains("/leases");
        entry.is_write() || list
    };
    // The last echoes.
    let recent = |entry: &Entry| quiet(entry) && entry.at.elapsed() < Duration::from_secs(3);
    eventually("it comes to rest", async || proxy.count(recent) == 0).await?;
    let before = proxy.log().len();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let since: Vec<String> = proxy.log()[before..]
        .iter()
        .filter(|entry| quiet(entry))
        .map(|entry| format!("{} {}", entry.method, entry.path))
        .collect();
    ensure!(since.is_empty(), "{since:#?}");
    // A word of one companion is one look at one object: nothing is written for it.
    let before = proxy.writes().len();
    let companion = fixture.companion("node-host-7").await?;
    companion.deliver("host-7", Some(("True", "Serving"))).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(proxy.writes().len() == before, "{:#?}", &proxy.writes()[before..]);
    Ok(())
}
