//! A homelab of one host and one client in YAML, one setting at a time, and what `up` makes of it in a box.

use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use crate::support::scratch::Scratch;
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub const UP: [&str; 9] =
    ["dockseal", "up", "/root/home.yaml", "--state", "/root/state", "--once", "--host", "pandora", "--timeout"];
/// How long `up` waits for what may never be.
const PATIENCES: [&str; 3] = ["1s", "4s", "15s"];
/// How long for what comes, on a busy machine too.
pub const UP_TIMEOUT: &str = "100s";
const STEP_UNIT: &str = "dockseal-step.service";
/// dockerd and its sockets are stopped, even if a unit asks for them meanwhile.
pub const STOPPED: &str = "ours=dockseal-docker.socket
    while systemctl stop docker.socket docker.service $ours 2>/dev/null; \
        systemctl -q is-active docker.socket docker.service $ours; do :; done";
/// And started again.
pub const STARTED: &str =
    "systemctl daemon-reload; systemctl reset-failed; systemctl start docker.socket docker.service";
const CLIENT: &str = "/root/state/secrets/default/ci-docker-client";

/// The objects of the file. Each field is YAML, put where its name says.
#[derive(Clone, Debug)]
pub struct Homelab {
    /// `spec.delivery.daemon`, without braces.
    pub daemon: String,
    /// More of `spec.delivery`: `, takeOver: true`.
    pub delivery: String,
    /// `metadata.annotations` of the host, without braces.
    pub annotations: String,
    /// The authority's spec, without braces.
    pub authority: String,
    /// More of the host's spec.
    pub host: String,
    /// More documents.
    pub documents: String,
}

impl Default for Homelab {
    fn default() -> Homelab {
        let empty = String::new;
        Homelab {
            daemon: "restart: Always".into(),
            delivery: empty(),
            annotations: empty(),
            authority: "subject: {commonName: Docker CA}".into(),
            host: empty(),
            documents: empty(),
        }
    }
}

impl Homelab {
    /// With a certificate that is newer than any until now.
    pub fn renewed(&self) -> Homelab {
        let now = Timestamp::now().as_second();
        while Timestamp::now().as_second() == now {
            std::thread::sleep(Duration::from_millis(20)); // certificates know no parts of a second
        }
        let asked = Timestamp::from_second(now + 1).unwrap_or_default();
        Homelab { annotations: format!("dockseal.dev/renew-requested-at: \"{asked}\""), ..self.clone() }
    }

    /// As a file for that box.
    pub fn yaml(&self, host: &HostBox) -> String {
        let Homelab { daemon, delivery, annotations, authority, host: more, documents } = self;
        let ip = host.ip();
        format!(
            "apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: homelab}}
spec: {{{authority}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: pandora, annotations: {{{annotations}}}}}
spec:
  caRef: {{name: homelab}}
  ipAddresses: [{ip}]
  delivery: {{mode: Daemon, daemon: {{{daemon}}}{delivery}}}
{more}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {{name: ci}}
spec: {{caRef: {{name: homelab}}, commonName: ci}}
{documents}"
        )
    }
}

/// A box with the program, and what is asked of it.
pub struct InstalledHost<'a> {
    pub host: &'a HostBox,
}

/// A condition as `up` keeps it.
#[derive(Clone, Debug)]
pub struct ReportedCondition {
    pub holds: bool,
    pub reason: String,
    pub message: String,
}

