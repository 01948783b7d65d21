//! Hosts on which a user followed a how-to before: refused by name, taken over where that is asked for, and no old
//! client shut out.

use crate::howto::HowTo;
use crate::support::hostbox::HostBox;
use crate::support::hostbox::debian::Debian;
use crate::used_host::{UsedHost, sealed};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

const UNIT: &str = "/usr/lib/systemd/system/docker.service";
const OVERRIDE: &str = "/etc/systemd/system/docker.service.d/override.conf";
const DOCKERD: &str = "/usr/sbin/dockerd";
const CONTAINERD: &str = "--containerd=/run/containerd/containerd.sock";

/// The vendor's unit, edited.
fn edit_unit(host: &HostBox, exec: &str) -> Result<()> {
    host.sh(&format!("sed -i 's|^ExecStart=.*|ExecStart={exec}|' {UNIT}"))?;
    Ok(())
}

/// What `systemctl edit docker` leaves.
fn drop_in(host: &HostBox, exec: &str) -> Result<()> {
    host.write(OVERRIDE, format!("[Service]\nExecStart=\nExecStart={exec}\n"), 0o644)
}

fn tls_flags(directory: &str, cert: &str, key: &str) -> String {
    format!("--tlsverify --tlscacert={directory}/ca.pem --tlscert={directory}/{cert} --tlskey={directory}/{key}")
}

/// A host that was served over mutual TLS by a how-to: refused, then refused since its clients would be shut out, then
/// taken over with its authority trusted besides, and adopted.
fn from_mutual_tls(host: &HostBox, how_to: &HowTo) -> Result<()> {
    let mut used = UsedHost::to(host)?;
    used.restart()?;
    used.runs()?;
    ensure!(how_to.client_is_served(true)?, "the how-to does not work: {}", used.facts());
    let probe = used.probe()?;
    let said = used.up_refused_untouched("Serving", "DaemonConflict")?;
    ensure!(said.contains("takeOver: true"), "{said}");

    used.take_over();
    let said = used.up_refused_untouched("Serving", "DaemonConflict")?;
    ensure!(said.contains("additionalTrust"), "{said}");
    ensure!(how_to.client_is_served(true)?, "a refusal changed something: {}", used.facts());

    used.homelab.documents = how_to.secret();
    used.homelab.authority = "subject: {commonName: Docker CA}, additionalTrust: [{secretRef: {name: old-ca}}]".into();
    used.up_serving()?;
    ensure!(how_to.client_is_served(false)?, "an old client is shut out: {}", used.facts());
    used.host.reboot()?;
    used.runs()?;
    ensure!(used.client_is_served()?, "not after a reboot: {}", used.facts());
    sealed(probe)?;
    Ok(())
}

#[test]
fn hosts_in_daemon_json_and_the_vendors_unit_without_a_listener() -> Result<()> {
    let host = HostBox::boot()?;
    let how_to = HowTo::done(&host, "/srv/certs.d", ["cert.pem", "key.pem"])?;
    edit_unit(&host, &format!("{DOCKERD} {CONTAINERD}"))?;
    let at = |name: &str| format!("/srv/certs.d/{name}");
    let hosts = ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2376"];
    host.daemon_json(json!({"hosts": hosts, "tlsverify": true, "tlscacert": at("ca.pem"), "tlscert": at("cert.pem"),
        "tlskey": at("key.pem")}))?;
    from_mutual_tls(&host, &how_to)
}

#[test]
fn hosts_in_daemon_json_and_a_drop_in_without_a_listener() -> Result<()> {
    let host = HostBox::boot()?;
    let how_to = HowTo::done(&host, "/etc/docker/certs", ["pandora.pem", "pandora.key"])?;
    drop_in(&host, DOCKERD)?;
    let at = |name: &str| format!("/etc/docker/certs/{name}");
    let hosts = ["unix:///run/docker.sock", "tcp://0.0.0.0:2376"];
    host.daemon_json(json!({"hosts": hosts, "tls": true, "tlscacert": at("ca.pem"), "tlscert": at("pandora.pem"),
        "tlskey": at("pandora.key")}))?;
    from_mutual_tls(&host, &how_to)
}

#[test]
fn flags_in_the_vendors_unit() -> Result<()> {
    let host = HostBox::boot()?;
    let how_to = HowTo::done(&host, "/root/docker-certs", ["server-cert.pem", "server-key.pem"])?;
    let tls = tls_flags("/root/docker-certs", "server-cert.pem", "server-key.pem");
    edit_unit(&host, &format!("{DOCKERD} -H fd:// -H tcp://0.0.0.0:2376 {tls} {CONTAINERD}"))?;
    from_mutual_tls(&host, &how_to)
}

#[test]
fn flags_in_a_drop_in() -> Result<()> {
    let host = HostBox::boot()?;
    let how_to = HowTo::done(&host, "/etc/docker/certs", ["pandora.pem", "pandora.key"])?;
    let tls = tls_flags("/etc/docker/certs", "pandora.pem", "pandora.key");
    drop_in(&host, &format!("{DOCKERD} -H fd:// {tls} -H=0.0.0.0:2376 {CONTAINERD}"))?;
    from_mutual_tls(&host, &how_to)
}

