//! A release of the chart on a real API server, by the real Helm: installed, used with exactly its rights, upgraded,
//! uninstalled, installed again.

use crate::fixture::{Namespace, Right, SOON, homelab, host, is, rights, versions};
use crate::support::cluster::Cluster;
use crate::support::controller::Controller;
use crate::support::helm::{self, NAMESPACE, helm};
use anyhow::{Context, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const COMPANIONS: &str = "dockseal-companions";
const USER: &str = "system:serviceaccount:dockseal:dockseal-controller";
const KINDS: [&str; 4] = ["dockercas", "dockerhostcerts", "dockerclientcerts", "portainerclients"];

/// Granted, and not asked for by the controller itself: it hands them on to companions, and RBAC lets nobody give what
/// he has not got.
const HANDED_ON: [(&str, &str, &str); 2] =
    [("dockseal.dev", "dockerhostcerts/status", "patch"), ("", "serviceaccounts/token", "create")];
/// Statuses that are read only after a conflict, which may or may not come.
const AFTER_A_CONFLICT: [&str; 4] =
    ["dockercas/status", "dockerhostcerts/status", "dockerclientcerts/status", "portainerclients/status"];

/// Every switch at once, for the API server to judge what it becomes.
const EVERYTHING: [&str; 9] = [
    "--set=controller.replicas=2,networkPolicy.enabled=true,companion.namespaces={home,lab}",
    "--set=companion.profile=daemon,companion.portainer.enabled=true,companion.maxUnavailable=10%",
    "--set=controller.podDisruptionBudget.minAvailable=50%,controller.podDisruptionBudget.maxUnavailable=null",
    "--set=controller.strategy.type=Recreate,controller.service.annotations.a=b,controller.podLabels.a=b",
    "--set=controller.podAnnotations.a=b,companion.podAnnotations.a=b,companion.podLabels.a=b,image.pullSecrets[0].name=s",
    "--set=controller.tolerations[0].operator=Exists,companion.tolerations[0].operator=Exists,companion.nodeSelector.a=b",
    r#"--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{}}]"#,
    "--set=prometheus.serviceMonitor.enabled=true,prometheus.rules.enabled=true,grafana.dashboard.enabled=true",
    r#"--set-json=controller.extraEnv=[{"name":"A","value":"b"}],companion.extraEnv=[{"name":"A","value":"b"}]"#,
];

struct Release {
    cluster: &'static Cluster,
    home: Namespace,
    companions: Namespace,
}

impl Release {
    /// A cluster with the chart in it. Nobody there removes namespaces, so the companions' is not the chart's.
    async fn new() -> anyhow::Result<Release> {
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start_audited(USER).await?));
        let companions = Namespace::of(cluster, COMPANIONS).await?;
        let home = Namespace::of(cluster, "home").await?;
        let release = Release { cluster, home, companions };
        release.helm("install", &[]).await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=300s"]).await?;
        Ok(release)
    }

    /// A verb of Helm with the chart and further values; its output.
    async fn helm(&self, verb: &str, values: &[&str]) -> anyhow::Result<String> {
        let kubeconfig = format!("--kubeconfig={}", self.cluster.kubeconfig().display());
        let mut arguments = vec![verb, "dockseal"];
        if ["install", "upgrade"].contains(&verb) {
            arguments.extend(["charts/dockseal", "--set=companion.createNamespace=false,companion.namespaces={home}"]);
        }
        if verb == "install" {
            arguments.push("--create-namespace");
        }
        arguments.extend(["--namespace", NAMESPACE, "--timeout=300s", &kubeconfig]);
        let arguments: Vec<String> = arguments.iter().chain(values).map(|argument| (*argument).to_owned()).collect();
        let run = move || helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await?
    }

    /// The controller as its Deployment has it, by its account's token.
    async fn controller(&self) -> anyhow::Result<Controller> {
        let get = ["-n", NAMESPACE, "get", "deployment", "dockseal-controller", "-o", "json"];
        let deployment: Value = serde_json::from_str(&self.cluster.kubectl(&get).await?)?;
        let pod = &deployment["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().context("it has an account")?;
        let token = self.cluster.kubectl(&["-n", NAMESPACE, "create", "token", account]).await?;
        let kubeconfig = self.cluster.kubeconfig_with_token("release", token.trim())?;
        let said = pod["containers"][0]["args"].as_array().context("it has arguments")?.iter();
        // What every controller of a test is told.
        let told = [
            "controller",
            "--log-format=",
            "--log-level=",
            "--admin-address=",
            "--probe-address=",
            "--allowed-destination=",
        ];
        let mut arguments: Vec<&str> = said.filter_map(Value::as_str).collect();
        arguments.retain(|said| !told.iter().any(|told| said.starts_with(told)));
        arguments.push("--lease-namespace=dockseal"); // in a pod it knows that
        let controller = Controller::start(self.cluster, &kubeconfig, "release", &arguments).await?;
        controller.ready("leading").await?;
        Ok(controller)
    }

    /// An authority, a client, and a Portainer, whose Secrets go with them; a host on a node, and one that is not.
    fn objects() -> String {
        let mut yaml = homelab(&[]).replace("spec: {subject", "spec: {secretDeletionPolicy: Delete, subject")
            + &host("attic", "secretDeletionPolicy: Delete")
            + &host("pandora", "delivery: {target: Node, nodeName: pandora}");
        for (kind, name) in [("DockerClientCert", "ci"), ("PortainerClient", "portainer")] {
            yaml += &format!(
                "---\n{{apiVersion: dockseal.dev/v1alpha1, kind: {kind}, metadata: {{name: {name}}}, \
                 spec: {{caRef: {{name: homelab}}, commonName: {name}, secretDeletionPolicy: Delete}}}}\n"
            );
        }
        yaml
    }

    async fn all_issued(&self) -> anyhow::Result<()> {
        for kind in KINDS {
            for object in self.home.list(&[kind.trim_end_matches('s')]).await? {
                let what =
                    format!("{}/{}", kind.trim_end_matches('s'), object["metadata"]["name"].as_str().unwrap_or(""));
                self.home.until(&what, |object| is(object, "Issued", "True")).await?;
            }
        }
        Ok(())
    }

    /// Everything that the controller does to the API: what is not done here, no right is granted for.
    async fn use_it_all(&self) -> anyhow::Result<()> {
        self.home.apply(&Release::objects()).await?;
        self.all_issued().await?;
        for _ in 0..3 {
            let before = crate::fixture::serial(&self.home.get("dockerhostcert/attic").await?);
            let when = Timestamp::now().to_string();
            self.home.annotate("dockerhostcert/attic", "dockseal.dev/renew-requested-at", &when).await?;
            self.home.until("dockerhostcert/attic", |host| crate::fixture::serial(host) != before).await?;
        }
        // An account, put right and taken away again.
        let parts = [
            (&self.companions, "serviceaccount/node-pandora"),
            (&self.companions, "configmap/node-pandora"),
            (&self.home, "role/dockseal-node-pandora"),
            (&self.home, "rolebinding/dockseal-node-pandora"),
        ];
        for (namespace, part) in parts {
            let labelled = |part: &Value| part["metadata"]["labels"]["dockseal.dev/managed"] == "true";
            namespace.until(part, labelled).await?;
            namespace.merge(part, json!({"metadata": {"labels": {"dockseal.dev/managed": null}}})).await?;
            namespace.until(part, labelled).await?;
        }
        self.home.merge("dockerhostcert/pandora", json!({"spec": {"delivery": null}})).await?;
        for (namespace, part) in parts {
            namespace.gone(part).await?;
        }
        self.home.delete("dockerhostcert/attic").await?;
        self.home.gone("secret/attic-docker-host").await?;
        self.home.gone("dockerhostcert/attic").await
    }

    async fn crds(&self) -> anyhow::Result<usize> {
        let all = self.cluster.kubectl(&["get", "crd", "-o", "name"]).await?;
        Ok(all.lines().filter(|name| name.ends_with(".dockseal.dev")).count())
    }
}

