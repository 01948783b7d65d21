//! A real dockerd serves with our host's certificate and takes our client's; the Docker CLI dials it.

use crate::issued::{Issued, expired, impostor, now_for_days};
use crate::support::dockerd::Dockerd;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::LeafProfile;

fn client() -> LeafProfile {
    LeafProfile { common_name: "ci".into(), dns_names: vec![], ip_addresses: vec![], usage: Usage::Client }
}

fn serving(issued: &Issued) -> anyhow::Result<Dockerd> {
    let host = issued.secret("pandora-docker-host");
    Dockerd::start(&host.join("cert.pem"), &host.join("key.pem"), &host.join("ca.pem"))
}

#[test]
fn dockerd_serves_our_client_and_refuses_the_rest() -> anyhow::Result<()> {
    let issued = Issued::pair("{algorithm: ECDSA}", "{algorithm: ECDSA}")?;
    let dockerd = serving(&issued)?;
    let good = issued.secret("ci-docker-client");
    dockerd.serves(&good)?;
    dockerd.refuses("127.0.0.2", &good, "certificate is valid for 192.168.1.7")?;
    dockerd.refuses("127.0.0.1", &issued.secret("pandora-docker-host"), "incompatible key usage")?;
    let authority = issued.authority()?;
    let old = issued.forge("old", &authority, &client(), expired())?;
    dockerd.refuses("127.0.0.1", &old, "expired")?;
    let foreign = issued.forge("foreign", &impostor(&authority)?, &client(), now_for_days(1))?;
    dockerd.refuses("127.0.0.1", &foreign, "certificate")?;
    let other = Issued::pair("{algorithm: ECDSA}", "{algorithm: ECDSA}")?;
    dockerd.refuses("127.0.0.1", &other.secret("ci-docker-client"), "unknown authority")?;
    Ok(())
}

#[test]
fn an_expired_host_certificate_is_refused_by_the_cli() -> anyhow::Result<()> {
    let issued = Issued::pair("{algorithm: ECDSA}", "{algorithm: ECDSA}")?;
    let profile = LeafProfile {
        common_name: "pandora".into(),
        dns_names: vec!["pandora".into()],
        ip_addresses: vec!["127.0.0.1".parse()?],
        usage: Usage::Server,
    };
    let old = issued.forge("old", &issued.authority()?, &profile, expired())?;
    let trust = issued.secret("pandora-docker-host").join("ca.pem");
    let dockerd = Dockerd::start(&old.join("cert.pem"), &old.join("key.pem"), &trust)?;
    dockerd.refuses("127.0.0.1", &issued.secret("ci-docker-client"), "expired")
}

#[test]
fn rsa_and_ed25519_serve_as_well() -> anyhow::Result<()> {
    for (authority, leaf) in [
        ("{algorithm: RSA, size: 2048}", "{algorithm: RSA, size: 2048}"),
        ("{algorithm: Ed25519}", "{algorithm: Ed25519}"),
    ] {
        let issued = Issued::pair(authority, leaf)?;
        serving(&issued)?.serves(&issued.secret("ci-docker-client"))?;
    }
    Ok(())
}
