//! The real Helm, and what it makes of the chart.

use super::scratch::Scratch;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The release's namespace in every test.
pub const NAMESPACE: &str = "dockseal";

/// Renders the chart with further arguments; what Helm says, where it refuses.
pub fn render(arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    objects(&template(arguments)?)
}

/// Renders the chart to YAML, without the pod of `helm test`.
pub fn template(arguments: &[&str]) -> anyhow::Result<String> {
    let chart = ["template", "dockseal", "charts/dockseal", "--namespace", NAMESPACE, "--skip-tests"];
    helm(&[&chart, arguments].concat())
}

/// The objects in a manifest.
pub fn objects(yaml: &str) -> anyhow::Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// Runs Helm in the root of the project, without the user's settings; its standard output.
pub fn helm(arguments: &[&str]) -> anyhow::Result<String> {
    let home = Scratch::new("helm")?;
    let output = Command::new(program()?)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("HOME", home.path())
        .output()
        .context("failed to start helm")?;
    if !output.status.success() {
        bail!("helm {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("helm printed no UTF-8")
}

/// What `build.sh` finds or makes: minutes the first time, milliseconds afterwards.
pub fn program() -> anyhow::Result<PathBuf> {
    static FOUND: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(program) = &*found {
        return Ok(program.clone());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helm/build.sh");
    let output = Command::new("bash").arg(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{} failed; it said why above", script.display());
    let said = String::from_utf8(output.stdout).context("build.sh printed no UTF-8")?;
    let program = PathBuf::from(said.lines().last().context("build.sh printed no path")?);
    Ok(found.insert(program).clone())
}
