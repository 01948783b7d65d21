//! A host `pandora` that a companion delivers to: its namespace, its object and Secret, and what the controller makes
//! for the companion's account. One cluster with the chart for all of them.

use crate::fixture::{Namespace, SOON, base64, find};
use crate::support::cluster::Cluster;
use crate::support::companion::{ApiAccess, Companion};
use crate::support::helm;
use crate::support::scratch::Scratch;
use anyhow::{Context, ensure};
use dockseal::adapters::Clock;
use dockseal::adapters::random::{make_key, serial};
use dockseal::pki::material::{self, Data};
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{self, Authority, LeafProfile};
use dockseal::pki::{Certificate, KeyAlgorithm, lifecycle};
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Namespace of the companions' accounts.
pub const COMPANIONS: &str = "dockseal-companions";
/// What the chart lists.
const NAMESPACES: &str = "pod,report,listed,away,clock,once,going,untold";
/// What is delivered by and to.
pub const OBJECT: &str = "dockerhostcert/pandora";

/// Whose business it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ChangedBy {
    /// The companion's pod on a node that is called like the namespace.
    Node,
    /// A companion outside.
    Host,
}

/// The host.
pub struct HostFixture {
    /// Where the object is.
    pub namespace: Namespace,
    /// The companion's account.
    pub account: String,
    /// Where it delivers to.
    pub directory: PathBuf,
    by: ChangedBy,
    authority: Authority,
    scratch: Scratch,
}

/// The cluster: the chart in it, and below this all that is delivered.
async fn cluster() -> anyhow::Result<&'static (Cluster, Scratch)> {
    static CLUSTER: OnceCell<(Cluster, Scratch)> = OnceCell::const_new();
    let made = async {
        let (cluster, root) = (Cluster::start().await?, Scratch::new("delivered")?);
        cluster.crds().await?;
        let namespaces = format!("--set=companion.namespaces={{{NAMESPACES}}}");
        let directories = format!("--set=companion.directories={{{}}}", root.path().display());
        let manifest = helm::template(&["--set=controller.createNamespace=true", &namespaces, &directories])?;
        cluster.kubectl(&["create", "namespace", COMPANIONS]).await?;
        cluster.kubectl_stdin(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &manifest).await?;
        anyhow::Ok((cluster, root))
    };
    CLUSTER.get_or_try_init(|| made).await
}

impl HostFixture {
    /// Everything but the Secret, with that in the object's delivery.
    pub async fn new(name: &str, by: ChangedBy, more: &str) -> anyhow::Result<HostFixture> {
        let (cluster, root) = cluster().await?;
        let namespace = Namespace::of(cluster, name).await?;
        let directory = root.path().join(name).join("certs");
        let (account, target) = match by {
            ChangedBy::Node => (format!("node-{name}"), format!("target: Node, nodeName: {name}")),
            ChangedBy::Host => (format!("host-{name}.pandora"), "target: Enrolled".to_owned()),
        };
        let home = HostFixture {
            namespace,
            account,
            directory,
            by,
            authority: authority().await?,
            scratch: Scratch::new(name)?,
        };
        let delivery = format!("delivery: {{{target}, directory: {}, {more}}}", home.directory.display());
        home.namespace.apply(&crate::fixture::host("pandora", &format!("address: {{port: 1}}, {delivery}"))).await?;
        home.account().await?;
        home.assign(&json!({})).await?;
        Ok(home)
    }

