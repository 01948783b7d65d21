//! What a test asks of the docker of a box.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::HostBox;

const READY_WITHIN: Duration = Duration::from_secs(120);
const IMAGE: &str = "busybox:hostbox";
/// It ends when it is told to, as programs do that are not pid 1.
const SLEEP: &str = "trap 'exit 0' TERM; sleep 2147483647 & wait";

impl HostBox {
    /// Waits until dockerd answers on its unix socket.
    pub fn docker_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let Err(error) = self.docker_ping() else { return Ok(()) };
            if !self.is_on() || Instant::now() > deadline {
                bail!("dockerd does not answer: {error:#}\n{}", self.journal("docker.service").unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks dockerd on its unix socket once.
    pub fn docker_ping(&self) -> Result<()> {
        let mut socket = UnixStream::connect(self.run_dir().join("docker.sock"))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "it answers {answer:?}");
        Ok(())
    }

    /// Writes daemon.json with these members beside those that the box needs; nobody is told.
    pub fn daemon_json(&self, more: serde_json::Value) -> Result<()> {
        let mut all = serde_json::json!({
            "storage-driver": "vfs", "bridge": "none", "iptables": false, "ip6tables": false
        });
        if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        self.write("/etc/docker/daemon.json", serde_json::to_string_pretty(&all)?, 0o644)
    }

    /// Restarts these units, and spares them systemd's limit of three starts in a minute.
    pub fn restart(&self, units: &[&str]) -> Result<()> {
        let units = units.join(" ");
        self.sh(&format!(
            "systemctl daemon-reload; systemctl reset-failed {units} || true; systemctl restart {units}"
        ))?;
        Ok(())
    }

    /// The Docker CLI inside, on the unix socket unless `args` say otherwise.
    pub fn docker(&self, args: &[&str]) -> Result<String> {
        let output = self.exec(&[&["docker"], args].concat())?;
        super::text(output).with_context(|| format!("docker {}", args.join(" ")))
    }

    /// Starts a container that sleeps, without a network.
    pub fn run_container(&self, name: &str) -> Result<()> {
        if self.docker(&["images", "--quiet", IMAGE])?.is_empty() {
            self.docker(&["import", "/usr/local/share/hostbox/busybox.tar", IMAGE])?;
        }
        self.docker(&["run", "--detach", "--network", "none", "--name", name, IMAGE, "/bin/sh", "-c", SLEEP])?;
        Ok(())
    }

    /// The number of a container's first process, as the box counts.
    pub fn container_pid(&self, name: &str) -> Result<u32> {
        let said = self.docker(&["inspect", "--format", "{{.State.Pid}}", name])?;
        let pid = said.trim().parse().with_context(|| format!("no number: {said:?}"))?;
        ensure!(pid != 0, "the container {name} does not run");
        Ok(pid)
    }
}
