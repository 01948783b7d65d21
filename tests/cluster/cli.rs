//! The verbs for people on a real API server: what they show, what they write, and what they say without rights.

use crate::fixture::{Namespace, SOON, homelab, host, serial};
use anyhow::{Context, ensure};
use futures::StreamExt;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

struct CommandOutput {
    code: Option<i32>,
    out: String,
    err: String,
}

impl CommandOutput {
    #[track_caller]
    fn ends(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(self.err.contains(words), "{words:?}: {}", self.err);
    }
}

async fn dockseal(kubeconfig: &Path, arguments: &[&str]) -> anyhow::Result<CommandOutput> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dockseal"));
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig).env_clear().stdin(std::process::Stdio::null());
    let Output { status, stdout, stderr } = command.output().await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(CommandOutput { code: status.code(), out: text(stdout), err: text(stderr) })
}

const CLIENT: &str = "---\n{apiVersion: dockseal.dev/v1alpha1, kind: DockerClientCert, metadata: {name: ci}, spec: {caRef: {name: homelab}, commonName: ci}}\n";

#[tokio::test]
async fn people_see_and_renew_and_take_what_the_controller_made() -> anyhow::Result<()> {
    let namespace = Namespace::new("verbs").await?;
    let kubeconfig = namespace.cluster.kubeconfig();
    let run = async |arguments: &[&str]| dockseal(&kubeconfig, &[arguments, &["-n", "verbs"]].concat()).await;
    run(&["status"]).await?.ends(0, "there is no object of Dockseal in namespace verbs");
    namespace.apply(&(homelab(&["pandora", "janus"]) + CLIENT)).await?;
    let unseen = run(&["status", "-o", "wide"]).await?;
    unseen.ends(4, "");
    assert!(
        unseen.out.contains("0 of 4 objects are Ready")
            && unseen.out.contains("the controller has not processed it yet"),
        "{}",
        unseen.out
    );
    let waited = run(&["renew", "pandora", "--wait", "--timeout", "1s"]).await?;
    waited.ends(4, "1 of 1 have no new certificate after 1 seconds, for example DockerHostCert/verbs/pandora");
    let controller = namespace.controller("verbs").await?;
    namespace.all_ready().await?;
    let page = run(&["status"]).await?;
    page.ends(0, "");
    assert!(page.out.starts_with("all 4 objects are Ready\n") && page.out.contains("dhc/janus"), "{}", page.out);
    let document: Value = serde_json::from_str(&run(&["status", "dhc/janus", "-o", "json"]).await?.out)?;
    let janus = namespace.get("dockerhostcert/janus").await?;
    let told = &document["objects"][0];
    for field in ["serial", "fingerprint", "renewAt", "secretName"] {
        assert_eq!(told[field], janus["status"][field], "{field}");
    }
    // What kubectl says of it is found too.
    run(&["status", "dockerhostcert.dockseal.dev/janus"]).await?.ends(0, "");
    run(&["status", "dhc/nope"]).await?.ends(3, "there is no DockerHostCert nope in namespace verbs");
    run(&["bundle", "nope", "-o", "/dev/null"])
        .await?
        .ends(3, "there is no DockerHostCert, DockerClientCert or PortainerClient nope");
    run(&["bundle", "dcc/nope", "-o", "/dev/null"]).await?.ends(3, "there is no DockerClientCert nope");

    tokio::time::sleep(Duration::from_millis(1100)).await; // a renewal asked for in the second of the issuance is done already
    let before = serial(&janus);
    let renewed = run(&["renew", "dhc/janus", "--wait"]).await?;
    renewed.ends(0, "");
    assert!(renewed.out.starts_with("dhc/janus: renewed, until 20"), "{}", renewed.out);
    let after = serial(&namespace.get("dockerhostcert/janus").await?);
    assert_ne!(after, before);
    let asked = run(&["renew", "--all", "dcc", "dhc", "-l", "site!=home", "-o", "name"]).await?;
    asked.ends(0, "");
    assert_eq!(asked.out, "dockerclientcert.dockseal.dev/ci\n");
    assert_eq!(serial(&namespace.get("dockerhostcert/janus").await?), after, "labels are heeded");
    drop(controller);
    let changed = namespace.merge("dockerhostcert/janus", json!({"spec": {"hostname": "janus.lan"}})).await?;
    ensure!(changed["metadata"]["generation"] != changed["status"]["conditions"][0]["observedGeneration"], "it is new");
    let stale = run(&["status", "janus"]).await?;
    stale.ends(4, "");
    assert!(stale.out.contains("has not processed its latest change yet"), "{}", stale.out);
    let bundle = namespace.cluster.dir().join("ci.tar.gz");
    run(&["bundle", "ci", "-o", &bundle.to_string_lossy()]).await?.ends(0, "");
    assert!(std::fs::read(&bundle)?.starts_with(&[0x1f, 0x8b]));
    Ok(())
}

