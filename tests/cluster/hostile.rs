//! A hostile tenant: somebody who may write our four kinds and Secrets in one namespace, and does what hurts most.
//! Beside it a victim asks for a renewal every second.

use crate::fixture::{Namespace, base64, homelab, is, serial};
use crate::support::controller::Controller;
use anyhow::{Context, ensure};
use dockseal::adapters::random::{make_key, salt};
use dockseal::pki::{KeyAlgorithm, encrypted};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The figure is five seconds, on a machine that does nothing else.
const LONGEST_RENEWAL: Duration = Duration::from_secs(10 * 5);
/// The controller's memory at its highest.
const MOST_MEMORY_KIB: u64 = 128 << 10;
/// References to Secrets that are not there: 18 are the most that one DockerCA may have.
const AUTHORITIES: usize = 60;
const LOCKED: usize = 20;
const TARPITS: usize = 40;
const RIVALS: usize = 60;
const HALF_REQUESTS: usize = 300;

#[tokio::test]
async fn a_hostile_tenant_hurts_nobody_else() -> anyhow::Result<()> {
    withstand("hostile", Duration::from_secs(15)).await
}

#[tokio::test]
#[ignore = "it takes two minutes: make test-long"]
async fn a_hostile_tenant_hurts_nobody_else_for_two_minutes() -> anyhow::Result<()> {
    withstand("hostile-long", Duration::from_secs(120)).await
}

async fn withstand(name: &str, span: Duration) -> anyhow::Result<()> {
    let victim = Namespace::new(&format!("{name}-victim")).await?;
    let tenant = Tenant::new(&format!("{name}-tenant")).await?;
    let scope = ["--namespace", &victim.name, "--namespace", &tenant.home.name, "--lease-namespace", &victim.name];
    let controller = Controller::start(victim.cluster, &victim.cluster.kubeconfig(), name, &scope).await?;
    ensure!(has_all_descriptors(controller.pid())?, "its soft limit of open files is below the hard one");
    victim.apply(&homelab(&["pandora"])).await?;
    victim.all_ready().await?;
    let mut attack = JoinSet::new();
    let half = half_requests(&controller).await?;
    let tarpit = tarpit(&mut attack).await?;
    tenant.make_all(tarpit).await?;
    let (kubeconfig, cluster) = (tenant.kubeconfig.clone(), victim.cluster);
    attack.spawn(async move {
        for number in 0.. {
            // What it may not do or cannot do now does not stop it.
            drop(cluster.kubectl_with(&kubeconfig, &touch(number)).await);
        }
    });
    let mut renewals = Vec::new();
    let end = Instant::now() + span;
    while Instant::now() < end {
        let asked = Instant::now();
        renewals.push(renewal(&victim).await?);
        answers(&controller).await?;
        tokio::time::sleep_until((asked + Duration::from_secs(1)).into()).await;
    }
    drop((attack, half));
    let longest = renewals.iter().max().copied().unwrap_or_default();
    let memory = peak_memory(controller.pid())?;
    let renewals = renewals.len();
    println!("{renewals} renewals beside a hostile tenant: at most {longest:?} each, {} MiB of memory", memory >> 10);
    ensure!(longest < LONGEST_RENEWAL, "a renewal took {longest:?}");
    ensure!(memory < MOST_MEMORY_KIB, "the controller took {memory} KiB");
    ensure!(!controller.log().contains("the lease is lost"), "it lost its lease:\n{}", controller.log());
    Ok(())
}

/// Asks for a renewal, and waits for it.
async fn renewal(victim: &Namespace) -> anyhow::Result<Duration> {
    let what = "dockerhostcert/pandora";
    let before = serial(&victim.get(what).await?);
    let asked = Instant::now();
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    victim.annotate(what, "dockseal.dev/renew-requested-at", &now).await?;
    victim.until(what, |host| serial(host) != before && is(host, "Ready", "True")).await?;
    Ok(asked.elapsed())
}

/// A probe is answered, as the kubelet asks for it.
async fn answers(controller: &Controller) -> anyhow::Result<()> {
    let asked = tokio::time::timeout(Duration::from_secs(50), controller.probe("/healthz")).await;
    let (status, _) = asked.context("a probe was not answered")??;
    ensure!(status == 200, "a probe was answered by {status}");
    Ok(())
}

/// Begins requests at both ports, and ends none.
async fn half_requests(controller: &Controller) -> anyhow::Result<Vec<TcpStream>> {
    let mut half = Vec::new();
    for address in [controller.address(), controller.probes()] {
        for _ in 0..HALF_REQUESTS {
            let mut stream = TcpStream::connect(address).await?;
            let _ = stream.write_all(format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(8000)).as_bytes()).await;
            half.push(stream);
        }
    }
    Ok(half)
}

/// A "Portainer" that takes connections and says nothing; its port.
async fn tarpit(tasks: &mut JoinSet<()>) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    Ok(port)
}

/// Each connection takes a file descriptor, and systemd gives 1024.
fn has_all_descriptors(pid: u32) -> anyhow::Result<bool> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("it has a limit")?;
    let mut words = line.split_whitespace();
    Ok(words.next() == words.next())
}

/// The highest that a process' memory ever was, in KiB.
fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the controller ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("it has a peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// What the tenant changes over and over: its passphrase, its authorities and hosts.
fn touch(number: usize) -> [&'static str; 6] {
    const ASKED: [&str; 4] = ["dockercas", "dockerhostcerts", "dockerclientcerts", "portainerclients"];
    ["annotate", ASKED[number % ASKED.len()], "--all", "--overwrite", "--field-manager=tenant", value(number)]
}

fn value(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "dockseal.dev/renew-requested-at=a" } else { "dockseal.dev/renew-requested-at=b" }
}

