//! Who may do what with which token: a table of accounts by requests, asked of a real API server with the chart's
//! policies and the Roles that the controller makes.

mod ask;
mod fixture;

use crate::fixture::{Namespace, homelab};
use crate::support::controller::Controller;
use anyhow::ensure;
use ask::{Answer, Ask, apply, delete, get, merge, post, put, steps};
use fixture::{COMPANIONS, Fixture, bound_to, token};
use serde_json::{Value, json};
use std::collections::HashSet;

/// RBAC's refusal; all other words are a policy's, the schema's or Pod Security's.
const RBAC: &str = "cannot ";
const YES: Option<&str> = None;
const MINTS_NONE: &str = "may mint tokens; this account may not";
const OWN_NODE: &str = " may mint tokens of the account node-";
const TO_ITS_NODE: &str = "has to be bound to that Node";
const AN_HOUR: &str = "for an hour (3600 seconds) at most";
const FOR_THE_SERVER: &str = "a companion's token is for the API server only";
const NOT_ITS_OWN: &str = "is not this companion's to deliver";
const HOST_ONLY: &str = "a companion may change host and conditions only";
const OWN_ENVIRONMENTS: &str = "a companion may change those that it registers itself only";
const TWO_CONDITIONS: &str = "a companion may change Delivered and Serving only";
const NAMESPACE_NOT_LISTED: &str = "nothing is delivered to nodes from the namespace ";
const NOT_ENROLLING: &str = "the annotation dockseal.dev/enrolled is for dockseal enroll";
const DIRECTORY_NOT_LISTED: &str = "which is not below one of /etc/docker/certs, /srv/docker";

/// A watch as the companion's: it begins with what there is.
const STREAMED: &str = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
const HOME: &str = "/api/v1/namespaces/home";
const LAB: &str = "/api/v1/namespaces/lab";
const OURS: &str = "/apis/dockseal.dev/v1alpha1/namespaces";

/// Account, request, and None where it is allowed, else words of the refusal.
type Row = (&'static str, Ask, Option<&'static str>);

#[tokio::test]
async fn every_account_can_do_what_it_needs_and_nothing_else() -> anyhow::Result<()> {
    let mut fixture = Fixture::new().await?;
    // A policy holds a moment after it was made: until then these two would be allowed.
    fixture.refused("pod on pandora", &mint("node-attic", bound_to("pandora")), OWN_NODE).await?;
    fixture.refused("admin", &host("away", "new", to_node("pandora", None)), NAMESPACE_NOT_LISTED).await?;
    fixture
        .refused("node-mighty", &merge(&status("home", "pandora"), json!({"status": {}})).dry(), NOT_ITS_OWN)
        .await?;

    let rows: Vec<Row> =
        [pods(), nodes_read(), nodes_report(), nodes_write(), hosts(), mighty(), controller(), users()]
            .into_iter()
            .flatten()
            .collect();
    judge(&fixture, &rows).await?;
    let untried = untried(&fixture.of_kind("ValidatingAdmissionPolicy"), &rows);
    ensure!(untried.is_empty(), "no row is refused by these validations: {untried:#?}");
    nothing_but_the_report_was_written(&fixture).await?;
    companions_register_where_that_is_allowed(&mut fixture).await?;
    pods_fit_their_namespaces(&fixture).await?;
    tokens_end_with_what_they_are_bound_to(&fixture).await?;
    the_controller_works_with_its_own_account(&fixture).await
}

async fn judge(fixture: &Fixture, rows: &[Row]) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for (who, ask, words) in rows {
        match (fixture.ask(who, ask).await?, words) {
            (Answer::Allowed(_), None) => {}
            (Answer::Refused(why), Some(words)) if why.contains(words) => {}
            (answer, None) => faults.push(format!("{who}: {ask}\n  should be allowed; {answer}")),
            (answer, Some(words)) => faults.push(format!("{who}: {ask}\n  should be refused ({words}); {answer}")),
        }
    }
    ensure!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
    println!("{} requests, {} of them refused", rows.len(), rows.iter().filter(|(.., words)| words.is_some()).count());
    Ok(())
}

