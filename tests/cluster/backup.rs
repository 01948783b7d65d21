//! Backups: whatever order they are restored in, nothing is issued anew and no second authority is made.

use crate::fixture::{Namespace, fails, homelab, is, secret_bytes, serial};
use crate::main_job::cleaned;
use serde_json::Value;
use std::collections::BTreeMap;

const CLIENTS: &str = "---\n{apiVersion: dockseal.dev/v1alpha1, kind: DockerClientCert, metadata: {name: ci}, spec: {caRef: {name: homelab}, commonName: ci}}\n\
                       ---\n{apiVersion: dockseal.dev/v1alpha1, kind: PortainerClient, metadata: {name: portainer}, spec: {caRef: {name: homelab}, commonName: portainer.bodkys.house}}\n";

/// What a backup holds, and what was true when it was taken.
struct Backup {
    stored: Vec<Value>,
    objects: Vec<Value>,
    facts: BTreeMap<String, String>,
}

/// Serials of the objects, and the bytes of every Secret.
async fn facts(namespace: &Namespace) -> anyhow::Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::new();
    for object in namespace.objects().await? {
        facts.insert(name(&object), serial(&object));
    }
    for secret in namespace.list(&["secret"]).await? {
        facts.insert(name(&secret), format!("{:?}", secret["data"]));
    }
    Ok(facts)
}

fn name(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default())
}

/// A namespace with an authority, two hosts and two clients; dumped, then emptied without a controller.
async fn dumped_and_emptied(test: &str) -> anyhow::Result<(Namespace, Backup)> {
    let namespace = Namespace::new(test).await?;
    let controller = namespace.controller(&format!("{test}-before")).await?;
    namespace.apply(&(homelab(&["pandora", "janus"]) + CLIENTS)).await?;
    namespace.all_ready().await?;
    controller.stop()?;
    let facts = facts(&namespace).await?;
    let stored: Vec<Value> = namespace.list(&["secret", "configmap"]).await?.into_iter().map(cleaned).collect();
    let objects: Vec<Value> = namespace.objects().await?.into_iter().map(cleaned).collect();
    for thing in stored.iter().chain(&objects) {
        namespace.delete(&name(thing)).await?;
    }
    Ok((namespace, Backup { stored, objects, facts }))
}

async fn restore(namespace: &Namespace, things: &[Value]) -> anyhow::Result<()> {
    for thing in things {
        namespace.create(thing).await?;
    }
    Ok(())
}

/// All Ready, and every serial and every byte of every Secret is the old one.
async fn as_before(namespace: &Namespace, backup: &Backup) -> anyhow::Result<()> {
    namespace.all_ready().await?;
    let now = facts(namespace).await?;
    assert_eq!(now.keys().collect::<Vec<_>>(), backup.facts.keys().collect::<Vec<_>>());
    for (name, fact) in &backup.facts {
        assert!(now[name] == *fact, "{name} is not as it was"); // no assert_eq: these are private keys
    }
    Ok(())
}

#[tokio::test]
async fn secrets_first_and_then_objects_goes_on_with_the_old_certificates() -> anyhow::Result<()> {
    let (namespace, backup) = dumped_and_emptied("restore-secrets").await?;
    let controller = namespace.controller("restore-secrets").await?;
    controller.ready("leading").await?;
    restore(&namespace, &backup.stored).await?;
    restore(&namespace, &backup.objects).await?;
    as_before(&namespace, &backup).await?;
    // Objects that are deleted and made again go on, too: leaves, and the authority itself without its annotation.
    for object in &backup.objects {
        namespace.delete(&name(object)).await?;
        namespace.gone(&name(object)).await?;
    }
    namespace.apply(&(homelab(&["pandora", "janus"]) + CLIENTS)).await?;
    as_before(&namespace, &backup).await
}

#[tokio::test]
async fn restored_whole_before_the_controller_starts_nothing_is_issued() -> anyhow::Result<()> {
    let (namespace, backup) = dumped_and_emptied("restore-whole").await?;
    restore(&namespace, &backup.objects).await?;
    restore(&namespace, &backup.stored).await?;
    let _controller = namespace.controller("restore-whole").await?;
    as_before(&namespace, &backup).await
}

#[tokio::test]
async fn objects_first_makes_no_second_authority() -> anyhow::Result<()> {
    let (namespace, backup) = dumped_and_emptied("restore-objects").await?;
    let _controller = namespace.controller("restore-objects").await?;
    restore(&namespace, &backup.objects).await?;
    namespace.until("dockerca/homelab", |ca| fails(ca, "Issued", "AuthorityLost")).await?;
    for what in ["dockerhostcert/pandora", "dockerclientcert/ci"] {
        let waiting = namespace.until(what, |object| fails(object, "Issued", "AuthorityNotReady")).await?;
        assert_eq!(serial(&waiting), "");
    }
    assert_eq!(namespace.list(&["secret"]).await?, Vec::<Value>::new(), "nothing was made in the meantime");
    // Leaves before their authority, which is the worse order.
    let (authority, rest): (Vec<Value>, Vec<Value>) =
        backup.stored.iter().cloned().partition(|thing| thing["type"] == "dockseal.dev/ca");
    restore(&namespace, &rest).await?;
    namespace.until("dockerca/homelab", |ca| fails(ca, "Issued", "AuthorityLost")).await?;
    restore(&namespace, &authority).await?;
    as_before(&namespace, &backup).await
}

#[tokio::test]
async fn an_authority_alone_from_a_backup_issues_to_all_with_the_old_key() -> anyhow::Result<()> {
    let (namespace, backup) = dumped_and_emptied("restore-authority").await?;
    let authority: Vec<Value> =
        backup.stored.iter().filter(|thing| thing["type"] == "dockseal.dev/ca").cloned().collect();
    restore(&namespace, &authority).await?;
    let _controller = namespace.controller("restore-authority").await?;
    restore(&namespace, &backup.objects).await?;
    let ready = namespace.all_ready().await?;
    let restored = namespace.get("secret/homelab-docker-ca").await?;
    assert!(secret_bytes(&restored, "tls.key") == secret_bytes(&authority[0], "tls.key"));
    assert!(ready.iter().all(|object| is(object, "Issued", "True")));
    Ok(())
}
