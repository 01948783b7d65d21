//! The release as users have it: image, chart and example on a real node, from `helm install` to `helm uninstall`.

mod machine;

use crate::support::helm::{NAMESPACE, helm};
use crate::support::portainer::state::Environment;
use crate::support::portainer::{Options, Portainer};
use crate::support::scratch::Scratch;
use crate::world::{Namespace, SOON, find, is};
use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use machine::{Machine, NAME};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const HOST: &str = "dockerhostcert/atlas";
const CLIENT: &str = "portainerclient/fleet";
const PORTAINER: &str = "portainer.bodkys.house";
const PORTAINER_PORT: u16 = 9443;

/// A release on a node, beside it a Portainer.
struct Release {
    machine: Machine,
    home: Namespace,
    portainer: Portainer,
    trusted: String,
}

#[tokio::test]
async fn a_release_on_a_node_delivers_registers_fails_over_and_goes() -> Result<()> {
    let machine = Machine::boot().await?;
    let release = Release::new(machine).await?;
    journey(&release).await.with_context(|| release.machine.told())
}

async fn journey(release: &Release) -> Result<()> {
    release.installed().await.context("install")?;
    release.tested().await.context("helm test")?;
    release.applied().await.context("apply")?;
    release.served().await.context("serve")?;
    let made = release.registered("Controller").await.context("the controller registers")?;
    release.registered_by_the_companion(&made).await.context("the companion registers")?;
    release.leader_is_killed().await.context("scale and kill")?;
    release.dockerd_is_taken_over(&made).await.context("profile daemon")?;
    release.uninstalled().await.context("uninstall")
}

impl Release {
    async fn new(machine: Machine) -> Result<Release> {
        machine.load_image()?;
        let home = Namespace::there(machine.cluster, "default").await?;
        let (chain, key, trusted) = certificate()?;
        let address = SocketAddr::from((machine.host.outside_ip(), PORTAINER_PORT));
        let options = Options { https: Some((chain, key)), address, ..Options::default() };
        let portainer = Portainer::with(options)?;
        machine.dns.knows(PORTAINER, machine.host.outside_ip());
        Ok(Release { machine, home, portainer, trusted })
    }

    /// A verb of Helm, which waits until all is as it should be.
    async fn helm(&self, verb: &[&str]) -> Result<String> {
        let kubeconfig = format!("--kubeconfig={}", self.machine.cluster.kubeconfig().display());
        let all = [verb, &["--namespace", NAMESPACE, "--timeout=120s", &kubeconfig]].concat();
        let arguments: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let run = move || helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await?
    }

    async fn upgraded(&self, values: &[&str]) -> Result<()> {
        let verb = ["upgrade", "dockseal", "charts/dockseal", "--wait", "--reuse-values"];
        self.helm(&[&verb, values].concat()).await.map(drop)
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.machine.cluster.kubectl(arguments).await
    }

    /// As README says it, the node labelled before.
    async fn installed(&self) -> Result<()> {
        self.kubectl(&["label", "node", NAME, "dockseal.dev/companion=true"]).await?;
        let since = Instant::now();
        let install = ["install", "dockseal", "charts/dockseal", "--create-namespace", "--wait"];
        self.helm(&[&install[..], &["--set=companion.namespaces={default}"]].concat()).await?;
        println!("helm install: everything is ready after {:.1} s", since.elapsed().as_secs_f64());
        let ready = ["get", "pods", "-A", "-o=jsonpath={.items[*].status.containerStatuses[*].ready}"];
        ensure!(self.kubectl(&ready).await? == "true true", "a controller and a companion run");
        Ok(())
    }

    /// `helm test`, with the name of the Service as the cluster's DNS would have it.
    async fn tested(&self) -> Result<()> {
        let ask = ["-n", NAMESPACE, "get", "pods", "-o=jsonpath={.items[0].status.podIP}"];
        let name = format!("dockseal-controller.{NAMESPACE}.svc.cluster.local");
        self.machine.dns.knows(&name, self.kubectl(&ask).await?.parse()?);
        let said = self.helm(&["test", "dockseal", "--logs"]).await?;
        ensure!(said.contains("Succeeded") && said.contains("leading"), "{said}");
        Ok(())
    }

