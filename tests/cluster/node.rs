//! The release as users have it: image, chart and example on a real node, from `helm install` to `helm uninstall`.

mod machine;
mod user;

use crate::fixture::{Namespace, SOON, find, is};
use crate::support::helm::NAMESPACE;
use crate::support::portainer::state::Environment;
use crate::support::portainer::{Options, Portainer};
use crate::support::scratch::Scratch;
use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use machine::{Machine, NAME};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use user::User;

const HOST: &str = "dockerhostcert/atlas";
const TITAN: &str = "dockerhostcert/titan";
const CLIENT: &str = "portainerclient/fleet";
const README: &str = "README.md";
const CHART: &str = "charts/dockseal/README.md";
const UPGRADE: &str = "docs/upgrade.md";
const ELSEWHERE: &str = "docs/portainer-elsewhere.md";
/// So that Helm ends when all is as it should be.
const WAITING: &str = "--wait --timeout=300s";
const PORTAINER: &str = "portainer.bodkys.house";
const PORTAINER_PORT: u16 = 9443;

/// A release on a node, beside it a Portainer.
struct Release {
    machine: Machine,
    home: Namespace,
    portainer: Portainer,
    user: User,
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
    release.uninstalled().await.context("uninstall")?;
    release.installed_again().await.context("install again")?;
    release.user.done()
}

impl Release {
    async fn new(machine: Machine) -> Result<Release> {
        let home = Namespace::there(machine.cluster, "default").await?;
        let (chain, key, trusted) = certificate()?;
        let address = SocketAddr::from((machine.host.outside_ip(), PORTAINER_PORT));
        let options = Options { https: Some((chain, key)), address, ..Options::default() };
        let portainer = Portainer::with(options)?;
        machine.dns.knows(PORTAINER, machine.host.outside_ip());
        let example = example(&machine, &portainer)?;
        let user = User::new(&machine, &[("examples/portainer.yaml", example)])?;
        machine.host.run_container("portainer")?;
        machine.host.write("/root/data/certs/cert.pem", trusted, 0o644)?;
        machine.host.docker(&["cp", "/root/data", "portainer:/"])?;
        Ok(Release { machine, home, portainer, user })
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.machine.cluster.kubectl(arguments).await
    }

    /// As README says it, the namespace and the node labelled before.
    async fn installed(&self) -> Result<()> {
        for begins in ["make image", "tar -xf", "install -m 755", "ln -sf", "make image"] {
            self.user.types(README, begins, "").await?;
        }
        self.user.imports(&self.machine, README)?;
        self.user.types(CHART, "kubectl create namespace dockseal", "").await?;
        self.user.types(CHART, "kubectl label namespace dockseal", "").await?;
        self.user.types(README, "kubectl label node", "").await?;
        let since = Instant::now();
        self.user.types(README, "helm install dockseal", WAITING).await?;
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
        let said = self.user.types(CHART, "helm test dockseal", "--logs").await?;
        ensure!(said.contains("Succeeded") && said.contains("leading"), "{said}");
        Ok(())
    }

    /// Issued and delivered; a host that serves nothing yet is not registered.
    async fn applied(&self) -> Result<()> {
        self.user.types(ELSEWHERE, "docker cp portainer:", "").await?;
        self.user.types(ELSEWHERE, "kubectl create secret generic portainer-ca", "").await?;
        self.user.types(README, "kubectl apply -f examples/portainer.yaml", "").await?;
        self.home.until(HOST, |host| is(host, "Delivered", "True")).await?;
        ensure!(self.portainer.environments().is_empty(), "{:#?}", self.portainer.environments());
        let said = self.user.types(README, "kubectl get dockseal", "").await?;
        ensure!(said.contains("dockerhostcert.dockseal.dev/atlas"), "{said}");
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
        self.user.types(UPGRADE, "make image", "").await?;
        self.user.imports(&self.machine, UPGRADE)?;
        self.upgraded("companion.portainer.enabled=true").await?;
        self.home.merge(CLIENT, json!({"spec": {"registrar": "Companion"}})).await?;
        ensure!(self.registered("Companion").await?.id == made.id, "it is another one");
        self.renewed(CLIENT).await?;
        self.renewed(HOST).await?;
        self.reached("deliveredFingerprint").await?;
        self.restarted()?; // of which nobody tells the companion
        ensure!(self.registered("Companion").await?.id == made.id, "it is another one");
        Ok(())
    }

    /// An upgrade to other values, as the page says it.
    async fn upgraded(&self, value: &str) -> Result<()> {
        self.user.types(UPGRADE, "helm upgrade dockseal", &format!("{WAITING} --set={value}")).await?;
        self.user.types(UPGRADE, "kubectl rollout status", "--timeout=300s").await?;
        let said = self.user.types(UPGRADE, "dockseal status -A", "|| test $? = 4").await?; // titan is nowhere
        ensure!(said.contains("atlas") && said.contains("titan"), "{said}");
        Ok(())
    }

