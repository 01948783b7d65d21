//! examples/portainer.yaml with two real dockerds, from nothing to nothing; and a rotation under load.

use super::fixture::{Fixture, event, info, is_discreet, look, marks, material, renew};
use crate::fixture::{Namespace, is};
use crate::support::dockerd::Dockerd;
use crate::support::portainer::Portainer;
use crate::support::ports;
use crate::support::scratch::Scratch;
use anyhow::{Context, ensure};
use dockseal::pki::Certificate;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const CLIENT: &str = "portainerclient/fleet";
const HOSTS: [&str; 2] = ["atlas", "titan"];

/// A machine, with the files that its dockerd was last started with.
struct Machine {
    name: &'static str,
    port: u16,
    files: Scratch,
    dockerd: Option<Dockerd>,
}

impl Machine {
    fn new(name: &'static str) -> anyhow::Result<Machine> {
        Ok(Machine { name, port: ports::free()?, files: Scratch::new(name)?, dockerd: None })
    }

    /// Files of its Secret, under a number.
    async fn fetch(&self, namespace: &Namespace, number: usize) -> anyhow::Result<()> {
        let material = material(namespace, self.name).await?;
        self.files.write(&format!("{number}.pem"), &material.chain)?;
        self.files.write(&format!("{number}.key"), &material.key)?;
        self.files.write("ca.pem", &material.clients).map(drop)
    }

    fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        self.dockerd = None;
        let at = |name: &str| self.files.path().join(name);
        let (certificate, key) = (at(&format!("{number}.pem")), at(&format!("{number}.key")));
        self.dockerd = Some(Dockerd::start_on(self.port, &certificate, &key, &at("ca.pem"))?);
        Ok(())
    }
}

struct Journey {
    namespace: Namespace,
    portainer: Portainer,
    machines: Vec<Machine>,
}

impl Journey {
    /// The example, with this Portainer and these machines in it.
    fn example(&self) -> anyhow::Result<String> {
        let yaml = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/portainer.yaml");
        let mut yaml = std::fs::read_to_string(yaml)?;
        let mut replace = |old: &str, new: &str| {
            ensure!(yaml.contains(old), "the example does not say {old:?}");
            yaml = yaml.replacen(old, new, 1);
            Ok(())
        };
        replace("ptr_replace-this", self.portainer.admin_key())?;
        let url = format!("{}\n    allowHTTP: true", self.portainer.url());
        replace("https://portainer.bodkys.house:9443", &url)?;
        for machine in &self.machines {
            replace("address: {port: 2376}", &format!("address: {{host: 127.0.0.1, port: {}}}", machine.port))?;
        }
        Ok(yaml)
    }

