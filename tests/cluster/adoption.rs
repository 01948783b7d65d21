//! Authorities made by hand, as the how-tos have it, are adopted with their key.

use crate::fixture::{Namespace, homelab, is, secret_bytes};
use anyhow::{Context, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A directory of the test's own, below the cluster's.
fn workshop(namespace: &Namespace) -> anyhow::Result<PathBuf> {
    let directory = namespace.cluster.dir().join(format!("openssl-{}", namespace.name));
    std::fs::create_dir(&directory)?;
    Ok(directory)
}

fn openssl(directory: &Path, arguments: &str) -> anyhow::Result<String> {
    let words = arguments.split('|').flat_map(|part| match part.strip_prefix('=') {
        Some(whole) => vec![whole.trim()],
        None => part.split_whitespace().collect(),
    });
    let output = std::process::Command::new("openssl").args(words).current_dir(directory).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {arguments}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const SUBJECT: &str =
    "-subj|=/C=DE/ST=Saarland/L=Saarbruecken/O=Bodky/OU=Homelab/CN=Docker CA/emailAddress=admin@bodkys.house|";

/// The evening with openssl: an encrypted RSA key, a CA for a year, a client certificate.
fn evening(directory: &Path, key: &str) -> anyhow::Result<()> {
    openssl(directory, &format!("genrsa -aes256 -passout pass:evening -out {key} 4096"))?;
    openssl(
        directory,
        &format!("req -new -x509 -days 365 -key {key} -passin pass:evening -sha256 -out ca.pem |{SUBJECT}"),
    )?;
    openssl(directory, "genrsa -out client-key.pem 2048")?;
    openssl(directory, "req -new -key client-key.pem -out client.csr -subj /CN=client")?;
    std::fs::write(directory.join("client.ext"), "extendedKeyUsage = clientAuth\n")?;
    let sign = "x509 -req -days 365 -sha256 -in client.csr -CA ca.pem -passin pass:evening -CAcreateserial -out client.pem -extfile client.ext";
    openssl(directory, &format!("{sign} -CAkey {key}")).map(|_| ())
}

fn public_key(directory: &Path, of: &str) -> anyhow::Result<String> {
    openssl(directory, &format!("x509 -in {of} -noout -pubkey"))
}

async fn adopted(name: &str, key: &str) -> anyhow::Result<()> {
    let namespace = Namespace::new(name).await?;
    let directory = workshop(&namespace)?;
    evening(&directory, key)?;
    let _controller = namespace.controller(name).await?;
    let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let (certificate, key) = (format!("--from-file={}", file("ca.pem")), format!("--from-file={}", file(key)));
    namespace.kubectl(&["create", "secret", "generic", "old-ca", &certificate, &key]).await?;
    namespace.kubectl(&["create", "secret", "generic", "pass", "--from-literal=passphrase=evening"]).await?;
    let authority = json!({
        "apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerCA", "metadata": {"name": "homelab"},
        "spec": {"existing": {"secretRef": {"name": "old-ca"}}, "passphraseSecretRef": {"name": "pass", "key": "passphrase"}}
    });
    namespace.create(&authority).await?;
    let host = homelab(&["pandora"]);
    namespace.apply(host.split_once("---\n").context("a host")?.1).await?;
    namespace.all_ready().await?;
    let stored = namespace.get("secret/homelab-docker-ca").await?;
    std::fs::write(directory.join("stored.crt"), secret_bytes(&stored, "tls.crt"))?;
    std::fs::write(directory.join("stored.key"), secret_bytes(&stored, "tls.key"))?;
    ensure!(public_key(&directory, "stored.crt")? == public_key(&directory, "ca.pem")?, "another key");
    let opened = openssl(&directory, "pkey -in stored.key -passin pass:evening -pubout")?;
    ensure!(opened == public_key(&directory, "ca.pem")?, "the stored key is not the one that was adopted");
    // Old client, new host: both verify under the bundle, and under the old file.
    let leaf = namespace.get("secret/pandora-docker-host").await?;
    std::fs::write(directory.join("bundle.pem"), secret_bytes(&leaf, "ca.pem"))?;
    std::fs::write(directory.join("host.pem"), secret_bytes(&leaf, "cert.pem"))?;
    for trusted in ["bundle.pem", "ca.pem"] {
        openssl(&directory, &format!("verify -purpose sslserver -CAfile {trusted} host.pem"))?;
        openssl(&directory, &format!("verify -purpose sslclient -CAfile {trusted} client.pem"))?;
    }
    // It was copied: the original may go.
    namespace.delete("secret/old-ca").await?;
    namespace.delete("secret/pandora-docker-host").await?;
    namespace.until("secret/pandora-docker-host", |_| true).await?;
    namespace.until("dockerca/homelab", |ca| is(ca, "Ready", "True")).await.map(|_| ())
}

#[tokio::test]
async fn an_authority_of_ca_pem_and_ca_key_pem_is_adopted() -> anyhow::Result<()> {
    adopted("adopt-ca-key-pem", "ca-key.pem").await
}

#[tokio::test]
async fn an_authority_of_ca_pem_and_ca_key_is_adopted() -> anyhow::Result<()> {
    adopted("adopt-ca-key", "ca.key").await
}