    /// The example, with a key, where Portainer's certificate comes from, and what a host on a node has besides.
    async fn applied(&self) -> Result<()> {
        let ip = self.machine.host.ip();
        let example = std::fs::read_to_string("examples/portainer.yaml")?;
        let hosts = format!("address: {{host: {ip}, port: 2376}}");
        let url = format!("url: https://{PORTAINER}:{PORTAINER_PORT}");
        let changes = [
            ("ptr_replace-this", self.portainer.admin_key().to_owned()),
            ("address: {port: 2376}", hosts + "\n  delivery: {target: Node, nodeName: atlas}"),
            (&*url, format!("{url}\n    tls: {{caSecretRef: {{name: portainer-ca, key: ca.crt}}}}")),
        ];
        let changed = changes.into_iter().try_fold(example, |text, (from, to)| {
            ensure!(text.contains(from), "the example has no {from:?} any more");
            Ok(text.replacen(from, &to, 1))
        })?;
        let trusted = format!("--from-literal=ca.crt={}", self.trusted);
        self.home.kubectl(&["create", "secret", "generic", "portainer-ca", &trusted]).await?;
        self.home.apply(&changed).await?;
        let placed = |host: &Value| is(host, "Delivered", "True");
        self.home.until(HOST, placed).await?;
        ensure!(self.portainer.environments().is_empty(), "a host that serves nothing yet is registered");
        Ok(())
    }

    /// As a user of the profile `files` has dockerd use them, once.
    async fn served(&self) -> Result<()> {
        let certs = "/etc/docker/certs";
        let mode = self.machine.host.sh(&format!("stat -Lc '%a %u' {certs}/atlas.key"))?;
        ensure!(mode.trim() == "400 0", "the key is {mode}");
        let drop_in = format!(
            "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2376 --tlsverify \
             --tlscacert {certs}/ca.pem --tlscert {certs}/atlas.pem --tlskey {certs}/atlas.key\n"
        );
        self.machine.host.write("/etc/systemd/system/docker.service.d/tls.conf", drop_in, 0o644)?;
        self.restarted()
    }

    fn restarted(&self) -> Result<()> {
        self.machine.host.restart(&["docker"])?;
        self.machine.host.docker_ready()
    }

    /// Waits until the host, as it is now, is registered by that one; its environment, which Portainer reaches.
    async fn registered(&self, by: &str) -> Result<Environment> {
        let client = self.home.get(CLIENT).await?["status"]["fingerprint"].clone();
        let fits = |host: &Value| {
            let report = &host["status"]["environments"][0];
            let current = report["clientFingerprint"] == client
                && report["provedFingerprint"] == host["status"]["fingerprint"]
                && report["registrar"] == by;
            current && is(host, "Registered", "True") && is(host, "Delivered", "True")
        };
        let host = self.home.until(HOST, fits).await?;
        let id = host["status"]["environments"][0]["id"].as_u64().context("an id")?;
        let made = self.portainer.environment(id).context("the environment is there")?;
        ensure!(made.url == format!("tcp://{}:2376", self.machine.host.ip()) && made.status == 1, "{made:#?}");
        Ok(made)
    }

    /// The same environment, when an upgrade allows it and the object says so, and with the next certificates too.
    async fn registered_by_the_companion(&self, made: &Environment) -> Result<()> {
        self.upgraded(&["--set=companion.portainer.enabled=true"]).await?;
        self.home.merge(CLIENT, json!({"spec": {"registrar": "Companion"}})).await?;
        ensure!(self.registered("Companion").await?.id == made.id, "it is another one");
        self.renewed(CLIENT).await?;
        self.renewed(HOST).await?;
        self.reached("deliveredFingerprint").await?;
        self.restarted()?; // of which nobody tells the companion
        ensure!(self.registered("Companion").await?.id == made.id, "it is another one");
        Ok(())
    }

    /// A certificate is renewed, as `dockseal renew` asks for it.
    async fn renewed(&self, what: &str) -> Result<()> {
        let before = self.home.get(what).await?["status"]["fingerprint"].clone();
        self.home.annotate(what, "dockseal.dev/renew-requested-at", &Timestamp::now().to_string()).await?;
        self.home.until(what, |object| object["status"]["fingerprint"] != before).await.map(drop)
    }

