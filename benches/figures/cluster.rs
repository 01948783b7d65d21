//! (a) a bare loop of two writes, (b) issuing, (c) a restart, and the controller's memory.

use super::server::{CONCURRENCY, Server, difference, words};
use super::table::{Table, median, raw};
use crate::support::controller::Controller;
use dockseal::adapters::Clock;
use dockseal::adapters::random::{make_key, serial};
use dockseal::adapters::store::LEAF_TYPE;
use dockseal::api::status::HostCertStatus;
use dockseal::api::{API_VERSION, DockerHostCert, MANAGED_LABEL, OWNER_ANNOTATION};
use dockseal::pki::material::{self, Data};
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{self, LeafProfile};
use dockseal::pki::{KeyAlgorithm, lifecycle};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::time::Instant;

/// How a bare loop writes the status.
#[derive(Clone, Copy)]
enum StatusWrite {
    /// Server-side apply, as the controller did until it wrote at a version.
    Apply,
    /// An update at the version that was seen, as the controller does now.
    Update,
}

/// Rounds of (a) and (b) in turn, then (c) over the last (b).
pub async fn issuing(server: &Server, table: &mut Table, hosts: usize, rounds: usize) -> anyhow::Result<()> {
    let (mut applied, mut updated, mut issued, mut running) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        applied.push(bare_loop(server, &format!("bare-{round}"), hosts, StatusWrite::Apply).await?);
        updated.push(bare_loop(server, &format!("bare-update-{round}"), hosts, StatusWrite::Update).await?);
        let (whole, from_first) = controller(server, table, &format!("issue-{round}"), hosts, round == 0).await?;
        issued.push(whole);
        running.push(from_first);
        let (apply, update) = (applied[round], updated[round]);
        table.note(&format!(
            "round {round}: bare, apply {apply:.0}/s, update {update:.0}/s; controller {whole:.0}/s and {from_first:.0}/s"
        ));
    }
    let better = median(&applied).max(median(&updated));
    let percent = |rates: &[f64]| format!("{:.0} %", 100.0 * median(rates) / better);
    let rates = |rates: &[f64]| format!("{:.0} ({})", median(rates), raw(rates));
    table.row("(a) bare loop, Secret and server-side apply of the status, objects/s", rates(&applied));
    table.row("(a) bare loop, Secret and update of the status, objects/s", rates(&updated));
    table.row(format!("(b) controller, {hosts} hosts from nothing, objects/s"), rates(&issued));
    table.row("(b) of the better (a)", percent(&issued));
    table.row("(b) from the authority's issuance on, its start left out, objects/s", rates(&running));
    table.row("that of the better (a)", percent(&running));
    restart(server, table, &format!("issue-{}", rounds - 1)).await
}

/// The two writes of an issuance with the same client library and nothing else.
async fn bare_loop(server: &Server, namespace: &str, hosts: usize, how: StatusWrite) -> anyhow::Result<f64> {
    server.fleet(namespace, hosts, "365d").await?;
    let secrets: &Api<Secret> = &Api::namespaced(server.client.clone(), namespace);
    let objects: &Api<DockerHostCert> = &Api::namespaced(server.client.clone(), namespace);
    let seen = objects.list(&ListParams::default()).await?.items;
    let data = &leaf().await;
    let started = Instant::now();
    let writes = stream::iter(seen).map(|mut object| async move {
        let name = object.name_any();
        secrets.create(&PostParams::default(), &payload(&name, data)).await?;
        match how {
            StatusWrite::Apply => {
                let patch = json!({ "apiVersion": API_VERSION, "kind": "DockerHostCert", "status": status() });
                objects.patch_status(&name, &PatchParams::apply("bench").force(), &Patch::Apply(patch)).await.map(drop)
            }
            StatusWrite::Update => {
                object.status = Some(status());
                objects.replace_status(&name, &PostParams::default(), &object).await.map(drop)
            }
        }
    });
    writes.buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    Ok(hosts as f64 / started.elapsed().as_secs_f64())
}

/// The Secret that an issuance writes, with a real certificate in it: the API server reads those.
pub fn payload(name: &str, data: &Data) -> Secret {
    let data = data.iter().map(|(key, bytes)| (key.to_owned(), ByteString(bytes.to_vec()))).collect();
    let mut secret = Secret { data: Some(data), type_: Some(LEAF_TYPE.into()), ..Secret::default() };
    secret.metadata.name = Some(format!("{name}-docker-host"));
    secret.metadata.labels = Some([(MANAGED_LABEL.into(), "bench".into())].into());
    secret.metadata.annotations = Some([(OWNER_ANNOTATION.into(), format!("DockerHostCert/bare/{name}"))].into());
    secret
}

/// One leaf, for all of them.
pub async fn leaf() -> Data {
    let dates = lifecycle::dates(Clock::system().now(), SignedDuration::from_hours(24), None);
    let key = make_key(KeyAlgorithm::EcdsaP256);
    let authority =
        sign::new_authority(&DistinguishedName::of("Bench"), None, key, dates, serial()).expect("a short name");
    let profile = LeafProfile {
        common_name: "host-1000.bench.example".into(),
        dns_names: vec!["host-1000.bench.example".into()],
        ip_addresses: vec![[192, 168, 1, 7].into(), [127, 0, 0, 1].into()],
        usage: Usage::Server,
    };
    let key = make_key(KeyAlgorithm::EcdsaP256);
    let certificate = authority.sign_leaf(&profile, &key, dates, serial()).expect("a short name");
    material::leaf(&certificate, &key.to_pem(), &authority.certificate.to_pem())
}

