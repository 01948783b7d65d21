//! registrar: Companion, with the chart's policies and Roles: a node's companion registers its own host, the controller
//! holds that against what Portainer shows, takes the host over, and takes it out.

use crate::fixture::{Namespace, SOON, fails, find, homelab, is, rights};
use crate::support::cluster::Cluster;
use crate::support::companion::{ApiAccess, Companion};
use crate::support::controller::Controller;
use crate::support::docker_like::{DockerLike, Material};
use crate::support::helm;
use crate::support::portainer::state::Environment;
use crate::support::portainer::{Fault, Portainer};
use crate::support::ports;
use crate::support::scratch::Scratch;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const COMPANIONS: &str = "dockseal-companions";
const HOST: &str = "dockerhostcert/pandora";
const CLIENT: &str = "portainerclient/portainer";
const ROLE: &str = "role/dockseal-node-pandora";
const USER: &str = "system:serviceaccount:dockseal-companions:node-pandora";

/// A node `pandora` with its companion and dockerd, a controller, and a Portainer.
struct Fixture {
    home: Namespace,
    companions: Namespace,
    controller: Controller,
    companion: Companion,
    portainer: Portainer,
    directory: PathBuf,
    port: u16,
    scratch: Scratch,
}

#[tokio::test]
async fn a_companion_registers_its_own_host_and_the_controller_believes_what_portainer_shows() -> anyhow::Result<()> {
    let mut fixture = Fixture::new().await?;
    journey(&mut fixture).await.with_context(|| fixture.told())
}

async fn journey(fixture: &mut Fixture) -> anyhow::Result<()> {
    fixture.begin().await?;
    let docker = fixture.serve().await?;
    let made = fixture.registered("Companion").await?;
    ensure!(made.url == docker.url() && made.name == "pandora", "{made:#?}");
    fixture.a_portainer_that_the_controller_does_not_reach_is_no_fault().await?;
    fixture.only_named_hosts_are_registered().await?;
    fixture.a_second_one_gets_nothing(&made).await?;
    fixture.nothing_is_believed(&made).await?;
    fixture.rotated(&made).await?;
    fixture.a_portainer_that_hangs_holds_no_delivery_up(&docker).await?;
    for registrar in ["Controller", "Companion", "Controller", "Companion"] {
        fixture.taken_over(registrar, &made).await.with_context(|| registrar.to_owned())?;
    }
    fixture.rights_are_those_that_are_used().await?;
    fixture.allowed_no_longer(&made).await?;
    fixture.removed().await
}