    /// The stored certificate is the one that this field of the host's status names.
    async fn reached(&self, field: &str) -> Result<()> {
        let there = |host: &Value| host["status"]["host"][field] == host["status"]["fingerprint"];
        self.home.until(HOST, there).await.map(drop)
    }

    /// Two controllers; the one that leads is gone from one moment to the next, and the other goes on.
    async fn leader_is_killed(&self) -> Result<()> {
        println!("the controller's memory: {}", self.machine.memory("controller")?);
        self.upgraded(&["--set=controller.replicas=2"]).await?;
        self.home.merge(CLIENT, json!({"spec": {"registrar": "Controller"}})).await?;
        self.registered("Controller").await?;
        let leader = self.leader().await?;
        self.machine.kill_controller(leader.rsplit_once('-').context("pod and a word of the process's own")?.0)?;
        let since = Instant::now();
        while [leader.as_str(), ""].contains(&self.leader().await?.as_str()) {
            ensure!(since.elapsed() < SOON, "{leader} leads though it is gone");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("another leads after {:.1} s", since.elapsed().as_secs_f64());
        self.renewed(HOST).await?;
        self.reached("deliveredFingerprint").await
    }

    /// Who leads, as the Lease has it.
    async fn leader(&self) -> Result<String> {
        let holder = ["-n", NAMESPACE, "get", "lease", "-o=jsonpath={.items[0].spec.holderIdentity}"];
        self.kubectl(&holder).await
    }

    /// By the profile `daemon` the pod has the node's systemd start dockerd with what it wrote; nobody restarts it by hand.
    async fn dockerd_is_taken_over(&self, made: &Environment) -> Result<()> {
        self.upgraded(&["--set=companion.profile=daemon"]).await?;
        let delivery = json!({"mode": "Daemon", "takeOver": true, "daemon": {"restart": "Always"}});
        self.home.merge(HOST, json!({"spec": {"delivery": delivery}})).await?;
        let taken = |host: &Value| {
            let serving = find(host, "Serving").filter(|serving| serving["status"] == "True");
            serving.is_some_and(|serving| serving["observedGeneration"] == host["metadata"]["generation"])
        };
        self.home.until(HOST, taken).await?;
        let guarded = self.machine.host.sh("systemctl cat docker")?;
        ensure!(guarded.contains("dockseal guard"), "{guarded}");
        self.renewed(CLIENT).await?;
        self.renewed(HOST).await?;
        self.reached("servedFingerprint").await?;
        ensure!(self.registered("Controller").await?.id == made.id, "it is another one");
        Ok(())
    }

    /// Pods and rights go; what was issued, delivered and registered stays, and dockerd serves it.
    async fn uninstalled(&self) -> Result<()> {
        let secrets = crate::world::versions(&self.home.list(&["secret"]).await?);
        self.helm(&["uninstall", "dockseal", "--wait"]).await?;
        let pods = self.kubectl(&["get", "pods", "-A", "-o=name"]).await?;
        ensure!(!pods.contains("controller") && !pods.contains("companion"), "{pods}");
        ensure!(crate::world::versions(&self.home.list(&["secret"]).await?) == secrets, "Secrets are others");
        let host = self.home.get(HOST).await?;
        ensure!(is(&host, "Registered", "True"), "{:#?}", find(&host, "Registered"));
        self.restarted()?;
        ensure!(self.portainer.environments().len() == 1, "{:#?}", self.portainer.environments());
        Ok(())
    }
}

/// What Portainer shows to who asks for it: chain, key, and the authority that it is trusted by.
fn certificate() -> Result<(String, String, String)> {
    let made = Scratch::new("node-portainer")?;
    made.run(&format!(
        "new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
        $new -keyout ca.key -out ca.crt -subj /CN=house 2>/dev/null
        $new -CA ca.crt -CAkey ca.key -keyout key -out crt -subj /CN=portainer -addext subjectAltName=DNS:{PORTAINER} \
          -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth 2>/dev/null"
    ))?;
    let text = |name: &str| std::fs::read_to_string(made.path().join(name));
    Ok((text("crt")?, text("key")?, text("ca.crt")?))
}
