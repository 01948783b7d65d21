//! Mode Files: `up --host` delivers, a real dockerd is pointed to the files by its user, and Serving says what it uses.

use crate::support::dockerd::Dockerd;
use crate::support::ports;
use crate::support::scratch::Scratch;
use anyhow::{Context, ensure};
use dockseal::api::status::HostCertStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A machine that is delivered to.
struct Host {
    scratch: Scratch,
    port: u16,
    key: &'static str,
}

impl Host {
    fn new(key: &'static str) -> anyhow::Result<Host> {
        Ok(Host { scratch: Scratch::new("delivered")?, port: ports::free()?, key })
    }

    fn yaml(&self, names: &str) -> String {
        let (key, port, directory) = (self.key, self.port, self.scratch.path().join("certs"));
        format!(
            "apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: ca}}
spec: {{subject: {{commonName: Docker CA}}, privateKey: {key}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: pandora}}
spec:
  caRef: {{name: ca}}
  hostname: localhost
  dnsNames: [{names}]
  privateKey: {key}
  address: {{port: {port}}}
  delivery: {{directory: {directory}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {{name: ci}}
spec: {{caRef: {{name: ca}}, commonName: ci, privateKey: {key}}}
",
            directory = directory.display()
        )
    }

    /// Delivers; what is reported then.
    fn up(&self, names: &str) -> anyhow::Result<HostCertStatus> {
        let output = self.run_up(names)?;
        ensure!(output.status.success(), "up: {}", String::from_utf8_lossy(&output.stderr));
        self.status()
    }

    fn run_up(&self, names: &str) -> anyhow::Result<Output> {
        self.scratch.write("home.yaml", self.yaml(names))?;
        let output = Command::new(env!("CARGO_BIN_EXE_dockseal"))
            .args(["up", "home.yaml", "--once", "--host", "pandora", "--timeout", "5s"])
            .current_dir(self.scratch.path())
            .output()?;
        Ok(output)
    }

    fn status(&self) -> anyhow::Result<HostCertStatus> {
        let file = self.scratch.path().join("dockseal-state/status/DockerHostCert/default/pandora.yaml");
        Ok(serde_saphyr::from_str(&std::fs::read_to_string(file)?)?)
    }

    fn dockerd(&self) -> anyhow::Result<Dockerd> {
        let at = |name: &str| self.scratch.path().join("certs").join(name);
        Dockerd::start_on(self.port, &at("pandora.pem"), &at("pandora.key"), &at("ca.pem"))
    }

    fn client(&self) -> PathBuf {
        self.scratch.path().join("dockseal-state/secrets/default/ci-docker-client")
    }
}

fn condition<'a>(status: &'a HostCertStatus, type_: &str) -> anyhow::Result<&'a Condition> {
    let mut conditions = status.certificate.conditions.iter();
    conditions.find(|condition| condition.type_ == type_).with_context(|| format!("nothing is said of {type_}"))
}

fn serving(status: &HostCertStatus) -> anyhow::Result<&str> {
    Ok(&condition(status, "Serving")?.status)
}

#[test]
fn dockerd_serves_what_was_delivered_and_the_report_says_which() -> anyhow::Result<()> {
    for key in ["{algorithm: RSA, size: 2048}", "{algorithm: ECDSA}", "{algorithm: Ed25519}"] {
        let host = Host::new(key)?;
        let status = host.up("")?;
        assert!(serving(&status).is_err(), "{key}: no dockerd runs yet");
        let dockerd = host.dockerd()?;
        dockerd.serves(&host.client())?;
        let status = host.up("")?;
        assert_eq!(serving(&status)?, "True", "{key}");
        let report = status.host.context("the host is reported")?;
        assert_eq!(report.served_fingerprint, status.certificate.fingerprint, "{key}");
        assert_eq!(report.delivered_fingerprint, status.certificate.fingerprint, "{key}");
    }
    Ok(())
}

