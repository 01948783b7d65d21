//! A namespace of one's own in the shared cluster, and what tests ask of it.

use crate::support::cluster::Cluster;
use crate::support::controller::Controller;
use anyhow::{Context, ensure};
use futures::TryStreamExt;
use kube::api::{DynamicObject, WatchEvent};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything may take: ten times what it needs on a quiet machine, and thrice what a retry waits at most.
pub const SOON: Duration = Duration::from_secs(180);

/// A namespace.
pub struct Namespace {
    /// The cluster that it is in.
    pub cluster: &'static Cluster,
    /// Its name.
    pub name: String,
    client: Client,
    /// It may watch Secrets and ConfigMaps, and read them in no other way.
    watches: bool,
}

impl Namespace {
    /// A fresh namespace in the shared cluster, the CRDs of `crds/` applied.
    pub async fn new(name: &str) -> anyhow::Result<Namespace> {
        let cluster = Cluster::shared().await?;
        static CRDS: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        CRDS.get_or_try_init(|| cluster.crds()).await?;
        Namespace::of(cluster, name).await
    }

    /// A fresh namespace in that cluster.
    pub async fn of(cluster: &'static Cluster, name: &str) -> anyhow::Result<Namespace> {
        cluster.kubectl(&["create", "namespace", name]).await?;
        Namespace::there(cluster, name).await
    }

    /// A namespace that is there already.
    pub async fn there(cluster: &'static Cluster, name: &str) -> anyhow::Result<Namespace> {
        Ok(Namespace { cluster, name: name.to_owned(), client: client(&cluster.kubeconfig()).await?, watches: false })
    }

    /// A controller for this namespace alone.
    pub async fn controller(&self, name: &str) -> anyhow::Result<Controller> {
        Controller::start(self.cluster, &self.cluster.kubeconfig(), name, &self.scope()).await
    }

    /// The arguments that confine a controller to this namespace.
    pub fn scope(&self) -> [&str; 4] {
        ["--namespace", &self.name, "--lease-namespace", &self.name]
    }