    /// All dockerds at once, each with its files of that number.
    async fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        for machine in &self.machines {
            machine.fetch(&self.namespace, number).await?;
        }
        let machines = &mut self.machines;
        let restart = || {
            std::thread::scope(|scope| {
                let all: Vec<_> =
                    machines.iter_mut().map(|machine| scope.spawn(move || machine.restart(number))).collect();
                all.into_iter().try_for_each(|one| one.join().expect("it does not panic"))
            })
        };
        tokio::task::block_in_place(restart)
    }

    async fn host(&self, name: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.namespace.until(&format!("dockerhostcert/{name}"), fits).await
    }

    /// Waits until all hosts are registered with the certificates that are stored now, and reached as users reach them.
    /// The ids of their environments.
    async fn registered(&self) -> anyhow::Result<Vec<u64>> {
        self.registered_and(|host, report| report["provedFingerprint"] == host["status"]["fingerprint"]).await
    }

    /// The same, and what else is to be so of a host and its environment's report.
    async fn registered_and(&self, so: impl Fn(&Value, &Value) -> bool) -> anyhow::Result<Vec<u64>> {
        let issued = |client: &Value| client["status"]["fingerprint"].is_string();
        let client = self.namespace.until(CLIENT, issued).await?["status"]["fingerprint"].clone();
        let mut ids = Vec::new();
        for name in HOSTS {
            let fits = |host: &Value| {
                let report = &host["status"]["environments"][0];
                is(host, "Registered", "True")
                    && is(host, "Ready", "True")
                    && report["clientFingerprint"] == client
                    && so(host, report)
            };
            let host = self.host(name, fits).await?;
            let id = host["status"]["environments"][0]["id"].as_u64().context("an id")?;
            let certificate = self.portainer.tls_file(id, "cert").context("a certificate on Portainer's disk")?;
            ensure!(Certificate::from_pem(certificate.as_bytes())?.fingerprint() == client, "it has another one");
            info(&self.portainer, id).await.with_context(|| name)?;
            ids.push(id);
        }
        ensure!(self.portainer.environments().len() == 2, "{:#?}", self.portainer.environments());
        ensure!(self.portainer.tls_key_dirs().is_empty(), "keys were left");
        Ok(ids)
    }

    fn tags(&self, id: u64) -> Vec<String> {
        let (all, environment) = (self.portainer.tags(), self.portainer.environment(id));
        let mut names: Vec<String> = environment
            .iter()
            .flat_map(|environment| &environment.tags)
            .map(|tag| all[tag].name.clone())
            .filter(|name| !name.starts_with("dockseal/"))
            .collect();
        names.sort();
        names
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dockerds_are_registered_renewed_rolled_back_and_taken_out() -> anyhow::Result<()> {
    let namespace = Namespace::new("portainer-journey").await?;
    let controller = namespace.controller("portainer-journey").await?;
    let machines = HOSTS.into_iter().map(Machine::new).collect::<anyhow::Result<Vec<_>>>()?;
    let mut journey = Journey { namespace, portainer: Portainer::start()?, machines };
    journey.namespace.apply(&journey.example()?).await?;
    journey.restart(0).await?;
    let ids = journey.registered().await?;
    for (id, tags) in ids.iter().zip([&["home"][..], &["home", "media"]]) {
        let environment = journey.portainer.environment(*id).context("it is there")?;
        assert_eq!(journey.tags(*id), tags);
        assert_eq!(marks(&journey.portainer, &environment).len(), 1);
        assert!(environment.tls.on && !environment.tls.skip_verify);
    }
    let ready = |client: &Value| is(client, "Ready", "True") && is(client, "Registered", "True");
    let client = journey.namespace.until(CLIENT, ready).await?;
    let status = &client["status"];
    assert_eq!((&status["selected"], &status["registered"]), (&json!(2), &json!(2)), "{status:#}");
    assert_eq!(status["version"], "2.33.5");
    assert_eq!(status["instanceId"], journey.portainer.instance());

    for number in 1..3 {
        let all = [CLIENT, "dockerhostcert/atlas", "dockerhostcert/titan"].map(str::to_owned);
        renew(&journey.namespace, &all).await?;
        journey.restart(number).await?;
        look(&journey.namespace, "portainer-admin").await?;
        assert_eq!(journey.registered().await?, ids, "environments are others after renewal {number}");
    }

    // One goes back to its certificate before the last: of the same authority, and still valid.
    tokio::task::block_in_place(|| journey.machines[0].restart(1))?;
    info(&journey.portainer, ids[0]).await?;
    look(&journey.namespace, "portainer-admin").await?;
    renew(&journey.namespace, &[CLIENT.to_owned()]).await?;
    // dockerd is asked before Portainer gets the new key, and what it serves is reported.
    let either = |_: &Value, report: &Value| report["provedFingerprint"].is_string();
    assert_eq!(journey.registered_and(either).await?, ids);
    is_discreet(&journey.namespace, &controller, &[&journey.portainer]).await?;

    // The policy says what is deleted with a host.
    let policy = |policy: &str| json!({"spec": {"environment": {"deletionPolicy": policy}}});
    journey.namespace.merge(CLIENT, policy("Delete")).await?;
    journey.host("titan", |host| host["metadata"]["finalizers"] == json!(["dockseal.dev/secret"])).await?;
    journey.namespace.delete("dockerhostcert/titan").await?;
    journey.namespace.gone("dockerhostcert/titan").await?;
    assert!(journey.portainer.environment(ids[1]).is_none());
    event(&journey.namespace, "titan", "Deregistered").await?;
    journey.namespace.merge(CLIENT, policy("Retain")).await?;
    journey.host("atlas", |host| host["metadata"].get("finalizers").is_none()).await?;
    journey.namespace.delete("dockerhostcert/atlas").await?;
    event(&journey.namespace, "atlas", "Deregistered").await?;
    let left = journey.portainer.environment(ids[0]).context("it stays")?;
    assert!(marks(&journey.portainer, &left).is_empty());
    assert_eq!(journey.tags(ids[0]), ["home"], "users' tags stay");
    info(&journey.portainer, ids[0]).await?;
    let none = |client: &Value| client["status"]["selected"] == 0 && is(client, "Ready", "True");
    journey.namespace.until(CLIENT, none).await.map(drop)
}

#[tokio::test]
async fn no_request_is_lost_while_the_client_certificate_is_rotated() -> anyhow::Result<()> {
    let namespace = Namespace::new("portainer-rotation").await?;
    let _controller = namespace.controller("portainer-rotation").await?;
    let fixture = Arc::new(Fixture::new(namespace, &["pandora"]).await?);
    fixture.begin().await?;
    let id = fixture.registered("pandora").await?.id;
    let before = fixture.pair("pandora").docker.last_serial().context("it was asked")?;
    let (asked, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    // Four users, who ask on for as long as it takes.
    let users: Vec<_> = (0..4)
        .map(|_| {
            let (fixture, asked, over) = (Arc::clone(&fixture), Arc::clone(&asked), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    info(&fixture.pair("pandora").portainer, id).await?;
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    while asked.load(Ordering::SeqCst) < 200 {
        fixture.renew(&["portainerclient/pandora".to_owned()]).await?;
        assert_eq!(fixture.registered("pandora").await?.id, id);
    }
    over.store(true, Ordering::SeqCst);
    for user in users {
        user.await?.context("a request was lost")?;
    }
    let after = fixture.pair("pandora").docker.last_serial().context("it was asked")?;
    ensure!(after != before, "they still come with the old certificate");
    fixture.pair("pandora").is_whole()
}