    /// The cluster.
    pub fn cluster(&self) -> &'static Cluster {
        self.namespace.cluster
    }

    /// What the controller makes for the account; for a node, the node and a pod of the DaemonSet on it too.
    pub async fn account(&self) -> anyhow::Result<()> {
        let (account, namespace) = (&self.account, &self.namespace.name);
        let rule = |group: &str, resource: &str, names: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs});
        let read = ["watch"];
        let mut own = vec![rule("", "configmaps", &[account], &read)];
        let mint = rule("", "serviceaccounts/token", &[account], &["create"]);
        let mut objects = vec![object("v1", "ServiceAccount", COMPANIONS, account, json!({}))];
        match self.by {
            ChangedBy::Host => own.push(mint),
            ChangedBy::Node => {
                let name = format!("mint-{account}");
                objects.push(role(COMPANIONS, &name, &[mint]));
                objects.push(binding(COMPANIONS, &name, "dockseal-companion"));
                objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace}}));
                let container = json!([{"name": "companion", "image": "dockseal"}]);
                let spec =
                    json!({"nodeName": namespace, "serviceAccountName": "dockseal-companion", "containers": container});
                objects.push(object("v1", "Pod", COMPANIONS, namespace, json!({"spec": spec})));
            }
        }
        let theirs = [
            rule("", "secrets", &["pandora-docker-host"], &read),
            rule("dockseal.dev", "dockerhostcerts/status", &["pandora"], &["get", "patch"]),
        ];
        for (place, rules) in [(COMPANIONS, &own[..]), (namespace.as_str(), &theirs[..])] {
            objects.push(role(place, account, rules));
            objects.push(binding(place, account, account));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.cluster().kubectl_stdin(&["apply", "-f", "-"], &list.to_string()).await.map(drop)
    }

    /// The assignment: the object as it is now, and `more` over it.
    pub async fn assign(&self, more: &Value) -> anyhow::Result<()> {
        let object = self.namespace.get(OBJECT).await?;
        let mut host = json!({
            "namespace": self.namespace.name, "name": "pandora", "uid": object["metadata"]["uid"],
            "generation": object["metadata"]["generation"], "secretName": "pandora-docker-host",
            "delivery": object["spec"]["delivery"], "port": 1,
        });
        merge(&mut host, more);
        self.assignment(&json!({ "hosts": [host] })).await
    }

    /// That as the assignment.
    pub async fn assignment(&self, assignment: &Value) -> anyhow::Result<()> {
        let data = json!({"data": {"assignment.json": assignment.to_string()}});
        let map = object("v1", "ConfigMap", COMPANIONS, &self.account, data);
        self.cluster().kubectl_stdin(&["apply", "-f", "-"], &map.to_string()).await.map(drop)
    }

    /// A new certificate into the Secret; its fingerprint, and when the API server had it.
    pub async fn renew(&self) -> anyhow::Result<(String, Instant)> {
        let (data, certificate) = self.leaf().await?;
        let encoded: serde_json::Map<String, Value> =
            data.iter().map(|(key, bytes)| (key.to_owned(), json!(base64(bytes)))).collect();
        let name = "pandora-docker-host";
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": self.namespace.name}, "data": encoded});
        let change = json!({ "data": encoded });
        if self.namespace.merge(&format!("secret/{name}"), change).await.is_err() {
            self.namespace.create(&secret).await?;
        }
        Ok((certificate.fingerprint(), Instant::now()))
    }

    async fn leaf(&self) -> anyhow::Result<(Data, Certificate)> {
        let key = make_key(KeyAlgorithm::EcdsaP256);
        let profile = LeafProfile {
            common_name: "pandora.bodkys.house".into(),
            dns_names: vec!["pandora.bodkys.house".into()],
            ip_addresses: vec![[127, 0, 0, 1].into()],
            usage: Usage::Server,
        };
        let certificate = self.authority.sign_leaf(&profile, &key, dates(24), serial())?;
        let data = material::leaf(&certificate, &key.to_pem(), &self.authority.certificate.to_pem());
        Ok((data, certificate))
    }

    /// A token of the pod, as kubelet would mount it.
    pub async fn pod_token(&self) -> anyhow::Result<String> {
        let bound = ["--bound-object-kind=Pod", &format!("--bound-object-name={}", self.namespace.name)];
        self.mint("dockseal-companion", &bound).await
    }

    /// A token of the account, as `enroll` gives it out.
    pub async fn host_token(&self) -> anyhow::Result<String> {
        self.mint(&self.account, &[]).await
    }

    async fn mint(&self, account: &str, bound: &[&str]) -> anyhow::Result<String> {
        let token = self.cluster().kubectl(&[&["-n", COMPANIONS, "create", "token", account], bound].concat()).await?;
        Ok(token.trim().to_owned())
    }

    /// The companion as a pod on the node.
    pub async fn pod(&self) -> anyhow::Result<Companion> {
        let token = self.pod_token().await?;
        self.scratch.write("token", token)?;
        self.scratch.write("namespace", COMPANIONS)?;
        self.scratch.write("ca.crt", std::fs::read(self.cluster().dir().join("ca.crt"))?)?;
        Companion::start(self.cluster(), &ApiAccess::Pod(self.scratch.path()), &self.words(&[&self.namespace.name]))
    }

    /// The companion by a kubeconfig, for objects of those namespaces, with further arguments.
    pub fn companion(&self, kubeconfig: &Path, sources: &[&str], more: &[&str]) -> anyhow::Result<Companion> {
        Companion::start(self.cluster(), &ApiAccess::Kubeconfig(kubeconfig), &[&self.words(sources), more].concat())
    }

    fn words<'a>(&'a self, sources: &[&'a str]) -> Vec<&'a str> {
        let root = self.directory.parent().and_then(Path::to_str).unwrap_or_default();
        let mut words = vec!["--node", &self.namespace.name, "--namespace", COMPANIONS, "--directory", root];
        sources.iter().for_each(|source| words.extend(["--source-namespace", source]));
        words
    }

    /// Has the companion look: something of no concern to it changes in its directory, and a name of its own is gone,
    /// which it puts back.
    pub async fn poke(&self) -> anyhow::Result<()> {
        let name = self.file("ca.pem");
        std::fs::write(self.file("poke"), "")?;
        std::fs::remove_file(&name)?;
        self.until(|| name.exists() || !self.directory.join(".dockseal").exists(), "it does not look").await
    }

    /// One of the three files: `ca.pem`, `pandora.pem` or `pandora.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What clients are trusted by.
    pub fn bundle(&self) -> String {
        self.authority.certificate.to_pem()
    }

    /// Fingerprint of the certificate in place.
    pub fn in_place(&self) -> Option<String> {
        Some(Certificate::from_pem(&std::fs::read(self.file("pandora.pem")).ok()?).ok()?.fingerprint())
    }

    /// Waits until that certificate is in place; how long it took since.
    pub async fn delivered(&self, (fingerprint, since): &(String, Instant)) -> anyhow::Result<Duration> {
        self.until(|| self.in_place().as_ref() == Some(fingerprint), "the certificate is not in place").await?;
        Ok(since.elapsed())
    }

    /// Waits for something on this host.
    pub async fn until(&self, holds: impl Fn() -> bool, words: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + SOON;
        while !holds() {
            ensure!(Instant::now() < deadline, "{words}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until that certificate is reported as delivered.
    pub async fn reported(&self, fingerprint: &str) -> anyhow::Result<Value> {
        self.namespace.until(OBJECT, |object| object["status"]["host"]["deliveredFingerprint"] == fingerprint).await
    }

    /// Waits until Delivered is False for that reason; its message.
    pub async fn refused(&self, reason: &str) -> anyhow::Result<String> {
        let object = self.namespace.until(OBJECT, |object| crate::fixture::fails(object, "Delivered", reason)).await?;
        let message = find(&object, "Delivered").and_then(|condition| condition["message"].as_str());
        message.map(str::to_owned).context("a condition has a message")
    }

    /// The object's resourceVersion: what nobody writes does not change it.
    pub async fn version(&self) -> anyhow::Result<String> {
        let object = self.namespace.get(OBJECT).await?;
        Ok(object["metadata"]["resourceVersion"].to_string())
    }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            more.iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, more) => *into = more.clone(),
    }
}

async fn authority() -> anyhow::Result<Authority> {
    let key = make_key(KeyAlgorithm::EcdsaP256);
    Ok(sign::new_authority(&DistinguishedName::of("Docker CA"), None, key, dates(48), serial())?)
}

fn dates(hours: i64) -> sign::Dates {
    lifecycle::dates(Clock::system().now(), SignedDuration::from_hours(hours), None)
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    merge(&mut object, &more);
    object
}

fn role(namespace: &str, name: &str, rules: &[Value]) -> Value {
    object("rbac.authorization.k8s.io/v1", "Role", namespace, name, json!({ "rules": rules }))
}

fn binding(namespace: &str, name: &str, account: &str) -> Value {
    let of = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
    let to = json!([{"kind": "ServiceAccount", "name": account, "namespace": COMPANIONS}]);
    object("rbac.authorization.k8s.io/v1", "RoleBinding", namespace, name, json!({"roleRef": of, "subjects": to}))
}