    /// kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.cluster.kubectl(&[&["-n", &self.name], arguments].concat()).await
    }

    /// `kubectl apply` of YAML.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.cluster.kubectl_stdin(&["-n", &self.name, "apply", "-f", "-"], yaml).await
    }

    /// One object, `kind/name`, as JSON.
    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        if self.watches && (what.starts_with("secret/") || what.starts_with("configmap/")) {
            return self.watched(what).await;
        }
        self.request("GET", &self.path(what), "", &Value::Null).await
    }

    /// An object as a watch begins with it.
    async fn watched(&self, what: &str) -> anyhow::Result<Value> {
        let path = self.path(what);
        let (path, name) = path.rsplit_once('/').context("kind/name")?;
        let begins = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        let request = http::Request::get(format!("{path}?{begins}&fieldSelector=metadata.name={name}"));
        let events = self.client.request_events::<DynamicObject>(request.body(Vec::new())?).await?;
        match std::pin::pin!(events).try_next().await? {
            Some(WatchEvent::Added(object)) => Ok(serde_json::to_value(object)?),
            other => anyhow::bail!("{what} is not there: {other:?}"),
        }
    }

    /// Merges JSON into an object.
    pub async fn merge(&self, what: &str, patch: Value) -> anyhow::Result<Value> {
        self.request("PATCH", &self.path(what), "application/merge-patch+json", &patch).await
    }

    /// Merges JSON into the metadata of an object.
    pub async fn annotate(&self, what: &str, name: &str, value: &str) -> anyhow::Result<Value> {
        self.merge(what, json!({"metadata": {"annotations": {name: value}}})).await
    }

    /// Server-side apply of a host's status, as a companion does it.
    pub async fn report(&self, host: &str, status: &Value) -> anyhow::Result<Value> {
        let path = self.path(&format!("dockerhostcert/{host}"));
        let query = "fieldManager=dockseal-companion&force=true";
        let patch = json!({
            "apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerHostCert", "metadata": {"name": host}, "status": status
        });
        self.request("PATCH", &format!("{path}/status?{query}"), "application/apply-patch+yaml", &patch).await
    }

    /// A token of an account in this namespace.
    pub async fn token(&self, account: &str) -> anyhow::Result<String> {
        let path = self.path(&format!("serviceaccount/{account}"));
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = self.request("POST", &format!("{path}/token"), "application/json", &request).await?;
        Ok(answer["status"]["token"].as_str().unwrap_or_default().to_owned())
    }

    /// The same namespace for the companion that has that token.
    pub async fn seen_with(&self, token: &str) -> anyhow::Result<Namespace> {
        let name = format!("{}-{}", self.name, &token[token.len() - 12..]);
        let kubeconfig = self.cluster.kubeconfig_with_token(&name, token)?;
        Ok(Namespace {
            cluster: self.cluster,
            name: self.name.clone(),
            client: client(&kubeconfig).await?,
            watches: true,
        })
    }

    /// Makes an object as it is in `object`.
    pub async fn create(&self, object: &Value) -> anyhow::Result<Value> {
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        self.request("POST", &self.path(&kind), "application/json", object).await
    }

    /// Deletes an object; it may wait for finalizers.
    pub async fn delete(&self, what: &str) -> anyhow::Result<Value> {
        self.request("DELETE", &self.path(what), "", &Value::Null).await
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, what: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + SOON;
        while self.get(what).await.is_ok() {
            ensure!(Instant::now() < deadline, "{what} is still there after {SOON:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn path(&self, what: &str) -> String {
        let (kind, name) =
            what.split_once('/').map_or((what, String::new()), |(kind, name)| (kind, format!("/{name}")));
        let namespace = &self.name;
        match kind {
            "secret" | "configmap" | "event" | "serviceaccount" => {
                format!("/api/v1/namespaces/{namespace}/{kind}s{name}")
            }
            "role" | "rolebinding" => {
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{kind}s{name}")
            }
            "lease" => format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases{name}"),
            _ => format!("/apis/dockseal.dev/v1alpha1/namespaces/{namespace}/{kind}s{name}"),
        }
    }

    /// kubectl takes a tenth of a second of a core for each call, which is too much for asking again and again.
    async fn request(&self, method: &str, path: &str, content: &str, body: &Value) -> anyhow::Result<Value> {
        let mut request = http::Request::builder().method(method).uri(path);
        if !content.is_empty() {
            request = request.header("content-type", content);
        }
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        self.client.request(request.body(body)?).await.with_context(|| format!("failed to {method} {path}"))
    }

    /// Every object of ours, as JSON.
    pub async fn objects(&self) -> anyhow::Result<Vec<Value>> {
        self.list(&["dockerca", "dockerhostcert", "dockerclientcert", "portainerclient"]).await
    }

    /// Everything that a controller could write, events and its Lease left out.
    pub async fn written(&self) -> anyhow::Result<Vec<Value>> {
        let rest = self.list(&["secret", "configmap"]).await?;
        Ok([self.objects().await?, rest].concat())
    }

    /// Every object of some kinds, as JSON.
    pub async fn list(&self, kinds: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        for kind in kinds {
            let list = self.request("GET", &self.path(kind), "", &Value::Null).await?;
            let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List").to_owned();
            for item in list["items"].as_array().into_iter().flatten() {
                let mut item = item.clone();
                item["kind"] = json!(kind);
                item["apiVersion"] = list["apiVersion"].clone();
                all.push(item);
            }
        }
        Ok(all)
    }

    /// Waits until an object fits.
    pub async fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + SOON;
        loop {
            let object = self.get(what).await;
            if let Ok(object) = &object
                && fits(object)
            {
                return Ok(object.clone());
            }
            if Instant::now() >= deadline {
                let object = object.with_context(|| format!("{what} is not there"))?;
                anyhow::bail!("{what} is not as expected after {SOON:?}: {:#}", object["status"]);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for an event about an object.
    pub async fn event(&self, name: &str, reason: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + SOON;
        loop {
            let events = self.list(&["event"]).await?;
            let fits = |event: &&Value| event["involvedObject"]["name"] == name && event["reason"] == reason;
            if let Some(event) = events.iter().find(fits) {
                return Ok(event.clone());
            }
            ensure!(Instant::now() < deadline, "no event {reason} about {name}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until every object of ours is Ready.
    pub async fn all_ready(&self) -> anyhow::Result<Vec<Value>> {
        let deadline = Instant::now() + SOON;
        loop {
            let objects = self.objects().await?;
            let waiting: Vec<_> = objects.iter().filter(|object| !is(object, "Ready", "True")).collect();
            if !objects.is_empty() && waiting.is_empty() {
                return Ok(objects);
            }
            if Instant::now() >= deadline {
                let told = |object: &&Value| format!("{}: {:#}", object["metadata"]["name"], object["status"]);
                anyhow::bail!("not Ready: {}", waiting.iter().map(told).collect::<Vec<_>>().join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    // Several tests come here; the first one installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// An authority and the hosts of these names.
pub fn homelab(hosts: &[&str]) -> String {
    let mut yaml = "{apiVersion: dockseal.dev/v1alpha1, kind: DockerCA, metadata: {name: homelab}, spec: {subject: {commonName: Docker CA}}}\n".to_owned();
    for name in hosts {
        yaml += &host(name, "");
    }
    yaml
}

/// A host of the authority `homelab`, with more in its spec.
pub fn host(name: &str, more: &str) -> String {
    format!(
        "---\n{{apiVersion: dockseal.dev/v1alpha1, kind: DockerHostCert, metadata: {{name: {name}, labels: {{site: home}}}}, \
         spec: {{caRef: {{name: homelab}}, hostname: {name}.bodkys.house, {more}}}}}\n"
    )
}

/// The serial number in an object's status.
pub fn serial(object: &Value) -> String {
    object["status"]["serial"].as_str().unwrap_or_default().to_owned()
}

/// Data of a Secret as the API has it.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Whether a condition has a status.
pub fn is(object: &Value, condition: &str, status: &str) -> bool {
    find(object, condition).is_some_and(|found| found["status"] == status)
}

/// Whether a condition is False for a reason.
pub fn fails(object: &Value, condition: &str, reason: &str) -> bool {
    find(object, condition).is_some_and(|found| found["status"] == "False" && found["reason"] == reason)
}

/// A condition.
pub fn find<'a>(object: &'a Value, condition: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|found| found["type"] == condition)
}

/// Group, resource with its subresource, verb.
pub type Right = (String, String, String);

/// What a Role or ClusterRole grants, whatever the names.
pub fn rights(role: &Value) -> BTreeSet<Right> {
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                rights.extend(words(&rule["verbs"]).into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    rights
}

/// Kind, name and resourceVersion of each, sorted.
pub fn versions(objects: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut versions: Vec<_> = objects
        .iter()
        .map(|object| {
            let meta = &object["metadata"];
            (text(&object["kind"]), text(&meta["name"]), text(&meta["resourceVersion"]))
        })
        .collect();
    versions.sort();
    versions
}

/// A key of a Secret, decoded.
pub fn secret_bytes(secret: &Value, key: &str) -> Vec<u8> {
    use base64::Engine;
    let text = secret["data"][key].as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}