/// The chart's value lets nodes' companions report what they register, and nothing else that they might not before.
async fn companions_register_where_that_is_allowed(fixture: &mut Fixture) -> anyhow::Result<()> {
    let (node, path) = ("node-pandora", status("home", "pandora"));
    let apply = |environments: Value| {
        apply(&path, "dockseal-companion", object("pandora", json!({"environments": environments})))
    };
    let merged = |environments: Value| merge(&path, json!({"status": {"environments": environments}}));
    let ours = json!({"portainerClient": "portainer", "registrar": "Controller", "reason": "", "message": "", "id": 7});
    let own = |id: i64| json!({"portainerClient": "own", "registrar": "Companion", "reason": "Registered", "id": id});
    fixture.refused(node, &apply(json!([own(1)])), HOST_ONLY).await?; // the value is off
    fixture.upgrade(&["--set=companion.portainer.enabled=true"]).await?;
    fixture.allowed(node, &apply(json!([own(1)]))).await?;
    let with = |mut entry: Value, field: &str, value: Value| {
        entry[field] = value;
        entry
    };
    let enrolled = status("lab", "store");
    let rows: Vec<Row> = vec![
        (node, apply(json!([own(2)])), YES),
        (node, merged(json!([own(3), ours])), YES), // in another order
        (node, merged(json!([ours])), YES),         // its own taken back
        (node, apply(json!([own(2)])), YES),
        // the controller's: removed, changed, taken over; and its own passed off as the controller's
        (node, merged(json!([])), Some(OWN_ENVIRONMENTS)),
        (node, merged(json!(null)), Some(OWN_ENVIRONMENTS)),
        (node, merged(json!([own(2)])), Some(OWN_ENVIRONMENTS)),
        (node, merged(json!([own(2), with(ours.clone(), "id", json!(8))])), Some(OWN_ENVIRONMENTS)),
        (node, merged(json!([own(2), with(ours.clone(), "registrar", json!("Companion"))])), Some(OWN_ENVIRONMENTS)),
        (node, apply(json!([with(own(2), "portainerClient", json!("portainer"))])), Some(OWN_ENVIRONMENTS)),
        (node, apply(json!([with(own(2), "registrar", json!("Controller"))])), Some(OWN_ENVIRONMENTS)),
        (node, apply(json!([{"portainerClient": "other", "id": 9}])), Some(OWN_ENVIRONMENTS)),
        // everything else is as it was
        (node, merge(&path, json!({"status": {"serial": "02"}})), Some(HOST_ONLY)),
        (
            node,
            merge(&path, json!({"status": {"conditions": [condition("Registered", "True")]}})),
            Some(TWO_CONDITIONS),
        ),
        ("host-lab.store", merge(&enrolled, json!({"status": {"environments": [own(1)]}})), Some(HOST_ONLY)),
        (node, merge(&status("home", "moved"), json!({"status": {"environments": [own(1)]}})), Some(NOT_ITS_OWN)),
        (node, merge(&status("home", "attic"), json!({"status": {"environments": [own(1)]}})), Some(RBAC)),
    ];
    judge(fixture, &rows).await?;
    fixture.upgrade(&[]).await?;
    fixture.refused(node, &merged(json!([ours])).dry(), HOST_ONLY).await // what is stored would be no change the next time
}

/// The validations that no row's words belong to: a policy that refuses nothing is none.
fn untried(policies: &[&Value], rows: &[Row]) -> Vec<String> {
    let words: HashSet<&str> = rows.iter().filter_map(|(.., words)| *words).filter(|words| *words != RBAC).collect();
    let validations = policies.iter().flat_map(|policy| policy["spec"]["validations"].as_array().into_iter().flatten());
    let said = validations.map(|validation| format!("{} {}", validation["message"], validation["messageExpression"]));
    said.filter(|said| !words.iter().any(|words| said.contains(words))).collect()
}

/// Pod Security as the namespaces' labels have it: the controller needs no more than "restricted", the companion does.
async fn pods_fit_their_namespaces(fixture: &Fixture) -> anyhow::Result<()> {
    let pods = "/api/v1/namespaces/dockseal/pods";
    let pod = |owner: &Value, account: &str| {
        let mut spec = owner["spec"]["template"]["spec"].clone();
        spec["serviceAccountName"] = json!(account);
        post(pods, json!({"metadata": {"name": "probe"}, "spec": spec})).dry()
    };
    let (deployments, daemon_sets) = (fixture.of_kind("Deployment"), fixture.of_kind("DaemonSet"));
    ensure!(deployments.len() == 1 && daemon_sets.len() == 1, "there is one of each");
    fixture.allowed("admin", &pod(deployments[0], "dockseal-controller")).await?;
    fixture.refused("admin", &pod(daemon_sets[0], "dockseal-controller"), "violates PodSecurity \"restricted").await
}

/// It issues, renews a lease, sends events, removes Secrets and keeps accounts, and RBAC refuses it nothing.
async fn the_controller_works_with_its_own_account(fixture: &Fixture) -> anyhow::Result<()> {
    let namespace = Namespace::of(fixture.cluster, "work").await?;
    let arguments = [
        "--lease-namespace=dockseal",
        "--companion-namespace=dockseal-companions",
        "--companion-source-namespace=work",
        "--companion-source-namespace=home",
    ];
    let controller = Controller::start(fixture.cluster, fixture.kubeconfig("controller"), "chart", &arguments).await?;
    namespace.apply(&homelab(&["pandora"])).await?;
    namespace.apply(&crate::fixture::host("attic", "secretDeletionPolicy: Delete")).await?;
    namespace.all_ready().await?;
    namespace.annotate("dockerhostcert/pandora", "dockseal.dev/renew-requested-at", "2026-01-01T00:00:00Z").await?;
    namespace.delete("dockerhostcert/attic").await?;
    namespace.gone("secret/attic-docker-host").await?;
    namespace.gone("dockerhostcert/attic").await?;
    namespace.all_ready().await?;
    the_controller_keeps_accounts(fixture).await?;
    let log = controller.log();
    ensure!(!log.contains("forbidden") && !log.contains(RBAC), "something was refused:\n{log}");
    controller.stop()
}