#[test]
fn a_reissue_is_delivered_and_waits_for_the_users_restart() -> anyhow::Result<()> {
    let host = Host::new("{algorithm: ECDSA}")?;
    host.up("")?;
    let dockerd = host.dockerd()?;
    let before = host.up("")?.certificate.fingerprint;
    let renewed = host.up("pandora")?;
    assert_ne!(renewed.certificate.fingerprint, before);
    assert_eq!(serving(&renewed)?, "False", "dockerd reads its files at its start");
    let report = renewed.host.context("the host is reported")?;
    assert_eq!(report.served_fingerprint, before);
    assert_eq!(report.delivered_fingerprint, renewed.certificate.fingerprint);
    dockerd.serves(&host.client())?;
    drop(dockerd);
    let dockerd = host.dockerd()?;
    dockerd.serves(&host.client())?;
    let after = host.up("pandora")?;
    assert_eq!(serving(&after)?, "True");
    Ok(())
}

/// dockerd is given a file that has our probe and lacks the authority: it admits us, and none of the users' clients.
#[test]
fn a_dockerd_that_refuses_the_clients_of_the_authority_does_not_serve() -> anyhow::Result<()> {
    let host = Host::new("{algorithm: ECDSA}")?;
    host.up("")?;
    let certs = host.scratch.path().join("certs");
    let (cert, key) = (certs.join("pandora.pem"), certs.join("pandora.key"));
    let probe = certs.join(".dockseal/1/.probe.pem");
    ensure!(probe.exists(), "{}", probe.display());
    let dockerd = Dockerd::start_on(host.port, &cert, &key, &probe)?;
    let status = host.up("")?;
    let found = condition(&status, "Serving")?;
    assert_eq!((&*found.status, &*found.reason), ("False", "NotServed"), "{}", found.message);
    ensure!(found.message.contains("refuses the clients of the authority"), "{}", found.message);
    drop(dockerd);
    let _dockerd = host.dockerd()?;
    assert_eq!(serving(&host.up("")?)?, "True");
    Ok(())
}

/// Its user writes flags that look right, and everybody is root. What is delivered is no excuse to call that Ready.
#[test]
fn a_dockerd_that_lets_everybody_in_is_never_ready() -> anyhow::Result<()> {
    let host = Host::new("{algorithm: ECDSA}")?;
    host.up("")?;
    let at = |name: &str| host.scratch.path().join("certs").join(name).display().to_string();
    let files = [
        format!("--tlscacert={}", at("ca.pem")),
        format!("--tlscert={}", at("pandora.pem")),
        format!("--tlskey={}", at("pandora.key")),
    ];
    let tcp = |port: u16| format!("--host=tcp://127.0.0.1:{port}");
    let tls = |first: &[&str]| -> Vec<String> {
        let first = first.iter().map(|word| (*word).to_owned());
        first.chain(files.clone()).chain([tcp(host.port)]).collect()
    };
    for (options, words) in [
        (tls(&["--tlsverify=false"]), "clients without a certificate"),
        (tls(&["--tls", "--tlsverify=false"]), "clients without a certificate"),
        (vec![tcp(host.port), "--tls=false".to_owned()], "plain HTTP"),
    ] {
        let dockerd = Dockerd::start_with(host.port, &options)?;
        let output = host.run_up("")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{options:?}: {text}");
        let status = host.status()?;
        for type_ in ["Serving", "Ready"] {
            let found = condition(&status, type_)?;
            assert_eq!((&*found.status, &*found.reason), ("False", "ExposedByOthers"), "{type_}: {options:?}");
            ensure!(found.message.contains(words) && found.message.contains("tlsverify"), "{}", found.message);
            ensure!(found.message.contains("root rights"), "{}", found.message);
        }
        drop(dockerd);
    }
    // --tls alone verifies too, where there is a tlscacert.
    for options in [tls(&["--tls"]), tls(&["--tlsverify"])] {
        let _dockerd = Dockerd::start_with(host.port, &options)?;
        let status = host.up("")?;
        assert_eq!((serving(&status)?, &*condition(&status, "Ready")?.status), ("True", "True"), "{options:?}");
    }
    Ok(())
}
