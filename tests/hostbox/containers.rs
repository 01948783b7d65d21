//! What runs on a host while its dockerd is taken over.

use crate::support::hostbox::HostBox;
use crate::used_host::{UsedHost, sealed};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const HOW_TO: &str = "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2375 --tls=false\n";

fn live_restore(host: &HostBox) -> Result<Value> {
    Ok(serde_json::from_str::<Value>(&host.read(DAEMON_JSON)?)?["live-restore"].clone())
}

#[test]
fn containers_keep_their_process_under_live_restore() -> Result<()> {
    let host = HostBox::boot_with(|host| host.daemon_json(json!({"live-restore": true})))?;
    host.write("/etc/systemd/system/docker.service.d/override.conf", HOW_TO, 0o644)?;
    let mut used = UsedHost::taking_over(&host)?;
    used.restart()?;
    used.runs()?;
    host.run_container("kept")?;
    let pid = host.container_pid("kept")?;
    used.homelab.daemon = "restart: WhenLiveRestore".into();
    used.up_serving()?;
    ensure!(host.container_pid("kept")? == pid, "another process: {}", used.facts());
    ensure!(live_restore(&host)? == true);
    Ok(())
}

#[test]
fn live_restore_is_turned_on_where_that_is_wished_for() -> Result<()> {
    let host = HostBox::boot()?;
    let mut used = UsedHost::to(&host)?;
    host.run_container("kept")?;
    let pid = host.container_pid("kept")?;
    used.homelab.daemon = "restart: WhenLiveRestore".into();
    let dockerd = used.pid()?;
    let said = used.up_refused("Serving", "RestartPending")?;
    ensure!(said.contains("containers would stop") && used.pid()? == dockerd, "{said}");
    ensure!(live_restore(&host)?.is_null(), "nobody asked for that");
    used.homelab.daemon = "restart: WhenLiveRestore, enableLiveRestore: true".into();
    used.up_serving()?;
    ensure!(host.container_pid("kept")? == pid, "another process: {}", used.facts());
    ensure!(live_restore(&host)? == true);
    Ok(())
}

#[test]
fn a_swarm_node_gets_no_live_restore_and_stays_one() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker(&["swarm", "init", "--advertise-addr", &host.ip().to_string()])?;
    host.write("/etc/systemd/system/docker.service.d/override.conf", HOW_TO, 0o644)?;
    let mut used = UsedHost::taking_over(&host)?;
    used.restart()?;
    used.runs()?;
    used.homelab.daemon = "restart: WhenLiveRestore, enableLiveRestore: true".into();
    let said = used.up_refused("Serving", "RestartPending")?; // the open port is closed all the same
    ensure!(said.contains("swarm"), "{said}");
    let probe = used.probe()?;
    ensure!(live_restore(&host)?.is_null(), "a node of a swarm does not start with it");
    used.homelab.daemon = "restart: Always, enableLiveRestore: true".into();
    used.up_serving()?;
    ensure!(live_restore(&host)?.is_null());
    ensure!(
        host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"])? == "active true\n"
    );
    sealed(probe)?;
    Ok(())
}