/// It makes them, puts drift right, takes back what was reported, and removes them.
async fn the_controller_keeps_accounts(fixture: &Fixture) -> anyhow::Result<()> {
    let (home, companions) = (fixture.namespace("home").await?, fixture.namespace(COMPANIONS).await?);
    let ca = json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerCA", "metadata": {"name": "cellar"},
        "spec": {"subject": {"commonName": "Cellar CA"}}});
    home.create(&ca).await?;
    let spec = json!({"caRef": {"name": "cellar"}, "hostname": "cellar", "delivery": to_node("cellar", None)});
    let host = json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerHostCert", "metadata": {"name": "cellar"},
        "spec": spec});
    home.create(&host).await?;
    companions.until("configmap/node-cellar", |_| true).await?;
    for (namespace, part) in [
        (&companions, "serviceaccount/node-cellar"),
        (&companions, "configmap/node-cellar"),
        (&home, "role/dockseal-node-cellar"),
        (&home, "rolebinding/dockseal-node-cellar"),
    ] {
        let labels = |part: &Value| part["metadata"]["labels"]["dockseal.dev/managed"].clone();
        namespace.until(part, |part| labels(part) == "true").await?;
        namespace.merge(part, json!({"metadata": {"labels": {"dockseal.dev/managed": null}}})).await?;
        namespace.until(part, |part| labels(part) == "true").await?;
    }
    home.report("cellar", &json!({"host": {"deliveredFingerprint": "aa"}})).await?;
    home.merge("dockerhostcert/cellar", json!({"spec": {"delivery": null}})).await?;
    companions.gone("serviceaccount/node-cellar").await?;
    home.until("dockerhostcert/cellar", |host| host["status"]["host"].is_null()).await.map(|_| ())
}

/// A patch of the status that names other parts of the object changes none of them.
async fn nothing_but_the_report_was_written(fixture: &Fixture) -> anyhow::Result<()> {
    let object = fixture.allowed("admin", &get(&format!("{OURS}/home/dockerhostcerts/pandora"))).await?;
    let meta = &object["metadata"];
    ensure!(meta["annotations"].is_null() && meta["labels"].is_null(), "metadata was written: {meta}");
    ensure!(meta["finalizers"] == json!(["dockseal.dev/secret"]), "finalizers were written: {meta}");
    ensure!(object["spec"]["hostname"] == "pandora.bodkys.house", "the spec was written: {}", object["spec"]);
    ensure!(object["status"]["host"]["deliveredFingerprint"] == "aa", "the report is not there: {}", object["status"]);
    Ok(())
}

async fn tokens_end_with_what_they_are_bound_to(fixture: &Fixture) -> anyhow::Result<()> {
    let (by_pod, by_node) =
        (mint("node-pandora", bound_to("pandora")), watched(&format!("{HOME}/secrets"), "attic-docker-host"));
    fixture.allowed("pod on pandora", &by_pod).await?;
    fixture.allowed("node-attic", &by_node).await?;
    let pod = format!("/api/v1/namespaces/{COMPANIONS}/pods/companion-pandora?gracePeriodSeconds=0");
    fixture.allowed("admin", &delete(&pod)).await?;
    fixture.allowed("admin", &delete("/api/v1/nodes/attic")).await?;
    fixture.refused("pod on pandora", &by_pod, "401").await?;
    fixture.refused("node-attic", &by_node, "401").await
}

