//! Finds the directories with the Kubernetes binaries, and builds them where the machine has none.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::sync::Mutex;

const SERVER: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];
const NODE: [&str; 3] = ["kube-controller-manager", "kube-scheduler", "kubelet"];

/// Those of an API server: `DOCKSEAL_TEST_ASSETS`, else `KUBEBUILDER_ASSETS`, else what `build.sh` makes or made before.
pub async fn server() -> Result<PathBuf> {
    for variable in ["DOCKSEAL_TEST_ASSETS", "KUBEBUILDER_ASSETS"] {
        if let Some(directory) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
            return complete(PathBuf::from(directory), &SERVER).with_context(|| format!("{variable} is of no use"));
        }
    }
    complete(build(&[]).await?, &SERVER)
}

/// Those of a node, and of what a cluster with nodes has beside its API server.
pub async fn node() -> Result<PathBuf> {
    complete(build(&["node"]).await?, &NODE)
}

/// Runs `build.sh`, which takes minutes the first time and milliseconds afterwards.
async fn build(arguments: &[&str]) -> Result<PathBuf> {
    // build.sh has its own lock; this one only spares the process several waiting shells.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/assets/build.sh");
    let output = Command::new("bash")
        .arg(&script)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit()) // the progress of a long build is worth seeing
        .output()
        .await
        .with_context(|| format!("failed to run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed ({}); it said why above", script.display(), output.status);
    let said = String::from_utf8(output.stdout).context("build.sh printed no UTF-8")?;
    Ok(PathBuf::from(said.lines().last().context("build.sh printed no directory")?))
}

fn complete(directory: PathBuf, names: &[&str]) -> Result<PathBuf> {
    for name in names {
        ensure!(directory.join(name).is_file(), "{} has no {name}", directory.display());
    }
    // kubectl and the servers run with other working directories than the tests.
    directory.canonicalize().with_context(|| format!("failed to resolve {}", directory.display()))
}
