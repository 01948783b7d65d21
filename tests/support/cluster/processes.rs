//! The servers' command lines, and the guardian that ends them and removes their directory with the test process.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// Waits for the end of its stdin, whose other end only the test process holds: so for `drop`, or for that process's
/// death of whatever kind. Then it kills the group and removes the directory, which a dying etcd may still write to.
const GUARDIAN: &str = r#"
trap '' INT TERM HUP
read -r _
kill -s KILL -- "-$1"
for _ in 1 2 3 4 5 6 7 8 9; do rm -rf -- "$2" 2>/dev/null && exit; sleep 0.1; done
"#;

/// A process group, led by etcd, that dies with the test process.
///
/// Not PR_SET_PDEATHSIG: that signal comes when the *thread* that started the child ends, and libtest runs every test
/// in a thread of its own, so the first test to finish would take the shared cluster with it.
pub struct Guarded {
    leader: Child,
    guardian: Child,
}

impl Guarded {
    pub fn start(mut leader: Command, directory: &Path) -> Result<Guarded> {
        let mut leader = leader.process_group(0).spawn().context("failed to start etcd")?;
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian", &leader.id().to_string()])
            .arg(directory)
            .process_group(0) // Ctrl-C is for the tests; the guardian acts on their end
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guardian {
            Ok(guardian) => Ok(Guarded { leader, guardian }),
            Err(error) => {
                let _ = leader.kill().and_then(|()| leader.wait());
                Err(error).context("failed to start the guardian of the servers")
            }
        }
    }

    /// The leader is reaped only in `drop`, so the number stays ours even when etcd has died.
    pub fn group(&self) -> i32 {
        i32::try_from(self.leader.id()).expect("a process id is a positive i32")
    }

    pub fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        command.process_group(self.group()).spawn()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        // Nothing to be done about a failure here; the guardian has the same work to do either way.
        let _ = self.guardian.wait();
        let _ = self.leader.wait();
    }
}

/// A directory that only its owner can read, removed on drop: it holds the administrator's key.
pub struct Directory(PathBuf);

impl Directory {
    pub fn create() -> Result<Directory> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("dockseal-cluster-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Directory(path)),
                // Left behind by a process of the same number, in a crash of the whole machine.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("failed to create {}", path.display())),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Usually gone already: the guardian removes it. Not so when the start failed before there was one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn etcd(binaries: &Path, dir: &Path, url: &str, peer_url: &str) -> Result<Command> {
    let mut command = server(&binaries.join("etcd"), dir)?;
    command
        .arg("--unsafe-no-fsync") // nobody needs this data after the test
        .arg(format!("--data-dir={}", dir.join("etcd").display()))
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls={peer_url}"))
        .arg(format!("--initial-advertise-peer-urls={peer_url}"))
        .arg(format!("--initial-cluster=default={peer_url}"));
    Ok(command)
}

pub fn apiserver(binaries: &Path, dir: &Path, etcd_url: &str, address: SocketAddr) -> Result<Command> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", dir.join(name).display());
    let mut command = server(&binaries.join("kube-apiserver"), dir)?;
    command
        .arg(format!("--etcd-servers={etcd_url}"))
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--secure-port={}", address.port()))
        // Otherwise it looks for the machine's default route and fails where there is none.
        .arg(format!("--advertise-address={}", address.ip()))
        .arg("--endpoint-reconciler-type=none")
        .arg("--kubelet-preferred-address-types=InternalIP") // nobody resolves a node's name
        .arg(file("client-ca-file", "ca.crt"))
        .arg(file("tls-cert-file", "apiserver.crt"))
        .arg(file("tls-private-key-file", "apiserver.key"))
        .arg(file("service-account-key-file", "service-accounts.pub"))
        .arg(file("service-account-signing-key-file", "service-accounts.key"))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg("--authorization-mode=Node,RBAC")
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg("--enable-admission-plugins=NodeRestriction");
    Ok(command)
}

/// kube-controller-manager and kube-scheduler, which ask the API server of that kubeconfig.
pub fn managers(binaries: &Path, dir: &Path, kubeconfig: &Path) -> Result<[Command; 2]> {
    let command = |name: &str| -> Result<Command> {
        let mut command = server(&binaries.join(name), dir)?;
        command.arg(format!("--kubeconfig={}", kubeconfig.display())).args(["--leader-elect=false", "--secure-port=0"]);
        Ok(command)
    };
    let mut manager = command("kube-controller-manager")?;
    manager
        .arg(format!("--root-ca-file={}", dir.join("ca.crt").display()))
        .arg(format!("--service-account-private-key-file={}", dir.join("service-accounts.key").display()));
    Ok([manager, command("kube-scheduler")?])
}

/// Name of the audit log in the cluster's directory.
pub const AUDIT_LOG: &str = "audit.log";

/// Has the API server write down each request of a user, and of nobody else.
pub fn audit(command: &mut Command, dir: &Path, user: &str) -> Result<()> {
    let policy = serde_json::json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [user]}, {"level": "None"}],
    });
    let file = dir.join("audit-policy.json");
    std::fs::write(&file, policy.to_string()).with_context(|| format!("failed to write {}", file.display()))?;
    command
        .arg(format!("--audit-policy-file={}", file.display()))
        .arg(format!("--audit-log-path={}", dir.join(AUDIT_LOG).display()))
        .arg("--audit-log-mode=blocking"); // written when the answer is
    Ok(())
}

/// The end of every log, for the error of a failed start.
pub fn log_tails(dir: &Path) -> String {
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
        .map(|name| format!("--- {name}\n{}", tail(&log(dir, name))))
        .join("\n")
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

fn server(binary: &Path, dir: &Path) -> Result<Command> {
    let Some(name) = binary.file_name().and_then(|name| name.to_str()) else { bail!("a server has a name") };
    let path = log(dir, name);
    let out = OpenOptions::new().create(true).append(true).open(&path);
    let out = out.with_context(|| format!("failed to open {}", path.display()))?;
    let err = out.try_clone().with_context(|| format!("failed to share {}", path.display()))?;
    let mut command = Command::new(binary);
    // Cleared: etcd takes any ETCD_… variable for a flag.
    command.env_clear().env("HOME", dir).current_dir(dir).stdin(Stdio::null()).stdout(out).stderr(err);
    Ok(command)
}