/// The DaemonSet's account: it mints its own node's token, and that is all.
fn pods() -> Vec<Row> {
    let pod = "pod on pandora";
    let with = |more: Value| {
        let mut spec = bound_to("pandora");
        spec.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        spec
    };
    let seconds = |seconds: i64| with(json!({"expirationSeconds": seconds}));
    let audiences = |audiences: &[&str]| with(json!({"audiences": audiences}));
    let bound = |version: &str, kind: &str, name: &str| json!({"boundObjectRef": {"apiVersion": version, "kind": kind, "name": name}});
    let mut rows = vec![
        (pod, mint("node-pandora", bound_to("pandora")), YES),
        ("pod on attic", mint("node-attic", bound_to("attic")), YES),
        (pod, mint("node-pandora", seconds(3600)), YES),
        (pod, mint("node-pandora", seconds(600)), YES),
        (pod, mint("node-pandora", audiences(&["https://kubernetes.default.svc"])), YES),
        // for another node
        (pod, mint("node-attic", bound_to("pandora")), Some(OWN_NODE)),
        (pod, mint("node-attic", bound_to("attic")), Some(OWN_NODE)),
        ("pod on attic", mint("node-pandora", bound_to("pandora")), Some("the companion on the node attic may mint")),
        // unbound, or bound to something else
        (pod, mint("node-pandora", json!({})), Some(TO_ITS_NODE)),
        (pod, mint("node-pandora", bound_to("attic")), Some(TO_ITS_NODE)),
        (pod, mint("node-pandora", bound("v1", "Pod", "companion-pandora")), Some(TO_ITS_NODE)),
        (pod, mint("node-pandora", bound("v1", "Secret", "pandora")), Some(TO_ITS_NODE)),
        // for longer, or for another account
        (pod, mint("node-pandora", seconds(3601)), Some(AN_HOUR)),
        (pod, mint("node-pandora", seconds(2_592_000)), Some(AN_HOUR)),
        (pod, mint("node-pandora", audiences(&["vault"])), Some(FOR_THE_SERVER)),
        (pod, mint("node-pandora", audiences(&["https://kubernetes.default.svc", "vault"])), Some(FOR_THE_SERVER)),
        // for the controller, for itself, for enrolled hosts, and in other namespaces
        (pod, token("dockseal", "dockseal-controller", bound_to("pandora")), Some(RBAC)),
        (pod, mint("dockseal-companion", bound_to("pandora")), Some(RBAC)),
        (pod, mint("host-lab.store", json!({})), Some(RBAC)),
        (pod, token("home", "node-pandora", bound_to("pandora")), Some(RBAC)),
        // with a token that no pod was given
        ("daemonset, unbound", mint("node-pandora", bound_to("pandora")), Some("this one is not bound to one")),
        ("daemonset, bound to Node", mint("node-pandora", bound_to("pandora")), Some("this one is not bound to one")),
    ];
    let namespace = format!("/api/v1/namespaces/{COMPANIONS}");
    for path in [
        secret("home", "pandora-docker-host"),
        secret("home", "homelab-docker-ca"),
        format!("{HOME}/secrets"),
        "/api/v1/secrets".into(),
        format!("{HOME}/secrets?fieldSelector=metadata.name=pandora-docker-host"),
        format!("{namespace}/configmaps/node-pandora"),
        format!("{namespace}/configmaps"),
        format!("{namespace}/serviceaccounts"),
        format!("{namespace}/pods"),
        format!("{OURS}/home/dockerhostcerts"),
        status("home", "pandora"),
        "/api/v1/nodes/pandora".into(),
    ] {
        rows.push((pod, get(&path), Some(RBAC)));
    }
    rows.push((pod, merge(&status("home", "pandora"), json!({"status": {}})), Some(RBAC)));
    rows
}

/// A watch of one object, which begins with what it is.
fn watched(path: &str, name: &str) -> Ask {
    get(&format!("{path}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name={name}&{STREAMED}"))
}

/// A node's account watches what is its own, by name.
fn nodes_read() -> Vec<Row> {
    let node = "node-pandora";
    let selected = |path: &str, selector: &str| get(&format!("{path}?fieldSelector={selector}"));
    let (secrets, maps) = (format!("{HOME}/secrets"), format!("/api/v1/namespaces/{COMPANIONS}/configmaps"));
    vec![
        (node, watched(&secrets, "pandora-docker-host"), YES),
        (node, watched(&maps, "node-pandora"), YES),
        (node, get(&status("home", "pandora")), YES),
        // in a way that nobody needs
        (node, get(&secret("home", "pandora-docker-host")), Some(RBAC)),
        (node, selected(&secrets, "metadata.name=pandora-docker-host"), Some(RBAC)),
        (node, get(&format!("{maps}/node-pandora")), Some(RBAC)),
        (node, selected(&maps, "metadata.name=node-pandora"), Some(RBAC)),
        // another host's, the authority's
        (node, get(&secret("home", "attic-docker-host")), Some(RBAC)),
        (node, get(&secret("lab", "store-docker-host")), Some(RBAC)),
        (node, get(&secret("home", "homelab-docker-ca")), Some(RBAC)),
        (node, selected(&secrets, "metadata.name=homelab-docker-ca"), Some(RBAC)),
        (node, watched(&secrets, "attic-docker-host"), Some(RBAC)),
        (node, watched(&secrets, "homelab-docker-ca"), Some(RBAC)),
        (node, watched(&format!("{LAB}/secrets"), "store-docker-host"), Some(RBAC)),
        (node, watched(&maps, "node-attic"), Some(RBAC)),
        (node, get(&format!("{secrets}?watch=true&timeoutSeconds=1")), Some(RBAC)),
        (node, get(&format!("{maps}/node-attic")), Some(RBAC)),
        (node, get(&status("home", "attic")), Some(RBAC)),
        // lists
        (node, get(&secrets), Some(RBAC)),
        (node, get("/api/v1/secrets"), Some(RBAC)),
        (node, selected("/api/v1/secrets", "metadata.name=pandora-docker-host"), Some(RBAC)),
        (node, selected(&secrets, "metadata.name!=pandora-docker-host"), Some(RBAC)),
        (node, selected(&secrets, "type=Opaque"), Some(RBAC)),
        (node, get(&format!("{secrets}?labelSelector=dockseal.dev/managed=true")), Some(RBAC)),
        (node, get(&maps), Some(RBAC)),
        (node, get(&format!("{OURS}/home/dockerhostcerts")), Some(RBAC)),
        (node, get(&format!("{OURS}/home/dockerhostcerts/pandora")), Some(RBAC)),
        (node, get(&format!("{OURS}/home/dockercas/homelab")), Some(RBAC)),
        (node, get("/api/v1/namespaces"), Some(RBAC)),
        (node, get("/api/v1/nodes/pandora"), Some(RBAC)),
    ]
}

