//! What was delivered is removed: dockerd starts and goes on as before it came, and nothing is opened by it.

use crate::howto::HowTo;
use crate::support::hostbox::HostBox;
use crate::used_host::{UsedHost, sealed};
use anyhow::{Result, ensure};
use serde_json::Value;

const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const LEFT: &str = "find /etc/systemd/system -name '*dockseal*' | sort";

/// The step on dockerd that a companion takes for an object which is deleted, with deletionPolicy Delete.
fn remove(used: &UsedHost) -> Result<Value> {
    const ORDER: &str = "/var/lib/dockseal/order.json";
    let mut order: Value = serde_json::from_str(&used.host.read(ORDER)?)?;
    order["host"]["removing"] = true.into();
    order["files"] = Value::Null;
    used.host.write(ORDER, order.to_string(), 0o600)?;
    used.host.sh("systemd-run --wait --collect /var/lib/dockseal/bin/dockseal daemon-step")?;
    Ok(serde_json::from_str(&used.host.read("/var/lib/dockseal/answer.json")?)?)
}

#[test]
fn a_fresh_host_is_as_it_was() -> Result<()> {
    let host = HostBox::boot()?;
    let before = host.read(DAEMON_JSON)?;
    let used = UsedHost::served(&host)?;
    let probe = used.probe()?;
    let answer = remove(&used)?;
    ensure!(answer["reason"] == "Removed", "{answer}");
    used.runs()?;
    ensure!(!used.listens(), "{}", used.facts());
    ensure!(host.sh(LEFT)?.is_empty(), "{}", host.sh(LEFT)?);
    ensure!(host.read(DAEMON_JSON)?.trim_end() == before.trim_end(), "{before} became {}", host.read(DAEMON_JSON)?);
    let pid = used.pid()?;
    ensure!(remove(&used)?["reason"] == "Removed" && used.pid()? == pid, "the second time nothing is left to do");
    host.reboot()?;
    used.runs()?;
    ensure!(!used.listens(), "{}", used.facts());
    sealed(probe)?;
    Ok(())
}

#[test]
fn what_a_how_to_opened_stays_closed() -> Result<()> {
    let host = HostBox::boot()?;
    let exec = "/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2375 --tls=false";
    let drop_in = format!("[Service]\nExecStart=\nExecStart={exec}\n");
    host.write("/etc/systemd/system/docker.service.d/override.conf", drop_in, 0o644)?;
    host.write("/etc/systemd/system/docker.socket.d/tcp.conf", "[Socket]\nListenStream=0.0.0.0:2374\n", 0o644)?;
    host.restart(&["docker.socket", "docker.service"])?;
    let used = UsedHost::taking_over(&host)?;
    used.up_serving()?;
    let probe = used.probe()?;
    probe.add((host.ip(), 2374).into());
    ensure!(remove(&used)?["reason"] == "Removed");
    used.runs()?;
    host.reboot()?;
    used.runs()?;
    ensure!(!used.listens(), "{}", used.facts());
    let left = host.sh(LEFT)?;
    ensure!(
        left.lines().count() == 2 && left.contains("docker.service.d") && left.contains("docker.socket.d"),
        "{left}"
    );
    sealed(probe)?;
    Ok(())
}

#[test]
fn tls_of_a_how_to_that_was_taken_over() -> Result<()> {
    let host = HostBox::boot()?;
    let how_to = HowTo::done(&host, "/srv/certs.d", ["cert.pem", "key.pem"])?;
    let at = "/srv/certs.d";
    let flags = format!("--tlsverify --tlscacert={at}/ca.pem --tlscert={at}/cert.pem --tlskey={at}/key.pem");
    let drop_in = format!("[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H 0.0.0.0:2376 {flags}\n");
    host.write("/etc/systemd/system/docker.service.d/override.conf", drop_in, 0o644)?;
    let mut used = UsedHost::taking_over(&host)?;
    used.restart()?;
    used.homelab.documents = how_to.secret();
    used.homelab.authority = "existing: {secretRef: {name: old-ca}}".into();
    used.up_serving()?;
    ensure!(how_to.client_is_served(true)?, "adopted: an old client and its ca.pem are still good: {}", used.facts());
    let probe = used.probe()?;
    ensure!(remove(&used)?["reason"] == "Removed");
    used.runs()?;
    ensure!(!used.listens(), "{}", used.facts());
    sealed(probe)?;
    Ok(())
}
