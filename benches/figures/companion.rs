//! (f) a companion: from the Secret's change to files in place and to the proof, memory, processor time; (g) many of
//! them on one API server.

use super::cluster::{leaf, payload, resident};
use super::server::Server;
use super::table::{Table, median};
use crate::support::companion::{ApiAccess, Companion};
use crate::support::dockerd::Dockerd;
use crate::support::ports;
use crate::support::scratch::Scratch;
use anyhow::{Context, ensure};
use dockseal::adapters::kube::companion_api::{CompanionApi, client};
use dockseal::api::assignment::account;
use dockseal::api::docker_host_cert::Target;
use dockseal::api::{Kind, NamespacedName, ObjectName, ObjectRef};
use dockseal::pki::Certificate;
use dockseal::pki::material::Data;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const NAMESPACE: &str = "companions";
const NODE: &str = "bench";

/// One companion, renewed again and again.
pub async fn one(server: &Server, table: &mut Table, renewals: usize) -> anyhow::Result<()> {
    let (directory, port) = (Scratch::new("bench-companion")?, ports::free()?);
    accounts(server).await?;
    server.cluster.kubectl(&["create", "namespace", "bench-home"]).await?;
    server.hosts("bench-home", "host", 1, "365d").await?;
    let certs = directory.path().join("certs");
    assign(server, &certs, port).await?;
    let first = store(server).await?;
    let root = directory.path().to_string_lossy().into_owned();
    let words = ["--node", NODE, "--namespace", NAMESPACE, "--source-namespace", "bench-home", "--directory", &root];
    let companion = Companion::start(server.cluster, &ApiAccess::Kubeconfig(&server.cluster.kubeconfig()), &words)?;
    in_place(&certs, &first).await.with_context(|| companion.log())?;
    tokio::time::sleep(Duration::from_secs(15)).await; // threads of the first delivery have ended then
    table.row("(f) companion's memory (VmRSS), one host", resident(companion.pid())?);
    let busy = share(companion.pid(), Duration::from_secs(60)).await?;
    table.row("(f) its processor while nothing changes, in % of a core", format!("{busy:.3}"));
    let mut files = Vec::new();
    for _ in 0..renewals {
        let fingerprint = store(server).await?;
        files.push(in_place(&certs, &fingerprint).await.with_context(|| companion.log())?.as_secs_f64() * 1000.0);
    }
    let most = files.iter().copied().fold(0.0, f64::max);
    let what = format!("(f) Secret's change to files in place, {renewals} renewals");
    table.row(what, format!("{:.0} ms, {most:.0} at most", median(&files)));
    proof(server, table, &certs, port).await.with_context(|| companion.log())?;
    table.row("(f) companion's memory (VmRSS) after all that", resident(companion.pid())?);
    Ok(())
}

/// dockerd starts with the files; from when it listens to when that is reported.
async fn proof(server: &Server, table: &mut Table, certs: &Path, port: u16) -> anyhow::Result<()> {
    let at = |name: &str| certs.join(name);
    let _dockerd = Dockerd::start_on(port, &at("host-0.pem"), &at("host-0.key"), &at("ca.pem"))?;
    let started = Instant::now();
    std::fs::remove_file(at("ca.pem"))?; // has it look
    loop {
        let text = server.cluster.kubectl(&["get", "dhc", "-n", "bench-home", "host-0", "-o", "json"]).await?;
        let object: Value = serde_json::from_str(&text)?;
        let mut found = object["status"]["conditions"].as_array().into_iter().flatten();
        if found.any(|found| found["type"] == "Serving" && found["status"] == "True") {
            break;
        }
        ensure!(started.elapsed() < Duration::from_secs(60), "no proof: {:#}", object["status"]);
    }
    let took = started.elapsed().as_millis();
    table.row("(f) dockerd serves the files to that being proved by handshake and reported", format!("{took} ms"));
    Ok(())
}