/// A node's account reports on its hosts: what it delivered and saw served.
fn nodes_report() -> Vec<Row> {
    let node = "node-pandora";
    let (own, path) = (|body: Value| json!({"status": body}), status("home", "pandora"));
    let report = |status: Value| apply(&path, "dockseal-companion", object("pandora", status));
    let merged = |status: Value| merge(&path, own(status));
    let (delivered, serving) = (condition("Delivered", "True"), condition("Serving", "True"));
    let theirs = [condition("Accepted", "True"), condition("Issued", "True"), condition("Ready", "False")];
    let [accepted, issued, ready] = theirs.clone();
    let issued_status = json!({"conditions": theirs, "secretName": "pandora-docker-host", "serial": "01",
        "environments": [{"portainerClient": "portainer", "id": 7}]});
    vec![
        ("controller", apply(&path, "dockseal-controller", object("pandora", issued_status)), YES),
        (
            node,
            report(
                json!({"conditions": [delivered, serving], "host": {"deliveredFingerprint": "aa", "servedFingerprint": "aa"}}),
            ),
            YES,
        ),
        (
            node,
            report(json!({"conditions": [condition("Delivered", "False")], "host": {"deliveredFingerprint": "aa"}})),
            YES,
        ),
        (node, merged(json!({"host": {"servedFingerprint": "bb"}})), YES),
        (node, merged(json!({"conditions": [serving, ready, issued, accepted]})), YES), // in another order
        (node, merged(json!({"conditions": [accepted, issued, ready]})), YES),          // its own taken back
        // another part of its own
        (node, report(json!({"conditions": [condition("Ready", "True")]})), Some(TWO_CONDITIONS)),
        (node, report(json!({"conditions": [condition("Registered", "True")]})), Some(TWO_CONDITIONS)),
        (node, merged(json!({"conditions": [accepted, condition("Issued", "False"), ready]})), Some(TWO_CONDITIONS)),
        (node, merged(json!({"conditions": [delivered]})), Some(TWO_CONDITIONS)),
        (node, merged(json!({"conditions": null})), Some(TWO_CONDITIONS)),
        (node, merged(json!({"conditions": [accepted, issued]})), Some(TWO_CONDITIONS)),
        (node, merged(json!({"conditions": [accepted, accepted, issued]})), Some("Duplicate value")),
        (
            node,
            steps(&path, json!([{"op": "replace", "path": "/status/conditions/0/message", "value": "x"}])),
            Some(TWO_CONDITIONS),
        ),
        (node, merged(json!({"serial": "02"})), Some(HOST_ONLY)),
        (node, merged(json!({"serial": null})), Some(HOST_ONLY)),
        (node, merged(json!({"secretName": "homelab-docker-ca"})), Some(HOST_ONLY)),
        (node, merged(json!({"renewAt": "2026-01-01T00:00:00Z"})), Some(HOST_ONLY)),
        (node, merged(json!({"environments": []})), Some(HOST_ONLY)),
        (node, merged(json!({"environments": [{"portainerClient": "portainer", "id": 8}]})), Some(HOST_ONLY)),
        (node, merge(&path, json!({"status": null})), Some(HOST_ONLY)),
        // another's
        (node, merge(&status("home", "attic"), own(json!({"host": {}}))), Some(RBAC)),
        (node, merge(&status("home", "moved"), own(json!({"host": {}}))), Some(NOT_ITS_OWN)),
        ("node-attic", merge(&status("home", "moved"), own(json!({"host": {}}))), Some(RBAC)),
        (node, merge(&status("lab", "store"), own(json!({"host": {}}))), Some(RBAC)),
        (node, merge(&format!("{OURS}/home/dockercas/homelab/status"), own(json!({}))), Some(RBAC)),
        // the rest of the object on the way
        (
            node,
            merge(
                &path,
                json!({"metadata": {"annotations": {"dockseal.dev/force-remove": "x"}, "labels": {"a": "b"},
            "finalizers": []}, "spec": {"hostname": "evil.bodkys.house"}, "status": {"host": {"deliveredFingerprint": "aa"}}}),
            ),
            YES,
        ),
    ]
}