fn status() -> HostCertStatus {
    let condition = |type_: &str| Condition {
        type_: type_.into(),
        status: "True".into(),
        reason: type_.into(),
        message: "Secret host-docker-host is valid until 2027-11-22T10:00:00Z".into(),
        observed_generation: Some(1),
        last_transition_time: Time("2026-11-22T10:00:00Z".parse().expect("an instant")),
    };
    let mut status = HostCertStatus::default();
    status.certificate.conditions = ["Accepted", "Issued", "Ready"].map(condition).into();
    status.certificate.secret_name = Some("host-docker-host".into());
    status.certificate.serial = Some("40".repeat(16));
    status.certificate.fingerprint = Some("ab".repeat(32));
    status.certificate.issuer_fingerprint = Some("cd".repeat(32));
    status
}

async fn start(server: &Server, namespace: &str) -> anyhow::Result<Controller> {
    let scope = ["--namespace", namespace, "--lease-namespace", namespace];
    Controller::start(server.cluster, &server.cluster.kubeconfig(), namespace, &scope).await
}

/// Objects a second: from the start of the process, and from the authority's issuance, until every host has its
/// certificate.
async fn controller(
    server: &Server,
    table: &mut Table,
    namespace: &str,
    hosts: usize,
    first: bool,
) -> anyhow::Result<(f64, f64)> {
    server.fleet(namespace, hosts, "365d").await?;
    let before = server.writes().await?;
    let started = Instant::now();
    let controller = start(server, namespace).await?;
    said(&controller, "dockseal_issuances_total{kind=\"DockerCA\"").await?;
    let first_issuance = Instant::now();
    controller.ready("leading").await?;
    let issued = format!("dockseal_issuances_total{{kind=\"DockerHostCert\",reason=\"FirstIssuance\"}} {hosts}");
    said(&controller, &issued).await?;
    let rate = |since: Instant| hosts as f64 / since.elapsed().as_secs_f64();
    let rates = (rate(started), rate(first_issuance));
    if first {
        let each = processor_seconds(controller.pid())? * 1000.0 / hosts as f64;
        table.row("(b) controller's own processor time for a host", format!("{each:.2} ms"));
        let writes = difference(&before, &server.writes().await?);
        table.row(format!("(b) writes for {hosts} hosts and their authority"), words(&writes));
    }
    controller.stop()?;
    Ok(rates)
}

/// Waits until a metric says so.
async fn said(controller: &Controller, words: &str) -> anyhow::Result<()> {
    while !controller.get("/metrics").await?.1.contains(words) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn restart(server: &Server, table: &mut Table, namespace: &str) -> anyhow::Result<()> {
    let before = server.writes().await?;
    let started = Instant::now();
    let controller = start(server, namespace).await?;
    controller.ready("leading").await?;
    let took = started.elapsed();
    let writes = difference(&before, &server.writes().await?);
    table.row("(c) restart over them: to Ready", format!("{:.2} s", took.as_secs_f64()));
    table.row("(c) writes, the lease left out", words(&writes));
    table.row("(c) memory (VmRSS) after it", resident(controller.pid())?);
    controller.stop()
}

/// Memory idle, and with many hosts beside many Secrets of others.
pub async fn memory(server: &Server, table: &mut Table, many: usize) -> anyhow::Result<()> {
    server.cluster.kubectl(&["create", "namespace", "idle"]).await?;
    let idle = start(server, "idle").await?;
    idle.ready("leading").await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    table.row("memory (VmRSS) idle, no objects", resident(idle.pid())?);
    idle.stop()?;
    server.fleet("many", many, "365d").await?;
    server.foreign_secrets("many", many).await?;
    let issuing = start(server, "many").await?;
    table.note("issuing many");
    while issuing.ready("leading").await.is_err() {}
    let what = format!("{many} hosts and {many} other Secrets of 10 KiB");
    table.row(format!("memory (VmRSS) after issuing {what}"), resident(issuing.pid())?);
    issuing.stop()?;
    let again = start(server, "many").await?;
    let took = again.ready("leading").await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    table.row(format!("memory (VmRSS) after a restart over {what}"), resident(again.pid())?);
    table.row(format!("restart over {many} hosts: to Ready"), format!("{:.2} s", took.as_secs_f64()));
    again.stop()
}

/// User and system time of a process (proc(5), stat: fields 14 and 15, in ticks of 10 ms).
fn processor_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}

pub fn resident(pid: u32) -> anyhow::Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |key: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    Ok(format!(
        "{:.1} MiB (anonymous {:.1}, peak {:.1})",
        kib("VmRSS") / 1024.0,
        kib("RssAnon") / 1024.0,
        kib("VmHWM") / 1024.0
    ))
}
