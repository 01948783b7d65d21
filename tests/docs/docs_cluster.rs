//! An API server, and a controller where the page does not start its own.

use crate::support::cluster::Cluster;
use crate::support::controller::Controller;
use std::path::Path;

/// Both.
pub struct DocsCluster {
    _controller: Option<Controller>, // dropped first
    pub cluster: Cluster,
}

impl DocsCluster {
    /// The API server alone.
    pub fn bare() -> anyhow::Result<DocsCluster> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(DocsCluster { _controller: None, cluster: runtime.block_on(Cluster::start())? })
    }

    /// With the controller; and what is in the file, which is Ready.
    pub fn start(file: Option<&Path>) -> anyhow::Result<DocsCluster> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let cluster = Cluster::start().await?;
            cluster.crds().await?;
            let scope = ["--lease-namespace", "default"];
            let controller = Controller::start(&cluster, &cluster.kubeconfig(), "docs", &scope).await?;
            if let Some(file) = file {
                cluster.kubectl(&["apply", "-f", &file.to_string_lossy()]).await?;
                let kinds = "dockercas,dockerhostcerts,dockerclientcerts,portainerclients";
                cluster.kubectl(&["wait", "--for=condition=Ready", kinds, "--all", "--timeout=300s"]).await?;
            }
            Ok(DocsCluster { _controller: Some(controller), cluster })
        })
    }
}
