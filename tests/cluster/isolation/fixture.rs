//! A cluster of its own with the chart applied, two nodes, two enrolled hosts, and a token of every account.

use super::ask::{Answer, Ask, post};
use crate::fixture::{Namespace, SOON};
use crate::support::cluster::Cluster;
use crate::support::helm;
use anyhow::{Context, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Namespace of the companions' accounts.
pub const COMPANIONS: &str = "dockseal-companions";

/// What is rendered: deliveries from `home` only, below two directories.
pub const CHART: &[&str] = &[
    "--set=controller.createNamespace=true",
    "--set=companion.namespaces={home}",
    "--set=companion.directories={/etc/docker/certs,/srv/docker}",
];

/// One DockerHostCert for each row: namespace, name, its delivery.
const HOSTS: [(&str, &str, &str); 6] = [
    ("home", "pandora", "{target: Node, nodeName: pandora}"),
    ("home", "attic", "{target: Node, nodeName: attic}"),
    ("home", "moved", "{target: Node, nodeName: attic}"),
    ("lab", "store", "{target: Enrolled}"),
    ("lab", "barn", "{target: Enrolled}"),
    ("away", "old", "{target: Node, nodeName: pandora}"),
];

/// The cluster, and a client for each token.
pub struct Fixture {
    /// The cluster; it ends with this process.
    pub cluster: &'static Cluster,
    chart: Vec<Value>,
    clients: HashMap<String, Client>,
    kubeconfigs: HashMap<String, PathBuf>,
}

impl Fixture {
    /// Everything in place.
    pub async fn new() -> anyhow::Result<Fixture> {
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().await?));
        // Several tests come here; the first one installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        cluster.crds().await?;
        let manifest = helm::template(CHART)?;
        let mut fixture =
            Fixture { cluster, chart: helm::objects(&manifest)?, clients: HashMap::new(), kubeconfigs: HashMap::new() };
        cluster.kubectl_stdin(&["create", "-f", "-"], &before()).await?;
        cluster.kubectl_stdin(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &manifest).await?;
        let admin = Kubeconfig::read_from(cluster.kubeconfig())?;
        fixture.add("admin", admin).await?;
        fixture.controller().await?;
        fixture.pods().await?;
        fixture.companions().await?;
        fixture.tenant().await?;
        Ok(fixture)
    }

    /// Applies the chart with further arguments.
    pub async fn upgrade(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let manifest = helm::template(&[CHART, arguments].concat())?;
        self.chart = helm::objects(&manifest)?;
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.cluster.kubectl_stdin(&apply, &manifest).await.map(|_| ())
    }

    /// The chart's objects of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.chart.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// A namespace that is there.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<Namespace> {
        Namespace::there(self.cluster, name).await
    }

    /// The kubeconfig with an account's token.
    pub fn kubeconfig(&self, who: &str) -> &Path {
        &self.kubeconfigs[who]
    }

    /// What the API server says to a request with an account's token.
    pub async fn ask(&self, who: &str, ask: &Ask) -> anyhow::Result<Answer> {
        let client = self.clients.get(who).with_context(|| format!("there is no token of {who}"))?;
        Ok(ask.send(client).await)
    }

    /// The same, where it has to be allowed. What RBAC knows and what policies know comes a moment after the objects.
    pub async fn allowed(&self, who: &str, ask: &Ask) -> anyhow::Result<Value> {
        let deadline = Instant::now() + SOON;
        loop {
            match self.ask(who, ask).await? {
                Answer::Allowed(body) => return Ok(serde_json::from_str(&body).unwrap_or_default()),
                Answer::Refused(why) => ensure!(Instant::now() < deadline, "{who}: {ask}: {why}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a request is refused with those words.
    pub async fn refused(&self, who: &str, ask: &Ask, words: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let answer = self.ask(who, ask).await?;
            if matches!(&answer, Answer::Refused(why) if why.contains(words)) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{who}: {ask}: {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The controller's account, and with it what the controller makes: so RBAC's check against escalation is asked.
    async fn controller(&mut self) -> anyhow::Result<()> {
        self.mint("admin", "controller", helm::NAMESPACE, "dockseal-controller", json!({})).await?;
        let mut made = Vec::new();
        made.extend(account("node-pandora", "home", &["pandora", "moved"], false)); // moved went to attic: not seen yet
        made.extend(account("node-attic", "home", &["attic"], false));
        made.extend(account("host-lab.store", "lab", &["store"], true));
        made.extend(account("host-lab.barn", "lab", &["barn"], true));
        let mint = [rule("", "serviceaccounts/token", &["node-pandora", "node-attic"], &["create"])];
        made.push(role(COMPANIONS, "dockseal-companion-mint", &mint));
        for ask in made {
            self.allowed("controller", &ask).await?;
        }
        Ok(())
    }

    /// Tina, who writes the four kinds in the namespace lab and nothing else.
    async fn tenant(&mut self) -> anyhow::Result<()> {
        self.cluster.kubectl(&["-n", "lab", "create", "serviceaccount", "tina"]).await?;
        let whom = ["--clusterrole=dockseal-edit", "--serviceaccount=lab:tina"];
        self.cluster.kubectl(&[&["-n", "lab", "create", "rolebinding", "tina"][..], &whom].concat()).await?;
        self.mint("admin", "tina", "lab", "tina", json!({})).await
    }

    /// A pod of the DaemonSet on each node, as its controller would make it, and the token that kubelet would mount.
    async fn pods(&mut self) -> anyhow::Result<()> {
        let template = self.of_kind("DaemonSet").first().context("there is a DaemonSet")?["spec"]["template"].clone();
        for node in ["pandora", "attic"] {
            let (name, mut spec) = (format!("companion-{node}"), template["spec"].clone());
            spec["nodeName"] = json!(node);
            let account = spec["serviceAccountName"].as_str().context("a pod has an account")?.to_owned();
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
            self.allowed("admin", &post(&format!("/api/v1/namespaces/{COMPANIONS}/pods"), pod)).await?;
            let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name}});
            self.mint("admin", &format!("pod on {node}"), COMPANIONS, &account, bound).await?;
        }
        self.mint("admin", "daemonset, unbound", COMPANIONS, "dockseal-companion", json!({})).await?;
        self.mint("admin", "daemonset, bound to Node", COMPANIONS, "dockseal-companion", bound_to("pandora")).await
    }

    /// Tokens of nodes, minted by their pods; of enrolled hosts, as `enroll` gives them out; and of accounts that
    /// an administrator gave every right by mistake, so that the policies stand alone.
    async fn companions(&mut self) -> anyhow::Result<()> {
        for node in ["pandora", "attic"] {
            let account = format!("node-{node}");
            self.mint(&format!("pod on {node}"), &account, COMPANIONS, &account, bound_to(node)).await?;
        }
        for account in ["host-lab.store", "host-lab.barn", "node-mighty", "host-lab.mighty", "stranger"] {
            self.mint("admin", account, COMPANIONS, account, json!({})).await?;
        }
        Ok(())
    }

    async fn mint(&mut self, by: &str, who: &str, namespace: &str, name: &str, spec: Value) -> anyhow::Result<()> {
        let answer = self.allowed(by, &token(namespace, name, spec)).await?;
        let token = answer["status"]["token"].as_str().context("the answer has a token")?;
        let kubeconfig = self.cluster.kubeconfig_with_token(who, token)?;
        self.kubeconfigs.insert(who.to_owned(), kubeconfig.clone());
        self.add(who, Kubeconfig::read_from(kubeconfig)?).await
    }

    async fn add(&mut self, who: &str, kubeconfig: Kubeconfig) -> anyhow::Result<()> {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        self.clients.insert(who.to_owned(), Client::try_from(config)?);
        Ok(())
    }
}

/// A TokenRequest.
pub fn token(namespace: &str, account: &str, spec: Value) -> Ask {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"), request)
}

/// The spec of a TokenRequest that is bound to a Node.
pub fn bound_to(node: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Node", "name": node}})
}

/// What is there before the chart: nodes, namespaces, objects and Secrets, one object from a namespace that the chart
/// will not list, and accounts with too many rights.
fn before() -> String {
    let mut yaml = String::new();
    let mut add = |object: String| yaml += &format!("---\n{object}\n");
    for node in ["pandora", "attic"] {
        add(format!("{{apiVersion: v1, kind: Node, metadata: {{name: {node}}}}}"));
    }
    for namespace in ["home", "lab", "away", COMPANIONS] {
        add(format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"));
    }
    add(secret("home", "homelab-docker-ca"));
    for (namespace, name, delivery) in HOSTS {
        add(secret(namespace, &format!("{name}-docker-host")));
        add(format!(
            "{{apiVersion: dockseal.dev/v1alpha1, kind: DockerHostCert, metadata: {{name: {name}, namespace: {namespace}, \
             finalizers: [dockseal.dev/secret]}}, spec: {{caRef: {{name: homelab}}, hostname: {name}.bodkys.house, delivery: {delivery}}}}}"
        ));
    }
    for account in ["node-mighty", "host-lab.mighty", "stranger"] {
        add(format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: {COMPANIONS}}}}}"
        ));
        add(format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {account}}}, \
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}, \
             subjects: [{{kind: ServiceAccount, name: {account}, namespace: {COMPANIONS}}}]}}"
        ));
    }
    yaml
}

