//! Which cluster: a kubeconfig, or the pod that this runs in. It calls no API server.

use anyhow::{anyhow, bail};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::Path;

/// The cluster that a kubeconfig names, or that this pod runs in.
pub async fn kubeconfig(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    // The library's errors have their causes in their own text.
    if let Some(file) = file {
        let words = |error| anyhow!("failed to use the kubeconfig {}: {error}", file.display());
        let kubeconfig = Kubeconfig::read_from(file).map_err(words)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(words);
    }
    if context.is_some() {
        let words = |error| anyhow!("failed to use that context of the kubeconfig: {error}");
        return Config::from_kubeconfig(&options).await.map_err(words);
    }
    if let Ok(config) = Config::infer().await {
        return Ok(config);
    }
    let why = Config::from_kubeconfig(&options).await.err().map(|error| format!(": {error}")).unwrap_or_default();
    bail!("there is no cluster: give --kubeconfig, set KUBECONFIG, or run in a pod{why}")
}
