//! What dockerd does not start with is taken back; dockerd serves as before, and the reason is dockerd's own.

use crate::cuts::everywhere;
use crate::homelab::{Homelab, InstalledHost, ReportedCondition};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::{Result, ensure};
use serde_json::json;

/// A dockerd that does not start with the certificate whose serial number stands in /root/refused; it says so in
/// dockerd's way. Asked to validate, it is dockerd.
const PICKY: &str = r#"#!/bin/sh
case "$*" in *--validate*) exec /usr/sbin/dockerd.real "$@" ;; esac
if [ -e /root/refused ] && cmp -s /root/refused /etc/docker/certs/pandora.pem && grep -q tlsverify /etc/docker/daemon.json
then
  echo "failed to start daemon: this certificate is not to its liking" >&2
  [ -e /root/hang ] && exec sleep 1000
  sleep 0.5 # whose words a journal on a busy machine reads after their end, it does not always know
  exit 1
fi
exec /usr/sbin/dockerd.real "$@"
"#;

fn picky(at: &InstalledHost) -> Result<()> {
    at.host.sh("mv /usr/sbin/dockerd /usr/sbin/dockerd.real")?;
    at.host.write("/usr/sbin/dockerd", PICKY, 0o755)
}

/// The certificate that is ordered next is the one that dockerd refuses.
fn refuse(at: &InstalledHost) -> Result<()> {
    at.host.sh("cp /root/state/secrets/default/pandora-docker-host/tls.crt /root/refused").map(drop)
}

fn rolled_back(said: &ReportedCondition) -> Result<()> {
    ensure!(!said.holds && said.reason == "RolledBack", "{said:?}");
    ensure!(said.message.contains("not to its liking"), "it does not name dockerd's own words: {said:?}");
    Ok(())
}

#[test]
fn a_certificate_that_dockerd_refuses_is_taken_back_and_not_tried_again() -> Result<()> {
    let host = HostBox::boot_with(|host| host.daemon_json(json!({"live-restore": true})))?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    picky(&at)?;
    let homelab = Homelab::default();
    at.up_and_served(&homelab)?;
    host.run_container("kept")?;
    let pid = host.container_pid("kept")?;
    let before = at.serial()?;
    let probe = Probe::start([at.address()])?;

    let renewed = homelab.renewed();
    at.order(&renewed)?;
    refuse(&at)?;
    rolled_back(&at.up(&renewed)?)?;
    let delivered = at.condition("Delivered")?;
    ensure!(!delivered.holds && delivered.reason == "RolledBack", "{delivered:?}");
    assert_eq!(at.serial()?, before);
    at.served()?;
    let dockerd = at.dockerd()?;
    for _ in 0..3 {
        rolled_back(&at.up(&renewed)?)?;
    }
    ensure!(at.dockerd()? == dockerd, "it was tried again");

    at.up_and_served(&renewed.renewed())?;
    assert_ne!(at.serial()?, before);
    assert_eq!(host.container_pid("kept")?, pid);
    at.harmless(probe)
}

/// A host that is served, with a renewal ordered that dockerd will refuse; and what it serves.
fn refusing_a_renewal(host: &HostBox) -> Result<(InstalledHost<'_>, String)> {
    host.docker_ready()?;
    let at = InstalledHost::on(host)?;
    picky(&at)?;
    let homelab = Homelab::default();
    at.up_and_served(&homelab)?;
    let before = at.serial()?;
    at.order(&homelab.renewed())?;
    refuse(&at)?;
    Ok((at, before))
}

#[test]
fn the_way_back_is_found_from_everywhere() -> Result<()> {
    let host = HostBox::boot()?;
    let (at, before) = refusing_a_renewal(&host)?;
    everywhere(&at, "a rollback", false, || {
        rolled_back(&at.answer()?)?;
        assert_eq!(at.serial()?, before);
        at.served()?;
        let dockerd = at.dockerd()?;
        rolled_back(&at.step()?)?;
        ensure!(at.dockerd()? == dockerd, "it was tried again");
        Ok(())
    })
}

#[test]
fn a_first_delivery_that_dockerd_refuses_leaves_the_host_as_it_was() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    picky(&at)?;
    let probe = Probe::start([at.address()])?;
    let look = "cat /etc/docker/daemon.json; find /etc/systemd/system | sort; systemctl list-sockets --no-legend --all";
    let before = host.sh(look)?;
    at.order(&Homelab::default())?;
    refuse(&at)?;
    rolled_back(&at.up(&Homelab::default())?)?;
    host.docker_ready()?;
    let after = host.sh(look)?;
    let ours = |line: &&str| !line.ends_with("docker.service.d") && !line.contains("dockseal-step");
    assert_eq!(after.lines().filter(ours).collect::<Vec<_>>(), before.lines().collect::<Vec<_>>());
    ensure!(std::net::TcpStream::connect(at.address()).is_err(), "somebody listens");
    let count = probe.finish();
    ensure!(count.leaked == 0, "{:?}", count.first_leak);
    Ok(())
}

