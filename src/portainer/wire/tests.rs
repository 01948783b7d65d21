use super::*;
use crate::portainer::path;
use crate::portainer::prune::Pruner;
use crate::portainer::{DOCKER_API, TlsFiles, same_address};

use serde_json::{Value, json};

fn environment(json: Value) -> Environment {
    serde_json::from_value(json).unwrap()
}

#[test]
fn an_environment_is_parsed() {
    let tls = json!({"TLS": true, "TLSSkipVerify": false, "TLSCACert": "/data/tls/3/ca.pem",
        "TLSCert": "/data/tls/3/cert.pem", "TLSKey": ""});
    let json = json!({"Id": 3, "Name": "dh1", "Type": 1, "URL": "tcp://dh1:2376", "PublicURL": "dh1", "GroupId": 2,
        "TagIds": [4, 5], "Status": 2, "TLSConfig": tls, "Snapshots": [], "Gpus": null, "Kubernetes": {"X": 1}});
    let expected = Environment {
        id: 3,
        name: "dh1".into(),
        kind: DOCKER_API,
        url: "tcp://dh1:2376".into(),
        public_url: "dh1".into(),
        group_id: 2,
        tag_ids: vec![4, 5],
        status: 2,
        tls: EnvironmentTls { on: true, skip_verify: false, has_ca: true, has_cert: true, has_key: false },
    };
    assert_eq!(environment(json), expected);
}

fn pruned<T: Answer>(text: &str) -> T {
    let mut pruner = Pruner::new(T::SHAPE);
    pruner.take(text.as_bytes()).unwrap();
    serde_json::from_slice(&pruner.finish()).unwrap()
}

