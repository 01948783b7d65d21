//! Renewals: when dockerd is restarted and when it waits, and that neither containers nor clients notice.

use crate::homelab::{Homelab, InstalledHost};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

fn daemon(settings: &str) -> Homelab {
    Homelab { daemon: settings.into(), ..Homelab::default() }
}

fn consent(homelab: &Homelab) -> Homelab {
    let consent = format!("dockseal.dev/restart-requested-at: \"{}\"", Timestamp::now());
    let annotations = match homelab.annotations.is_empty() {
        true => consent,
        false => format!("{}, {consent}", homelab.annotations),
    };
    Homelab { annotations, ..homelab.clone() }
}

fn waits(at: &InstalledHost, homelab: &Homelab, words: &str) -> Result<()> {
    let dockerd = at.dockerd()?;
    let said = at.up(homelab)?;
    ensure!(!said.holds && said.reason == "RestartPending" && said.message.contains(words), "{said:?}");
    ensure!(said.message.contains("systemctl restart docker"), "no command: {said:?}");
    assert_eq!(at.dockerd()?, dockerd, "dockerd was restarted");
    Ok(())
}

/// An mTLS client that asks all the time; a connection that fails is counted.
const CLIENT: &str = r#"n=0; bad=0; while [ ! -e /run/enough ]; do
  n=$((n+1)); docker version >/dev/null 2>>/run/refusals || bad=$((bad+1)); done; echo "asked $n refused $bad""#;

#[test]
fn containers_and_clients_do_not_notice_renewals_under_live_restore() -> Result<()> {
    let host = HostBox::boot_with(|host| host.daemon_json(json!({"live-restore": true})))?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    at.up_and_served(&daemon(""))?; // WhenLiveRestore is the default
    host.run_container("kept")?;
    let state = ["inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", "kept"];
    let before = host.docker(&state)?;
    let probe = Probe::start([at.address()])?;
    let mut client = host.spawn(&["sh", "-c", &at.as_client(CLIENT)])?;
    let mut homelab = daemon("");
    let algorithms = ["", "algorithm: Ed25519", "algorithm: RSA, size: 2048", "algorithm: ECDSA, size: 384", "", ""];
    for (turn, algorithm) in algorithms.into_iter().enumerate() {
        let serial = at.serial()?;
        homelab = homelab.renewed();
        homelab.host = format!("  privateKey: {{{algorithm}}}");
        at.up_and_served(&homelab).with_context(|| format!("renewal {turn}, {algorithm}"))?;
        assert_ne!(at.serial()?, serial);
        assert_eq!(host.docker(&state)?, before, "the container was restarted");
    }
    host.write("/run/enough", "", 0o644)?;
    client.says("refused", std::time::Duration::from_secs(90))?;
    let said = client.log();
    print!("{} renewals within a minute: mTLS client {said}", algorithms.len());
    ensure!(said.contains("refused 0"), "{said}{}", host.read("/run/refusals")?);
    at.harmless(probe)
}

#[test]
fn never_waits_for_a_consent_and_uses_it_once() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    let never = daemon("restart: Never");
    waits(&at, &never, "Never")?;
    let probe = Probe::start([at.address()])?;
    let agreed = consent(&never);
    at.up_and_served(&agreed)?;
    let serial = at.serial()?;
    let renewed = consent(&never.renewed());
    let used = Homelab { annotations: format!("{}, {}", never.renewed().annotations, agreed.annotations), ..never };
    waits(&at, &used, "Never")?;
    assert_eq!(at.serial()?, serial);
    at.served_though_pending()?;
    at.up_and_served(&renewed)?;
    assert_ne!(at.serial()?, serial);

    // By hand is as good.
    let again = renewed.renewed();
    waits(&at, &again, "Never")?;
    host.restart(&["docker.service"])?;
    at.up_and_served(&again)?;

    // Other addresses need other sockets, though their unit was written long ago.
    let elsewhere = Homelab { daemon: format!("restart: Never, listen: [\"{}:2377\"]", host.ip()), ..again };
    waits(&at, &elsewhere, "Never")?;
    let said = at.up(&consent(&elsewhere))?;
    ensure!(said.holds && said.message.contains(":2377"), "{said:?}\n{}", at.facts());
    ensure!(std::net::TcpStream::connect(at.address()).is_err(), "the old address is still open");
    at.harmless(probe)
}

#[test]
fn live_restore_is_switched_on_only_where_it_is_wished_for_and_possible() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    host.run_container("kept")?;
    let pid = host.container_pid("kept")?;
    waits(&at, &daemon(""), "live-restore is off")?;
    let probe = Probe::start([at.address()])?;
    at.up_and_served(&daemon("enableLiveRestore: true"))?;
    assert_eq!(host.container_pid("kept")?, pid, "the container was restarted");
    assert_eq!(host.docker(&["info", "--format", "{{.LiveRestoreEnabled}}"])?, "true\n");
    at.harmless(probe)
}

#[test]
fn a_node_of_a_swarm_never_gets_live_restore() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    host.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"])?;
    waits(&at, &daemon("enableLiveRestore: true"), "swarm")?;
    host.restart(&["docker.service"])?; // by hand
    at.up_and_served(&daemon("enableLiveRestore: true"))?;
    // dockerd, stopped, says nothing of a swarm.
    host.sh("systemctl stop docker.socket docker.service")?;
    at.up(&daemon("enableLiveRestore: true"))?;
    ensure!(!host.read("/etc/docker/daemon.json")?.contains("live-restore"), "{}", at.facts());
    host.sh("systemctl start docker.socket docker.service")?;
    at.up_and_served(&daemon("enableLiveRestore: true"))
}

#[test]
fn a_changed_bundle_restarts_dockerd_only_where_trust_changed() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    at.certificates("/srv/certs")?;
    at.up_and_served(&Homelab::default())?;
    let probe = Probe::start([at.address()])?;
    ensure!(at.old_client_is_served("/srv/certs").is_err(), "nobody trusts it yet");

    let trusting = |secrets: &[(&str, String)]| {
        let refs: Vec<String> = secrets.iter().map(|(name, _)| format!("{{secretRef: {{name: {name}}}}}")).collect();
        let documents = secrets.iter().map(|(name, pem)| {
            let pem: String = pem.lines().map(|line| format!("    {line}\n")).collect();
            format!("\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n  ca.crt: |\n{pem}")
        });
        Homelab {
            authority: format!("subject: {{commonName: Docker CA}}, additionalTrust: [{}]", refs.join(", ")),
            documents: documents.collect(),
            ..Homelab::default()
        }
    };
    let older = ("older", host.read("/srv/certs/ca.pem")?);
    let serial = at.serial()?;
    let dockerd = at.dockerd()?;
    at.up_and_served(&trusting(std::slice::from_ref(&older)))?;
    at.old_client_is_served("/srv/certs")?;
    assert_ne!(at.dockerd()?, dockerd, "an authority came");
    assert_eq!(at.serial()?, serial, "the certificate is the same");

    let dockerd = at.dockerd()?;
    let expired = ("expired", at.expired_authority()?);
    at.up_and_served(&trusting(&[older.clone(), expired]))?;
    at.up_and_served(&trusting(&[older]))?;
    assert_eq!(at.dockerd()?, dockerd, "an expired one came and went");

    at.up_and_served(&Homelab::default())?;
    assert_ne!(at.dockerd()?, dockerd, "an authority went");
    ensure!(at.old_client_is_served("/srv/certs").is_err(), "it is still trusted");
    at.harmless(probe)
}
