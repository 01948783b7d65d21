//! Names of objects, and addresses as Portainer has them.

use super::portainer::{PLACEHOLDER, PortainerAdoption, adopt};
use super::*;
use crate::decide::registration::ServerSnapshot;
use crate::portainer::Environment;

#[test]
fn names_are_kubernetes_own_and_taken_once() {
    for (text, name) in [
        ("Docker CA", "docker-ca"),
        ("pandora.bodkys.house", "pandora-bodkys-house"),
        ("--Ünï--", "n"),
        ("*.a_b", "a-b"),
        ("", ""),
    ] {
        assert_eq!(slug(text), name, "{text}");
    }
    assert_eq!(slug(&"a-".repeat(40)).len(), 49);
    let mut names = UniqueNames::default();
    let taken = [
        names.take(&["pandora", "pandora.home"], "host"),
        names.take(&["Pandora", "pandora.lab"], "host"),
        names.take(&["pandora", "pandora.lab"], "host"),
        names.take(&["ü"], "host"),
        names.take(&["ü"], "host"),
    ];
    assert_eq!(taken, ["pandora", "pandora-lab", "pandora-2", "host", "host-2"]);
}

fn options(url: &str) -> PortainerAdoption {
    PortainerAdoption {
        name: None,
        authority: "homelab".into(),
        url: url.into(),
        roots_pem: None,
        server_name: None,
        printed_key: None,
    }
}

fn snapshot(url: &str) -> ServerSnapshot {
    let environment = Environment { id: 7, name: "one".into(), kind: 1, url: url.into(), ..Environment::default() };
    ServerSnapshot { version: "2.33.5".into(), environments: [(7, environment)].into(), ..ServerSnapshot::default() }
}

fn of_kind(adopted: &Adopted, kind: &str) -> Option<Value> {
    adopted.manifests.iter().find(|manifest| manifest["kind"] == kind).cloned()
}

#[test]
fn addresses_of_environments_are_read_as_portainer_reads_them() {
    let spec = |url: &str| {
        let host = of_kind(&adopt(&snapshot(url), &options("https://portainer.example")), "DockerHostCert")?;
        Some((
            host["spec"]["hostname"].clone(),
            host["spec"]["ipAddresses"][0].clone(),
            host["spec"]["address"].clone(),
        ))
    };
    let port = |port: u16| json!({ "port": port });
    for (url, hostname, ip, address) in [
        ("tcp://pandora:2376", json!("pandora"), Value::Null, Value::Null),
        ("https://Pandora.Home:2377/", json!("pandora.home"), Value::Null, port(2377)),
        ("tcp://192.168.1.7:2376", Value::Null, json!("192.168.1.7"), Value::Null),
        ("tcp://[fd00::7]:12376", Value::Null, json!("fd00::7"), port(12376)),
        ("pandora:2376", json!("pandora"), Value::Null, Value::Null),
        ("tcp://pandora", json!("pandora"), Value::Null, Value::Null),
        ("tcp://pandora:2375", json!("pandora"), Value::Null, Value::Null),
    ] {
        assert_eq!(spec(url), Some((hostname, ip, address)), "{url}");
    }
    for url in
        ["unix:///var/run/docker.sock", "npipe:////./pipe/docker_engine", "tcp://", "tcp://a b:1", "tcp://a:x", ""]
    {
        let adopted = adopt(&snapshot(url), &options("https://portainer.example"));
        assert_eq!(of_kind(&adopted, "DockerHostCert"), None, "{url}");
        assert!(adopted.findings.iter().any(|word| word.kind == FindingKind::LeftOut), "{url}");
    }
}

#[test]
fn the_server_is_named_and_reached_as_it_was() {
    let client = |options: &PortainerAdoption| {
        of_kind(&adopt(&ServerSnapshot::default(), options), "PortainerClient").expect("there is one")
    };
    for (url, name, common_name) in [
        ("https://portainer.bodkys.house", "portainer", "portainer.bodkys.house"),
        ("https://10.0.0.1:9443/portainer", "portainer", "10.0.0.1"),
        ("http://[fd00::1]:9000", "portainer", "fd00::1"),
        ("https://nas:9443", "nas", "nas"),
    ] {
        let client = client(&options(url));
        assert_eq!(client["metadata"]["name"], name, "{url}");
        assert_eq!(client["spec"]["commonName"], common_name, "{url}");
        assert_eq!(client["spec"]["server"]["url"], url);
        assert_eq!(client["spec"]["server"]["allowHTTP"] == true, url.starts_with("http://"), "{url}");
    }
    let given = PortainerAdoption {
        roots_pem: Some("PEM".into()),
        server_name: Some("localhost".into()),
        printed_key: Some("ptr_key".to_owned().into()),
        ..options("https://portainer")
    };
    let tls = json!({ "caSecretRef": { "name": "portainer-server-ca", "key": "ca.crt" }, "serverName": "localhost" });
    assert_eq!(client(&given)["spec"]["server"]["tls"], tls);
    let key = |options: &PortainerAdoption| {
        let secret = of_kind(&adopt(&ServerSnapshot::default(), options), "Secret").expect("there is one");
        secret["stringData"]["apiKey"].clone()
    };
    assert_eq!((key(&given), key(&options("https://portainer"))), ("ptr_key".into(), PLACEHOLDER.into()));
}

#[test]
fn a_portainer_that_docker_29_left_behind_is_told() {
    let said = |version: &str| {
        let snapshot = ServerSnapshot { version: version.into(), ..ServerSnapshot::default() };
        adopt(&snapshot, &options("https://portainer")).findings.iter().any(|word| word.text.contains("Docker 29"))
    };
    assert!(said("2.21.4") && !said("2.33.5"));
}
