//! A real dockerd on loopback and the Docker CLI (Debian's docker.io), for what it is to serve and to refuse.

use super::ports;
use super::scratch::Scratch;
use anyhow::{Context, ensure};
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
        Dockerd::start_on(ports::free()?, certificate, key, trust)
    }

    /// The same on that port.
    pub fn start_on(port: u16, certificate: &Path, key: &Path, trust: &Path) -> anyhow::Result<Dockerd> {
        let mut tls = vec!["--tlsverify".to_owned()];
        for (option, file) in [("--tlscacert", trust), ("--tlscert", certificate), ("--tlskey", key)] {
            tls.push(format!("{option}={}", file.display()));
        }
        tls.extend(["127.0.0.1", "127.0.0.2"].map(|address| format!("--host=tcp://{address}:{port}")));
        Dockerd::spawn(port, &tls, "API listen on 127.0.0.2")
    }

    /// Starts it with those options, its listeners among them.
    pub fn start_with(port: u16, options: &[String]) -> anyhow::Result<Dockerd> {
        Dockerd::spawn(port, options, "API listen on 127.0.0.1")
    }

    /// Starts it without TCP, to load images into.
    pub fn start_local() -> anyhow::Result<Dockerd> {
        Dockerd::spawn(0, &[], "API listen on /")
    }

    fn spawn(port: u16, options: &[String], sign: &str) -> anyhow::Result<Dockerd> {
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
            .args(["--bridge=none", "--iptables=false", "--storage-driver=vfs"])
            .arg("-H")
            .arg(format!("unix://{}", at("docker.sock").display()))
            .args(options)
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at("log"))?);
        let child = command.spawn().context("failed to start dockerd: is the package docker.io installed?")?;
        let mut dockerd = Dockerd { child, port, dir };
        dockerd.wait(sign)?;
        Ok(dockerd)
    }

    fn wait(&mut self, sign: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.log().contains(sign) {
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

    /// The Docker CLI on its unix socket; what it prints, where it succeeds.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_HOST", format!("unix://{}", self.dir.path().join("docker.sock").display()));
        command.env("DOCKER_CONFIG", self.dir.path()).env("DOCKER_BUILDKIT", "0"); // buildx may be missing
        self.printed(command)
    }

    /// containerd's CLI on the containerd that this dockerd has for itself; what it prints, where it succeeds.
    pub fn ctr(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.dir.path().join("exec/containerd/containerd.sock")).args(arguments);
        self.printed(command)
    }

    fn printed(&self, mut command: Command) -> anyhow::Result<String> {
        let output = command.env("PATH", path()).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {said}\n{}", self.log());
        Ok(String::from_utf8(output.stdout)?)
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

/// Debian keeps dockerd where users' paths do not lead.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
