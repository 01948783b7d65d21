//! A companion under test: the real binary as a pod runs it, or by a kubeconfig; its log in a file.

use super::cluster::Cluster;
use anyhow::{Context, ensure};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Becomes the program in a mount namespace where `/var/run` is a pod's: token, authority and namespace from the
/// directory in $0, and no system bus.
const AS_POD: &str = r#"
run=$(readlink -f /var/run)
mount -t tmpfs tmpfs "$run"
mkdir -p "$run/secrets/kubernetes.io"
mkdir "$run/secrets/kubernetes.io/serviceaccount"
mount --bind "$0" "$run/secrets/kubernetes.io/serviceaccount"
exec "$@"
"#;

/// How it reaches the API server.
pub enum ApiAccess<'a> {
    /// As a pod: the directory of its service account's files.
    Pod(&'a Path),
    /// By a kubeconfig.
    Kubeconfig(&'a Path),
}

/// A running companion; dropped, it is killed.
pub struct Companion {
    child: Child,
    log: PathBuf,
}

impl Companion {
    /// Starts `dockseal companion` with those arguments.
    pub fn start(cluster: &Cluster, access: &ApiAccess<'_>, arguments: &[&str]) -> anyhow::Result<Companion> {
        Companion::start_binary(Path::new(env!("CARGO_BIN_EXE_dockseal")), cluster, access, arguments)
    }

    /// Another build of it.
    pub fn start_binary(
        binary: &Path,
        cluster: &Cluster,
        access: &ApiAccess<'_>,
        arguments: &[&str],
    ) -> anyhow::Result<Companion> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let log = cluster.dir().join(format!("companion-{}.log", NEXT.fetch_add(1, Ordering::SeqCst)));
        let mut command = match access {
            ApiAccess::Pod(files) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "sh", "-ec", AS_POD]).arg(files).arg(binary);
                command
            }
            ApiAccess::Kubeconfig(_) => Command::new(binary),
        };
        command.arg("companion").args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match access {
            ApiAccess::Pod(_) => {
                let address = cluster.address();
                command.env("KUBERNETES_SERVICE_HOST", address.ip().to_string());
                command.env("KUBERNETES_SERVICE_PORT", address.port().to_string());
            }
            ApiAccess::Kubeconfig(file) => _ = command.env("KUBECONFIG", file),
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let child = command.process_group(cluster.process_group()).spawn().context("failed to start a companion")?;
        Ok(Companion { child, log })
    }

    /// Its log, without colours.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its log holds that.
    pub async fn says(&self, words: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !self.log().contains(words) {
            ensure!(Instant::now() < deadline, "it does not say {words:?}; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + Duration::from_secs(150);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "it does not end; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// User and system time so far (proc(5), stat: fields 14 and 15, in ticks of 10 ms).
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        Ok(Duration::from_millis(ticks.sum::<u64>() * 10))
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