/// What the chart's Roles grant to the controller's account.
fn granted() -> anyhow::Result<BTreeSet<Right>> {
    let chart = helm::render(&["--set=companion.namespaces={home}"])?;
    let is_ours = |object: &&Value| {
        let kind = object["kind"].as_str().unwrap_or_default();
        ["Role", "ClusterRole"].contains(&kind) && object["metadata"]["name"] == "dockseal-controller"
    };
    let rights: BTreeSet<Right> = chart.iter().filter(is_ours).flat_map(rights).collect();
    ensure!(
        !rights.iter().any(|(group, resource, verb)| [group, resource, verb].iter().any(|word| *word == "*")),
        "a star"
    );
    Ok(rights)
}

#[tokio::test]
async fn a_release_is_used_upgraded_uninstalled_and_installed_again() -> anyhow::Result<()> {
    let release = Release::new().await?;
    let controller = release.controller().await?;
    probe(&controller, "/readyz")?;
    pods_are_restricted(&release).await?;
    release.use_it_all().await.with_context(|| controller.log())?;
    rights_are_those_that_are_used(&release)?;
    let log = controller.log();
    ensure!(!log.contains("forbidden"), "something was refused:\n{log}");
    people_with_the_chart_s_roles_renew_and_read_no_secret(&release).await?;
    let before = versions(&release.home.written().await?);

    upgraded(&release).await?;
    controller.stop()?;
    let controller = release.controller().await?;
    assert_eq!(versions(&release.home.written().await?), before, "an upgrade changed something");
    controller.stop()?;

    uninstalled(&release, &before).await?;
    release.helm("install", &[]).await?;
    release.controller().await?.stop()?;
    assert_eq!(versions(&release.home.written().await?), before, "a second installation changed something");
    nothing_hangs(&release).await
}

