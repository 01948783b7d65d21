//! An authority made by a how-to's openssl commands is adopted: hosts and clients with old certificates go on.

use crate::issued::Issued;
use crate::support::dockerd::Dockerd;
use crate::support::scratch::Scratch;
use anyhow::Context;
use base64::Engine;

/// The commands of the how-tos, one after the other.
const HOW_TO: &str = "
openssl genrsa -aes256 -passout pass:old-pass -out ca-key.pem 4096
openssl req -new -x509 -days 365 -key ca-key.pem -passin pass:old-pass -sha256 -out ca.pem \
  -subj '/C=DE/ST=Saarland/L=SB/O=Bodky/OU=IT/CN=Docker CA/emailAddress=admin@bodkys.house'
openssl genrsa -out server-key.pem 2048
openssl req -subj /CN=pandora.bodkys.house -sha256 -new -key server-key.pem -out server.csr
echo 'subjectAltName = DNS:pandora.bodkys.house,IP:192.168.1.7,IP:127.0.0.1' >extfile.cnf
echo 'extendedKeyUsage = serverAuth' >>extfile.cnf
openssl x509 -req -days 365 -sha256 -in server.csr -CA ca.pem -CAkey ca-key.pem -passin pass:old-pass \
  -CAcreateserial -out server-cert.pem -extfile extfile.cnf
mkdir client
openssl genrsa -out client/key.pem 2048
openssl req -subj /CN=client -new -key client/key.pem -out client.csr
echo 'extendedKeyUsage = clientAuth' >extfile-client.cnf
openssl x509 -req -days 365 -sha256 -in client.csr -CA ca.pem -CAkey ca-key.pem -passin pass:old-pass \
  -CAcreateserial -out client/cert.pem -extfile extfile-client.cnf
cp ca.pem client/ca.pem
";

fn adopted(made: &Scratch) -> anyhow::Result<Issued> {
    let encoded = |file: &str| -> anyhow::Result<String> {
        let bytes = std::fs::read(made.path().join(file)).context(file.to_owned())?;
        Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
    };
    Issued::from(&format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: old-ca}}
data: {{ca.pem: {}, ca-key.pem: {}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: old-pass}}
stringData: {{pass: 'old-pass'}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: ca}}
spec: {{existing: {{secretRef: {{name: old-ca}}}}, passphraseSecretRef: {{name: old-pass, key: pass}}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: pandora}}
spec: {{caRef: {{name: ca}}, hostname: pandora.bodkys.house, ipAddresses: [192.168.1.7]}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {{name: ci}}
spec: {{caRef: {{name: ca}}, commonName: ci}}
",
        encoded("ca.pem")?,
        encoded("ca-key.pem")?
    ))
}

#[test]
fn old_and_new_clients_reach_old_and_new_hosts() -> anyhow::Result<()> {
    let made = Scratch::new("how-to")?;
    made.run(HOW_TO)?;
    let issued = adopted(&made)?;
    let new_host = issued.secret("pandora-docker-host");
    let (old_client, new_client) = (made.path().join("client"), issued.secret("ci-docker-client"));
    let host = Dockerd::start(&new_host.join("cert.pem"), &new_host.join("key.pem"), &new_host.join("ca.pem"))?;
    host.serves(&old_client)?;
    host.serves(&new_client)?;
    drop(host);
    let at = |file: &str| made.path().join(file);
    let host = Dockerd::start(&at("server-cert.pem"), &at("server-key.pem"), &at("ca.pem"))?;
    host.serves(&old_client)?;
    host.serves(&new_client)?;
    let key = issued.secret("ca-docker-ca").join("tls.key");
    made.run(&format!("openssl pkey -in {} -passin pass:old-pass -noout", key.display()))?;
    Ok(())
}
