//! Portainers and Docker hosts, each with the objects that have it registered; and what is looked at in them.

use crate::fixture::{Namespace, SOON, homelab, is, secret_bytes, serial};
use crate::support::controller::Controller;
use crate::support::docker_like::{DockerLike, Material};
use crate::support::portainer::state::Environment;
use crate::support::portainer::{ADMIN, Portainer};
use anyhow::{Context, ensure};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A Portainer and a Docker host, with a PortainerClient and a DockerHostCert of one name for them.
pub struct Pair {
    pub name: String,
    pub portainer: Portainer,
    pub docker: DockerLike,
}

/// A namespace with pairs.
pub struct Fixture {
    pub namespace: Namespace,
    pub pairs: Vec<Pair>,
}

impl Fixture {
    /// Hosts of those names that serve their certificates, and a Portainer for each, which nobody knows yet. A controller
    /// runs already.
    pub async fn new(namespace: Namespace, names: &[impl AsRef<str>]) -> anyhow::Result<Fixture> {
        let addresses: Vec<SocketAddr> = names.iter().map(|_| address()).collect();
        let hosts = names.iter().zip(&addresses).map(|(name, at)| host(name.as_ref(), name.as_ref(), *at));
        namespace.apply(&(homelab(&[]) + &hosts.collect::<String>())).await?;
        let mut pairs = Vec::new();
        for (name, address) in names.iter().zip(&addresses) {
            let name = name.as_ref().to_owned();
            let docker = DockerLike::start_on(&[*address], &material(&namespace, &name).await?)?;
            pairs.push(Pair { name, portainer: Portainer::start()?, docker });
        }
        Ok(Fixture { namespace, pairs })
    }

    /// The pair of that name.
    pub fn pair(&self, name: &str) -> &Pair {
        self.pairs.iter().find(|pair| pair.name == name).expect("the test knows the name")
    }

    /// Applies the PortainerClients of all pairs.
    pub async fn begin(&self) -> anyhow::Result<()> {
        let clients = self.pairs.iter().map(|pair| client(&pair.name, &pair.portainer, ""));
        self.namespace.apply(&clients.collect::<String>()).await.map(drop)
    }

    /// Has the server of a PortainerClient looked at, by a change of its Secret that means nothing.
    pub async fn look(&self, client: &str) -> anyhow::Result<()> {
        look(&self.namespace, &format!("{client}-admin")).await
    }

    /// Waits until every host is registered with the client certificate that is stored now, and no environment is there
    /// beside theirs.
    pub async fn all_registered(&self) -> anyhow::Result<()> {
        for pair in &self.pairs {
            self.registered(&pair.name).await.with_context(|| format!("{}: {:#?}", pair.name, pair.told()))?;
            pair.is_whole().with_context(|| format!("{}: {:#?}", pair.name, pair.told()))?;
        }
        Ok(())
    }

    /// Waits until a host is registered with the client certificate that is stored now; the environment.
    pub async fn registered(&self, name: &str) -> anyhow::Result<Environment> {
        let what = format!("portainerclient/{name}");
        let client = self.namespace.until(&what, |client| !serial(client).is_empty()).await?;
        let fingerprint = client["status"]["fingerprint"].clone();
        let current = |host: &Value| {
            let report = &host["status"]["environments"][0];
            let there = report["id"].as_u64().is_some_and(|id| self.pair(name).portainer.environment(id).is_some());
            there && is(host, "Registered", "True") && report["clientFingerprint"] == fingerprint
        };
        let host = self.namespace.until(&format!("dockerhostcert/{name}"), current).await?;
        let id = host["status"]["environments"][0]["id"].as_u64().context("an id")?;
        self.pair(name).portainer.environment(id).with_context(|| format!("{name}: no environment {id}"))
    }

    /// Has certificates issued anew, and waits until they are.
    pub async fn renew(&self, objects: &[String]) -> anyhow::Result<()> {
        renew(&self.namespace, objects).await
    }
}

impl Pair {
    /// There is exactly one environment, the host's, with our mark; it is reached; and no key lies about.
    pub fn is_whole(&self) -> anyhow::Result<()> {
        let environments = self.portainer.environments();
        ensure!(environments.len() == 1 && environments[0].name == self.name, "{environments:#?}");
        ensure!(marks(&self.portainer, &environments[0]).len() == 1, "{:?}", environments[0].tags);
        ensure!(environments[0].url == self.docker.url(), "{environments:#?}");
        let leaked = self.portainer.tls_key_dirs();
        ensure!(leaked.is_empty(), "keys were left in {leaked:?}");
        Ok(())
    }

    /// What was asked of its Portainer.
    pub fn told(&self) -> Vec<String> {
        let line = |call: crate::support::portainer::Call| {
            format!("{} {}?{} {:?} {:?}", call.method, call.path, call.query, call.status, call.fault)
        };
        self.portainer.calls().into_iter().map(line).collect()
    }
}

