//! A host outside of the cluster: enrolled, installed as a service, serving, cut off, and revoked; with the real
//! controller, API server, systemd and dockerd.

use crate::support::cluster::Cluster;
use crate::support::controller::Controller;
use crate::support::helm;
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use crate::support::relay::Relay;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dockseal");
const SOON: Duration = Duration::from_secs(120);
const COMPANIONS: &str = "dockseal-companions";
/// What an enrolment puts in place, and what no failed one changes.
const IN_PLACE: &str = "cd /; sha256sum etc/dockseal/companion.json var/lib/dockseal/token.json usr/local/bin/dockseal \
    etc/systemd/system/dockseal-companion.service; systemctl show -P MainPID dockseal-companion";

/// A cluster with the chart, its controller, and the way that leads to it from the box.
struct Outside {
    cluster: Cluster,
    _controller: Controller,
    relay: Relay,
    host: HostBox,
}

impl Outside {
    async fn new() -> Result<Outside> {
        let host = HostBox::boot()?;
        let (cluster, controller) = charted("home").await?;
        cluster.apply(&yaml(&host)).await?;
        let relay = Relay::start(host.outside_ip().into(), cluster.address())?;
        host.docker_ready()?;
        host.sh(&format!("echo {} apiserver.test >>/etc/hosts; mkdir -p /root/bin", host.outside_ip()))?;
        host.install(Path::new(PROGRAM), "/root/bin/dockseal")?;
        Ok(Outside { cluster, _controller: controller, relay, host })
    }

    fn enroll(&self, more: &[&str]) -> Result<Output> {
        let mut command = Command::new(PROGRAM);
        command.args(["enroll", "pandora", "-n", "home", "--kubeconfig"]).arg(self.cluster.kubeconfig()).args(more);
        Ok(command.env_remove("KUBECONFIG").output()?)
    }

