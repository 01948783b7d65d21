//! Files as they should be, by what others left.

use super::*;
use crate::api::condition::Reason;
use crate::decide::host::daemon_config::{check_in_force, closed, removed};
use crate::docker::daemon_json::enforces_client_auth;

const OVERRIDE: &str = "/usr/bin/dockerd -H fd:// -H tcp://0.0.0.0:2376 --tlsverify --tlscacert=/srv/ca.pem \
    --tlscert /srv/cert.pem --tlskey=/srv/key.pem --debug";

fn json(text: &str) -> ExistingConfig {
    ExistingConfig { daemon_json: Some(text.as_bytes().to_vec()), ..fresh() }
}

fn exec(line: &str) -> ExistingConfig {
    ExistingConfig { exec: line.into(), ..fresh() }
}

fn options(text: &str) -> ExistingConfig {
    ExistingConfig { variables: [("DOCKER_OPTS".to_owned(), text.to_owned())].into(), ..fresh() }
}

fn stream(text: &str) -> ExistingConfig {
    ExistingConfig { streams: vec!["/run/docker.sock".into(), text.into()], ..fresh() }
}

/// What each how-to leaves, what it is called, and dockerd's command line after it, if that changes.
#[test]
fn others_settings_are_named_and_replaced() {
    let cases: [(ExistingConfig, &str, Option<&str>); 10] = [
        (json(r#"{"hosts":["unix:///run/docker.sock"]}"#), "hosts in daemon.json", None),
        (json(r#"{"tlsverify":true,"tlscacert":"/a","tlscert":"/b","tlskey":"/c"}"#), "TLS settings", None),
        (json(r#"{"tls":true}"#), "TLS settings", None),
        (exec("/usr/sbin/dockerd"), "without -H fd://", Some("/usr/sbin/dockerd -H fd://")),
        (exec(OVERRIDE), "-H tcp://0.0.0.0:2376 in ExecStart", Some("/usr/bin/dockerd -H fd:// --debug")),
        (exec("dockerd -H=0.0.0.0:2376"), "-H 0.0.0.0:2376", Some("dockerd -H fd://")),
        (options("--debug -H tcp://:2375"), "-H tcp://:2375", Some("--debug")),
        (stream("0.0.0.0:2375"), "ListenStream=0.0.0.0:2375 in docker.socket", None),
        (stream("2375"), "ListenStream=2375", None),
        (ExistingConfig { running: vec!["--tls of the past".into()], ..fresh() }, "--tls of the past", None),
    ];
    let mut request = request();
    for (found, named, replaced) in cases {
        request.host.delivery.take_over = false;
        let refused = served(&found, &desired(&request)).expect_err(named);
        assert_eq!(refused.reason, Reason::DaemonConflict);
        assert!(refused.message.contains(named) && refused.message.contains("takeOver"), "{}", refused.message);
        request.host.delivery.take_over = true;
        let layout = served(&found, &desired(&request)).expect(named);
        let drop_in = layout.drop_in.expect("a drop-in");
        let line = drop_in.lines().rfind(|line| line.starts_with("ExecStart="));
        assert_eq!(line.is_some(), replaced.is_some(), "{named}: {drop_in}");
        assert!(line.unwrap_or_default().contains(replaced.unwrap_or_default()), "{named}: {drop_in}");
        assert!(!drop_in.contains("tcp://") && !drop_in.contains("--tls"), "{drop_in}");
        let text = layout.daemon_json.expect("daemon.json");
        assert_eq!(enforces_client_auth(&text).expect("sealed"), paths(&request), "{named}");
        assert!(!String::from_utf8_lossy(&text).contains("hosts"), "{named}");
        assert_eq!(layout.docker_socket.is_some(), found.streams.len() > 1, "{named}");
    }
}

#[test]
fn what_is_in_order_is_left_alone() {
    let request = request();
    let layout = served(&fresh(), &desired(&request)).expect("nothing is in the way");
    let again = served(&ExistingConfig { daemon_json: layout.daemon_json.clone(), ..fresh() }, &desired(&request));
    assert_eq!(again.expect("ours is not in the way"), layout, "a fixed point");
    assert!(layout.docker_socket.is_none() && !layout.drop_in.expect("a drop-in").contains("ExecStart="));
    for stream in ["%t/docker.sock", "/srv/docker.sock", "@docker"] {
        assert!(served(&self::stream(stream), &desired(&request)).is_ok(), "{stream} is no TCP");
    }
    let mixed = ExistingConfig { streams: vec!["%t/docker.sock".into(), "2375".into()], ..fresh() };
    let closed = closed(&mixed, &[Listen::all(2376)]).expect("it is read").docker_socket.expect("a drop-in");
    assert!(closed.contains("ListenStream=/run/docker.sock\n"), "{closed}");
}

#[test]
fn what_cannot_be_read_or_told_is_refused() {
    let request = request();
    let overruling =
        ExistingConfig { overruling: vec!["/etc/systemd/system/docker.service.d/zzz.conf".into()], ..fresh() };
    let cases = [
        (json("{,}"), Reason::DaemonUnusable, "not JSON"),
        (exec(""), Reason::DaemonUnusable, "empty"),
        (exec("/usr/sbin/dockerd -H fd:// --config-file=/srv/d.json"), Reason::DaemonConflict, "/srv/d.json"),
        (options("--config-file /srv/d.json"), Reason::DaemonConflict, "/srv/d.json"),
        (overruling, Reason::DaemonConflict, "zzz.conf"),
        (ExistingConfig { unknown: Some("a script".into()), ..fresh() }, Reason::DaemonConflict, "a script"),
    ];
    for (found, reason, words) in cases {
        let refused = served(&found, &desired(&request)).expect_err(words);
        assert!(refused.reason == reason && refused.message.contains(words), "{words}: {refused:?}");
    }
    assert!(check_in_force(&exec("dockerd -H fd:// --config-file /etc/docker/daemon.json")).is_ok());
}

#[test]
fn live_restore_is_said_once() {
    let request = request();
    let desired = DesiredConfig { live_restore: true, ..desired(&request) };
    let says = |found: &ExistingConfig| {
        let text = served(found, &desired).expect("nothing is in the way").daemon_json.expect("daemon.json");
        String::from_utf8_lossy(&text).contains("live-restore")
    };
    assert!(says(&fresh()));
    assert!(!says(&exec("dockerd -H fd:// --live-restore")), "dockerd refuses both");
    assert!(!says(&options("--live-restore=true")));
}

#[test]
fn closed_has_only_the_unix_socket_and_keeps_tls() {
    let tls = r#"{"hosts":["tcp://0.0.0.0:2376"],"tlsverify":true,"tlscacert":"/a","tlscert":"/b","tlskey":"/c"}"#;
    let layout =
        closed(&ExistingConfig { exec: "dockerd".into(), ..json(tls) }, &[Listen::all(2376)]).expect("it is read");
    let text = String::from_utf8(layout.daemon_json.expect("daemon.json")).expect("text");
    assert_eq!(text, tls.replace(r#""hosts":["tcp://0.0.0.0:2376"],"#, ""));
    assert!(layout.drop_in.expect("a drop-in").contains("ExecStart=dockerd -H fd://") && !layout.wanted);
}

#[test]
fn removed_leaves_what_is_not_ours_and_opens_nothing() {
    let request = request();
    let ours = served(&json("{\n  \"debug\": true\n}\n"), &desired(&request)).expect("nothing is in the way");
    let layout =
        removed(&ExistingConfig { daemon_json: ours.daemon_json, ..fresh() }, &paths(&request)).expect("it is read");
    assert_eq!(layout.daemon_json.as_deref(), Some(&b"{\n  \"debug\": true\n}\n"[..]));
    assert!(layout.drop_in.is_none() && layout.socket.is_none() && !layout.wanted);
    let theirs = r#"{"tlsverify":true,"tlscacert":"/a","tlscert":"/b","tlskey":"/c"}"#;
    let layout = removed(&json(theirs), &paths(&request)).expect("it is read");
    assert_eq!(layout.daemon_json.as_deref(), Some(theirs.as_bytes()), "somebody else's by now");
    let left = removed(&exec(OVERRIDE), &paths(&request)).expect("it is read").drop_in.expect("what keeps it closed");
    assert!(left.contains("ExecStart=/usr/bin/dockerd -H fd:// --debug") && !left.contains("guard"), "{left}");
    assert!(removed(&stream("2375"), &paths(&request)).expect("it is read").docker_socket.is_some());
}
