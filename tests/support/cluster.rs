//! Starts a real etcd and kube-apiserver on loopback in a directory of their own; neither outlives the test process.

mod binaries;
mod certificates;
mod kubeconfig;
mod processes;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::ports;
use kubeconfig::User;
use processes::{Directory, Guarded};

const READY_WITHIN: Duration = Duration::from_secs(120);

/// The one cluster that all tests of this process share; see [`Cluster::shared`].
static SHARED: OnceCell<Result<Cluster, String>> = OnceCell::const_new();

/// A running API server. Dropping it kills the processes and removes their directory.
///
/// Its methods may be called from any runtime and thread: the servers belong to the process, not to a runtime.
pub struct Cluster {
    // Declared first, so dropped first: the group is dead before its directory goes.
    processes: Guarded,
    apiserver: Mutex<Option<std::process::Child>>,
    binaries: PathBuf,
    directory: Directory,
    address: SocketAddr,
    etcd_url: String,
    audited: Option<String>,
}

impl Cluster {
    /// Starts a cluster and waits until it answers; builds the binaries first where the machine has none.
    pub async fn start() -> Result<Cluster> {
        Cluster::start_with(None).await
    }

    /// The same, whose API server writes down what this user asks of it; see [`Cluster::audited`].
    pub async fn start_audited(user: &str) -> Result<Cluster> {
        Cluster::start_with(Some(user.to_owned())).await
    }

    async fn start_with(audited: Option<String>) -> Result<Cluster> {
        let binaries = binaries::server().await?;
        let directory = Directory::create()?;
        certificates::write(directory.path()).await?;
        let (etcd, peer, api) = (ports::free()?, ports::free()?, ports::free()?);
        let etcd_url = format!("http://127.0.0.1:{etcd}");
        let processes = Guarded::start(
            processes::etcd(&binaries, directory.path(), &etcd_url, &format!("http://127.0.0.1:{peer}"))?,
            directory.path(),
        )?;
        let address = SocketAddr::from(([127, 0, 0, 1], api));
        let cluster =
            Cluster { processes, apiserver: Mutex::new(None), binaries, directory, address, etcd_url, audited };
        kubeconfig::write(
            &cluster.kubeconfig(),
            &cluster.server_url(),
            Some(cluster.dir()),
            User::Certificate("admin"),
        )?;
        cluster.spawn_apiserver()?;
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// The cluster of this process, started by the first test that asks.
    ///
    /// A static is never dropped. That does no harm: the guardian (see `processes.rs`) notices the end of the test
    /// process, however it came, kills the servers and removes the directory. A failed start is remembered, so that
    /// fifty tests do not wait two minutes each for the same error.
    pub async fn shared() -> Result<&'static Cluster> {
        let started =
            SHARED.get_or_init(|| async { Cluster::start().await.map_err(|error| format!("{error:#}")) }).await;
        started.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The administrator's kubeconfig, certificates embedded.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("admin.kubeconfig")
    }

    /// A kubeconfig for another way in, such as the URL of a `FaultProxy`. Over plain http it carries no certificate:
    /// there the proxy is the one that authenticates.
    pub fn kubeconfig_through(&self, url: &str) -> Result<PathBuf> {
        let path = self.dir().join(format!("{}.kubeconfig", file_name(url)));
        kubeconfig::write(&path, url, url.starts_with("https://").then(|| self.dir()), User::Certificate("admin"))?;
        Ok(path)
    }