/// The controller's and that of `helm test`, in a namespace that holds them to it.
async fn pods_are_restricted(release: &Release) -> anyhow::Result<()> {
    let label = ["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"];
    release.cluster.kubectl(&label).await?;
    let chart = helm::objects(&helm(&["template", "dockseal", "charts/dockseal", "--namespace", NAMESPACE])?)?;
    let of_kind = |kind: &str| chart.iter().find(|object| object["kind"] == kind).context("it is in the chart");
    for mut spec in [of_kind("Pod")?["spec"].clone(), of_kind("Deployment")?["spec"]["template"]["spec"].clone()] {
        spec["serviceAccountName"] = json!("dockseal-controller"); // nobody here makes "default"
        let meta = json!({"name": "restricted", "namespace": NAMESPACE});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec});
        release.cluster.kubectl_stdin(&["create", "--dry-run=server", "-f", "-"], &pod.to_string()).await?;
    }
    Ok(())
}

/// Bound outright, since nobody here adds them up into view and edit.
async fn people_with_the_chart_s_roles_renew_and_read_no_secret(release: &Release) -> anyhow::Result<()> {
    let home = &release.home;
    home.kubectl(&["create", "serviceaccount", "ada"]).await?;
    for role in ["dockseal-view", "dockseal-edit"] {
        let role = format!("--clusterrole={role}");
        home.kubectl(&["create", "rolebinding", &role[14..], &role, "--serviceaccount=home:ada"]).await?;
    }
    let kubeconfig = release.cluster.kubeconfig_with_token("ada", &home.token("ada").await?)?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockseal"));
        command.args(arguments).args(["-n", "home", "--kubeconfig"]).arg(&kubeconfig).output()
    };
    let renewed = run(&["renew", "dhc/pandora", "--wait"])?;
    ensure!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    let status = run(&["status", "-o", "name"])?;
    ensure!(String::from_utf8_lossy(&status.stdout).contains("pandora"), "{}", String::from_utf8_lossy(&status.stderr));
    let read = release.cluster.kubectl_with(&kubeconfig, &["-n", "home", "get", "secrets"]).await;
    ensure!(read.is_err_and(|error| error.to_string().contains("forbidden")), "Secrets are read");
    Ok(())
}

