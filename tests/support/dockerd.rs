//! A real dockerd on loopback and the Docker CLI (Debian's docker.io), for what it is to serve and to refuse.

use super::scratch::Scratch;
use anyhow::{Context, ensure};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A running dockerd; dropped, it ends.
pub struct Dockerd {
    child: Child,
    port: u16,
    dir: Scratch,
}

impl Dockerd {
    /// Starts it with the certificate, key and client authorities of those files, on every loopback address.
    pub fn start(certificate: &Path, key: &Path, trust: &Path) -> anyhow::Result<Dockerd> {
        Dockerd::start_on(free_port()?, certificate, key, trust)
    }

    /// The same on that port.
    pub fn start_on(port: u16, certificate: &Path, key: &Path, trust: &Path) -> anyhow::Result<Dockerd> {
        let dir = Scratch::new("dockerd")?;
        std::fs::write(dir.path().join("daemon.json"), "{}")?;
        let at = |name: &str| dir.path().join(name);
        let mut command = Command::new("dockerd");
        command
            .arg("--config-file")
            .arg(at("daemon.json"))
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("-p")
            .arg(at("pid"))
            .args(["--bridge=none", "--iptables=false", "--storage-driver=vfs", "--tlsverify"])
            .arg("-H")
            .arg(format!("unix://{}", at("docker.sock").display()))
            .arg("-H")
            .arg(format!("tcp://127.0.0.1:{port}"))
            .arg("-H")
            .arg(format!("tcp://127.0.0.2:{port}"))
            .arg("--tlscacert")
            .arg(trust)
            .arg("--tlscert")
            .arg(certificate)
            .arg("--tlskey")
            .arg(key)
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at("log"))?);
        let child = command.spawn().context("failed to start dockerd: is the package docker.io installed?")?;
        let mut dockerd = Dockerd { child, port, dir };
        dockerd.wait()?;
        Ok(dockerd)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.log().contains("API listen on 127.0.0.2") {
            ensure!(self.child.try_wait()?.is_none(), "dockerd ended:\n{}", self.log());
            ensure!(Instant::now() < deadline, "dockerd does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// `docker version` against `host`, as a client with the files of `certificates` (ca.pem, cert.pem, key.pem).
    pub fn version(&self, host: &str, certificates: &Path) -> anyhow::Result<Output> {
        let output = Command::new("docker")
            .args(["version", "--format", "{{.Server.Version}}"])
            .env("DOCKER_HOST", format!("tcp://{host}:{}", self.port))
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", certificates)
            .env("DOCKER_CONFIG", self.dir.path())
            .env("PATH", path())
            .output()?;
        Ok(output)
    }

    /// The client is served.
    pub fn serves(&self, certificates: &Path) -> anyhow::Result<()> {
        let output = self.version("127.0.0.1", certificates)?;
        ensure!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
        Ok(())
    }

    /// The client is not served, and one side says so with one of `words`.
    pub fn refuses(&self, host: &str, certificates: &Path, words: &str) -> anyhow::Result<()> {
        let output = self.version(host, certificates)?;
        ensure!(!output.status.success(), "it was served: {}", String::from_utf8_lossy(&output.stdout));
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &self.log();
        ensure!(said.contains(words), "it was refused, but not with {words:?}: {said}");
        Ok(())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // SIGTERM first: dockerd has a containerd of its own to end.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(15);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TCP port that nobody listens on.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Debian keeps dockerd where users' paths do not lead.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
