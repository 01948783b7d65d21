//! Clusters that are not as they should be: nowhere, too old, without our kinds or with others. Real ones are in
//! tests/cluster.

use crate::fixture::{CommandOutput, Fixture};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// An API server that gives the same answers for ever.
fn server(answers: &'static [(&'static str, u16, &'static str)]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(stream, answers));
        }
    });
    port
}

fn answer(mut stream: std::net::TcpStream, answers: &[(&str, u16, &str)]) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut request, mut length) = (String::new(), 0);
        if reader.read_line(&mut request).unwrap_or_default() == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if let Some(text) = header.to_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let known = answers.iter().find(|(beginning, ..)| path.starts_with(beginning));
        let (status, body) = known.map_or((404, "404 page not found\n"), |(_, status, body)| (*status, *body));
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + body).as_bytes());
    }
}

fn asked(fixture: &Fixture, url: &str, arguments: &[&str]) -> CommandOutput {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "home"}}],
    });
    fixture.0.write("kubeconfig", kubeconfig.to_string()).unwrap();
    fixture.command(&[arguments, &["--kubeconfig", "kubeconfig"]].concat()).output().unwrap().into()
}

const OLD: &str = r#"{"major":"1","minor":"33+","gitVersion":"v1.33.2-eks","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;
const NEW: &str = r#"{"major":"1","minor":"34","gitVersion":"v1.34.1","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;
const NO_GROUP: &str = r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#;
const OTHER_GROUP: &str = r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"dockseal.dev","versions":[{"groupVersion":"dockseal.dev/v1beta1","version":"v1beta1"}]}]}"#;
const UNAUTHORIZED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
const STRANGE: &str = r#"{"kind":"DockerHostCertList","apiVersion":"dockseal.dev/v1alpha1","metadata":{},"items":[{"metadata":{"name":"pandora","namespace":"home"},"spec":{"authority":"homelab"}}]}"#;

#[test]
fn every_verb_says_what_is_wrong_with_a_cluster() {
    let fixture = Fixture(crate::support::scratch::Scratch::new("cli").unwrap());
    let nowhere = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let cases = [
        (url(nowhere), "failed to reach the API server"),
        (
            url(server(&[("/version", 200, OLD)])),
            "is Kubernetes v1.33.2-eks, and Dockseal needs 1.34 or newer: upgrade",
        ),
        (url(server(&[("/version", 401, UNAUTHORIZED)])), "refuses the kubeconfig's credentials"),
        (
            url(server(&[("/version", 200, NEW), ("/apis", 200, NO_GROUP)][..1])),
            "Dockseal is not installed in the cluster",
        ),
        (
            url(server(&[("/version", 200, NEW), ("/apis/dockseal.dev", 404, ""), ("/apis", 200, NO_GROUP)])),
            "its CRDs are missing",
        ),
        (
            url(server(&[("/version", 200, NEW), ("/apis/dockseal.dev", 404, ""), ("/apis", 200, OTHER_GROUP)])),
            "has dockseal.dev in v1beta1, and this dockseal",
        ),
    ];
    for (url, words) in cases {
        for verb in [
            &["status"][..],
            &["status", "-A", "dhc/pandora"],
            &["renew", "dcc/ci"],
            &["renew", "--all"],
            &["bundle", "ci", "-o", "x"],
            &["bundle", "dhc/pandora", "-o", "x"],
            &["context", "ci", "pandora"],
            &["verify", "pandora"],
            &["enroll", "pandora"],
            &["enroll", "pandora", "--revoke"],
        ] {
            let ran = asked(&fixture, &url, verb);
            ran.ends(1, words);
            assert!(ran.err.contains(&url), "which server: {}", ran.err);
            assert_eq!((ran.out.as_str(), ran.err.lines().count()), ("", 1), "{ran:?}");
        }
    }
    asked(&fixture, &url(server(&[("/version", 200, OLD)])), &["controller"]).ends(1, "is Kubernetes v1.33.2-eks");
    let strange = server(&[("/version", 200, NEW), ("/apis/dockseal.dev", 200, STRANGE)]);
    asked(&fixture, &url(strange), &["status", "dhc"]).ends(1, "cannot read the");
    let closed = server(&[("/version", 403, SILENT), ("/apis/dockseal.dev", 404, ""), ("/apis", 200, NO_GROUP)]);
    asked(&fixture, &url(closed), &["status"]).ends(1, "its CRDs are missing");
}

/// Some clusters tell their version to nobody: that alone is not an error.
const SILENT: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"forbidden","reason":"Forbidden","code":403}"#;

const WAITING: &str = "waiting for the cluster …";

#[test]
fn who_waits_at_a_terminal_is_told() {
    let fixture = Fixture(crate::support::scratch::Scratch::new("cli").unwrap());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    asked(&fixture, "http://127.0.0.1:1", &["status"]);
    let text = std::fs::read_to_string(fixture.path("kubeconfig")).unwrap();
    fixture.0.write("kubeconfig", text.replace("http://127.0.0.1:1\"", &format!("{url}\""))).unwrap();
    let screen = fixture.path("screen");
    let said = move || String::from_utf8_lossy(&std::fs::read(&screen).unwrap_or_default()).into_owned();
    let seen = said.clone();
    std::thread::spawn(move || {
        let stream = silent.accept();
        let deadline = Instant::now() + Duration::from_secs(90);
        while !seen().contains(WAITING) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(stream);
        drop(silent);
    });
    let line = format!("'{}' status --kubeconfig kubeconfig", env!("CARGO_BIN_EXE_dockseal"));
    fixture.0.try_run(&format!("script -qefc \"{line}\" screen </dev/null >/dev/null")).unwrap();
    assert!(said().contains(WAITING), "{}", said());
}