    /// A certificate is renewed.
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
        for verb in ["controller", "companion"] {
            println!("memory of the {verb}: {}", self.machine.memory(verb)?);
        }
        self.upgraded("controller.replicas=2").await?;
        self.home.merge(CLIENT, json!({"spec": {"registrar": "Controller"}})).await?;
        self.registered("Controller").await?;
        let leader = self.leader().await?;
        self.machine.kill_controller(leader.rsplit_once('-').context("pod and a word of the process's own")?.0)?;
        self.another_leads(&leader).await?;
        self.user.types(README, "dockseal renew pandora --wait", "").await?;
        self.reached("deliveredFingerprint").await
    }

    /// Waits for another leader than that one, which is gone.
    async fn another_leads(&self, gone: &str) -> Result<()> {
        let since = Instant::now();
        while [gone, ""].contains(&self.leader().await?.as_str()) {
            ensure!(since.elapsed() < SOON, "{gone} leads though it is gone");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("another leads after {:.1} s", since.elapsed().as_secs_f64());
        Ok(())
    }

    /// Who leads, as the Lease has it.
    async fn leader(&self) -> Result<String> {
        let holder = ["-n", NAMESPACE, "get", "lease", "-o=jsonpath={.items[0].spec.holderIdentity}"];
        self.kubectl(&holder).await
    }

    /// By the profile `daemon` the pod has the node's systemd start dockerd with what it wrote; nobody restarts it by hand.
    async fn dockerd_is_taken_over(&self, made: &Environment) -> Result<()> {
        self.upgraded("companion.profile=daemon").await?;
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
        self.home.merge(TITAN, json!({"spec": {"secretDeletionPolicy": "Delete"}})).await?;
        self.home.until(TITAN, |titan| titan["metadata"]["finalizers"].is_array()).await?;
        let secrets = crate::fixture::versions(&self.home.list(&["secret"]).await?);
        self.user.types(UPGRADE, "helm uninstall dockseal", WAITING).await?;
        let pods = self.kubectl(&["get", "pods", "-A", "-o=name"]).await?;
        ensure!(!pods.contains("controller") && !pods.contains("companion"), "{pods}");
        ensure!(crate::fixture::versions(&self.home.list(&["secret"]).await?) == secrets, "Secrets are others");
        let host = self.home.get(HOST).await?;
        ensure!(is(&host, "Registered", "True"), "{:#?}", find(&host, "Registered"));
        let roles = ["get", "role,rolebinding", "-A", "-o=name"];
        ensure!(self.kubectl(&roles).await?.contains("dockseal-node-atlas"), "the page says that they stay");
        self.user.types(CHART, "kubectl delete role,rolebinding --all-namespaces", "").await?;
        ensure!(!self.kubectl(&roles).await?.contains("dockseal"), "{}", self.kubectl(&roles).await?);
        self.restarted()?;
        ensure!(self.portainer.environments().len() == 1, "{:#?}", self.portainer.environments());
        self.finalizer_taken_off().await
    }

    /// An object that waits for a controller which is gone.
    async fn finalizer_taken_off(&self) -> Result<()> {
        self.kubectl(&["delete", TITAN, "--wait=false"]).await?;
        ensure!(self.home.get(TITAN).await?["metadata"]["deletionTimestamp"].is_string(), "it is to wait");
        self.user.types(CHART, "kubectl patch dockerhostcert", "").await?;
        self.kubectl(&["wait", TITAN, "--for=delete", "--timeout=300s"]).await.map(drop)
    }

    /// As the chart's page says it, where no namespace is listed and the node has its label: the companion waits, and
    /// did not run before. Nothing is issued anew.
    async fn installed_again(&self) -> Result<()> {
        let (secrets, gone) = (crate::fixture::versions(&self.home.list(&["secret"]).await?), self.leader().await?);
        self.user.types(CHART, "helm install dockseal", WAITING).await?;
        self.another_leads(&gone).await?;
        self.tested().await?;
        ensure!(crate::fixture::versions(&self.home.list(&["secret"]).await?) == secrets, "Secrets are others");
        Ok(())
    }
}

/// The example, with a key, with what Portainer's certificate is trusted by, and a host that is a node.
fn example(machine: &Machine, portainer: &Portainer) -> Result<String> {
    let hosts = format!("address: {{host: {}, port: 2376}}", machine.host.ip());
    let url = format!("url: https://{PORTAINER}:{PORTAINER_PORT}");
    let changes = [
        ("ptr_replace-this", portainer.admin_key().to_owned()),
        ("address: {port: 2376}", format!("{hosts}\n  delivery: {{target: Node, nodeName: {NAME}}}")),
        (&*url, format!("{url}\n    tls: {{caSecretRef: {{name: portainer-ca, key: ca.crt}}}}")),
    ];
    changes.into_iter().try_fold(std::fs::read_to_string("examples/portainer.yaml")?, |text, (from, to)| {
        ensure!(text.contains(from), "the example has no {from:?} any more");
        Ok(text.replacen(from, &to, 1))
    })
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