/// On a dockerd that cannot be asked what it would say to a configuration.
#[test]
fn flags_without_the_unix_socket() -> Result<()> {
    let host = HostBox::boot_debian(Debian::Bookworm, |_| Ok(()))?;
    let how_to = HowTo::done(&host, "/visit/admin/.docker", ["cert.pem", "key.pem"])?;
    let tls = tls_flags("/visit/admin/.docker", "cert.pem", "key.pem");
    host.write("/etc/default/docker", format!("DOCKER_OPTS=\"-H=0.0.0.0:2376 {tls}\"\n"), 0o644)?;
    edit_unit(&host, &format!("{DOCKERD} -H unix:///run/docker.sock $DOCKER_OPTS"))?;
    from_mutual_tls(&host, &how_to)
}

/// Whoever asks is answered on port 2375 (`tls` is said to be false, since dockerd else waits for 15 s before it opens
/// such an open port): refused by name; with takeOver closed at once, and served as it should be.
fn from_plain_tcp(host: &HostBox) -> Result<()> {
    let mut used = UsedHost::to(host)?;
    host.restart(&["docker.socket", "docker.service"])?;
    used.runs()?;
    let open = used.probe()?;
    open.until(|count| count.leaked > 0, SOON)?;
    drop(open);
    let said = used.up_refused_untouched("Serving", "ExposedByOthers")?;
    ensure!(said.contains("2375") && said.contains("takeOver: true"), "{said}");

    used.take_over();
    used.homelab.daemon = "restart: Never".into();
    used.up_refused("Serving", "RestartPending")?;
    let probe = used.probe()?;
    used.homelab.daemon = "restart: Always".into();
    used.up_serving()?;
    host.reboot()?;
    used.runs()?;
    ensure!(used.client_is_served()?, "not after a reboot: {}", used.facts());
    sealed(probe)?;
    Ok(())
}

#[test]
fn plain_tcp_in_the_vendors_unit() -> Result<()> {
    let host = HostBox::boot()?;
    edit_unit(&host, &format!("{DOCKERD} -H fd:// -H tcp://0.0.0.0:2375 --tls=false {CONTAINERD}"))?;
    from_plain_tcp(&host)
}

/// As Amazon's and older Red Hats' packages have it.
#[test]
fn plain_tcp_in_a_variable() -> Result<()> {
    let host = HostBox::boot()?;
    edit_unit(&host, &format!("{DOCKERD} -H fd:// {CONTAINERD} $OPTIONS"))?;
    host.sh(&format!("sed -i 's|^ExecStart=|EnvironmentFile=-/etc/sysconfig/docker\\n&|' {UNIT}"))?;
    host.write("/etc/sysconfig/docker", "OPTIONS=\"--debug -H tcp://0.0.0.0:2375 --tls=false\"\n", 0o644)?;
    from_plain_tcp(&host)?;
    let command = host.sh("tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value docker)/cmdline")?;
    ensure!(command.contains("--debug") && !command.contains("tcp"), "{command}");
    Ok(())
}

#[test]
fn plain_tcp_in_daemon_json() -> Result<()> {
    let host = HostBox::boot()?;
    drop_in(&host, &format!("{DOCKERD} {CONTAINERD}"))?;
    host.daemon_json(json!({"hosts": ["unix:///run/docker.sock", "tcp://0.0.0.0:2375"], "tls": false}))?;
    from_plain_tcp(&host)
}

#[test]
fn plain_tcp_in_the_socket_unit() -> Result<()> {
    let host = HostBox::boot()?;
    host.write("/etc/systemd/system/docker.socket.d/tcp.conf", "[Socket]\nListenStream=0.0.0.0:2375\n", 0o644)?;
    from_plain_tcp(&host)
}

#[test]
fn another_way_to_run_docker_is_refused_by_name() -> Result<()> {
    let host = HostBox::boot()?;
    let used = UsedHost::taking_over(&host)?;
    used.host.sh("systemctl stop docker docker.socket; systemctl mask docker.socket; systemctl daemon-reload")?;
    let said = used.up_refused_untouched("Serving", "UnsupportedHost")?;
    ensure!(said.contains("docker.service without docker.socket"), "{said}");

    host.sh(&format!("mv {UNIT} {UNIT}.away; systemctl daemon-reload"))?;
    let said = used.up_refused_untouched("Serving", "UnsupportedHost")?;
    ensure!(said.contains("/etc/init.d"), "{said}");

    host.sh("mv /etc/init.d/docker /root/init-script; systemctl daemon-reload")?;
    let said = used.up_refused_untouched("Serving", "UnsupportedHost")?;
    ensure!(said.contains("no docker.service"), "{said}");

    let snap = "[Service]\nExecStart=/bin/sleep 1000\n";
    host.write("/etc/systemd/system/snap.docker.dockerd.service", snap, 0o644)?;
    host.sh("systemctl daemon-reload; systemctl start snap.docker.dockerd")?;
    let said = used.up_refused_untouched("Serving", "UnsupportedHost")?;
    ensure!(said.contains("snap"), "{said}");

    host.sh(&format!(
        "mv {UNIT}.away {UNIT}; systemctl unmask docker.socket; systemctl daemon-reload; systemctl start docker"
    ))?;
    let flag = format!("{DOCKERD} -H fd:// --config-file=/etc/docker/other.json {CONTAINERD}");
    host.write("/etc/docker/other.json", "{\"storage-driver\":\"vfs\",\"bridge\":\"none\",\"iptables\":false}", 0o644)?;
    drop_in(&host, &flag)?;
    used.restart()?;
    let said = used.up_refused_untouched("Serving", "DaemonConflict")?;
    ensure!(said.contains("other.json"), "{said}");
    used.runs()
}
