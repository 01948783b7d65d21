//! Which namespaces a controller serves, in a cluster of its own: those that are listed, or all of them.

use crate::fixture::{Namespace, homelab};
use crate::support::cluster::Cluster;
use crate::support::controller::Controller;
use anyhow::ensure;

#[tokio::test]
async fn listed_namespaces_are_served_or_all_of_them_and_crds_may_come_later() -> anyhow::Result<()> {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().await?)); // it ends with this process
    let config = cluster.kubeconfig();
    let listed = ["--namespace", "here", "--namespace", "there", "--lease-namespace", "default"];
    let some = Controller::start(cluster, &config, "some", &listed).await?;
    cluster.crds().await?;
    let mut namespaces = Vec::new();
    for name in ["here", "there", "elsewhere"] {
        let namespace = Namespace::of(cluster, name).await?;
        namespace.apply(&homelab(&["pandora"])).await?;
        namespaces.push(namespace);
    }
    let [here, there, elsewhere] = &namespaces[..] else { unreachable!("there are three") };
    here.all_ready().await?;
    there.all_ready().await?;
    let untouched = elsewhere.objects().await?.iter().all(|object| object["status"].is_null());
    ensure!(untouched, "a namespace that is not listed was served");
    some.stop()?;
    let _all = Controller::start(cluster, &config, "all", &["--lease-namespace", "default"]).await?;
    elsewhere.all_ready().await?;
    Ok(())
}