fn secret(namespace: &str, name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {namespace}}}, stringData: {{key: it}}}}"
    )
}

/// What the controller makes for an account with objects of one namespace: account, assignment, Roles and RoleBindings.
fn account(account: &str, namespace: &str, hosts: &[&str], enrolled: bool) -> Vec<Ask> {
    let core = format!("/api/v1/namespaces/{COMPANIONS}");
    let meta = json!({"name": account, "namespace": COMPANIONS});
    let assignment = json!({"metadata": meta, "data": {"assignment.json": "{}"}});
    let read = ["watch"];
    let mut own = vec![rule("", "configmaps", &[account], &read)];
    own.extend(enrolled.then(|| rule("", "serviceaccounts/token", &[account], &["create"])));
    let secrets: Vec<String> = hosts.iter().map(|host| format!("{host}-docker-host")).collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let theirs = [
        rule("", "secrets", &secrets, &read),
        rule("dockseal.dev", "dockerhostcerts/status", hosts, &["get", "patch"]),
    ];
    let name = format!("dockseal-{account}");
    vec![
        post(&format!("{core}/serviceaccounts"), json!({"metadata": meta})),
        post(&format!("{core}/configmaps"), assignment),
        role(COMPANIONS, &name, &own),
        binding(COMPANIONS, &name, account),
        role(namespace, &name, &theirs),
        binding(namespace, &name, account),
    ]
}

fn rule(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs})
}

fn role(namespace: &str, name: &str, rules: &[Value]) -> Ask {
    post(&rbac(namespace, "roles"), json!({"metadata": {"name": name}, "rules": rules}))
}

fn binding(namespace: &str, name: &str, account: &str) -> Ask {
    let of = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
    let to = json!([{"kind": "ServiceAccount", "name": account, "namespace": COMPANIONS}]);
    post(&rbac(namespace, "rolebindings"), json!({"metadata": {"name": name}, "roleRef": of, "subjects": to}))
}

fn rbac(namespace: &str, resource: &str) -> String {
    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{resource}")
}
