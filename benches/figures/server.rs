//! The API server of the benchmark: objects made quickly, requests counted by the server itself.

use crate::support::cluster::Cluster;
use dockseal::api::reference::CaRef;
use dockseal::api::{DockerCA, DockerCASpec, DockerHostCert, DockerHostCertSpec};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::collections::BTreeMap;

/// Requests under way at the same time, as the controller has it.
pub const CONCURRENCY: usize = 32;

/// A kube-apiserver with the CRDs.
pub struct Server {
    /// Its processes.
    pub cluster: &'static Cluster,
    /// A client of it.
    pub client: Client,
}

impl Server {
    /// Starts it.
    pub async fn start() -> anyhow::Result<Server> {
        let cluster = Cluster::shared().await?;
        cluster.crds().await?;
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(Server { cluster, client: Client::try_from(config)? })
    }

    /// A namespace with an authority and hosts, nothing issued.
    pub async fn fleet(&self, namespace: &str, hosts: usize, duration: &str) -> anyhow::Result<()> {
        self.cluster.kubectl(&["create", "namespace", namespace]).await?;
        let subject = dockseal::api::docker_ca::Subject { common_name: "Bench".into(), ..Default::default() };
        let authority = DockerCA::new("bench", DockerCASpec { subject: Some(subject), ..Default::default() });
        Api::namespaced(self.client.clone(), namespace).create(&PostParams::default(), &authority).await?;
        self.hosts(namespace, "host", hosts, duration).await
    }

    /// More hosts.
    pub async fn hosts(&self, namespace: &str, prefix: &str, count: usize, duration: &str) -> anyhow::Result<()> {
        let api: &Api<DockerHostCert> = &Api::namespaced(self.client.clone(), namespace);
        let made = stream::iter(0..count).map(|number| async move {
            api.create(&PostParams::default(), &host(&format!("{prefix}-{number}"), duration)).await.map(|_| ())
        });
        Ok(made.buffer_unordered(CONCURRENCY).try_collect().await?)
    }

    /// Secrets of others, of 10 KiB each.
    pub async fn foreign_secrets(&self, namespace: &str, count: usize) -> anyhow::Result<()> {
        let api: &Api<Secret> = &Api::namespaced(self.client.clone(), namespace);
        let made = stream::iter(0..count).map(|number| async move {
            let mut secret = Secret { string_data: Some(BTreeMap::new()), ..Secret::default() };
            secret.metadata.name = Some(format!("foreign-{number}"));
            secret.string_data.get_or_insert_default().insert("payload".into(), "x".repeat(10 << 10));
            api.create(&PostParams::default(), &secret).await.map(|_| ())
        });
        Ok(made.buffer_unordered(CONCURRENCY).try_collect().await?)
    }

    /// Writes that the server has taken, by resource, leases left out.
    pub async fn writes(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.requests(|verb, resource| {
            matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE") && resource != "leases"
        })
        .await
    }

    /// Lists that the server has answered, by resource.
    pub async fn lists(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.requests(|verb, _| verb == "LIST").await
    }

    async fn requests(&self, counts: impl Fn(&str, &str) -> bool) -> anyhow::Result<BTreeMap<String, u64>> {
        let text = self.cluster.kubectl(&["get", "--raw", "/metrics"]).await?;
        let mut found = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| {
                line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("")
            };
            let relevant = ["dockseal.dev", "", "events.k8s.io"].contains(&label("group"));
            if relevant && counts(label("verb"), label("resource")) && label("code").starts_with('2') {
                let key = [label("verb"), label("resource"), label("subresource")].join(" ");
                let value: f64 = line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
                *found.entry(key.trim().to_owned()).or_default() += value as u64;
            }
        }
        Ok(found)
    }
}

/// A host of the benchmark.
pub fn host(name: &str, duration: &str) -> DockerHostCert {
    let spec = DockerHostCertSpec {
        ca_ref: CaRef { name: "bench".into() },
        hostname: Some(format!("{name}.bench.example")),
        ip_addresses: vec!["192.168.1.7".into()],
        include_loopback: true,
        duration: duration.into(),
        ..Default::default()
    };
    DockerHostCert::new(name, spec)
}

/// What came after `before`.
pub fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(key, count)| (key.clone(), count - before.get(key).copied().unwrap_or_default()));
    grown.filter(|(_, count)| *count > 0).collect()
}

/// `POST secrets 2000, ...`, or `none`.
pub fn words(requests: &BTreeMap<String, u64>) -> String {
    let words: Vec<String> = requests.iter().map(|(key, count)| format!("{key} {count}")).collect();
    if words.is_empty() { "none".into() } else { words.join(", ") }
}
