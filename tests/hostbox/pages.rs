//! What the pages type on hosts, in a box that is every machine of a page: their names and addresses lead to it.

mod outside;
mod terminal;

use crate::support::hostbox::HostBox;
use crate::support::page_commands::PageCommands;
use crate::support::pages::Page;
use crate::support::scratch::Scratch;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;
use terminal::Terminal;

/// As long as a delivery may take on a busy machine.
const SOON: Duration = Duration::from_secs(120);
const DOCKERD: &str = "/usr/sbin/dockerd";

/// A host whose containers go on while dockerd restarts, so that nobody has to be asked.
fn boot() -> Result<HostBox> {
    let host = HostBox::boot_with(|host| host.daemon_json(json!({"live-restore": true})))?;
    host.docker_ready()?;
    Ok(host)
}

/// README: a directory of `up` is what dockerd and the Docker CLI want, as it is.
#[test]
fn a_hosts_directory_is_what_dockerd_wants() -> Result<()> {
    let host = boot()?;
    let root = Terminal::new(&host, PageCommands::new("pandora"), "root")?;
    host.write("/root/examples/homelab.yaml", std::fs::read("examples/homelab.yaml")?, 0o644)?;
    root.sh("dockseal up examples/homelab.yaml --once; systemctl stop docker.socket docker.service")?;
    let files = "dockseal-state/secrets/default/pandora-docker-host";
    let mut dockerd = root.goes_on_in(files, "README.md", "dockerd --tlsverify")?;
    dockerd.says("API listen on [::]:2376", SOON)?;
    let said = root.types("README.md", "DOCKER_HOST=tcp://pandora.bodkys.house:2376")?;
    ensure!(said.contains("Server Version"), "{said}");
    root.done()?;
    Ok(())
}

/// README: one host, which Ctrl-C leaves as it is.
#[test]
fn one_host_without_a_cluster() -> Result<()> {
    let host = boot()?;
    let root = Terminal::new(&host, PageCommands::new("lathe"), "root")?;
    host.write("/root/examples/host.yaml", std::fs::read("examples/host.yaml")?, 0o644)?;
    let up = root.goes_on("README.md", "dockseal up examples/host.yaml")?;
    root.ready(up, "lathe")?;
    root.docker("dockseal-state/secrets/default/laptop-docker-client", "lathe.workshop.lan")?;
    root.done()?;
    Ok(())
}

/// three-machines.md: the machine that keeps the authority.
#[test]
fn the_first_of_three_machines() -> Result<()> {
    let host = boot()?;
    let root = Terminal::new(&host, PageCommands::new("attic"), "root")?;
    let page = Page::of("docs/three-machines.md");
    host.write("/root/home.yaml", page.block_with("name: attic"), 0o644)?;
    let up = root.goes_on("docs/three-machines.md", "dockseal up home.yaml")?;
    root.ready(up, "attic")?;
    root.docker("/var/lib/dockseal-home/secrets/default/me-docker-client", "attic.bodkys.house")?;
    root.done()?;
    Ok(())
}

/// behind-nat.md: a host that is dialled inside a tunnel, and one by SSH.
#[test]
fn a_host_behind_nat() -> Result<()> {
    let host = boot()?;
    let root = Terminal::new(&host, PageCommands::new("cabin"), "root")?;
    let page = Page::of("docs/behind-nat.md");
    let authority = page.block_with("kind: DockerCA").split("---").next().unwrap_or_default();
    let client = "---\napiVersion: dockseal.dev/v1alpha1\nkind: DockerClientCert\nmetadata: {name: me}\n\
        spec: {caRef: {name: homelab}, commonName: me}\n";
    let yaml = format!("{authority}---\n{}{client}", page.block_with("tail1234.ts.net"));
    host.write("/root/cabin.yaml", yaml, 0o644)?;
    let _up = root.starts("dockseal up cabin.yaml --host cabin")?;
    let verified =
        root.eventually(|| root.types_with("docs/behind-nat.md", "dockseal verify cabin", "--state dockseal-state"));
    ensure!(verified.is_ok(), "{verified:?}");

    let ada = root.another("ada");
    ada.types("docs/behind-nat.md", "docker context create cabin")?;
    host.run_container("kettle")?;
    let said = ada.types("docs/behind-nat.md", "docker --context cabin ps")?;
    ensure!(said.contains("kettle"), "{said}");
    root.done()?;
    Ok(())
}

/// howto-openssl.md: what its first block leaves on a host is adopted, and taken over; old clients go on.
#[test]
fn a_how_tos_host_is_taken_over() -> Result<()> {
    let page = Page::of("docs/howto-openssl.md");
    let evening = Scratch::new("hostbox-evening")?;
    evening.run(page.block_with("openssl genrsa"))?;
    let host = boot()?;
    let root = Terminal::new(&host, PageCommands::new("howto"), "root")?;
    host.sh("mkdir /root/docker-certs")?;
    for name in ["ca.pem", "ca-key.pem", "server-cert.pem", "server-key.pem", "cert.pem", "key.pem"] {
        let file = std::fs::read(evening.path().join("docker-certs").join(name))?;
        host.write(&format!("/root/docker-certs/{name}"), file, 0o600)?;
    }
    host.write("/root/ca.pass", std::fs::read(evening.path().join("ca.pass"))?, 0o600)?;
    let exec = format!(
        "{DOCKERD} -H fd:// -H tcp://0.0.0.0:2376 --tlsverify --tlscacert /root/docker-certs/ca.pem \
         --tlscert /root/docker-certs/server-cert.pem --tlskey /root/docker-certs/server-key.pem"
    );
    let override_conf = "/etc/systemd/system/docker.service.d/override.conf";
    host.write(override_conf, format!("[Service]\nExecStart=\nExecStart={exec}\n"), 0o644)?;
    host.restart(&["docker.socket", "docker.service"])?;
    root.docker("docker-certs", "pandora.bodkys.house").context("the how-to works")?;

    root.sh(page.block_with("dockseal adopt --openssl"))?;
    let delivery = page.block_with("takeOver").lines().find(|line| line.contains("delivery:"));
    let delivery = delivery.context("the page has a delivery")?;
    let adopted = host.read("/root/adopted.yaml")?;
    let at = adopted.find("kind: DockerHostCert").context("a host was adopted")?;
    let at = at + adopted[at..].find("spec:\n").context("it has a spec")? + "spec:\n".len();
    host.write("/root/adopted.yaml", format!("{}{delivery}\n{}", &adopted[..at], &adopted[at..]), 0o600)?;
    let up = root.goes_on("docs/howto-openssl.md", "dockseal up adopted.yaml")?;
    root.ready(up, "pandora")?;
    root.docker("docker-certs", "pandora.bodkys.house").context("an old client is shut out")?;
    root.docker("dockseal-state/secrets/default/client-docker-client", "pandora.bodkys.house")?;
    root.done()?;
    Ok(())
}
