//! An address that is not there at boot does not keep Docker down, and is served when it comes.

use crate::homelab::{Homelab, InstalledHost};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::{Result, ensure};

#[test]
fn an_address_that_comes_late_is_served_then() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    let ip = host.ip();
    let homelab = Homelab { daemon: format!("restart: Always, listen: [\"{ip}:2376\"]"), ..Homelab::default() };
    at.up_and_served(&homelab)?;
    let probe = Probe::start([at.address()])?;
    let serial = at.serial()?;

    let address = format!("{ip}/30");
    host.network(&["addr", "del", &address, "dev", "eth0"])?;
    host.reboot()?;
    host.docker_ready()?;
    let said = at.up(&homelab)?;
    ensure!(!said.holds && said.reason == "NotServed" && said.message.contains("this host does not have"), "{said:?}");
    let dockerd = at.dockerd()?;
    // A renewal is loaded all the same.
    let renewed = homelab.renewed();
    at.up(&renewed)?;
    host.docker_ready()?;
    println!("dockerd was {}restarted for a renewal", if at.dockerd()? == dockerd { "not " } else { "" });

    host.network(&["addr", "add", &address, "dev", "eth0"])?;
    at.up_and_served(&renewed)?;
    assert_ne!(at.serial()?, serial);
    at.harmless(probe)
}
