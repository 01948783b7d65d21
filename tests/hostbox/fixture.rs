//! What the deliveries in a box share: the program in it, YAML, `up --host`, and a client.

use crate::support::hostbox::HostBox;
use anyhow::{Result, ensure};
use std::path::Path;

/// A homelab of one host and one client; restarts at once.
pub const YAML: &str = "restart: Always";

/// The program in a box.
pub struct UpInBox<'a> {
    host: &'a HostBox,
}

impl UpInBox<'_> {
    /// Puts it there.
    pub fn on(host: &HostBox) -> Result<UpInBox<'_>> {
        host.install(Path::new(env!("CARGO_BIN_EXE_dockseal")), "/usr/local/bin/dockseal")?;
        Ok(UpInBox { host })
    }

    /// The objects, with those settings of the daemon.
    pub fn yaml(&self, daemon: &str) -> String {
        format!(
            "apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: homelab}}
spec: {{subject: {{commonName: Docker CA}}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: pandora}}
spec:
  caRef: {{name: homelab}}
  ipAddresses: [{ip}]
  delivery:
    mode: Daemon
    daemon: {{{daemon}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {{name: ci}}
spec: {{caRef: {{name: homelab}}, commonName: ci}}
",
            ip = self.host.ip()
        )
    }

    /// `up --once --host pandora`.
    pub fn up(&self, daemon: &str) -> Result<String> {
        self.host.write("/root/home.yaml", self.yaml(daemon), 0o600)?;
        let output = self.host.exec(&[
            "dockseal",
            "up",
            "/root/home.yaml",
            "--state",
            "/root/state",
            "--once",
            "--host",
            "pandora",
        ])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}\n{}", self.facts());
        Ok(said)
    }

    /// Whether the client is served over TCP.
    pub fn client_is_served(&self) -> Result<bool> {
        let output = self.host.exec(&[
            "env",
            "DOCKER_CERT_PATH=/root/state/secrets/default/ci-docker-client",
            "DOCKER_TLS_VERIFY=1",
            &format!("DOCKER_HOST=tcp://{}:2376", self.host.ip()),
            "docker",
            "version",
        ])?;
        Ok(output.status.success())
    }

    /// For a failure's message.
    pub fn facts(&self) -> String {
        let script = "systemctl status docker docker.socket dockseal-docker.socket --no-pager -l; cat /etc/docker/daemon.json; \
            cat /etc/systemd/system/docker.service.d/*; ls -laR /etc/docker/certs; cat /var/lib/dockseal/*.json; cat /root/state/status/DockerHostCert/default/*; journalctl --no-pager | grep -v handshake | tail -n 60; true";
        self.host.sh(script).unwrap_or_default()
    }
}