#[test]
fn a_restart_by_hand_into_what_dockerd_refuses_is_taken_back() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    picky(&at)?;
    let homelab = Homelab::default();
    at.up_and_served(&homelab)?;
    let before = at.serial()?;
    let waiting = Homelab { daemon: "restart: Never".into(), ..homelab.renewed() };
    at.order(&waiting)?;
    refuse(&at)?;
    let probe = Probe::start([at.address()])?;
    let said = at.up(&waiting)?;
    ensure!(said.reason == "RestartPending" && said.message.contains("systemctl restart docker"), "{said:?}");
    // Meanwhile its user changes something else.
    host.sh(r#"sed -i 's/"bridge"/"debug": true,\n  "bridge"/' /etc/docker/daemon.json"#)?;
    host.exec(&["systemctl", "restart", "docker"])?;
    at.until("dockerd has failed for good", || host.sh("systemctl is-failed docker").is_ok())?;
    rolled_back(&at.up(&waiting)?)?;
    assert_eq!(at.serial()?, before);
    at.served()?;
    ensure!(host.read("/etc/docker/daemon.json")?.contains("\"debug\": true"), "the user's change is lost");
    at.harmless(probe)
}

#[test]
fn what_was_broken_before_is_named_and_nothing_is_touched() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    let sound = host.read("/etc/docker/daemon.json")?;
    let dockerd = at.dockerd()?;
    for (broken, word) in [
        (sound.replace("\"vfs\",", "\"vfs\""), "daemon.json"),
        (sound.replace("\"bridge\"", "\"no-such-key\": 1, \"bridge\""), "no-such-key"),
        (sound.replace("\"iptables\": false", "\"iptables\": \"no\""), "iptables"),
    ] {
        host.write("/etc/docker/daemon.json", &broken, 0o644)?;
        let said = at.up(&Homelab::default())?;
        ensure!(!said.holds && said.reason == "DaemonUnusable" && said.message.contains(word), "{said:?}");
        assert_eq!(host.read("/etc/docker/daemon.json")?, broken);
        ensure!(host.sh("ls /etc/systemd/system")?.lines().all(|name| !name.contains("dockseal")), "{}", at.facts());
        assert_eq!(at.dockerd()?, dockerd);
    }
    let latin: Vec<u8> =
        sound.replace("\"bridge\"", "\"labels\": [\"b\u{fc}ro\"], \"bridge\"").chars().map(|c| c as u8).collect();
    host.write("/etc/docker/daemon.json", &latin, 0o644)?;
    let said = at.up(&Homelab::default())?;
    ensure!(!said.holds && said.message.contains("not UTF-8"), "{said:?}");
    assert_eq!(std::fs::read(host.root().join("etc/docker/daemon.json"))?, latin, "no byte of it is lost");
    host.write("/etc/docker/daemon.json", &sound, 0o644)?;
    at.up_and_served(&Homelab::default())
}

#[test]
fn a_port_that_another_process_has_is_named_and_nothing_is_touched() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    let dockerd = at.dockerd()?;
    let mut other = host.spawn(&["busybox", "nc", "-ll", "-p", "2376", "-e", "true"])?;
    at.until("it listens", || std::net::TcpStream::connect(at.address()).is_ok())?;
    let said = at.up(&Homelab::default())?;
    ensure!(said.reason == "DaemonConflict" && said.message.contains("busybox"), "{said:?}");
    ensure!(host.sh("ls /etc/systemd/system")?.lines().all(|name| !name.contains("dockseal")), "{}", at.facts());
    assert_eq!(at.dockerd()?, dockerd);
    other.signal("KILL")?;
    other.wait(std::time::Duration::from_secs(90))?;
    at.up_and_served(&Homelab::default())
}

#[test]
#[ignore = "dockerd is waited for for a minute and a half"]
fn a_dockerd_that_hangs_at_its_start_is_brought_back() -> Result<()> {
    let host = HostBox::boot()?;
    let (at, before) = refusing_a_renewal(&host)?;
    host.write("/root/hang", "", 0o644)?;
    let probe = Probe::start([at.address()])?;
    let said = at.step()?;
    rolled_back(&said)?;
    ensure!(said.message.contains("starting for 90 seconds"), "{said:?}");
    assert_eq!(at.serial()?, before);
    at.served()?;
    at.harmless(probe)
}