/// As `helm test` asks.
fn probe(controller: &Controller, path: &str) -> anyhow::Result<()> {
    let run = |url: &str, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_dockseal"))
            .arg("probe")
            .arg(url)
            .args(more)
            .output()
            .context("failed to probe")
    };
    let address = controller.address();
    let good = run(&format!("http://{address}{path}"), &[])?;
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    ensure!(good.status.success() && said.contains("leading"), "{said}{}", String::from_utf8_lossy(&good.stderr));
    for (url, words) in [
        (format!("http://{address}/nothing"), "answers 404"),
        ("http://127.0.0.1:1/readyz".into(), "failed to connect to http://127.0.0.1:1/readyz"),
        (format!("https://{address}/readyz"), "must be an address like http://"),
    ] {
        let bad = run(&url, &["--timeout=60s"])?;
        let said = String::from_utf8_lossy(&bad.stderr).into_owned();
        ensure!(bad.status.code() == Some(1) && said.contains(words), "{url}: {:?}: {said}", bad.status);
    }
    Ok(())
}

/// Both ways: what is granted was asked for, and what was asked for is granted by the chart.
fn rights_are_those_that_are_used(release: &Release) -> anyhow::Result<()> {
    let asked = release.cluster.audited()?;
    let granted = granted()?;
    let handed_on: BTreeSet<Right> =
        HANDED_ON.iter().map(|(group, resource, verb)| ((*group).into(), (*resource).into(), (*verb).into())).collect();
    let after_a_conflict =
        |right: &Right| right.0 == "dockseal.dev" && AFTER_A_CONFLICT.contains(&&*right.1) && right.2 == "get";
    let idle: Vec<_> =
        granted.difference(&asked).filter(|right| !handed_on.contains(*right) && !after_a_conflict(right)).collect();
    ensure!(idle.is_empty(), "granted and not used: {idle:#?}");
    let missing: Vec<_> = asked.difference(&granted).collect();
    ensure!(missing.is_empty(), "used and not granted: {missing:#?}");
    ensure!(handed_on.is_subset(&granted) && handed_on.is_disjoint(&asked), "the list of rights handed on is old");
    Ok(())
}

/// What Prometheus' operator takes them for: with its CRDs each has all of its fields known.
async fn the_operator_knows_every_field(release: &Release) -> anyhow::Result<()> {
    let crds = operator()?.join("example/prometheus-operator-crd");
    for kind in ["servicemonitors", "podmonitors", "prometheusrules"] {
        let file = crds.join(format!("monitoring.coreos.com_{kind}.yaml"));
        let file = file.to_str().context("a path in UTF-8")?;
        release.cluster.kubectl(&["apply", "--server-side", "-f", file]).await?;
        let crd = format!("crd/{kind}.monitoring.coreos.com");
        release.cluster.kubectl(&["wait", "--for=condition=Established", &crd, "--timeout=300s"]).await?;
    }
    let theirs = |object: &&Value| object["apiVersion"] == "monitoring.coreos.com/v1";
    let mut chart = helm::render(&EVERYTHING)?;
    chart.extend(helm::render(&["--set=prometheus.podMonitor.enabled=true"])?); // one or the other
    let theirs: Vec<&Value> = chart.iter().filter(theirs).collect();
    ensure!(theirs.len() == 3, "{theirs:#?}");
    let create = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    for object in theirs {
        release.cluster.kubectl_stdin(&create, &object.to_string()).await?;
        let mut wrong = object.clone();
        wrong["spec"]["nope"] = json!(1);
        let refused = release.cluster.kubectl_stdin(&create, &wrong.to_string()).await;
        ensure!(refused.is_err_and(|error| error.to_string().contains("nope")), "the CRD judges nothing");
    }
    Ok(())
}

/// Its module, from the Go module proxy.
fn operator() -> anyhow::Result<PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/assets/operator"))
        .env("GOFLAGS", "-mod=readonly")
        .output()
        .context("failed to start go")?;
    let said: Value = serde_json::from_slice(&output.stdout).context("go printed no JSON")?;
    said["Dir"].as_str().map(PathBuf::from).with_context(|| said["Error"].to_string())
}

