//! What is judged: issued by the binary itself, without a cluster; and by hand, where the product would refuse.

use crate::support::scratch::Scratch;
use anyhow::ensure;
use dockseal::adapters::random::{make_key, serial};
use dockseal::pki::lifecycle;
use dockseal::pki::sign::{Dates, LeafProfile};
use dockseal::pki::{Authority, Certificate, PrivateKey, material};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// Passphrase of the authorities here.
pub const PASSPHRASE: &str = "correct horse";

/// A state directory in which everything is Ready.
pub struct Issued(Scratch);

impl Issued {
    /// What `dockseal up --once` makes of that YAML.
    pub fn from(yaml: &str) -> anyhow::Result<Issued> {
        let issued = Issued(Scratch::new("x509")?);
        issued.0.write("objects.yaml", yaml)?;
        let output = Command::new(env!("CARGO_BIN_EXE_dockseal"))
            .args(["up", "objects.yaml", "--once", "--timeout", "120s", "--state", "state"])
            .current_dir(issued.0.path())
            .output()?;
        ensure!(output.status.success(), "up: {}", String::from_utf8_lossy(&output.stderr));
        Ok(issued)
    }

    /// An authority with that key and a host and a client with this one.
    pub fn pair(authority: &str, leaf: &str) -> anyhow::Result<Issued> {
        Issued::from(&pair_yaml(authority, leaf))
    }

    /// The directory in which scripts run.
    pub fn scratch(&self) -> &Scratch {
        &self.0
    }

    /// Directory of a Secret.
    pub fn secret(&self, name: &str) -> PathBuf {
        self.0.path().join("state/secrets/default").join(name)
    }

    /// The authority, opened as the product opens it.
    pub fn authority(&self) -> anyhow::Result<Authority> {
        let directory = self.secret("ca-docker-ca");
        let files =
            ["tls.crt", "tls.key", "ca.crt"].map(|file| Ok((file.to_owned(), std::fs::read(directory.join(file))?)));
        let data = files.into_iter().collect::<anyhow::Result<material::Data>>()?;
        Ok(material::read_authority(&data, Some(PASSPHRASE.as_bytes()))?.authority)
    }

    /// A leaf that the product would not make, as `NAME/{cert,key,ca}.pem`.
    pub fn forge(&self, name: &str, by: &Authority, profile: &LeafProfile, dates: Dates) -> anyhow::Result<PathBuf> {
        let key = fresh_key()?;
        let certificate = by.sign_leaf(profile, &key, dates, serial())?;
        let directory = self.0.path().join(name);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("cert.pem"), certificate.to_pem())?;
        std::fs::write(directory.join("key.pem"), key.to_pem().as_bytes())?;
        std::fs::copy(self.secret("ci-docker-client").join("ca.pem"), directory.join("ca.pem"))?;
        Ok(directory)
    }
}

/// The YAML of [`Issued::pair`].
pub fn pair_yaml(authority: &str, leaf: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: ca-pass}}
stringData: {{passphrase: {PASSPHRASE}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: ca}}
spec:
  subject: {{commonName: Docker CA, organization: Bodky, organizationalUnit: Homelab, country: DE, province: Saarland,
            locality: Saarbrücken, emailAddress: admin@bodkys.house}}
  privateKey: {authority}
  passphraseSecretRef: {{name: ca-pass, key: passphrase}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: pandora}}
spec: {{caRef: {{name: ca}}, hostname: pandora.bodkys.house., ipAddresses: [192.168.1.7, 'fd00::7'], privateKey: {leaf}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {{name: ci}}
spec: {{caRef: {{name: ca}}, commonName: ci, privateKey: {leaf}}}
"
    )
}

/// A P-256 key.
pub fn fresh_key() -> anyhow::Result<PrivateKey> {
    Ok(make_key(dockseal::pki::KeyAlgorithm::EcdsaP256))
}

/// Another authority of the same name and another key.
pub fn impostor(of: &Authority) -> anyhow::Result<Authority> {
    let key = fresh_key()?;
    let subject = dockseal::pki::name::DistinguishedName::of(of.certificate.common_name.as_deref().unwrap_or_default());
    Ok(dockseal::pki::sign::new_authority(&subject, None, key, now_for_days(30), serial())?)
}

/// Another handle on the same key, under another certificate.
pub fn under(authority: &Authority, certificate: Certificate) -> Authority {
    Authority { certificate, key: Arc::clone(&authority.key) }
}

/// From now for so many days.
pub fn now_for_days(days: i64) -> Dates {
    lifecycle::dates(Timestamp::now(), SignedDuration::from_hours(24 * days), None)
}

/// Ended yesterday.
pub fn expired() -> Dates {
    let day = SignedDuration::from_hours(24);
    Dates { not_before: Timestamp::now() - day * 10, not_after: Timestamp::now() - day }
}
