//! Makes the test cluster's certificates with the openssl CLI, so that no code of the product has a hand in them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Nothing of the machine's own openssl.cnf may leak in, such as CA:TRUE for every self-made certificate.
const CONFIG: &str = "[req]\ndistinguished_name = name\nprompt = no\n[name]\n";

const CA: [&str; 2] = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
const SERVING: [&str; 4] = [
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth",
    "subjectAltName=IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc,DNS:apiserver.test",
];
// Extensions make it a v3 certificate, which webpki demands.
const CLIENT: [&str; 3] =
    ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth"];

/// Writes `{ca,apiserver,admin}.{crt,key}` and `service-accounts.{key,pub}` into `dir`.
pub async fn write(dir: &Path) -> Result<()> {
    std::fs::write(dir.join("openssl.cnf"), CONFIG).context("failed to write openssl.cnf")?;
    certificate(dir, "ca", "/CN=test cluster", &CA, None).await?;
    certificate(dir, "apiserver", "/CN=kube-apiserver", &SERVING, Some("ca")).await?;
    certificate(dir, "admin", "/O=system:masters/CN=admin", &CLIENT, Some("ca")).await?;
    let key = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "service-accounts.key"];
    openssl(dir, &key).await?;
    openssl(dir, &["pkey", "-in", "service-accounts.key", "-pubout", "-out", "service-accounts.pub"]).await
}

/// Writes `node.{crt,key}` of a node.
pub async fn node(dir: &Path, name: &str) -> Result<()> {
    certificate(dir, "node", &format!("/O=system:nodes/CN=system:node:{name}"), &CLIENT, Some("ca")).await
}

async fn certificate(dir: &Path, name: &str, subject: &str, extensions: &[&str], issuer: Option<&str>) -> Result<()> {
    let (key, crt) = (format!("{name}.key"), format!("{name}.crt"));
    let signing = issuer.map(|issuer| (format!("{issuer}.crt"), format!("{issuer}.key")));
    let mut args = vec!["req", "-x509", "-config", "openssl.cnf", "-days", "3650", "-subj", subject];
    args.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", &key, "-out", &crt]);
    if let Some((ca, ca_key)) = &signing {
        args.extend(["-CA", ca, "-CAkey", ca_key]);
    }
    for extension in extensions {
        args.extend(["-addext", extension]);
    }
    openssl(dir, &args).await
}

async fn openssl(dir: &Path, args: &[&str]) -> Result<()> {
    let output = Command::new("openssl").args(args).current_dir(dir).output().await.context("failed to run openssl")?;
    if !output.status.success() {
        bail!("openssl {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