#[tokio::test]
async fn who_lacks_a_right_is_told_which() -> anyhow::Result<()> {
    let namespace = Namespace::new("verbs-rights").await?;
    namespace.apply(&(homelab(&["pandora"]) + CLIENT)).await?;
    let controller = namespace.controller("verbs-rights").await?;
    namespace.all_ready().await?;
    namespace.kubectl(&["create", "serviceaccount", "nobody"]).await?;
    let token = namespace.token("nobody").await?;
    let kubeconfig = namespace.cluster.kubeconfig_with_token("verbs-nobody", &token)?;
    let run = async |arguments: &[&str]| dockseal(&kubeconfig, &[arguments, &["-n", "verbs-rights"]].concat()).await;
    let everywhere = dockseal(&kubeconfig, &["status", "-A"]).await?;
    everywhere
        .ends(1, "in all namespaces: ask the cluster's administrator for that right, or name a namespace with -n");
    run(&["status", "dhc"])
        .await?
        .ends(1, "you may not list dockerhostcerts.dockseal.dev in namespace verbs-rights: ask");
    run(&["bundle", "dcc/ci", "-o", "x"]).await?.ends(1, "you may not get dockerclientcerts.dockseal.dev");
    let reading = [
        "create",
        "role",
        "reads",
        "--verb=get,list",
        "--resource=dockercas.dockseal.dev,dockerhostcerts.dockseal.dev,dockerclientcerts.dockseal.dev,portainerclients.dockseal.dev",
    ];
    namespace.kubectl(&reading).await?;
    namespace
        .kubectl(&["create", "rolebinding", "reads", "--role=reads", "--serviceaccount=verbs-rights:nobody"])
        .await?;
    let deadline = Instant::now() + SOON;
    while run(&["status"]).await?.code != Some(0) {
        ensure!(Instant::now() < deadline, "the role takes effect");
    }
    run(&["renew", "dhc/pandora"])
        .await?
        .ends(1, "you may not patch dockerhostcerts.dockseal.dev in namespace verbs-rights");
    namespace.apply(&host("outside", "delivery: {target: Enrolled}")).await?;
    let enroll = async |host: &str| run(&["enroll", host, "--server", "https://10.0.0.1:6443"]).await;
    enroll("outside").await?.ends(1, "you may not patch dockerhostcerts.dockseal.dev in namespace verbs-rights");
    enroll("pandora").await?.ends(1, "set spec.delivery.target: Enrolled first");
    enroll("nope").await?.ends(3, "there is no DockerHostCert nope in namespace verbs-rights");
    let patching = ["create", "role", "patches", "--verb=patch", "--resource=dockerhostcerts.dockseal.dev"];
    namespace.kubectl(&patching).await?;
    let bound = ["create", "rolebinding", "patches", "--role=patches", "--serviceaccount=verbs-rights:nobody"];
    namespace.kubectl(&bound).await?;
    let deadline = Instant::now() + SOON;
    while !enroll("outside").await?.err.contains("you may not get serviceaccounts in namespace dockseal-companions") {
        ensure!(Instant::now() < deadline, "the role takes effect");
    }
    run(&["bundle", "ci", "-o", "x"]).await?.ends(1, "you may not get secrets in namespace verbs-rights");
    run(&["context", "ci", "pandora", "-o", "x"]).await?.ends(1, "you may not get secrets in namespace verbs-rights");
    let wrong = namespace.cluster.kubeconfig_with_token("verbs-wrong", "nonsense")?;
    dockseal(&wrong, &["status"]).await?.ends(1, "refuses the kubeconfig's credentials");
    drop(controller);
    Ok(())
}

/// The time is measured in docs/benchmarks.md, row (i); here only that it is one list for each kind.
#[tokio::test]
async fn two_thousand_hosts_are_shown_in_a_moment() -> anyhow::Result<()> {
    const HOSTS: usize = 2000;
    let namespace = Namespace::new("verbs-many").await?;
    let namespace = &namespace;
    let made = futures::stream::iter(0..HOSTS).map(async |number| -> anyhow::Result<()> {
        let name = format!("host-{number}");
        let host = json!({
            "apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerHostCert", "metadata": {"name": name},
            "spec": {"caRef": {"name": "homelab"}, "hostname": format!("{name}.bodkys.house")}
        });
        namespace.create(&host).await?;
        let condition = |type_: &str| {
            json!({
                "type": type_, "status": "True", "reason": "Issued", "observedGeneration": 1,
                "message": format!("Secret {name}-docker-host is valid until 2027-11-22T08:13:32Z"),
                "lastTransitionTime": "2026-11-22T08:13:32Z"
            })
        };
        let status = json!({
            "conditions": (["Accepted", "Issued", "Ready"].map(condition)), "secretName": format!("{name}-docker-host"),
            "serial": "524ed1d06f737eb9963eef927fcd3cea", "fingerprint": "5f4228d9a802d7b9".repeat(4),
            "issuerFingerprint": "5f4228d9a802d7b9".repeat(4), "notBefore": "2026-11-22T08:13:32Z",
            "notAfter": "2099-11-22T08:13:32Z", "renewAt": "2099-07-22T08:13:32Z"
        });
        namespace.report(&name, &status).await.map(|_| ())
    });
    let made: Vec<_> = made.buffer_unordered(32).collect().await;
    made.into_iter().collect::<anyhow::Result<()>>().context("failed to make the hosts")?;
    let kubeconfig = namespace.cluster.kubeconfig();
    let begun = Instant::now();
    let ran = dockseal(&kubeconfig, &["status", "-n", "verbs-many"]).await?;
    let took = begun.elapsed();
    ran.ends(0, "");
    assert!(ran.out.starts_with("all 2000 objects are Ready\n"), "{:.200}", ran.out);
    assert_eq!(ran.out.lines().count(), HOSTS + 3);
    // It takes 0.3 s on an idle machine, and several times that on a busy one. A list call for each host takes minutes.
    ensure!(took < Duration::from_secs(30), "status over {HOSTS} hosts took {took:?}");
    Ok(())
}