    /// A kubeconfig that authenticates with a bearer token, e.g. one of `kubectl create token`; `name` tells such
    /// files apart. Through a fault proxy: `FaultProxy::start_as` with the token and `kubeconfig_through`.
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.dir().join(format!("token-{}.kubeconfig", file_name(name)));
        kubeconfig::write(&path, &self.server_url(), Some(self.dir()), User::Token(token))?;
        Ok(path)
    }

    /// `https://127.0.0.1:port`, the same after a restart.
    pub fn server_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where the API server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory with `ca.crt`, `admin.crt`, `admin.key`, the logs and etcd's files; gone with the cluster.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// The directory with kubectl.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// Starts what makes pods of Deployments and DaemonSets, and gives them to nodes: kube-controller-manager and
    /// kube-scheduler. The directory with a node's kubelet.
    pub async fn start_managers(&self) -> Result<PathBuf> {
        let binaries = binaries::node().await?;
        for mut command in processes::managers(&binaries, self.dir(), &self.kubeconfig())? {
            self.processes.spawn(&mut command).with_context(|| format!("failed to start {command:?}"))?;
        }
        Ok(binaries)
    }

    /// The kubeconfig of a node of that name, as text; `url` is where it finds the API server.
    pub async fn kubeconfig_of_node(&self, name: &str, url: &str) -> Result<String> {
        certificates::node(self.dir(), name).await?;
        let path = self.dir().join("node.kubeconfig");
        kubeconfig::write(&path, url, Some(self.dir()), User::Certificate("node"))?;
        std::fs::read_to_string(&path).context("failed to read a node's kubeconfig")
    }

    /// The process group of the servers. A process that a test puts into it (`Command::process_group`) is killed
    /// with them, also when the test process itself was killed.
    pub fn process_group(&self) -> i32 {
        self.processes.group()
    }

    /// What the audited user asked so far: group, resource with its subresource, verb.
    pub fn audited(&self) -> Result<BTreeSet<(String, String, String)>> {
        let log =
            std::fs::read_to_string(self.dir().join(processes::AUDIT_LOG)).context("failed to read the audit log")?;
        let mut asked = BTreeSet::new();
        // The last line may not be whole yet.
        for event in log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            let (of, text) =
                (&event["objectRef"], |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned());
            let sub = of["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
            if of.is_object() {
                asked.insert((text(&of["apiGroup"]), text(&of["resource"]) + &sub, text(&event["verb"])));
            }
        }
        Ok(asked)
    }

    /// The API server's process id, while it runs.
    pub fn apiserver_pid(&self) -> Option<u32> {
        self.apiserver().as_ref().map(std::process::Child::id)
    }

    /// Runs kubectl as administrator; gives its stdout, and its stderr in the error.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.run_kubectl(&self.kubeconfig(), args, None).await
    }

    /// Runs kubectl as administrator with `input` on its stdin.
    pub async fn kubectl_stdin(&self, args: &[&str], input: &str) -> Result<String> {
        self.run_kubectl(&self.kubeconfig(), args, Some(input)).await
    }

    /// Runs kubectl with another kubeconfig.
    pub async fn kubectl_with(&self, kubeconfig: &Path, args: &[&str]) -> Result<String> {
        self.run_kubectl(kubeconfig, args, None).await
    }

    /// Applies the CRDs and waits until they are served.
    pub async fn crds(&self) -> Result<()> {
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
        self.kubectl(&["apply", "--server-side", "-f", crds]).await?;
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=300s"]).await?;
        Ok(())
    }

    /// Applies the objects in `yaml`, server-side.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.kubectl_stdin(&["apply", "--server-side", "-f", "-"], yaml).await
    }

    /// Kills the API server at once, as a crash would; etcd goes on.
    pub fn stop_apiserver(&self) -> Result<()> {
        if let Some(mut running) = self.apiserver().take() {
            running.kill().context("failed to kill kube-apiserver")?;
            running.wait().context("failed to wait for kube-apiserver's end")?;
        }
        Ok(())
    }

    /// Kills the API server if it runs, starts it on the same port and waits until it answers.
    pub async fn restart_apiserver(&self) -> Result<()> {
        self.stop_apiserver()?;
        self.spawn_apiserver()?;
        self.wait_until_ready().await
    }

    fn apiserver(&self) -> std::sync::MutexGuard<'_, Option<std::process::Child>> {
        self.apiserver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn_apiserver(&self) -> Result<()> {
        let mut command = processes::apiserver(&self.binaries, self.dir(), &self.etcd_url, self.address)?;
        if let Some(user) = &self.audited {
            processes::audit(&mut command, self.dir(), user)?;
        }
        let child = self.processes.spawn(&mut command).context("failed to start kube-apiserver")?;
        *self.apiserver() = Some(child);
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            // The namespace comes a moment after /readyz, and the first thing that a test does may need it.
            let answer = match self.kubectl(&["get", "--raw", "/readyz"]).await {
                Ok(_) => self.kubectl(&["get", "namespace", "default"]).await,
                refused => refused,
            };
            let Err(error) = answer else { return Ok(()) };
            let ended = self.apiserver().as_mut().map(std::process::Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let why =
                    ended.map_or(format!("not ready in {READY_WITHIN:?}"), |status| format!("it ended: {status}"));
                bail!("failed to start the API server: {why}; {error:#}\n{}", processes::log_tails(self.dir()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn run_kubectl(&self, kubeconfig: &Path, args: &[&str], input: Option<&str>) -> Result<String> {
        let words = || format!("kubectl {}", args.join(" "));
        let mut child = Command::new(self.binaries.join("kubectl"))
            .args(args)
            .env_clear() // the user's own KUBECONFIG and settings must not matter
            .env("HOME", self.dir())
            .env("KUBECONFIG", kubeconfig)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {}", words()))?;
        let stdin = child.stdin.take();
        let feed = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // kubectl may end without reading it all; then its own message says why.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.with_context(|| format!("failed to run {}", words()))?;
        if !output.status.success() {
            bail!("{} failed ({}): {}", words(), output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", words()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Reaped here; the fields' own drops end the rest whether or not this worked.
        let _ = self.stop_apiserver();
    }
}

/// A URL or a test's name as a file name.
fn file_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}
