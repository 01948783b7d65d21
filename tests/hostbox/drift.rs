//! What of ours others edit or delete: it gives nobody access, and it is put right, though not for ever.

use crate::support::hostbox::HostBox;
use crate::used_host::{UsedHost, sealed};
use anyhow::{Result, ensure};
use serde_json::json;

const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const DROP_IN: &str = "/etc/systemd/system/docker.service.d/zz-dockseal.conf";
const SOCKET: &str = "/etc/systemd/system/dockseal-docker.socket";
const BINARY: &str = "/var/lib/dockseal/bin/dockseal";
const PLAIN: &str = "{\"storage-driver\":\"vfs\",\"bridge\":\"none\",\"iptables\":false}";

#[test]
fn units_and_the_binary_are_put_back() -> Result<()> {
    let host = HostBox::boot()?;
    let mut used = UsedHost::served(&host)?;
    let (drop_in, socket) = (host.read(DROP_IN)?, host.read(SOCKET)?);
    let probe = used.probe()?;

    let pid = used.pid()?;
    host.sh(&format!("rm {DROP_IN}; systemctl daemon-reload"))?;
    used.homelab.daemon = "restart: Never".into();
    used.up_serving()?;
    ensure!(host.read(DROP_IN)? == drop_in && used.pid()? == pid, "without a restart: {}", used.facts());

    host.sh(&format!("sed -i '/ExecStartPre/d' {SOCKET}; systemctl daemon-reload"))?;
    used.up_serving()?;
    ensure!(host.read(SOCKET)? == socket && used.pid()? == pid, "without a restart: {}", used.facts());

    host.sh(&format!("sed -i 's/2376/2399/' {SOCKET}; systemctl daemon-reload"))?;
    host.restart(&["docker.socket", "docker.service"])?;
    ensure!(!used.listens(), "it listens elsewhere");
    used.homelab.daemon = "restart: Always".into();
    used.up_serving()?;

    host.sh(&format!("rm {BINARY}"))?;
    used.restart()?;
    used.runs()?;
    ensure!(!used.listens(), "nothing vouches for daemon.json: {}", used.facts());
    host.reboot()?;
    used.runs()?;
    ensure!(!used.listens(), "nor after a reboot: {}", used.facts());
    used.up_serving()?;
    sealed(probe)?;
    Ok(())
}

#[test]
fn whoever_does_it_a_third_time_in_a_day_has_the_listener_out() -> Result<()> {
    let host = HostBox::boot()?;
    let mut used = UsedHost::served(&host)?;
    let probe = used.probe()?;
    let drift = || -> Result<()> {
        host.write(DAEMON_JSON, PLAIN, 0o644)?;
        used.restart()?;
        used.runs()
    };
    for _ in 0..2 {
        drift()?;
        used.up_serving()?;
    }
    drift()?;
    let pid = used.pid()?;
    let said = used.up_refused("Serving", "DriftRepeats")?;
    ensure!(said.contains("dockseal.dev/restart-requested-at"), "{said}");
    ensure!(used.pid()? == pid, "it was restarted");
    host.reboot()?;
    used.runs()?;
    used.up_refused("Serving", "DriftRepeats")?;
    ensure!(!used.listens(), "{}", used.facts());

    used.consent("2026-11-22T00:00:00Z");
    used.up_serving()?;
    for _ in 0..2 {
        host.write(DAEMON_JSON, PLAIN, 0o644)?;
        used.restart()?;
        used.up_serving()?;
    }
    host.write(DAEMON_JSON, PLAIN, 0o644)?;
    used.restart()?;
    used.up_refused("Serving", "DriftRepeats")?;
    used.homelab.daemon = "restart: Always, enableLiveRestore: true".into();
    used.up_serving()?;
    sealed(probe)?;
    Ok(())
}

#[test]
fn a_consent_is_used_once() -> Result<()> {
    let host = HostBox::boot()?;
    let mut used = UsedHost::served(&host)?;
    used.homelab.daemon = "restart: Never".into();
    used.consent("2026-11-22T00:00:00Z");
    used.up_serving()?;
    host.write(DAEMON_JSON, PLAIN, 0o644)?;
    used.restart()?;
    used.up_refused("Serving", "RestartPending")?;
    used.consent("2026-11-22T00:00:01Z");
    used.up_serving()
}

#[test]
fn daemon_json_stays_whose_it_is() -> Result<()> {
    let host = HostBox::boot()?;
    let text = "{\n\t\"storage-driver\": \"vfs\",\n\t\"labels\" : [\"a=b\",\"c=d\"], \"bridge\":\"none\",\n\t\"iptables\": false,\n\t\
        \"max-concurrent-uploads\": 7, \"metrics-addr\": \"0.0.0.0:9323\"\n}\n";
    host.write("/srv/docker/daemon.json", text, 0o640)?;
    host.sh("chown daemon:adm /srv/docker/daemon.json; rm -f /etc/docker/daemon.json; \
        ln -s ../docker/link.json /etc/docker/daemon.json; ln -s /srv/docker/daemon.json /etc/docker/link.json")?;
    let used = UsedHost::to(&host)?;
    used.restart()?;
    used.up_serving()?;
    let shown =
        host.sh("readlink /etc/docker/daemon.json /etc/docker/link.json; stat -c '%a %U %G' /srv/docker/daemon.json")?;
    ensure!(shown == "../docker/link.json\n/srv/docker/daemon.json\n640 daemon adm\n", "{shown}");
    let now = host.read(DAEMON_JSON)?;
    let kept = text.trim_end_matches("\n}\n");
    ensure!(now.starts_with(kept), "{now}");
    let members: serde_json::Value = serde_json::from_str(&now)?;
    ensure!(members["tlsverify"] == json!(true), "{now}");
    Ok(())
}