/// Many, each with a connection, a token and two watches of its own; tokens are renewed as they would be.
pub async fn many(server: &Server, table: &mut Table, count: usize) -> anyhow::Result<()> {
    let span = Duration::from_secs(330); // longer than any watch
    let token = Zeroizing::new(
        server
            .cluster
            .kubectl(&["-n", NAMESPACE, "create", "token", "node-bench", "--duration=24h"])
            .await?
            .trim()
            .to_owned(),
    );
    let maps: &Api<ConfigMap> = &Api::namespaced(server.client.clone(), NAMESPACE);
    let secrets: &Api<Secret> = &Api::namespaced(server.client.clone(), NAMESPACE);
    let data = &leaf().await;
    let made = futures::stream::iter(0..count).map(|number| async move {
        let mut map = ConfigMap {
            data: Some([("assignment.json".into(), r#"{"hosts":[]}"#.into())].into()),
            ..ConfigMap::default()
        };
        map.metadata.name = Some(format!("node-{number}"));
        maps.create(&PostParams::default(), &map).await?;
        secrets.create(&PostParams::default(), &payload(&format!("host-{number}"), data)).await.map(|_| ())
    });
    made.buffer_unordered(16).collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let pid = server.cluster.apiserver_pid().context("it runs")?;
    let idle = share(pid, Duration::from_secs(60)).await?;
    let kubeconfig = Kubeconfig::read_from(server.cluster.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let mut tasks = tokio::task::JoinSet::new();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for number in 0..count {
        let api = CompanionApi::new(client(config.clone(), &token)?);
        let (assignment, secret) = (
            NamespacedName::new(NAMESPACE, ObjectName::joined(&format!("node-{number}"))),
            NamespacedName::new(NAMESPACE, ObjectName::joined(&format!("host-{number}-docker-host"))),
        );
        let (assignments, secrets) =
            (api.assignments(&assignment).map(|found| found.is_ok()), api.secrets(&secret).map(|found| found.is_ok()));
        let seen = std::sync::Arc::clone(&seen);
        tasks.spawn(async move {
            let mut both = std::pin::pin!(futures::stream::select(assignments, secrets));
            while let Some(whole) = both.next().await {
                seen.fetch_add(usize::from(whole), std::sync::atomic::Ordering::SeqCst);
            }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while seen.load(std::sync::atomic::Ordering::SeqCst) < 2 * count {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    // Each hour three tokens each.
    let (accounts, every) = (server.client.clone(), Duration::from_secs(1200) / count as u32);
    tasks.spawn(async move {
        loop {
            let clock = dockseal::adapters::Clock::system();
            let life = k8s_openapi::jiff::SignedDuration::from_hours(1);
            let _ =
                dockseal::adapters::kube::token::mint(&accounts, (NAMESPACE, "node-bench"), Some(NODE), life, &clock)
                    .await;
            tokio::time::sleep(every).await;
        }
    });
    let busy = share(pid, span).await?;
    table.row(
        format!("(g) API server's processor with {count} companions, two watches each, tokens renewed, in % of a core"),
        format!("{:.1} more than the {:.1} without", busy - idle, idle),
    );
    tasks.shutdown().await;
    Ok(())
}

/// Processor time of a process in % of a core.
async fn share(pid: u32, span: Duration) -> anyhow::Result<f64> {
    let (before, started) = (ran(pid)?, Instant::now());
    tokio::time::sleep(span).await;
    Ok(100.0 * (ran(pid)? - before) / started.elapsed().as_secs_f64())
}

/// Seconds that a process's threads ran (schedstat, nanoseconds): the ticks of /proc/PID/stat miss short bursts.
fn ran(pid: u32) -> anyhow::Result<f64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    let ran = texts.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok());
    Ok(ran.sum::<f64>() / 1e9)
}

async fn accounts(server: &Server) -> anyhow::Result<()> {
    let objects = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}
---
{{apiVersion: v1, kind: Node, metadata: {{name: {NODE}}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: node-{NODE}, namespace: {NAMESPACE}}}}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: bench}}, \
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}, \
subjects: [{{kind: ServiceAccount, name: node-{NODE}, namespace: {NAMESPACE}}}]}}\n"
    );
    server.cluster.apply(&objects).await.map(drop)
}

async fn assign(server: &Server, directory: &Path, port: u16) -> anyhow::Result<()> {
    let text = server.cluster.kubectl(&["get", "dhc", "-n", "bench-home", "host-0", "-o", "json"]).await?;
    let object: Value = serde_json::from_str(&text)?;
    let delivery = dockseal::api::docker_host_cert::Delivery {
        target: Some(Target::Node),
        node_name: Some(NODE.into()),
        directory: directory.to_string_lossy().into_owned(),
        ..Default::default()
    };
    let at = ObjectRef::new(Kind::DockerHostCert, "bench-home", "host-0");
    let name = account(&at, &delivery).context("a node has an account")?;
    let assignment = json!({"hosts": [{"namespace": "bench-home", "name": "host-0", "uid": object["metadata"]["uid"],
        "generation": 1, "secretName": "host-0-docker-host", "delivery": delivery, "port": port}]});
    let mut map =
        ConfigMap { data: Some([("assignment.json".into(), assignment.to_string())].into()), ..ConfigMap::default() };
    map.metadata.name = Some(name);
    Api::<ConfigMap>::namespaced(server.client.clone(), NAMESPACE).create(&PostParams::default(), &map).await?;
    Ok(())
}

/// A new certificate into the Secret; its fingerprint.
async fn store(server: &Server) -> anyhow::Result<String> {
    let secrets: Api<Secret> = Api::namespaced(server.client.clone(), "bench-home");
    let data: Data = leaf().await;
    let certificate = data.iter().find(|(key, _)| *key == "tls.crt").map(|(_, bytes)| bytes.to_vec());
    let fingerprint = Certificate::from_pem(&certificate.context("it has a certificate")?)?.fingerprint();
    let mut secret = payload("host-0", &data);
    match secrets.get_opt("host-0-docker-host").await? {
        None => _ = secrets.create(&PostParams::default(), &secret).await?,
        Some(there) => {
            secret.metadata.resource_version = there.metadata.resource_version;
            secrets.replace("host-0-docker-host", &PostParams::default(), &secret).await?;
        }
    }
    Ok(fingerprint)
}

/// Waits until that certificate is in place.
async fn in_place(certs: &Path, fingerprint: &str) -> anyhow::Result<Duration> {
    let started = Instant::now();
    loop {
        let there = std::fs::read(certs.join("host-0.pem")).ok().and_then(|pem| Certificate::from_pem(&pem).ok());
        if there.is_some_and(|there| there.fingerprint() == fingerprint) {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < Duration::from_secs(60), "the certificate is not in place");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