/// A node's account writes nothing else, and mints nothing.
fn nodes_write() -> Vec<Row> {
    let node = "node-pandora";
    let own = format!("/api/v1/namespaces/{COMPANIONS}");
    let roles = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{COMPANIONS}/roles/dockseal-node-pandora");
    let event = json!({"metadata": {"name": "x"}, "reason": "x", "action": "x", "type": "Normal"});
    vec![
        (node, mint("node-pandora", bound_to("pandora")), Some(RBAC)),
        (node, mint("node-attic", bound_to("attic")), Some(RBAC)),
        (node, mint("dockseal-companion", json!({})), Some(RBAC)),
        (node, token("dockseal", "dockseal-controller", json!({})), Some(RBAC)),
        (node, put(&status("home", "pandora"), object("pandora", json!({}))), Some(RBAC)),
        (node, merge(&format!("{OURS}/home/dockerhostcerts/pandora"), json!({"spec": {}})), Some(RBAC)),
        (node, delete(&format!("{OURS}/home/dockerhostcerts/pandora")), Some(RBAC)),
        (node, merge(&secret("home", "pandora-docker-host"), json!({"data": {}})), Some(RBAC)),
        (node, delete(&secret("home", "pandora-docker-host")), Some(RBAC)),
        (node, delete(&format!("{HOME}/secrets")), Some(RBAC)),
        (node, post(&format!("{HOME}/secrets"), json!({"metadata": {"name": "mine"}})), Some(RBAC)),
        (node, merge(&format!("{own}/configmaps/node-pandora"), json!({"data": {}})), Some(RBAC)),
        (node, post(&format!("{own}/pods"), json!({"metadata": {"name": "mine"}})), Some(RBAC)),
        (node, merge(&roles, json!({"rules": []})), Some(RBAC)),
        (node, merge("/api/v1/nodes/pandora", json!({"metadata": {"labels": {"a": "b"}}})), Some(RBAC)),
        (node, post("/apis/events.k8s.io/v1/namespaces/home/events", event), Some(RBAC)),
    ]
}

/// An enrolled host reads and reports as a node does, and mints for itself alone.
fn hosts() -> Vec<Row> {
    let host = "host-lab.store";
    let for_seconds = |seconds: i64| mint("host-lab.store", json!({"expirationSeconds": seconds}));
    let (secrets, maps) = (format!("{LAB}/secrets"), format!("/api/v1/namespaces/{COMPANIONS}/configmaps"));
    let report =
        json!({"status": {"conditions": [condition("Delivered", "True")], "host": {"deliveredFingerprint": "aa"}}});
    vec![
        (host, mint("host-lab.store", json!({})), YES),
        (host, for_seconds(2_592_000), YES),
        (host, for_seconds(900), YES),
        (host, for_seconds(2_592_001), Some("for 30 days (2592000 seconds) at most")),
        (host, mint("host-lab.store", json!({"audiences": ["vault"]})), Some(FOR_THE_SERVER)),
        (host, mint("host-lab.store", bound_to("pandora")), Some("is bound to no object")),
        (host, mint("host-lab.barn", json!({})), Some(RBAC)),
        (host, mint("node-pandora", bound_to("pandora")), Some(RBAC)),
        (host, mint("dockseal-companion", json!({})), Some(RBAC)),
        (host, token("dockseal", "dockseal-controller", json!({})), Some(RBAC)),
        (host, watched(&secrets, "store-docker-host"), YES),
        (host, watched(&maps, "host-lab.store"), YES),
        (host, watched(&secrets, "barn-docker-host"), Some(RBAC)),
        (host, watched(&format!("{HOME}/secrets"), "pandora-docker-host"), Some(RBAC)),
        (host, get(&secrets), Some(RBAC)),
        (host, watched(&maps, "host-lab.barn"), Some(RBAC)),
        (host, merge(&status("lab", "store"), report.clone()), YES),
        (host, merge(&status("lab", "store"), json!({"status": {"serial": "02"}})), Some(HOST_ONLY)),
        (host, merge(&status("lab", "barn"), report), Some(RBAC)),
        ("host-lab.barn", watched(&secrets, "barn-docker-host"), YES),
        ("host-lab.barn", mint("host-lab.store", json!({})), Some(RBAC)),
    ]
}

