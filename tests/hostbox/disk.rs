//! A full disk, and one that is read-only: noticed before anything is touched, said with what to do, and got over.

use crate::homelab::{Homelab, InstalledHost};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::Result;

/// A small file system with what the directory held; its mount point is gone with the box's next boot.
fn small(at: &InstalledHost, directory: &str, size: &str) -> Result<()> {
    at.host.sh(&format!(
        "mkdir -p {directory} /mnt/small; mount -t tmpfs -o size={size} small /mnt/small
        cp -a {directory}/. /mnt/small/; mount --move /mnt/small {directory}"
    ))?;
    Ok(())
}

const FULL: [&str; 2] = ["there is no space left", "free some space"];
const READ_ONLY: [&str; 2] = ["is read-only", "mount it writable"];

fn untouched(at: &InstalledHost, homelab: &Homelab, words: [&str; 2]) -> Result<()> {
    let look = "cat /etc/docker/daemon.json; find /etc/systemd/system -name '*dockseal*'";
    let (dockerd, before) = (at.dockerd()?, at.host.sh(look)?);
    at.up_says(homelab, &words)?;
    assert_eq!(at.host.sh(look)?, before);
    assert_eq!(at.dockerd()?, dockerd);
    at.host.docker_ping()
}

fn full_and_read_only(directory: &str, size: &str) -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    small(&at, directory, size)?;
    let fill = format!("cat /dev/zero >{directory}/big 2>/dev/null || true");
    let mount = |how: &str| host.sh(&format!("mount -o remount,{how} {directory}"));
    let homelab = Homelab::default();
    host.sh(&fill)?;
    untouched(&at, &homelab, FULL)?;
    host.sh(&format!("rm {directory}/big"))?;
    mount("ro")?;
    untouched(&at, &homelab, READ_ONLY)?;
    mount("rw")?;
    at.up_and_served(&homelab)?;

    let probe = Probe::start([at.address()])?;
    let serial = at.serial()?;
    let homelab = homelab.renewed();
    host.sh(&fill)?;
    untouched(&at, &homelab, FULL)?;
    assert_eq!(at.serial()?, serial);
    at.served()?;
    host.sh(&format!("rm {directory}/big"))?;
    mount("ro")?;
    untouched(&at, &homelab, READ_ONLY)?;
    mount("rw")?;
    at.up_and_served(&homelab)?;
    assert_ne!(at.serial()?, serial);
    at.harmless(probe)
}

#[test]
fn etc_docker() -> Result<()> {
    full_and_read_only("/etc/docker", "4m")
}

#[test]
fn var_lib_dockseal() -> Result<()> {
    full_and_read_only("/var/lib/dockseal", "160m")
}

#[test]
fn etc_systemd() -> Result<()> {
    full_and_read_only("/etc/systemd/system", "4m")
}