/// A port of its own that no connection happens to go out from.
fn address() -> SocketAddr {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (process, number) = (std::process::id().to_be_bytes(), NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    ([127, 64 | (process[2] & 63), process[3], number[7]], 2376).into()
}

/// A host of the authority `homelab` at that address, labelled for a PortainerClient.
pub fn host(name: &str, client: &str, at: SocketAddr) -> String {
    format!(
        "---\n{{apiVersion: dockseal.dev/v1alpha1, kind: DockerHostCert, metadata: {{name: {name}, labels: {{of: {client}}}}}, \
         spec: {{caRef: {{name: homelab}}, hostname: {name}.bodkys.house, address: {{host: {}, port: {}}}}}}}\n",
        at.ip(),
        at.port()
    )
}

/// A PortainerClient with its Secret, for the hosts that are labelled for it, with more in its spec.
pub fn client(name: &str, portainer: &Portainer, more: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: {name}-admin}}, stringData: {{apiKey: {}}}}}\n\
         ---\n{{apiVersion: dockseal.dev/v1alpha1, kind: PortainerClient, metadata: {{name: {name}}}, \
         spec: {{caRef: {{name: homelab}}, commonName: {name}, hostSelector: {{matchLabels: {{of: {name}}}}}, \
         server: {{url: '{}', allowHTTP: true, credentialsSecretRef: {{name: {name}-admin}}}}, {more}}}}}\n",
        portainer.admin_key(),
        portainer.url(),
    )
}

/// What dockerd is started with, once it is issued.
pub async fn material(namespace: &Namespace, host: &str) -> anyhow::Result<Material> {
    let secret = namespace.until(&format!("secret/{host}-docker-host"), |_| true).await?;
    let text = |key: &str| String::from_utf8(secret_bytes(&secret, key));
    Ok(Material { chain: text("tls.crt")?, key: text("tls.key")?, clients: text("ca.crt")? })
}

/// Changes a Secret so that it means the same.
pub async fn look(namespace: &Namespace, secret: &str) -> anyhow::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst).to_string();
    namespace.annotate(&format!("secret/{secret}"), "test/look", &number).await.map(drop)
}

/// Has certificates issued anew, and waits until they are.
pub async fn renew(namespace: &Namespace, objects: &[String]) -> anyhow::Result<()> {
    let mut before = Vec::new();
    for what in objects {
        before.push(serial(&namespace.get(what).await?));
        let later = Timestamp::now() + SignedDuration::from_secs(2);
        namespace.annotate(what, "dockseal.dev/renew-requested-at", &later.to_string()).await?;
    }
    for (what, before) in objects.iter().zip(before) {
        namespace.until(what, |object| serial(object) != before).await?;
    }
    Ok(())
}

/// Names of an environment's tags that mark it as ours.
pub fn marks(portainer: &Portainer, environment: &Environment) -> Vec<String> {
    let tags = portainer.tags();
    let names = environment.tags.iter().filter_map(|id| tags.get(id)).map(|tag| tag.name.clone());
    names.filter(|name| name.starts_with("dockseal/")).collect()
}

/// The status and body of a GET of Portainer's API.
pub async fn get(portainer: &Portainer, path: &str) -> anyhow::Result<(u16, String)> {
    let key = portainer.admin_key();
    ask(portainer, &format!("GET /api{path} HTTP/1.1\r\nX-API-Key: {key}\r\n"), "").await
}

/// The status of a login.
pub async fn log_in(portainer: &Portainer, name: &str, password: &str) -> anyhow::Result<u16> {
    let body = json!({"Username": name, "Password": password}).to_string();
    let head =
        format!("POST /api/auth HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    Ok(ask(portainer, &head, &body).await?.0)
}

async fn ask(portainer: &Portainer, head: &str, body: &str) -> anyhow::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(portainer.address()).await?;
    let request = format!("{head}Host: test\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

/// `docker info` as a user of Portainer gets it.
pub async fn info(portainer: &Portainer, id: u64) -> anyhow::Result<()> {
    let (status, body) = get(portainer, &format!("/endpoints/{id}/docker/info")).await?;
    ensure!(status == 200 && body.contains("\"ServerVersion\""), "docker info says {status}: {body}");
    Ok(())
}

/// Waits for something that is seen from here.
pub async fn until(words: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + SOON;
    while !holds() {
        ensure!(Instant::now() < deadline, "{words}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Waits for an event about an object.
pub async fn event(namespace: &Namespace, name: &str, reason: &str) -> anyhow::Result<Value> {
    let deadline = Instant::now() + SOON;
    loop {
        let events = namespace.list(&["event"]).await?;
        let fits = |event: &&Value| event["involvedObject"]["name"] == name && event["reason"] == reason;
        if let Some(event) = events.iter().find(fits) {
            return Ok(event.clone());
        }
        ensure!(Instant::now() < deadline, "no event {reason} about {name}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Neither log nor events, objects or metrics show what is secret.
pub async fn is_discreet(
    namespace: &Namespace,
    controller: &Controller,
    portainers: &[&Portainer],
) -> anyhow::Result<()> {
    let (_, metrics) = controller.get("/metrics").await?;
    ensure!(metrics.contains("dockseal_"), "metrics are none: {metrics}");
    let seen = [
        controller.log(),
        metrics,
        json!(namespace.list(&["event", "configmap"]).await?).to_string(),
        json!(namespace.objects().await?).to_string(),
    ];
    let mut secrets: Vec<String> = portainers.iter().map(|portainer| portainer.admin_key().to_owned()).collect();
    secrets.extend([ADMIN.1.to_owned(), "PRIVATE KEY".to_owned(), "eyJ".to_owned()]);
    for secret in namespace.list(&["secret"]).await? {
        let key = String::from_utf8_lossy(&secret_bytes(&secret, "tls.key")).into_owned();
        secrets.extend(key.lines().nth(1).map(str::to_owned));
    }
    ensure!(secrets.len() > portainers.len() + 3, "no key is looked for");
    for (place, text) in ["the log", "metrics", "events", "objects"].iter().zip(&seen) {
        let shown = secrets.iter().find(|secret| text.contains(secret.as_str()));
        ensure!(shown.is_none(), "{place} shows {shown:?}");
    }
    Ok(())
}