impl InstalledHost<'_> {
    /// Puts the program there.
    pub fn on(host: &HostBox) -> Result<InstalledHost<'_>> {
        host.install(Path::new(env!("CARGO_BIN_EXE_dockseal")), "/usr/local/bin/dockseal")?;
        Ok(InstalledHost { host })
    }

    /// Where dockerd is to serve.
    pub fn address(&self) -> SocketAddr {
        (self.host.ip(), 2376).into()
    }

    /// `up --once --host pandora`, whatever comes of it; what it said of Serving. It gives up soon, since it would wait
    /// for better; and is asked again where it had not come to the end of the step.
    pub fn up(&self, homelab: &Homelab) -> Result<ReportedCondition> {
        self.host.sh("rm -f /var/lib/dockseal/answer.json")?;
        for patience in PATIENCES {
            let said = self.up_within(homelab, patience);
            if said.as_ref().ok().zip(self.answer().ok()).is_some_and(|(said, answer)| said.reason == answer.reason) {
                return said;
            }
        }
        self.up_within(homelab, UP_TIMEOUT)
    }

    fn up_within(&self, homelab: &Homelab, timeout: &str) -> Result<ReportedCondition> {
        self.host.write("/root/home.yaml", homelab.yaml(self.host), 0o600)?;
        let output = self.host.exec(&[&UP[..], &[timeout]].concat())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        self.condition("Serving").with_context(|| format!("{said}\n{}", self.facts()))
    }

    /// As `up`, for what goes no further than this host's disk: its status, with one of these words in it.
    pub fn up_says(&self, homelab: &Homelab, words: &[&str]) -> Result<()> {
        for patience in PATIENCES {
            let _ = self.up_within(homelab, patience); // where there is nothing of Serving, Delivered says why
            let status = self.host.read("/root/state/status/DockerHostCert/default/pandora.yaml")?;
            if words.iter().any(|words| status.contains(words)) {
                return Ok(());
            }
        }
        bail!("none of {words:?}\n{}", self.host.sh("cat /root/state/status/DockerHostCert/default/*")?)
    }

    /// As `up`, and dockerd serves.
    pub fn up_and_served(&self, homelab: &Homelab) -> Result<()> {
        let said = self.up_within(homelab, UP_TIMEOUT)?;
        ensure!(said.holds, "{said:?}\n{}", self.facts());
        self.served()
    }

    /// Files, the order and the binary are put there, and the step is not taken.
    pub fn order(&self, homelab: &Homelab) -> Result<()> {
        self.host.sh(&format!("systemctl mask --quiet --runtime {STEP_UNIT}"))?;
        let ordered = || self.host.read("/var/lib/dockseal/order.json").unwrap_or_default();
        let before = ordered();
        for patience in ["2s", "10s", UP_TIMEOUT] {
            let _ = self.up_within(homelab, patience); // a busy machine has not come that far
            if ordered() != before {
                break;
            }
        }
        ensure!(ordered() != before, "nothing is ordered: {}", self.facts());
        self.host.sh(&format!("systemctl unmask --quiet --runtime {STEP_UNIT}; systemctl daemon-reload"))?;
        Ok(())
    }

    /// As `order`, for a host that was never delivered to, where the step is asked twice: dockerd and its files are as
    /// they were again after a whole delivery.
    pub fn order_first(&self, homelab: &Homelab) -> Result<()> {
        let kept = "/etc/docker/daemon.json /etc/systemd/system";
        self.host.sh(&format!("rm -rf /root/fresh; mkdir /root/fresh; cp -a --parents {kept} /root/fresh"))?;
        self.up_and_served(homelab)?;
        self.host.sh(&format!(
            "{STOPPED}; for kept in {kept}; do rm -rf $kept; cp -a /root/fresh$kept $kept; done
            cd /var/lib/dockseal; ls *.json | grep -vx order.json | xargs rm -f; {STARTED}"
        ))?;
        Ok(())
    }

    /// Takes the step that is ordered.
    pub fn step(&self) -> Result<ReportedCondition> {
        self.host.sh("dockseal daemon-step")?;
        self.answer()
    }

    /// What the last step said.
    pub fn answer(&self) -> Result<ReportedCondition> {
        let answer = self.note("answer.json")?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Ok(ReportedCondition { holds: answer["holds"] == true, reason: text("reason"), message: text("message") })
    }

    /// A note of the step's.
    pub fn note(&self, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.host.read(&format!("/var/lib/dockseal/{name}"))?)?)
    }

    /// A condition of the host.
    pub fn condition(&self, kind: &str) -> Result<ReportedCondition> {
        let status = self.host.read("/root/state/status/DockerHostCert/default/pandora.yaml")?;
        let status: Value = serde_saphyr::from_str(&status)?;
        let all = found(&status, kind).with_context(|| format!("no {kind} in {status}"))?;
        let text = |key: &str| all[key].as_str().unwrap_or_default().to_owned();
        Ok(ReportedCondition { holds: all["status"] == "True", reason: text("reason"), message: text("message") })
    }

    /// dockerd runs, its unix socket answers, the client is served over TCP, and no change is left half done.
    pub fn served(&self) -> Result<()> {
        let script = format!(
            "docker version >/dev/null && {} && test ! -e /var/lib/dockseal/journal.json",
            self.client("version >/dev/null")
        );
        self.host.sh(&script).map(drop).with_context(|| self.facts())
    }

    /// dockerd serves what it has loaded, while a change waits.
    pub fn served_though_pending(&self) -> Result<()> {
        self.host.sh(&self.client("version >/dev/null")).map(drop).with_context(|| self.facts())
    }

    /// A script in which docker is the client with a certificate.
    pub fn as_client(&self, script: &str) -> String {
        let address = self.address();
        format!("export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={CLIENT} DOCKER_HOST=tcp://{address}\n{script}")
    }

    /// The docker CLI as the client with a certificate, for `sh`.
    pub fn client(&self, words: &str) -> String {
        format!("DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={CLIENT} docker -H tcp://{}:2376 {words}", self.host.ip())
    }

    /// Serial number of the leaf that is served.
    pub fn serial(&self) -> Result<String> {
        let script = format!(
            "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
            self.address()
        );
        let output = Command::new("sh").args(["-c", &script]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What a user made by hand: an authority, and certificates for the host and for a client.
    pub fn certificates(&self, directory: &str) -> Result<()> {
        let made = Scratch::new("hostbox-by-hand")?;
        made.run(&format!(
            "new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
            $new -keyout ca-key.pem -out ca.pem -subj /CN=by-hand
            $new -CA ca.pem -CAkey ca-key.pem -keyout key.pem -out cert.pem -subj /CN=host \
              -addext subjectAltName=IP:{} -addext extendedKeyUsage=serverAuth -addext basicConstraints=critical,CA:FALSE
            $new -CA ca.pem -CAkey ca-key.pem -keyout client-key.pem -out client.pem -subj /CN=client \
              -addext extendedKeyUsage=clientAuth -addext basicConstraints=critical,CA:FALSE",
            self.host.ip()
        ))?;
        for name in ["ca.pem", "cert.pem", "key.pem", "client.pem", "client-key.pem"] {
            self.host.write(&format!("{directory}/{name}"), std::fs::read(made.path().join(name))?, 0o600)?;
        }
        Ok(())
    }

    /// The certificate of an authority whose time is over, PEM.
    pub fn expired_authority(&self) -> Result<String> {
        let made = Scratch::new("hostbox-expired")?;
        made.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out ca.pem -subj /CN=gone \
              -not_before 20200101000000Z -not_after 20210101000000Z 2>/dev/null || {
            openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out csr.pem -subj /CN=gone
            printf 'basicConstraints=critical,CA:TRUE\n' >ext; : >index; echo 01 >serial
            printf '[ca]\ndefault_ca=a\n[a]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >conf
            openssl ca -batch -config conf -selfsign -keyfile key.pem -in csr.pem -out ca.pem -notext -extfile ext \
              -startdate 20200101000000Z -enddate 20210101000000Z; }",
        )?;
        Ok(std::fs::read_to_string(made.path().join("ca.pem"))?)
    }

    /// An older client is accepted; it trusts the new authority by now.
    pub fn old_client_is_served(&self, directory: &str) -> Result<()> {
        let script = format!(
            "docker --tlsverify --tlscacert {CLIENT}/ca.pem --tlscert {directory}/client.pem \
             --tlskey {directory}/client-key.pem -H tcp://{} version",
            self.address()
        );
        self.host.sh(&script).map(drop)
    }

    /// The process that is dockerd.
    pub fn dockerd(&self) -> Result<String> {
        self.host.sh("systemctl show -p MainPID --value docker.service")
    }

    /// No client without a certificate got an answer, and at least one asked.
    pub fn harmless(&self, probe: Probe) -> Result<()> {
        let count = probe.finish();
        ensure!(count.leaked == 0, "{:?}\n{}", count.first_leak, self.facts());
        ensure!(count.denied > 0, "nobody was denied: {count:?}");
        Ok(())
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, mut so: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !so() {
            ensure!(Instant::now() < deadline, "not so: {what}\n{}", self.facts());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// For a failure's message.
    pub fn facts(&self) -> String {
        let script = "systemctl status docker docker.socket dockseal-docker.socket --no-pager -l -n 3
            cat /etc/docker/daemon.json /etc/systemd/system/docker.service.d/*
            ls -la /etc/docker/certs /etc/docker/certs/.dockseal
            for note in /var/lib/dockseal/*.json; do echo $note; cut -c 1-1500 $note; echo; done
            journalctl --no-pager | grep -v 'TLS handshake error' | tail -n 40; true";
        self.host.sh(script).unwrap_or_else(|error| error.to_string())
    }
}

fn found(value: &Value, kind: &str) -> Option<Value> {
    match value {
        Value::Object(members) if members.get("type").is_some_and(|there| there == kind) => Some(value.clone()),
        Value::Object(members) => members.values().find_map(|inner| found(inner, kind)),
        Value::Array(items) => items.iter().find_map(|inner| found(inner, kind)),
        _ => None,
    }
}
