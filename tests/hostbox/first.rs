//! A first delivery by `up --host`, on a host as Debian makes it.

use crate::fixture::{UpInBox, YAML};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::Result;
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
    Ok(())
}
