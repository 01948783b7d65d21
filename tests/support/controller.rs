//! A controller under test: the real binary, its own admin port, its log in a file.

use super::cluster::Cluster;
use anyhow::{Context, ensure};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// As long as a busy machine may need.
const SOON: Duration = Duration::from_secs(90);

/// A running controller; dropped, it is killed.
pub struct Controller {
    child: Child,
    log: PathBuf,
    address: String,
    probes: String,
}

impl Controller {
    /// Starts `dockseal controller` for one namespace, with further arguments.
    pub async fn start(cluster: &Cluster, kubeconfig: &Path, name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_binary(Path::new(env!("CARGO_BIN_EXE_dockseal")), cluster, kubeconfig, name, arguments).await
    }

    /// Starts another build of it.
    pub async fn start_binary(
        binary: &Path,
        cluster: &Cluster,
        kubeconfig: &Path,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let log = cluster.dir().join(format!("{name}-{}.log", unique()));
        // With few files to open, as systemd starts services: the controller raises that itself.
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"ulimit -S -n 128; exec "$0" "$@""#])
            .arg(binary)
            .args([
                "controller",
                "--admin-address",
                "127.0.0.1:0",
                "--probe-address",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--identity",
                name,
            ])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(arguments)
            // Portainers and Docker hosts of tests listen on loopback.
            .env("DOCKSEAL_ALLOWED_DESTINATIONS", "0.0.0.0/0,::/0,127.0.0.0/8,::1/128")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .process_group(cluster.process_group());
        let child = command.spawn().context("failed to start dockseal controller")?;
        let mut controller = Controller { child, log, address: String::new(), probes: String::new() };
        controller.address = controller.logged("address").await?;
        controller.probes = controller.logged("probes").await?;
        Ok(controller)
    }

    /// An address that it logs at its start.
    async fn logged(&mut self, field: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + SOON;
        loop {
            for line in self.log().lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                if let Some(address) = line["fields"][field].as_str() {
                    return Ok(address.to_owned());
                }
            }
            ensure!(Instant::now() < deadline, "the controller does not answer; its log:\n{}", self.log());
            ensure!(self.child.try_wait()?.is_none(), "the controller ended; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it answers, `IP:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it answers nothing but probes.
    pub fn probes(&self) -> &str {
        &self.probes
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// GET of a path of its admin server: status and body.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        ask(&self.address, path).await
    }

    /// GET of a path of its probes' address.
    pub async fn probe(&self, path: &str) -> anyhow::Result<(u16, String)> {
        ask(&self.probes, path).await
    }

    /// Waits until `/readyz` says so, as leader or as stand-by.
    pub async fn ready(&self, says: &str) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            if let Ok((200, body)) = self.get("/readyz").await
                && body.contains(says)
            {
                return Ok(started.elapsed());
            }
            ensure!(started.elapsed() < SOON, "not {says}; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM), and waits.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "failed to signal the controller");
        let deadline = Instant::now() + SOON;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "the controller does not stop; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// GET of a path: status and body.
async fn ask(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::SeqCst)
}