/// Accounts that have every right by mistake: the policies hold without RBAC.
fn mighty() -> Vec<Row> {
    let own = status("home", "pandora");
    let mut rows = vec![
        ("host-lab.mighty", mint("host-lab.mighty", json!({})), YES),
        (
            "host-lab.mighty",
            mint("host-lab.store", json!({})),
            Some("an enrolled host may mint tokens of its own account only"),
        ),
        ("host-lab.mighty", mint("dockseal-companion", json!({})), Some("of its own account only")),
        (
            "host-lab.mighty",
            token("dockseal", "dockseal-controller", json!({})),
            Some("in the namespace dockseal-companions only"),
        ),
        ("host-lab.mighty", merge(&status("lab", "store"), json!({"status": {"host": {}}})), Some(NOT_ITS_OWN)),
    ];
    for who in ["node-mighty", "stranger"] {
        rows.extend([
            (who, mint("node-mighty", bound_to("pandora")), Some(MINTS_NONE)),
            (who, mint(who, json!({})), Some(MINTS_NONE)),
            (who, token("dockseal", "dockseal-controller", json!({})), Some(MINTS_NONE)),
            (who, merge(&own, json!({"status": {"host": {}}})), Some(NOT_ITS_OWN)),
            (who, delete(&format!("{OURS}/home/dockerhostcerts/attic")), Some("and nothing else")),
            (
                who,
                merge(&format!("{OURS}/home/dockerhostcerts/attic"), json!({"spec": {"hostname": "a"}})),
                Some("and nothing else"),
            ),
            (who, host("home", "mine", json!({})), Some("and nothing else")),
        ]);
    }
    rows
}

