//! A first delivery by `up --host`, on a host as Debian makes it.

use crate::fixture::{UpInBox, YAML};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::Result;
use dockseal::adapters::docker::authority_proof::authority_proof;
use dockseal::docker::authority_proof::AuthorityProof;
use dockseal::pki::Certificate;
use std::net::SocketAddr;

#[test]
fn a_fresh_host_is_served_over_mutual_tls() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let up_in_box = UpInBox::on(&host)?;
    let probe = Probe::start([SocketAddr::from((host.ip(), 2376))])?;
    up_in_box.up(YAML)?;
    assert!(up_in_box.client_is_served()?, "{}", up_in_box.facts());
    let count = probe.finish();
    assert_eq!(count.leaked, 0, "{:?}", count.first_leak);
    assert!(count.denied > 0);
    // Its alerts tell whose clients it admits.
    let address = SocketAddr::from((host.ip(), 2376));
    let runtime = tokio::runtime::Runtime::new()?;
    let asked = |leaf: &Certificate| runtime.block_on(authority_proof(address, leaf));
    let proof = host.read("/root/state/secrets/default/pandora-docker-host/proof.pem")?;
    assert_eq!(asked(&Certificate::from_pem(proof.as_bytes())?), AuthorityProof::Trusted);
    let own = host.read("/root/state/secrets/default/pandora-docker-host/tls.crt")?;
    let found = asked(&Certificate::from_pem(own.as_bytes())?);
    assert!(matches!(found, AuthorityProof::NotTrusted(_)), "a server's certificate is no client's: {found:?}");
    Ok(())
}