/// Its namespace, and the kubeconfig of an account that may do there what `edit` and `dockseal-edit` allow.
struct Tenant {
    home: Namespace,
    kubeconfig: PathBuf,
}

impl Tenant {
    async fn new(name: &str) -> anyhow::Result<Tenant> {
        let home = Namespace::new(name).await?;
        let all = "--verb=get,list,watch,create,patch,update,delete";
        let kinds = ["dockercas", "dockerhostcerts", "dockerclientcerts", "portainerclients"];
        let ours = kinds.map(|kind| format!("{kind}.dockseal.dev")).join(",");
        let resources = format!("--resource={ours},secrets");
        home.kubectl(&["create", "serviceaccount", "tenant"]).await?;
        home.kubectl(&["create", "role", "tenant", all, &resources]).await?;
        let account = format!("--serviceaccount={name}:tenant");
        home.kubectl(&["create", "rolebinding", "tenant", "--role=tenant", &account]).await?;
        let token = home.token("tenant").await?;
        let kubeconfig = home.cluster.kubeconfig_with_token(name, &token)?;
        let context = ["config", "set-context", "--current", &format!("--namespace={name}")];
        home.cluster.kubectl_with(&kubeconfig, &context).await?;
        Ok(Tenant { home, kubeconfig })
    }

    async fn make_all(&self, tarpit: u16) -> anyhow::Result<()> {
        let objects = [secrets(), references(), locked(), tarpits(tarpit), rivals(), slow_keys(), large()].concat();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let path = self.kubeconfig.with_extension("json");
        std::fs::write(&path, list.to_string())?;
        let path = path.to_string_lossy();
        self.home.cluster.kubectl_with(&self.kubeconfig, &["create", "-f", &path]).await.map(drop)
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn secrets() -> Vec<Value> {
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
    let key = make_key(KeyAlgorithm::EcdsaP256).to_pkcs8_der();
    let locked = (0..8).map(|_| encrypted::seal(&key, b"right", &salt())).collect::<String>();
    vec![
        secret("locked", json!({"keys.pem": base64(locked)})),
        secret("pass", json!({"passphrase": base64("wrong")})),
        secret("login", json!({"username": base64("admin"), "password": base64("secret")})),
        secret("foreign", json!({"password": base64("hunter2")})),
    ]
}

/// S3: a connection for each Secret that is referred to.
fn references() -> Vec<Value> {
    let authority = |number: usize| {
        let trust: Vec<_> =
            (0..16).map(|which| json!({"secretRef": {"name": format!("not-{number}-{which}")}})).collect();
        let pass = json!({"name": format!("not-{number}"), "key": "passphrase"});
        let spec = json!({"subject": {"commonName": "x"}, "additionalTrust": trust, "passphraseSecretRef": pass});
        object("DockerCA", &format!("refers-{number}"), spec)
    };
    (0..AUTHORITIES).map(authority).collect()
}

/// S6: keys that take long to open, by a wrong passphrase.
fn locked() -> Vec<Value> {
    let pass = json!({"name": "pass", "key": "passphrase"});
    let spec = json!({"existing": {"secretRef": {"name": "locked"}}, "passphraseSecretRef": pass});
    let sealed = json!({"subject": {"commonName": "x"}, "passphraseSecretRef": pass});
    let of = |number: usize, spec: &Value| object("DockerCA", &format!("locked-{number}"), spec.clone());
    (0..LOCKED).map(|number| of(number, if number % 2 == 0 { &spec } else { &sealed })).collect()
}

/// S7 and R5: Portainers that do not answer.
fn tarpits(port: u16) -> Vec<Value> {
    let client = |number: usize| {
        let server = json!({"url": format!("http://127.0.0.1:{port}/{number}"), "allowHTTP": true,
            "credentialsSecretRef": {"name": "login"}});
        let spec = json!({"caRef": {"name": "plain"}, "commonName": "x", "server": server, "hostSelector": {}});
        object("PortainerClient", &format!("tarpit-{number}"), spec)
    };
    (0..TARPITS).map(client).chain([object("DockerCA", "plain", json!({"subject": {"commonName": "x"}}))]).collect()
}

/// R4: one Secret of somebody else, which many want.
fn rivals() -> Vec<Value> {
    let spec = json!({"caRef": {"name": "plain"}, "commonName": "x", "secretName": "foreign"});
    (0..RIVALS).map(|number| object("DockerClientCert", &format!("rival-{number}"), spec.clone())).collect()
}

/// S7: RSA keys, each of which takes seconds.
fn slow_keys() -> Vec<Value> {
    let spec = |number: usize| {
        let key = json!({"algorithm": "RSA", "size": 4096});
        json!({"caRef": {"name": "plain"}, "hostname": format!("slow-{number}.example"), "privateKey": key})
    };
    (0..10).map(|number| object("DockerHostCert", &format!("slow-{number}"), spec(number))).collect()
}

/// S4: as much as the API server takes.
fn large() -> Vec<Value> {
    let large = |number: usize| {
        let mut object = object(
            "DockerClientCert",
            &format!("large-{number}"),
            json!({"caRef": {"name": "plain"}, "commonName": "x"}),
        );
        object["metadata"]["annotations"] = json!({"dockseal.dev/note": "x".repeat(200_000)});
        object
    };
    (0..10).map(large).collect()
}