/// The controller hands rights on, and uses no more than it holds.
fn controller() -> Vec<Row> {
    let who = "controller";
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let roles = |namespace: &str| format!("{rbac}/namespaces/{namespace}/roles");
    let role = |group: &str, resource: &str, verb: &str| {
        let rules = json!([{"apiGroups": [group], "resources": [resource], "verbs": [verb]}]);
        json!({"metadata": {"name": "dockseal-more"}, "rules": rules})
    };
    let held = "not currently held";
    let admin = json!({"metadata": {"name": "dockseal-more"}, "subjects": [],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    vec![
        (who, post(&roles("home"), role("", "secrets", "watch")).dry(), YES),
        (who, post(&roles("home"), role("", "pods/exec", "create")).dry(), Some(held)),
        (who, post(&roles("home"), role("", "serviceaccounts/token", "create")).dry(), Some(held)),
        (who, post(&roles("dockseal"), role("", "serviceaccounts/token", "create")).dry(), Some(held)),
        (who, post(&roles(COMPANIONS), role("", "*", "*")).dry(), Some(held)),
        (who, post(&format!("{rbac}/namespaces/home/rolebindings"), admin.clone()).dry(), Some(held)),
        (who, post(&format!("{rbac}/clusterrolebindings"), admin), Some(RBAC)),
        (who, post(&format!("{rbac}/clusterroles"), role("", "secrets", "get")), Some(RBAC)),
        // It holds this right only to hand it on.
        (who, mint("node-pandora", bound_to("pandora")), Some(MINTS_NONE)),
        (who, mint("dockseal-companion", json!({})), Some(MINTS_NONE)),
        (who, token("dockseal", "dockseal-controller", json!({})), Some(RBAC)),
        (
            who,
            post(&format!("/api/v1/namespaces/{COMPANIONS}/pods"), json!({"metadata": {"name": "mine"}})),
            Some(RBAC),
        ),
        (who, post(&format!("{HOME}/serviceaccounts"), json!({"metadata": {"name": "mine"}})), Some(RBAC)),
        (who, get("/api/v1/nodes"), Some(RBAC)),
        (who, delete("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/dockseal-tokens"), Some(RBAC)),
    ]
}

/// Whoever writes a DockerHostCert, the administrator included.
fn users() -> Vec<Row> {
    let who = "admin";
    let into = |directory: &str| host("home", "new", to_node("pandora", Some(directory)));
    let old = format!("{OURS}/away/dockerhostcerts/old");
    let store = format!("{OURS}/lab/dockerhostcerts/store");
    let change = |path: &str, spec: Value| merge(path, json!({"spec": spec}));
    let finalizers = |path: &str| merge(path, json!({"metadata": {"finalizers": []}}));
    vec![
        (who, host("home", "new", to_node("pandora", None)), YES),
        (who, into("/etc/docker/certs"), YES),
        (who, into("/etc/docker/certs/pandora"), YES),
        (who, into("/srv/docker"), YES),
        (who, into("/etc/docker/certs-evil"), Some(DIRECTORY_NOT_LISTED)),
        (who, into("/etc/docker"), Some(DIRECTORY_NOT_LISTED)),
        (who, into("/etc"), Some(DIRECTORY_NOT_LISTED)),
        (who, into("/"), Some(DIRECTORY_NOT_LISTED)),
        (who, into("/ETC/docker/certs"), Some(DIRECTORY_NOT_LISTED)),
        (who, into("/root/etc/docker/certs"), Some(DIRECTORY_NOT_LISTED)),
        (who, into("/etc/docker/certs/../../ssh"), Some("without //, . or ..")),
        (who, into("/etc/docker/certs/"), Some("without a slash at its end")),
        // a namespace that is not listed
        (who, host("away", "new", to_node("pandora", None)), Some(NAMESPACE_NOT_LISTED)),
        (who, host("away", "new", to_node("pandora", Some("/srv/docker"))), Some(NAMESPACE_NOT_LISTED)),
        (who, host("away", "new", json!({"target": "Enrolled", "directory": "/opt"})), YES),
        (who, host("away", "new", json!({"directory": "/opt"})), YES),
        (who, host("away", "new", Value::Null), YES),
        (
            who,
            change(&format!("{OURS}/lab/dockerhostcerts/store"), json!({"delivery": to_node("pandora", None)})).dry(),
            Some("nothing is delivered to nodes from the namespace lab"),
        ),
        (
            who,
            change(&format!("{OURS}/home/dockerhostcerts/attic"), json!({"delivery": {"directory": "/etc/ssh"}})).dry(),
            Some(DIRECTORY_NOT_LISTED),
        ),
        // what was there before its namespace was struck off the list
        (who, merge(&old, json!({"metadata": {"annotations": {"dockseal.dev/renew-requested-at": "now"}}})), YES),
        (
            "controller",
            apply(
                &status("away", "old"),
                "dockseal-controller",
                json!({"apiVersion": "dockseal.dev/v1alpha1",
            "kind": "DockerHostCert", "metadata": {"name": "old"}, "status": {"serial": "01"}}),
            ),
            YES,
        ),
        (who, change(&old, json!({"delivery": {"nodeName": "attic"}})).dry(), Some(NAMESPACE_NOT_LISTED)),
        (who, change(&old, json!({"duration": "30d"})).dry(), Some(NAMESPACE_NOT_LISTED)),
        (who, change(&old, json!({"delivery": null})).dry(), YES),
        ("controller", merge(&old, json!({"metadata": {"annotations": {"a": "b"}}})).dry(), YES),
        (who, delete(&old), YES),
        ("controller", finalizers(&old), YES),
        // who says that a host is enrolled
        ("tina", enrolled(&store, json!("2026-11-22T10:00:00Z")), Some(NOT_ENROLLING)),
        ("tina", enrolled(&store, json!("yes")), Some(NOT_ENROLLING)),
        ("tina", enrolled(&store, Value::Null), YES),
        ("tina", host_enrolled("lab", "out"), Some(NOT_ENROLLING)),
        ("tina", host("lab", "out", json!({"target": "Enrolled", "directory": "/opt"})), YES),
        ("tina", merge(&store, json!({"metadata": {"annotations": {"a": "b"}}})).dry(), YES),
        (who, enrolled(&store, json!("2026-11-22T10:00:00Z")), YES),
        (who, host_enrolled("lab", "out"), YES),
        (who, get(&old), Some("not found")),
    ]
}

/// A token for an account of the companions' namespace.
fn mint(account: &str, spec: Value) -> Ask {
    token(COMPANIONS, account, spec)
}

fn secret(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

fn status(namespace: &str, name: &str) -> String {
    format!("{OURS}/{namespace}/dockerhostcerts/{name}/status")
}

/// A new DockerHostCert, not stored.
fn host(namespace: &str, name: &str, delivery: Value) -> Ask {
    let spec = json!({"caRef": {"name": "homelab"}, "hostname": "new.bodkys.house", "delivery": delivery});
    let object = json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerHostCert", "metadata": {"name": name}, "spec": spec});
    post(&format!("{OURS}/{namespace}/dockerhostcerts"), object).dry()
}

/// Says, or says no longer, that a host is enrolled for an object; not stored.
fn enrolled(path: &str, value: Value) -> Ask {
    merge(path, json!({"metadata": {"annotations": {"dockseal.dev/enrolled": value}}})).dry()
}

/// A new DockerHostCert that says so from its beginning, not stored.
fn host_enrolled(namespace: &str, name: &str) -> Ask {
    let spec =
        json!({"caRef": {"name": "homelab"}, "hostname": "new.bodkys.house", "delivery": {"target": "Enrolled"}});
    let metadata = json!({"name": name, "annotations": {"dockseal.dev/enrolled": "yes"}});
    let object =
        json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerHostCert", "metadata": metadata, "spec": spec});
    post(&format!("{OURS}/{namespace}/dockerhostcerts"), object).dry()
}

fn to_node(node: &str, directory: Option<&str>) -> Value {
    match directory {
        Some(directory) => json!({"target": "Node", "nodeName": node, "directory": directory}),
        None => json!({"target": "Node", "nodeName": node}),
    }
}

/// A DockerHostCert of `home` as it is applied.
fn object(name: &str, status: Value) -> Value {
    json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerHostCert", "metadata": {"name": name}, "status": status})
}

fn condition(type_: &str, status: &str) -> Value {
    json!({"type": type_, "status": status, "reason": type_, "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}