/// A field that is added to a type and not to its shape would always be empty.
#[test]
fn the_shape_of_an_answer_has_every_field_that_is_read() {
    let tls = json!({"TLS": true, "TLSSkipVerify": true, "TLSCACert": "a", "TLSCert": "b", "TLSKey": "c"});
    let whole = json!({"Id": 3, "Name": "dh1", "Type": 1, "URL": "tcp://dh1:2376", "PublicURL": "dh1", "GroupId": 2,
        "TagIds": [4, 5], "Status": 2, "TLSConfig": tls, "Snapshots": [{"Id": 7, "Name": "x"}]});
    assert_eq!(pruned::<Environment>(&whole.to_string()), environment(whole.clone()));
    assert_eq!(
        pruned::<Vec<Environment>>(&json!([whole, {}]).to_string()),
        [environment(whole), Environment::default()]
    );
    let other = json!({"ID": 3, "GroupID": 2, "TagIDs": [4]});
    assert_eq!(pruned::<Environment>(&other.to_string()), environment(other));
    let status = SystemStatus { version: "2.33.5".into(), instance_id: "i".into() };
    assert_eq!(pruned::<SystemStatus>(r#"{"Version": "2.33.5", "InstanceID": "i"}"#), status);
    let user = User { id: 1, username: "admin".into(), role: 1 };
    assert_eq!(pruned::<User>(r#"{"Id": 1, "Username": "admin", "Role": 1, "Theme": {}}"#), user);
    assert_eq!(pruned::<Vec<Tag>>(r#"[{"ID": 4, "Name": "t"}]"#), [Tag { id: 4, name: "t".into() }]);
    assert_eq!(pruned::<Tag>(r#"{"Id": 4, "Name": "t"}"#), Tag { id: 4, name: "t".into() });
    assert_eq!(pruned::<Vec<Group>>(r#"[{"Id": 1, "Name": "u"}]"#), [Group { id: 1, name: "u".into() }]);
}

#[test]
fn every_text_of_an_answer_is_short_and_clean() {
    let hostile = format!("a\u{202e}\u{1b}[31m\r\n{}", "x".repeat(900_000));
    let texts = |of: Value| -> Vec<String> {
        let found = environment(of.clone());
        let user: User = serde_json::from_value(of.clone()).unwrap();
        let status: SystemStatus = serde_json::from_value(of.clone()).unwrap();
        let (tag, group): (Tag, Group) =
            (serde_json::from_value(of.clone()).unwrap(), serde_json::from_value(of.clone()).unwrap());
        let error: ErrorBody = serde_json::from_value(of).unwrap();
        vec![
            found.name,
            found.url,
            found.public_url,
            user.username,
            status.version,
            status.instance_id,
            tag.name,
            group.name,
            error.message,
            error.details,
        ]
    };
    let of = json!({"Name": hostile, "URL": hostile, "PublicURL": hostile, "Username": hostile, "Version": hostile,
        "InstanceID": hostile, "message": hostile, "details": hostile});
    for text in texts(of) {
        assert_eq!(text.len(), 1024);
        assert!(text.starts_with("a [31m  xxx"), "{}", &text[..20]);
    }
    // Every text of an answer is among them.
    let source = include_str!("../wire.rs").split("/// The answer to a login").next().unwrap();
    let (all, short) = (source.matches(": String,").count(), source.matches("deserialize_with = \"short\")]").count());
    assert_eq!((all, short), (10, 10));
    let tags = json!({"TagIds": vec![1; 1001]});
    assert!(serde_json::from_value::<Environment>(tags).is_err());
}

#[test]
fn what_is_missing_or_null_is_empty() {
    assert_eq!(environment(json!({})), Environment::default());
    let nulls = json!({"Id": null, "Name": null, "TagIds": null, "TLSConfig": null, "PublicURL": null});
    assert_eq!(environment(nulls), Environment::default());
    assert_eq!(environment(json!({"TLSConfig": {"TLS": null}})).tls, EnvironmentTls::default());
}

#[test]
fn other_bodies_are_parsed() {
    fn read<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }
    let status = SystemStatus { version: "2.33.5".into(), instance_id: "i".into() };
    assert_eq!(read::<SystemStatus>(json!({"Version": "2.33.5", "InstanceID": "i", "Edition": "CE"})), status);
    let user: User = read(json!({"Id": 1, "Username": "admin", "Role": 1}));
    assert!(user.is_administrator());
    assert!(!read::<User>(json!({"Id": 2, "Role": 2})).is_administrator());
    let tag = Tag { id: 4, name: "t".into() };
    assert_eq!(read::<Tag>(json!({"ID": 4, "Name": "t", "Endpoints": {"3": true}})), tag);
    assert_eq!(read::<Tag>(json!({"Id": 4, "Name": "t"})), tag);
    assert_eq!(read::<Group>(json!({"Id": 1, "Name": "Unassigned"})).id, 1);
    let refusal = ErrorBody { message: "m".into(), details: "d".into() };
    assert_eq!(read::<ErrorBody>(json!({"message": "m", "details": "d"})), refusal);
}

#[test]
fn a_change_says_what_changes_and_nothing_else() {
    let tls = |verify_server| Some(NewTls { verify_server });
    let all = EnvironmentChange {
        name: Some("n".into()),
        url: Some("https://H:1/".into()),
        public_url: Some(String::new()),
        group_id: Some(2),
        tag_ids: Some(Vec::new()),
        tls: tls(true),
    };
    for (change, body) in [
        (EnvironmentChange::default(), json!({})),
        (EnvironmentChange { name: Some(String::new()), ..EnvironmentChange::default() }, json!({})),
        (
            EnvironmentChange { url: Some("h:2376".into()), tls: tls(false), ..EnvironmentChange::default() },
            json!({"URL": "tcp://h:2376", "TLS": true, "TLSSkipVerify": true, "TLSSkipClientVerify": false}),
        ),
        (
            all,
            json!({"Name": "n", "URL": "tcp://h:1", "PublicURL": "", "GroupID": 2, "TagIDs": [], "TLS": true,
                "TLSSkipVerify": false, "TLSSkipClientVerify": false}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&change).unwrap(), body);
    }
}

#[test]
fn a_new_environment_is_a_form() {
    let new = NewEnvironment {
        name: "dh 1".into(),
        url: "https://DH1:2376/".into(),
        public_url: Some("dh1".into()),
        group_id: None,
        tag_ids: vec![4, 5],
        verify_server: true,
    };
    let expected = [
        ("Name", "dh 1"),
        ("EndpointCreationType", "1"),
        ("URL", "tcp://dh1:2376"),
        ("TagIds", "[4,5]"),
        ("ContainerEngine", "docker"),
        ("TLS", "true"),
        ("TLSSkipVerify", "false"),
        ("TLSSkipClientVerify", "false"),
        ("PublicURL", "dh1"),
    ];
    assert_eq!(create_fields(&new), expected.map(|(name, value)| (name, value.to_owned())));
    let bare = NewEnvironment { public_url: None, group_id: Some(7), tag_ids: vec![], verify_server: false, ..new };
    let fields = create_fields(&bare);
    for field in [("TagIds", "[]"), ("TLSSkipVerify", "true"), ("GroupID", "7")] {
        assert!(fields.contains(&(field.0, field.1.to_owned())), "{field:?}");
    }
    assert!(fields.iter().all(|(name, _)| *name != "PublicURL"));
}

#[test]
fn addresses_are_compared_as_portainer_dials_them() {
    for (a, b, same) in [
        ("tcp://h:2376", "https://h:2376", true),
        ("tcp://H:2376/", "h:2376", true),
        ("tcp://h:2376", "tcp://h:2375", false),
        ("tcp://[::1]:2376", "https://[::1]:2376/", true),
        ("unix:///var/run/docker.sock", "tcp:///var/run/docker.sock", false),
        ("tcp://h:2376", "tcp://g:2376", false),
    ] {
        assert_eq!(same_address(a, b), same, "{a} and {b}");
    }
}

#[test]
fn names_are_written_into_addresses_safely() {
    assert_eq!(path::named("a b&c=é/"), "/api/endpoints?excludeSnapshots=true&name=a%20b%26c%3D%C3%A9%2F");
    assert_eq!(path::upload(File::Key), "/api/upload/tls/key");
}

#[test]
fn files_are_not_shown() {
    let files = TlsFiles { ca: b"ca".to_vec(), cert: b"cert".to_vec(), key: Zeroizing::new(b"secret".to_vec()) };
    assert_eq!(format!("{files:?}"), "TlsFiles(redacted)");
}
