//! The step on dockerd killed at each of its steps, then taken again, at once and after a power cut.

use crate::cuts::everywhere;
use crate::homelab::{Homelab, InstalledHost, UP, UP_TIMEOUT};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_first_delivery() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    at.order_first(&Homelab::default())?;
    everywhere(&at, "a first delivery", true, || {
        ensure!(at.answer()?.holds, "{:?}", at.answer()?);
        at.served()
    })
}

#[test]
fn a_renewal() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    let homelab = Homelab::default();
    at.up_and_served(&homelab)?;
    let before = served(&at)?;
    at.order(&homelab.renewed())?;
    everywhere(&at, "a renewal", true, || {
        ensure!(at.answer()?.holds, "{:?}", at.answer()?);
        ensure!(served(&at)? != before, "the old certificate is served");
        at.served()
    })
}

/// Fingerprint of the leaf that the last step found to be served.
fn served(at: &InstalledHost) -> Result<String> {
    Ok(at.note("answer.json")?["served"].to_string())
}

/// As one how-to has it.
#[test]
fn a_take_over_of_flags() -> Result<()> {
    let exec = "/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2376 --tlsverify --tlscacert=/srv/certs/ca.pem \
                --tlscert=/srv/certs/cert.pem --tlskey=/srv/certs/key.pem";
    take_over("a take-over of flags", exec, json!({}))
}

/// As another has it.
#[test]
fn a_take_over_of_hosts() -> Result<()> {
    let json = json!({
        "hosts": ["unix:///run/docker.sock", "tcp://0.0.0.0:2376"],
        "tls": true, "tlsverify": true, "tlscacert": "/srv/certs/ca.pem", "tlscert": "/srv/certs/cert.pem",
        "tlskey": "/srv/certs/key.pem"
    });
    take_over("a take-over of hosts", "/usr/sbin/dockerd", json)
}

fn take_over(what: &str, exec: &str, json: serde_json::Value) -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    at.certificates("/srv/certs")?;
    let drop_in = format!("[Service]\nExecStart=\nExecStart={exec}\n");
    host.write("/etc/systemd/system/docker.service.d/override.conf", drop_in, 0o644)?;
    host.daemon_json(json)?;
    host.sh("systemctl daemon-reload; systemctl restart docker")?;
    let trust = "\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: older}\nstringData:\n  ca.crt: |\n";
    let ca: String = host.read("/srv/certs/ca.pem")?.lines().map(|line| format!("    {line}\n")).collect();
    let homelab = Homelab {
        delivery: ", takeOver: true".into(),
        authority: "subject: {commonName: Docker CA}, additionalTrust: [{secretRef: {name: older}}]".into(),
        documents: format!("{trust}{ca}"),
        ..Homelab::default()
    };
    at.order_first(&homelab)?;
    everywhere(&at, what, true, || {
        ensure!(at.answer()?.holds, "{:?}", at.answer()?);
        at.old_client_is_served("/srv/certs")?;
        at.served()
    })
}

const ACTIVE: &str = "systemctl is-active dockseal-step.service || true";

/// Whoever asked for the step may die; the step itself too, and systemd takes it up again.
#[test]
fn up_and_the_unit_of_the_step() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = InstalledHost::on(&host)?;
    let probe = Probe::start([at.address()])?;
    let mut homelab = Homelab::default();
    let kills = [
        "pkill -9 -f '^dockseal up'",
        "systemctl kill --signal=KILL dockseal-step.service",
        "systemctl kill --signal=KILL dockseal-step.service; pkill -9 -f '^dockseal up'",
    ];
    for (index, kill) in kills.into_iter().enumerate() {
        host.write("/root/home.yaml", homelab.yaml(&host), 0o600)?;
        let words = [&UP[..], &[UP_TIMEOUT]].concat();
        let mut up = host.spawn(&words)?;
        // Looked for inside: from outside a busy machine looks so seldom that it misses the step.
        let under_way = format!(
            "grep -qs '\"files\":{}' /var/lib/dockseal/order.json && test \"$({ACTIVE})\" = activating",
            index + 1
        );
        host.sh(&format!("until {under_way}; do sleep 0.01; done; {kill}")).context("the step is not under way")?;
        up.wait(Duration::from_secs(120))?;
        at.until("the step has ended", || host.sh(ACTIVE).is_ok_and(|said| said == "inactive\n"))?;
        ensure!(at.answer()?.holds, "{:?}", at.answer()?);
        at.served().context(kill)?;
        homelab = homelab.renewed();
    }
    at.harmless(probe)
}