    /// What `dockseal enroll` prints, with the API server as the host reaches it.
    fn line(&self) -> Result<String> {
        let server = format!("https://apiserver.test:{}", self.relay.address().port());
        let output = self.enroll(&["--server", &server])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it in the box as its administrator would.
    fn run(&self, line: &str) -> Result<Output> {
        self.host.exec_with(&["env", "PATH=/root/bin:/usr/bin:/bin:/usr/sbin:/sbin", "sh"], line.as_bytes())
    }

    /// Runs it, and it fails with those words and changes nothing.
    fn refused(&self, line: &str, words: &str) -> Result<()> {
        let before = self.host.sh(IN_PLACE)?;
        let output = self.run(line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains(words), "not {words:?}: {said}");
        ensure!(self.host.sh(IN_PLACE)? == before, "it changed something: {said}");
        Ok(())
    }

    async fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + SOON;
        loop {
            let text = self.cluster.kubectl(&["get", "dhc", "-n", "home", "pandora", "-o", "json"]).await?;
            let object: Value = serde_json::from_str(&text)?;
            if fits(&object["status"]) {
                return Ok(object["status"].clone());
            }
            if Instant::now() > deadline {
                bail!("not {what}: {:#}\n{}", object["status"], self.host.journal("dockseal-companion.service")?);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The certificate is served; its fingerprint.
    async fn served(&self, not: &str) -> Result<String> {
        let fits = |status: &Value| {
            let ready = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|found| found["type"] == "Ready" && found["status"] == "True");
            ready && status["fingerprint"] != not && status["host"]["servedFingerprint"] == status["fingerprint"]
        };
        let status = self.until("served", fits).await?;
        Ok(status["fingerprint"].as_str().unwrap_or_default().to_owned())
    }

    async fn renew(&self) -> Result<()> {
        let now = k8s_openapi::jiff::Timestamp::now();
        let asked = format!("dockseal.dev/renew-requested-at={}", now.round(k8s_openapi::jiff::Unit::Second)?);
        self.cluster.kubectl(&["annotate", "--overwrite", "-n", "home", "dhc", "pandora", &asked]).await.map(drop)
    }

    fn says(&self, words: &str) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let journal = self.host.journal("dockseal-companion.service")?;
            if journal.contains(words) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it does not say {words:?}:\n{journal}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A cluster with what the chart has for hosts outside, and a controller of that namespace.
pub async fn charted(namespace: &str) -> Result<(Cluster, Controller)> {
    let cluster = Cluster::start().await?;
    cluster.crds().await?;
    let manifest = helm::template(&["--set=controller.createNamespace=true"])?;
    let namespaces = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}\n---\n{{apiVersion: v1, \
        kind: Namespace, metadata: {{name: {COMPANIONS}}}}}\n"
    );
    cluster.apply(&namespaces).await?;
    cluster.kubectl_stdin(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &manifest).await?;
    let scope = ["--namespace", namespace, "--lease-namespace", namespace, "--companion-namespace", COMPANIONS];
    let controller = Controller::start(&cluster, &cluster.kubeconfig(), "outside", &scope).await?;
    Ok((cluster, controller))
}

fn yaml(host: &HostBox) -> String {
    format!(
        "{{apiVersion: dockseal.dev/v1alpha1, kind: DockerCA, metadata: {{name: homelab, namespace: home}}, spec: {{subject: {{commonName: Docker CA}}}}}}
---
{{apiVersion: dockseal.dev/v1alpha1, kind: DockerHostCert, metadata: {{name: pandora, namespace: home}}, spec: {{caRef: {{name: homelab}}, \
ipAddresses: [{}], delivery: {{target: Enrolled, mode: Daemon, daemon: {{restart: Always}}}}}}}}\n",
        host.ip()
    )
}

#[tokio::test]
async fn a_host_outside_is_enrolled_served_cut_off_and_revoked() -> Result<()> {
    let outside = Outside::new().await?;
    let host = &outside.host;
    let probe = Probe::start([SocketAddr::from((host.ip(), 2376))])?;
    let line = outside.line()?;
    let (command, token) = line.split_once(" <<'END'\n").context("a command and what it reads")?;
    ensure!(!command.contains("eyJ") && token.starts_with("eyJ"), "the token is among the arguments");
    let installed = outside.run(&line)?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let first = outside.served("").await?;
    nothing_is_told(host)?;

    // Again, with and without a token; and what is of no use changes nothing.
    for again in [line.as_str(), &format!("{command} </dev/null")] {
        let output = outside.run(again)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    bad_lines(&outside, command, token)?;

    // Cut off it keeps what it has and puts it right; then it catches up.
    outside.relay.cut();
    outside.renew().await?;
    host.sh("rm /etc/docker/certs/pandora.pem")?;
    let deadline = Instant::now() + SOON;
    while host.exec(&["test", "-e", "/etc/docker/certs/pandora.pem"])?.status.code() != Some(0) {
        ensure!(Instant::now() < deadline, "it is not put right:\n{}", host.journal("dockseal-companion.service")?);
    }
    outside.relay.mend();
    outside.served(&first).await?;

    let once = outside.run("systemctl stop dockseal-companion; dockseal companion --once; code=$?; systemctl start dockseal-companion; exit $code")?;
    ensure!(once.status.code() == Some(0), "{}", String::from_utf8_lossy(&once.stderr));
    let count = probe.finish();
    ensure!(count.leaked == 0 && count.denied > 0, "{:?}", count.first_leak);
    println!("asked without a certificate: {} times, answered: {}", count.asked, count.leaked);

    let output = outside.enroll(&["--revoke"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    outside.says("this host is no longer enrolled")?;
    host.sh("test -e /etc/docker/certs/pandora.pem")?;
    outside.refused(&format!("{command} </dev/null"), "run dockseal enroll again")?;
    nothing_is_told(host)?;
    // One that slept for longer than its token.
    host.sh(r#"systemctl stop dockseal-companion; sed -Ei 's/"(expires|renew_at)":"20../"\1":"2020/g; s/"2020[0-9]*-/"2020-/g' /var/lib/dockseal/token.json; systemctl start dockseal-companion"#)?;
    outside.says("the token of this host expired at 2020-")?;
    // Enrolled again, it goes on.
    let output = outside.run(&outside.line()?)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    outside.served("").await.map(drop)
}

/// No token where others could read it, and none in a log or an argument.
fn nothing_is_told(host: &HostBox) -> Result<()> {
    ensure!(host.sh("stat -c %a:%U /var/lib/dockseal/token.json")?.trim() == "600:root", "others can read the token");
    let told =
        host.sh("grep -rl eyJhbG /etc /tmp /run/systemd || true; journalctl --no-pager | grep -c eyJhbG || true; \
         main=$(systemctl show -P MainPID dockseal-companion); \
         cat /proc/[0-9]*/cmdline /proc/$main/environ | tr '\\0' '\\n' | grep '^eyJhbG' || true")?;
    ensure!(told.trim() == "0", "told: {told}");
    Ok(())
}

fn bad_lines(outside: &Outside, command: &str, token: &str) -> Result<()> {
    let swap = |option: &str, value: &str| {
        let mut words: Vec<&str> = command.split(' ').collect();
        let at = words.iter().position(|word| *word == option).expect("the line has it") + 1;
        words[at] = value;
        words.join(" ")
    };
    let with_token = |command: &str| format!("{command} <<'END'\n{token}");
    let own = std::fs::read(outside.cluster.dir().join("admin.crt"))?; // of the cluster, but no authority
    let encoded = |pem: &[u8]| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(pem)
    };
    let rows = [
        (with_token(&swap("--ca-data", "garbage")), "--ca-data is not PEM in base64"),
        (with_token(&swap("--ca-data", &encoded(b"no certificate"))), "--ca-data must hold a certificate"),
        (with_token(&swap("--ca-data", &encoded(&own))), "failed to reach the API server"),
        (with_token(&swap("--server", "https://apiserver.test:1")), "failed to reach the API server"),
        (with_token(&swap("--server", "http://apiserver.test")), "must be a URL of the form https://"),
        (format!("{command} <<'END'\nwrong\nEND\n"), "refuses the token"),
        (with_token(&swap("--account", "host-home.attic")), "refuses the token"),
        (format!("{} </dev/null", swap("--account", "host-home.attic")), "for another account or cluster"),
        (format!("{} </dev/null", swap("--ca-data", &encoded(&own))), "for another account or cluster"),
    ];
    for (line, words) in &rows {
        outside.refused(line, words)?;
    }
    Ok(())
}
