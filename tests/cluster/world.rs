//! A namespace of one's own in the shared cluster, and what tests ask of it.

use crate::support::cluster::Cluster;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything may take: ten times what it needs on a quiet machine.
pub const SOON: Duration = Duration::from_secs(90);

/// A namespace.
pub struct Namespace {
    /// The cluster that it is in.
    pub cluster: &'static Cluster,
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// A fresh namespace in the shared cluster, the CRDs of `crds/` applied.
    pub async fn new(name: &str) -> anyhow::Result<Namespace> {
        let cluster = Cluster::shared().await?;
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        cluster.kubectl(&["apply", "--server-side", "-f", &crds.to_string_lossy()]).await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
        cluster.kubectl(&["create", "namespace", name]).await?;
        Ok(Namespace { cluster, name: name.to_owned() })
    }

    /// kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.cluster.kubectl(&[&["-n", &self.name], arguments].concat()).await
    }

    /// `kubectl apply` of YAML.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.cluster.kubectl_stdin(&["-n", &self.name, "apply", "-f", "-"], yaml).await
    }

    /// One object as JSON.
    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", what, "-o", "json"]).await?)?)
    }

    /// Every object of ours, as JSON.
    pub async fn objects(&self) -> anyhow::Result<Vec<Value>> {
        self.list("dockercas,dockerhostcerts,dockerclientcerts,portainerclients").await
    }

    /// Every object of some kinds, as JSON.
    pub async fn list(&self, kinds: &str) -> anyhow::Result<Vec<Value>> {
        let list: Value = serde_json::from_str(&self.kubectl(&["get", kinds, "-o", "json"]).await?)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
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

    /// Waits until every object of ours is Ready.
    pub async fn all_ready(&self) -> anyhow::Result<Vec<Value>> {
        let deadline = Instant::now() + SOON;
        loop {
            let objects = self.objects().await?;
            let waiting: Vec<_> = objects.iter().filter(|object| !is(object, "Ready", "True")).collect();
            if !objects.is_empty() && waiting.is_empty() {
                return Ok(objects);
            }
            ensure!(Instant::now() < deadline, "not Ready: {:#}", serde_json::to_value(waiting)?);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
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
