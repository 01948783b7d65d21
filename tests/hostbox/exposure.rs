//! What others do to a host that is served: whatever they write, and whatever happens to dockerd then, nobody without a
//! certificate is answered, the unix socket goes on, and the next look puts it right.

use crate::support::hostbox::HostBox;
use crate::used_host::{UsedHost, eventually, sealed};
use anyhow::{Result, ensure};
use serde_json::json;

const DAEMON_JSON: &str = "/etc/docker/daemon.json";

const PLAIN: &str = "{\"storage-driver\":\"vfs\",\"bridge\":\"none\",\"iptables\":false}";

/// Ways to write daemon.json so that dockerd does not demand certificates, or so that it only seems to.
fn unsealed(used: &UsedHost) -> Result<Vec<String>> {
    let sound: serde_json::Value = serde_json::from_str(&used.host.read(DAEMON_JSON)?)?;
    let changed = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut value = sound.clone();
        change(value.as_object_mut().expect("an object"));
        value.to_string()
    };
    let text = sound.to_string();
    let open = text.trim_end_matches('}');
    Ok(vec![
        changed(&|json| json.retain(|key, _| !key.starts_with("tls"))),
        changed(&|json| drop(json.insert("tlsverify".into(), json!(false)))),
        changed(&|json| {
            json.retain(|key, _| !key.starts_with("tls"));
            json.insert("features".into(), json!({"tlsverify": true}));
        }),
        format!("{open},\"tlsverify\":false}}"),
        format!("{open},\"tlsverif\\u0079\":false}}"),
    ])
}

#[test]
fn dockerd_starts_without_tcp_rather_than_without_tls() -> Result<()> {
    let host = HostBox::boot()?;
    let used = UsedHost::served(&host)?;
    let sound = host.read(DAEMON_JSON)?;
    let probe = used.probe()?;
    for (index, text) in unsealed(&used)?.into_iter().enumerate() {
        host.write(DAEMON_JSON, &text, 0o644)?;
        match index {
            0 => used.kill_dockerd()?,
            1 => drop(
                host.sh("systemctl reset-failed docker; systemctl stop docker.socket docker; systemctl start docker")?,
            ),
            _ => used.restart()?,
        }
        used.runs()?;
        ensure!(!used.listens(), "open with {text}: {}", used.facts());
        host.write(DAEMON_JSON, &sound, 0o644)?;
        used.restart()?;
        ensure!(used.client_is_served()?, "not back after {text}: {}", used.facts());
    }
    // Another daemon.json altogether, by the command line and by DOCKER_OPTS; ours is sound, and nobody reads it.
    let mine = "/etc/systemd/system/docker.service.d/mine.conf";
    host.write("/etc/docker/other.json", PLAIN, 0o644)?;
    let exec = "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --config-file /etc/docker/other.json\n";
    for (path, text) in [(mine, exec), ("/etc/default/docker", "DOCKER_OPTS=--config-file=/etc/docker/other.json\n")] {
        host.write(path, text, 0o644)?;
        used.restart()?;
        used.runs()?;
        ensure!(!used.listens(), "open with {path}: {}", used.facts());
        let said = used.up_refused("Serving", "DaemonConflict")?;
        ensure!(said.contains("/etc/docker/other.json"), "{said}");
        host.sh(&format!("rm {path}"))?;
    }
    // A stop, during which a client's connection starts it again.
    host.write(DAEMON_JSON, PLAIN, 0o644)?;
    host.sh("systemctl reset-failed docker; systemctl stop docker || true; sleep 0.3; systemctl start docker")?;
    used.runs()?;
    host.reboot()?;
    used.runs()?;
    ensure!(!used.listens(), "open after a reboot: {}", used.facts());
    used.up_serving()?;
    sealed(probe)?;
    Ok(())
}

#[test]
fn a_door_that_others_open_is_closed_at_once_where_that_is_asked_for() -> Result<()> {
    let host = HostBox::boot()?;
    let mut used = UsedHost::served(&host)?;
    let probe = used.probe()?;
    let exec = "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H tcp://127.0.0.1:2377 --tls=false\n";
    let listens = || Ok(host.exec(&["docker", "-H", "tcp://127.0.0.1:2377", "version"])?.status.success());
    host.write("/etc/systemd/system/docker.service.d/zzz-mine.conf", exec, 0o644)?;
    host.write(DAEMON_JSON, PLAIN, 0o644)?;
    used.restart()?;
    eventually(listens)?;
    let said = used.up_refused("Serving", "ExposedByOthers")?;
    ensure!(said.contains("127.0.0.1:2377"), "{said}");
    ensure!(listens()?, "it is others'");

    used.take_over();
    let pid = used.pid()?;
    let said = used.up_refused("Serving", "ExposedByOthers")?;
    ensure!(said.contains("zzz-mine.conf"), "{said}");
    ensure!(used.pid()? == pid, "no restart helps against that");

    host.sh("cd /etc/systemd/system/docker.service.d; mv zzz-mine.conf mine.conf")?;
    used.homelab.daemon = "restart: Never".into();
    used.up_refused("Serving", "RestartPending").or_else(|_| used.up_serving().map(|()| String::new()))?;
    ensure!(!listens()?, "still open: {}", used.facts());
    used.runs()?;
    used.homelab.daemon = "restart: Always".into();
    used.up_serving()?;
    ensure!(!listens()?, "open again: {}", used.facts());
    sealed(probe)?;
    Ok(())
}

#[test]
fn what_others_do_is_noticed_at_once_while_up_runs() -> Result<()> {
    let host = HostBox::boot()?;
    let mut used = UsedHost::taking_over(&host)?;
    used.up_serving()?;
    used.homelab.daemon = "restart: Never".into();
    let up = used.up_that_stays()?;
    let exec = "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H tcp://127.0.0.1:2375 --tls=false\n";
    host.write(DAEMON_JSON, PLAIN, 0o644)?;
    eventually(|| Ok(host.read(DAEMON_JSON)? != PLAIN)).map_err(|error| error.context(up.log()))?;

    host.write("/etc/systemd/system/docker.service.d/mine.conf", exec, 0o644)?;
    host.sh("rm /etc/systemd/system/docker.service.d/zz-dockseal.conf")?;
    host.write(DAEMON_JSON, PLAIN, 0o644)?;
    used.restart()?;
    eventually(|| Ok(!used.is_open("127.0.0.1:2375")?)).map_err(|error| error.context(up.log()))?;
    used.runs()?;
    eventually(|| Ok(host.read("/etc/systemd/system/docker.service.d/zz-dockseal.conf").is_ok()))?;
    ensure!(!used.is_open("127.0.0.1:2375")?, "open again: {}", used.facts());
    Ok(())
}