impl Fixture {
    async fn new() -> anyhow::Result<Fixture> {
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start_audited(USER).await?));
        cluster.crds().await?;
        let scratch = Scratch::new("registrar")?;
        let directory = scratch.path().join("certs");
        let directories = format!("--set=companion.directories={{{}}}", scratch.path().display());
        let allowed = "--set=companion.portainer.enabled=true";
        let chart =
            ["--set=controller.createNamespace=true", "--set=companion.namespaces={home}", &directories, allowed];
        let manifest = helm::template(&chart)?;
        let companions = Namespace::of(cluster, COMPANIONS).await?;
        cluster.kubectl_stdin(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &manifest).await?;
        let home = Namespace::of(cluster, "home").await?;
        let controller = controller(cluster, &scratch, true).await?;
        let companion = companion(cluster, &scratch).await?;
        let (portainer, port) = (Portainer::start()?, ports::free()?);
        Ok(Fixture { home, companions, controller, companion, portainer, directory, port, scratch })
    }

    /// The objects; `attic` has nobody who delivers to it.
    async fn begin(&self) -> anyhow::Result<()> {
        let delivery = format!(
            "delivery: {{target: Node, nodeName: pandora, mode: Files, directory: {}}}",
            self.directory.display()
        );
        let host = |name: &str, more: &str| {
            let address = format!("address: {{host: 127.0.0.1, port: {}}}", self.port);
            crate::fixture::host(name, &format!("{address}, {more}"))
        };
        let secret = format!(
            "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: portainer-admin}}, stringData: {{apiKey: {}}}}}\n",
            self.portainer.admin_key(),
        );
        let client = secret + &self.client("portainer", "portainer-admin");
        let all = homelab(&[]) + &host("pandora", &delivery) + &host("attic", "") + &client;
        self.home.apply(&all).await.map(drop)
    }

    /// A PortainerClient that selects every host, with that Secret for its credential.
    fn client(&self, name: &str, credential: &str) -> String {
        format!(
            "---\n{{apiVersion: dockseal.dev/v1alpha1, kind: PortainerClient, metadata: {{name: {name}}}, \
             spec: {{caRef: {{name: homelab}}, commonName: {name}, hostSelector: {{}}, registrar: Companion, \
             server: {{url: '{}', allowHTTP: true, credentialsSecretRef: {{name: {credential}}}}}}}}}\n",
            self.portainer.url(),
        )
    }

    /// Starts a dockerd with what was delivered, as its user does it. Nothing was registered before.
    async fn serve(&self) -> anyhow::Result<DockerLike> {
        self.home.until(HOST, |host| is(host, "Delivered", "True")).await?;
        let host = self.home.until(HOST, |host| fails(host, "Registered", "AwaitingServing")).await?;
        ensure!(self.portainer.environments().is_empty(), "{:#}", host["status"]);
        let docker = DockerLike::start_on(&[([127, 0, 0, 1], self.port).into()], &self.delivered()?)?;
        self.poke()?;
        Ok(docker)
    }

    fn delivered(&self) -> anyhow::Result<Material> {
        let text = |name: &str| std::fs::read_to_string(self.directory.join(name)).context("it is delivered");
        Ok(Material { chain: text("pandora.pem")?, key: text("pandora.key")?, clients: text("ca.pem")? })
    }

    /// A public name that is gone is put back, and dockerd looked at.
    fn poke(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.directory.join("ca.pem"))?)
    }

    fn told(&self) -> String {
        format!("controller:\n{}\ncompanion:\n{}", self.controller.log(), self.companion.log())
    }

    /// Waits until the host is registered by that one; its environment, which is the only one.
    async fn registered(&self, by: &str) -> anyhow::Result<Environment> {
        let fits =
            |host: &Value| is(host, "Registered", "True") && host["status"]["environments"][0]["registrar"] == by;
        let host = self.home.until(HOST, fits).await?;
        let reports = host["status"]["environments"].as_array().context("reports")?;
        let environments = self.portainer.environments();
        ensure!((reports.len(), environments.len()) == (1, 1), "{reports:#?}, {environments:#?}");
        ensure!(reports[0]["id"] == environments[0].id, "{reports:#?}");
        Ok(environments[0].clone())
    }

    async fn only_named_hosts_are_registered(&self) -> anyhow::Result<()> {
        let attic = "dockerhostcert/attic";
        let attic = self.home.until(attic, |host| fails(host, "Registered", "RegistrarNotAllowed")).await?;
        let words = find(&attic, "Registered").map(|known| known["message"].to_string()).unwrap_or_default();
        ensure!(words.contains("set registrar: Controller"), "{words}");
        let secrets = "pandora-docker-host,portainer-admin,portainer-portainer-client";
        ensure!(self.readable().await? == secrets, "the Role names {}", self.readable().await?);
        let map = self.companions.get("configmap/node-pandora").await?;
        let text = map["data"]["assignment.json"].as_str().context("an assignment")?;
        ensure!(!text.contains(self.portainer.admin_key()) && !text.contains("PRIVATE KEY"), "{text}");
        Ok(())
    }

    /// Secrets that the node's Role names.
    async fn readable(&self) -> anyhow::Result<String> {
        let role = self.home.get(ROLE).await?;
        let rules = role["rules"].as_array().context("rules")?;
        let rule = rules.iter().find(|rule| rule["resources"][0] == "secrets").context("a rule for Secrets")?;
        let names = rule["resourceNames"].as_array().context("names")?.iter().filter_map(Value::as_str);
        Ok(names.collect::<Vec<_>>().join(","))
    }

    /// A second PortainerClient: one that names an authority's Secret as its credential, and one for the same server.
    async fn a_second_one_gets_nothing(&self, made: &Environment) -> anyhow::Result<()> {
        for (name, credential, reason) in
            [("thief", "homelab-docker-ca", "CredentialsNotFound"), ("younger", "portainer-admin", "NameConflict")]
        {
            self.home.apply(&self.client(name, credential)).await?;
            self.home.until(HOST, |host| fails(host, "Registered", reason)).await?;
            let names = self.readable().await?;
            ensure!(!names.contains("homelab-docker-ca") && !names.contains(name), "{name}: the Role names {names}");
            self.home.delete(&format!("portainerclient/{name}")).await?;
            ensure!(self.registered("Companion").await?.id == made.id, "{name}: it is another one");
        }
        Ok(())
    }

    /// A node that claims what is not so: an environment that is not there, another's, another server's.
    async fn nothing_is_believed(&self, made: &Environment) -> anyhow::Result<()> {
        let host = self.home.get(HOST).await?;
        let truth = host["status"]["environments"].clone();
        let foreign = self.portainer.add_environment("somebody", "tcp://10.0.0.9:2376");
        let claim = |field: &str, value: Value| {
            let mut claimed = truth[0].clone();
            claimed[field] = value;
            claimed
        };
        for (claimed, words) in [
            (claim("id", json!(4711)), "which Portainer does not show"),
            (claim("id", json!(foreign)), "does not carry our tag"),
            (claim("instanceId", json!("another")), "of another Portainer"),
        ] {
            self.claim(&[claimed]).await?;
            let said = |host: &Value| {
                fails(host, "Registered", "NotRegistered")
                    && find(host, "Registered").is_some_and(|known| known["message"].to_string().contains(words))
            };
            self.home.until(HOST, said).await.context(words)?;
        }
        self.claim(&[truth[0].clone()]).await?;
        self.home.until(HOST, |host| is(host, "Registered", "True")).await?;
        self.portainer.remove_environment(foreign);
        ensure!(self.portainer.environment(made.id).is_some(), "it was never touched");
        Ok(())
    }

    /// What the node's Roles grant, its companion asked for, and nothing else.
    async fn rights_are_those_that_are_used(&self) -> anyhow::Result<()> {
        let granted = &rights(&self.home.get(ROLE).await?) | &rights(&self.companions.get(ROLE).await?);
        let asked = self.home.cluster.audited()?;
        ensure!(granted == asked, "granted: {granted:#?}\nasked for: {asked:#?}");
        Ok(())
    }

    async fn claim(&self, environments: &[Value]) -> anyhow::Result<()> {
        let host = self.home.get(HOST).await?;
        let theirs = |known: &&Value| ["Delivered", "Serving"].iter().any(|name| known["type"] == *name);
        let conditions: Vec<_> = host["status"]["conditions"].as_array().into_iter().flatten().filter(theirs).collect();
        let status = json!({"host": host["status"]["host"], "conditions": conditions, "environments": environments});
        self.home.report("pandora", &status).await.map(drop)
    }

    /// The client certificate is renewed: the companion gives it to Portainer, in place.
    async fn rotated(&self, made: &Environment) -> anyhow::Result<()> {
        let before = self.home.get(CLIENT).await?["status"]["fingerprint"].clone();
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        self.home.annotate(CLIENT, "dockseal.dev/renew-requested-at", &now).await?;
        let client = self.home.until(CLIENT, |client| client["status"]["fingerprint"] != before).await?;
        let wanted = &client["status"]["fingerprint"];
        let fits = |host: &Value| host["status"]["environments"][0]["clientFingerprint"] == *wanted;
        self.home.until(HOST, |host| fits(host) && is(host, "Registered", "True")).await?;
        let now = self.registered("Companion").await?;
        ensure!(now.id == made.id, "{now:#?}");
        let given = self.portainer.tls_file(made.id, "cert").context("a certificate")?;
        let given = dockseal::pki::Certificate::from_pem(given.as_bytes())?.fingerprint();
        ensure!(*wanted == given, "Portainer has {given}");
        Ok(())
    }

    /// It hangs for controller and companion; a renewed certificate is in place meanwhile, and proved afterwards.
    /// The companions' word counts then, and the message says whose it is.
    async fn a_portainer_that_the_controller_does_not_reach_is_no_fault(&self) -> anyhow::Result<()> {
        let look = async |note: &str| self.home.merge("secret/portainer-admin", json!({"data": {"note": note}})).await;
        let told = |client: &Value, words: &str| {
            let conditions = client["status"]["conditions"].as_array().into_iter().flatten();
            let mut registered = conditions.filter(|condition| condition["type"] == "Registered");
            registered.any(|condition| condition["message"].as_str().is_some_and(|message| message.contains(words)))
        };
        self.home.merge(HOST, json!({"metadata": {"labels": {"near": "yes"}}})).await?;
        let near = |near: Value| json!({"spec": {"hostSelector": {"matchLabels": near}}});
        self.home.merge(CLIENT, near(json!({"near": "yes"}))).await?;
        self.home.until(CLIENT, |client| told(client, "1 of 1 hosts are registered in Portainer")).await?;
        self.portainer.stop();
        look("Yg==").await?;
        let words =
            "1 of 1 hosts are registered, as their companions say; from the controller Portainer cannot be reached";
        let client = self.home.until(CLIENT, |client| told(client, words)).await?;
        ensure!(is(&client, "Registered", "True") && is(&client, "Ready", "True"), "{client:#}");
        ensure!(is(&self.home.get(HOST).await?, "Registered", "True"), "the host");
        self.portainer.restart()?;
        look("Yw==").await?;
        self.home.until(CLIENT, |client| told(client, "1 of 1 hosts are registered in Portainer")).await?;
        self.home.merge(CLIENT, near(Value::Null)).await.map(drop)
    }

    async fn a_portainer_that_hangs_holds_no_delivery_up(&self, docker: &DockerLike) -> anyhow::Result<()> {
        let mark = self.portainer.mark();
        self.portainer.inject_times(2, "GET", "/api/endpoints", Fault::Hang(Duration::from_secs(25)));
        self.home.merge("secret/portainer-admin", json!({"data": {"note": "YQ=="}})).await?;
        let hanging = |portainer: &Portainer| {
            let calls = portainer.calls_since(mark);
            calls.iter().filter(|call| call.is("GET", "/api/endpoints") && call.ended.is_none()).count()
        };
        self.portainer.wait("both look", SOON, |portainer| hanging(portainer) == 2).await?;
        let since = Instant::now();
        let before = self.home.get(HOST).await?["status"]["fingerprint"].clone();
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        self.home.annotate(HOST, "dockseal.dev/renew-requested-at", &now).await?;
        let host = self.home.until(HOST, |host| host["status"]["fingerprint"] != before).await?;
        let wanted = host["status"]["fingerprint"].clone();
        let placed = |host: &Value| host["status"]["host"]["deliveredFingerprint"] == wanted;
        self.home.until(HOST, placed).await?;
        println!("delivered and reported {:?} after it was asked for, Portainer hanging", since.elapsed());
        ensure!(hanging(&self.portainer) == 2, "it waited for Portainer: {:?}", since.elapsed());
        docker.reload(&self.delivered()?)?;
        self.poke()?;
        let proved = |host: &Value| host["status"]["environments"][0]["provedFingerprint"] == wanted;
        self.home.until(HOST, |host| proved(host) && is(host, "Registered", "True")).await.map(drop)
    }

    /// The administrator takes the consent back: the node's rights go, its report too; and then gives it again.
    async fn allowed_no_longer(&mut self, made: &Environment) -> anyhow::Result<()> {
        for allowed in [false, true] {
            let next = controller(self.home.cluster, &self.scratch, allowed).await?;
            std::mem::replace(&mut self.controller, next).stop()?;
            if allowed {
                ensure!(self.registered("Companion").await?.id == made.id, "it is another one");
                continue;
            }
            let refused = |host: &Value| {
                fails(host, "Registered", "RegistrarNotAllowed") && host["status"]["environments"].is_null()
            };
            self.home.until(HOST, refused).await?;
            self.names("pandora-docker-host").await?;
        }
        Ok(())
    }

    /// Another registrar goes on with the same environment, and the node's rights are those that it needs.
    async fn taken_over(&self, registrar: &str, made: &Environment) -> anyhow::Result<()> {
        self.home.merge(CLIENT, json!({"spec": {"registrar": registrar}})).await?;
        let now = self.registered(registrar).await?;
        ensure!(now.id == made.id, "{now:#?}");
        let secrets = match registrar {
            "Companion" => "pandora-docker-host,portainer-admin,portainer-portainer-client",
            _ => "pandora-docker-host",
        };
        self.names(secrets).await
    }

    /// Waits until the node's Role names these Secrets.
    async fn names(&self, secrets: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + SOON;
        while self.readable().await? != secrets {
            ensure!(Instant::now() < deadline, "the Role names {}", self.readable().await?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The host goes, and its environment with it: the controller alone removes.
    async fn removed(&self) -> anyhow::Result<()> {
        self.home.merge(CLIENT, json!({"spec": {"environment": {"deletionPolicy": "Delete"}}})).await?;
        let held = |host: &Value| host["metadata"]["finalizers"].to_string().contains("dockseal.dev");
        self.home.until(HOST, held).await?;
        self.home.delete(HOST).await?;
        self.home.gone(HOST).await?;
        let left = self.portainer.environments();
        ensure!(left.is_empty() && self.portainer.tls_key_dirs().is_empty(), "{left:#?}");
        self.companions.gone("serviceaccount/node-pandora").await?;
        tokio::time::sleep(Duration::from_secs(3)).await; // nobody makes it again
        ensure!(self.portainer.environments().is_empty(), "it is there again");
        Ok(())
    }
}

/// The controller by its account's token: RBAC's check against escalation is asked.
async fn controller(cluster: &Cluster, scratch: &Scratch, allowed: bool) -> anyhow::Result<Controller> {
    let token = cluster.kubectl(&["-n", helm::NAMESPACE, "create", "token", "dockseal-controller"]).await?;
    let kubeconfig = cluster.kubeconfig_with_token("controller", token.trim())?;
    let directory = format!("--companion-directory={}", scratch.path().display());
    let mut arguments = vec![
        "--lease-namespace=dockseal",
        "--companion-namespace=dockseal-companions",
        "--companion-source-namespace=home",
        &directory,
    ];
    arguments.extend(allowed.then_some("--companion-portainer"));
    Controller::start(cluster, &kubeconfig, "registrar", &arguments).await
}

/// The companion by the token of a pod on the node.
async fn companion(cluster: &Cluster, scratch: &Scratch) -> anyhow::Result<Companion> {
    let spec = json!({"nodeName": "pandora", "serviceAccountName": "dockseal-companion",
        "containers": [{"name": "companion", "image": "dockseal"}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "companion", "namespace": COMPANIONS}, "spec": spec});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "pandora"}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [node, pod]});
    cluster.kubectl_stdin(&["create", "-f", "-"], &list.to_string()).await?;
    let bound = ["--bound-object-kind=Pod", "--bound-object-name=companion"];
    let mint = [&["-n", COMPANIONS, "create", "token", "dockseal-companion"][..], &bound].concat();
    let token = cluster.kubectl(&mint).await?;
    let kubeconfig = cluster.kubeconfig_with_token("companion", token.trim())?;
    let root = scratch.path().to_str().context("a name in UTF-8")?;
    let words = ["--node", "pandora", "--namespace", COMPANIONS, "--directory", root, "--source-namespace", "home"];
    Companion::start(cluster, &ApiAccess::Kubeconfig(&kubeconfig), &words)
}
