//! A user at a laptop, a cluster, and hosts outside of it: what the pages type from enrolment to the new binary.

use super::{SOON, boot, terminal::Terminal};
use crate::enrolled::charted;
use crate::support::cluster::Cluster;
use crate::support::hostbox::HostBox;
use crate::support::hostbox::program::Program;
use crate::support::page_commands::PageCommands;
use crate::support::pages::Page;
use crate::support::relay::Relay;
use anyhow::{Result, ensure};

const NAS: &str = "docs/nas-rootless.md";
const UPGRADE: &str = "docs/upgrade.md";
const PROXY: &str = "/usr/lib/systemd/systemd-socket-proxyd";
/// Where one logs in to a machine of the same files, without a way to systemd and with an enrolment of its own.
const NAS_LOGIN: &str = "systemd-run --quiet --unit=nas-login --service-type=notify \
    --property='TemporaryFileSystem=/run/dbus /etc/dockseal /var/lib/dockseal' \
    /usr/sbin/sshd -D -p 2222 -o PidFile=none
    printf 'Host nas\nPort 2222\n' >/home/ada/.ssh/config; chown ada: /home/ada/.ssh/config; mkdir -p /volume1/docker";

#[tokio::test]
async fn hosts_outside_of_the_cluster() -> Result<()> {
    let host = boot()?;
    let (cluster, _controller) = charted("default").await?;
    let ada = Terminal::new(&host, PageCommands::new("outside"), "ada")?;
    let _relay = joined(&host, &cluster)?;
    cluster.apply(&objects()?).await?;
    nas(&ada)?;
    pandora(&ada)?;
    ada.done()?;
    Ok(())
}

/// The API server is where the pages have it, and Ada has a kubeconfig that leads there.
fn joined(host: &HostBox, cluster: &Cluster) -> Result<Relay> {
    let relay = Relay::start(host.outside_ip().into(), cluster.address())?;
    host.sh(&format!("systemd-run --quiet --socket-property=ListenStream=10.0.0.1:6443 {PROXY} {}", relay.address()))?;
    let config = std::fs::read_to_string(cluster.kubeconfig())?;
    host.write("/home/ada/.kube/config", config.replace(&cluster.server_url(), "https://10.0.0.1:6443"), 0o644)?;
    Ok(relay)
}

/// The example with a host that enrols, and the page's NAS.
fn objects() -> Result<String> {
    let homelab = std::fs::read_to_string("examples/homelab.yaml")?;
    let (there, delivered) = ("  ipAddresses: [192.168.1.7]\n", "  delivery: {target: Enrolled, mode: Daemon}\n");
    ensure!(homelab.contains(there), "the example has pandora's address");
    let homelab = homelab.replace(there, &format!("{there}{delivered}"));
    Ok(format!("{homelab}---\n{}", Page::of(NAS).block_with("target: Enrolled")))
}

/// Files for a machine without systemd, whose dockerd is started by hand.
fn nas(ada: &Terminal) -> Result<()> {
    ada.host.sh(&format!("systemctl stop docker.socket docker.service; {NAS_LOGIN}"))?;
    let said = ada.types(NAS, "dockseal enroll nas")?;
    ensure!(said.contains("this host has no systemd"), "{said}");
    let once = "ssh root@nas /usr/local/bin/dockseal companion --once || test $? = 4";
    ada.eventually(|| ada.sh(&format!("{once}; ssh root@nas test -e /volume1/docker/certs/nas.key")))?;
    let mut dockerd = nas_dockerd(ada)?;
    ada.sh(once)?;
    let said = ada.types(NAS, "dockseal verify nas")?;
    ensure!(said.contains("our-client"), "{said}");
    dockerd.signal("TERM")?;
    dockerd.wait(SOON)?;
    ada.host.restart(&["docker.socket", "docker.service"])
}

fn nas_dockerd(ada: &Terminal) -> Result<Program> {
    let certs = "/volume1/docker/certs";
    let mut dockerd = ada.another("root").starts(&format!(
        "exec dockerd --tlsverify --tlscacert {certs}/ca.pem --tlscert {certs}/nas.pem --tlskey {certs}/nas.key \
         -H tcp://192.168.1.9:2376 -H unix:///run/nas-docker.sock"
    ))?;
    dockerd.says("API listen on 192.168.1.9:2376", SOON)?;
    Ok(dockerd)
}

/// A host with systemd: enrolled, looked at, and given a newer binary.
fn pandora(ada: &Terminal) -> Result<()> {
    // It panicked where nobody read the line, as after a login that failed.
    let said = ada.sh("dockseal enroll pandora --server https://10.0.0.1:6443 | true")?;
    ensure!(!said.contains("panicked"), "{said}");
    ada.types("README.md", "dockseal enroll pandora")?;
    ada.eventually(|| ada.types("README.md", "dockseal verify pandora"))?;
    ada.sh("dockseal bundle ci -o . && tar -xzf tls-client-certs-ci.tar.gz")?;
    ada.types("README.md", "dockseal verify --file ca.pem")?;

    ada.sh("cp /usr/local/bin/dockseal . && echo newer >>dockseal")?;
    ada.types(UPGRADE, "scp dockseal")?;
    ada.types(UPGRADE, "dockseal enroll pandora")?;
    ada.sh("cmp dockseal /usr/local/bin/dockseal")?;
    ada.types("README.md", "dockseal verify pandora").map(drop)
}