/// Other values arrive, and go again.
async fn upgraded(release: &Release) -> anyhow::Result<()> {
    the_operator_knows_every_field(release).await?;
    let get = ["-n", NAMESPACE, "get", "deployment", "dockseal-controller", "-o", "jsonpath={.spec.replicas} {..args}"];
    release.helm("upgrade", &EVERYTHING).await?;
    let now = release.cluster.kubectl(&get).await?;
    ensure!(now.starts_with("2 ") && now.contains("--companion-source-namespace=lab"), "{now}");
    let policy = ["-n", NAMESPACE, "get", "networkpolicy", "dockseal-controller"];
    release.cluster.kubectl(&policy).await?;
    release.helm("rollback", &["1"]).await?;
    let now = release.cluster.kubectl(&get).await?;
    ensure!(now.starts_with("1 ") && !now.contains("=lab"), "{now}");
    ensure!(release.cluster.kubectl(&policy).await.is_err(), "the NetworkPolicy is still there");
    let error = release.helm("upgrade", &["--set=controller.replicas=0"]).await.err().context("it is taken")?;
    ensure!(error.to_string().contains("controller.replicas is 0"), "{error:#}");
    Ok(())
}

/// Secrets, CRDs and objects stay as they were; everything else is gone.
async fn uninstalled(release: &Release, before: &[(String, String, String)]) -> anyhow::Result<()> {
    release.helm("uninstall", &[]).await?;
    assert_eq!(versions(&release.home.written().await?), before, "uninstalling changed something");
    assert_eq!(release.crds().await?, 4);
    for kind in ["clusterrole", "clusterrolebinding", "validatingadmissionpolicy", "validatingadmissionpolicybinding"] {
        let left = release.cluster.kubectl(&["get", kind, "-o", "name"]).await?;
        ensure!(!left.contains("dockseal"), "{left}");
    }
    for what in ["deployment", "service", "poddisruptionbudget", "serviceaccount", "role", "rolebinding"] {
        let left = release.cluster.kubectl(&["-n", NAMESPACE, "get", what, "-o", "name"]).await?;
        ensure!(!left.contains("dockseal"), "{left}");
    }
    Ok(())
}

/// Where policies say Retain no finalizer holds anything, CRDs included, though no controller runs.
async fn nothing_hangs(release: &Release) -> anyhow::Result<()> {
    let retain = json!({"spec": {"secretDeletionPolicy": "Retain"}});
    let controller = release.controller().await?;
    let to_node = json!({"spec": {"delivery": {"target": "Node", "nodeName": "pandora"}}});
    release.home.merge("dockerhostcert/pandora", to_node).await?;
    release.home.until("rolebinding/dockseal-node-pandora", |_| true).await?;
    for what in ["dockerca/homelab", "dockerclientcert/ci", "portainerclient/portainer"] {
        release.home.merge(what, retain.clone()).await?;
        release.home.until(what, |object| object["metadata"]["finalizers"].is_null()).await?;
    }
    controller.stop()?;
    let secrets = versions(&release.home.list(&["secret"]).await?);
    release.helm("upgrade", &["--set=crds.keep=false"]).await?;
    release.helm("uninstall", &[]).await?;
    let deadline = Instant::now() + SOON;
    while release.crds().await? > 0 {
        ensure!(Instant::now() < deadline, "CRDs are still there");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(versions(&release.home.list(&["secret"]).await?), secrets, "Secrets went with the CRDs");
    roles_go_as_the_page_says(release).await?;
    assert_eq!(versions(&release.home.list(&["secret"]).await?), secrets, "Secrets went with the Roles");
    Ok(())
}

/// What the controller granted is left where no controller is; the chart's page has a line that takes it all away.
async fn roles_go_as_the_page_says(release: &Release) -> anyhow::Result<()> {
    let ours = ["get", "role,rolebinding", "--all-namespaces", "-o", "name"];
    let left = release.cluster.kubectl(&ours).await?;
    ensure!(left.contains("/dockseal-node-pandora"), "the line has nothing to do: {left}");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/dockseal/README.md"))?;
    let line = page.lines().find_map(|line| line.strip_prefix("kubectl delete role")).context("the page has a line")?;
    let line = format!("delete role{line}");
    release.cluster.kubectl(&line.split(' ').collect::<Vec<_>>()).await?;
    let left = release.cluster.kubectl(&ours).await?;
    // What people bound themselves stays.
    ensure!(!left.contains("/dockseal-node-") && !left.contains("/dockseal-companion"), "{left}");
    ensure!(left.contains("rolebinding.rbac.authorization.k8s.io/dockseal-view"), "{left}");
    Ok(())
}
