//! The main job: examples become Ready, restarts change nothing, what is lost or edited is put right.

use crate::support::controller::Controller;
use crate::world::{Namespace, versions};
use std::path::Path;

/// Everything of a namespace that a controller could write.
const WRITTEN: &str = "dockercas,dockerhostcerts,dockerclientcerts,portainerclients,secrets,configmaps";

async fn controller(namespace: &Namespace, name: &str) -> anyhow::Result<Controller> {
    let scope = ["--namespace", &namespace.name, "--lease-namespace", &namespace.name];
    Controller::start(namespace.cluster, &namespace.cluster.kubeconfig(), name, &scope).await
}

#[tokio::test]
async fn every_example_becomes_ready_and_a_restart_changes_nothing() -> anyhow::Result<()> {
    let namespace = Namespace::new("examples").await?;
    let first = controller(&namespace, "first").await?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in std::fs::read_dir(examples)? {
        let yaml = std::fs::read_to_string(example?.path())?;
        namespace.apply(&yaml).await?;
    }
    namespace.all_ready().await?;
    first.stop()?;
    let before = versions(&namespace.list(WRITTEN).await?);
    let second = controller(&namespace, "second").await?;
    second.ready("leading").await?;
    second.stop()?;
    assert_eq!(versions(&namespace.list(WRITTEN).await?), before);
    Ok(())
}
