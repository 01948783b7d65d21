//! What is asked, and what is made of the answers.

use super::*;
use crate::adapters::docker::ping::{DockerAddress, PingError};
use crate::adapters::net::destinations::Destinations;
use crate::pki::profile::Usage;

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

/// A form as Go's mime/multipart reads it: name, file name and content of each part.
fn parts(asked: &Asked) -> Vec<(String, Option<String>, Vec<u8>)> {
    let boundary = asked.header("content-type").unwrap().strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = String::from_utf8(asked.body.to_vec()).unwrap();
    let body = body.strip_suffix(&format!("--{boundary}--\r\n")).unwrap();
    let quoted = |head: &str, key: &str| {
        let rest = head.split(&format!(" {key}=\"")).nth(1)?;
        Some(rest.split('"').next().unwrap().to_owned())
    };
    let part = |text: &str| {
        let (head, content) = text.strip_suffix("\r\n").unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("Content-Disposition: form-data; name="), "{head}");
        (quoted(head, "name").unwrap(), quoted(head, "filename"), content.as_bytes().to_vec())
    };
    body.split(&format!("--{boundary}\r\n")).skip(1).map(part).collect()
}

fn new_environment(verify_server: bool) -> NewEnvironment {
    let url = "tcp://dh1:2376".to_owned();
    NewEnvironment { name: "dh1".into(), url, public_url: None, group_id: None, tag_ids: vec![4], verify_server }
}

fn files() -> TlsFiles {
    TlsFiles { ca: b"CA\r\n".to_vec(), cert: b"CERT\n".to_vec(), key: Zeroizing::new(PEM.as_bytes().to_vec()) }
}

#[tokio::test]
async fn an_environment_is_made_by_a_form() {
    for verified in [true, false] {
        let (fake, portainer) = always(200, r#"{"Id":7,"Name":"dh1","Snapshots":null}"#).await;
        let made = portainer.create(&new_environment(verified), &files()).await.unwrap();
        assert_eq!((made.id, fake.lines()), (7, vec!["POST /api/endpoints".to_owned()]));
        let parts = parts(&fake.asked()[0]);
        let file = |name: &str| parts.iter().find(|part| part.0 == name).map(|part| (part.1.is_some(), &*part.2));
        assert_eq!(file("TLSCertFile"), Some((true, &b"CERT\n"[..])));
        assert_eq!(file("TLSKeyFile"), Some((true, PEM.as_bytes())));
        assert_eq!(file("TLSCACertFile"), verified.then_some((true, &b"CA\r\n"[..])));
        assert_eq!(file("Name"), Some((false, &b"dh1"[..])));
        assert_eq!(file("TagIds"), Some((false, &b"[4]"[..])));
    }
}

#[tokio::test]
async fn a_file_is_uploaded_by_a_form() {
    let (fake, portainer) = always(204, "").await;
    portainer.upload(7, File::Ca, b"CA").await.unwrap();
    assert_eq!(fake.lines(), ["POST /api/upload/tls/ca"]);
    let parts = parts(&fake.asked()[0]);
    assert_eq!(parts[0], ("folder".to_owned(), None, b"7".to_vec()));
    assert_eq!((&*parts[1].0, parts[1].1.is_some(), &*parts[1].2), ("file", true, &b"CA"[..]));
}

#[tokio::test]
async fn a_change_is_put() {
    let (fake, portainer) = always(200, r#"{"Id":7}"#).await;
    let change = EnvironmentChange { tls: Some(NewTls { verify_server: true }), ..EnvironmentChange::default() };
    portainer.change(7, &change).await.unwrap();
    let asked = &fake.asked()[0];
    assert_eq!((&*asked.line, asked.header("content-type")), ("PUT /api/endpoints/7", Some("application/json")));
    assert_eq!(&asked.body[..], br#"{"TLS":true,"TLSSkipVerify":false,"TLSSkipClientVerify":false}"#);
}

#[tokio::test]
async fn environments_are_found_by_their_exact_name() {
    let (fake, portainer) = always(200, r#"[{"Id":1,"Name":"a b"},{"Id":2,"Name":"A B"},{"Id":3}]"#).await;
    let found = portainer.named("a b").await.unwrap();
    assert_eq!(found.iter().map(|environment| environment.id).collect::<Vec<_>>(), [1]);
    assert_eq!(portainer.environments().await.unwrap().len(), 3);
    assert_eq!(fake.lines()[0], "GET /api/endpoints?excludeSnapshots=true&name=a%20b");
    assert_eq!(fake.lines()[1], "GET /api/endpoints?excludeSnapshots=true");
}

#[tokio::test]
async fn what_is_not_there_is_none_where_portainer_says_so() {
    let (_fake, portainer) =
        always(404, r#"{"message":"Unable to find an environment","details":"Object not found"}"#).await;
    assert_eq!(portainer.environment(7).await, Ok(None));
    assert_eq!(portainer.delete(7).await, Ok(()));
    assert_eq!(portainer.snapshot(7).await, Err(PortainerError::NotFound));
    // Such as a proxy without a way to Portainer: it says nothing about environments.
    let (_fake, portainer) = always(404, "404 page not found").await;
    let nowhere = PortainerError::Refused { status: 404, message: "Not Found".into() };
    assert_eq!(portainer.environment(7).await, Err(nowhere.clone()));
    assert_eq!(portainer.delete(7).await, Err(nowhere));
}

#[tokio::test]
async fn a_tag_that_is_there_is_found() {
    let answer = |asked: &Asked| match &*asked.line {
        "POST /api/tags" => Some(json(409, r#"{"message":"exists"}"#)),
        _ => Some(json(200, r#"[{"ID":1,"Name":"b"},{"ID":2,"Name":"a"}]"#)),
    };
    let (fake, portainer) = answering(answer).await;
    assert_eq!(portainer.create_tag("a").await.unwrap().id, 2);
    assert_eq!(portainer.create_tag("c").await, Err(PortainerError::NameInUse));
    assert_eq!(&fake.asked()[0].body[..], br#"{"Name":"a"}"#);
}

#[tokio::test]
async fn a_ping_is_answered_by_docker_or_not() {
    let refused = |status: u16, message: &str| Err(PortainerError::Refused { status, message: message.into() });
    for (status, body, said) in [
        (200, "OK", Ok(())),
        (204, "", refused(204, "No Content")),
        (502, "", Err(PortainerError::HostUnreachable("it gets no answer from Docker".into()))),
        (500, r#"{"message":"Unable to create proxy"}"#, refused(500, "Unable to create proxy")),
        (403, r#"{"message":"Permission denied"}"#, Err(PortainerError::Forbidden("Permission denied".into()))),
    ] {
        let (fake, portainer) = always(status, body).await;
        assert_eq!(portainer.ping(7).await, said);
        assert_eq!(fake.lines(), ["GET /api/endpoints/7/docker/_ping"]);
    }
    let page = |_: &Asked| {
        let answer = Response::builder().status(502).header("Content-Type", "text/html; charset=utf-8");
        Some(answer.body(Full::new("<html>nginx</html>".into())).unwrap())
    };
    let (_fake, portainer) = answering(page).await;
    assert_eq!(portainer.ping(7).await, refused(502, "a web page that is not Portainer's"));
}

#[tokio::test]
async fn only_portainers_own_words_are_told() {
    const SECRET: &str = "instance-credential";
    for (status, body, said) in [
        (400, r#"{"message":"Invalid request","details":"no name"}"#, "Invalid request: no name"),
        (500, r#"{"message":"Unable to create proxy"}"#, "Unable to create proxy"),
        (400, r#"{"kind":"Status","apiVersion":"v1","message":"instance-credential"}"#, "Bad Request"),
        (418, r#"{"message":{"a":"instance-credential"}}"#, "I'm a teapot"),
        (500, r#"["instance-credential"]"#, "Internal Server Error"),
        (500, r#""instance-credential""#, "Internal Server Error"),
        (500, "instance-credential", "Internal Server Error"),
        (404, "instance-credential", "Not Found"),
        (599, "instance-credential", "no message"),
    ] {
        let (_fake, portainer) = always(status, body).await;
        let refused = portainer.tags().await;
        assert_eq!(refused, Err(PortainerError::Refused { status, message: said.into() }), "{body}");
    }
    for body in ["instance-credential", r#"{"Version":["instance-credential"]}"#, r#"[{"ID":"instance-credential"}]"#] {
        let (_fake, portainer) = always(200, body).await;
        for error in [portainer.tags().await.map(drop), portainer.status().await.map(drop)] {
            let Err(error) = error else { continue };
            assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
        }
    }
}

#[tokio::test]
async fn where_no_connection_may_be_made_nothing_is_sent() {
    let networks = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    let network = MachineNetwork(Destinations::only(networks, ("192.0.2.1", 443)));
    let (fake, _) = always(200, "[]").await;
    let key = || ServerCredential::ApiKey(Zeroizing::new(KEY.to_owned()));
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"] {
        let access = access(format!("http://{host}:{}", fake.port));
        let portainer = network.portainer(&access, key(), Arc::default()).unwrap();
        let refused = portainer.tags().await.map(drop);
        assert!(
            matches!(refused, Err(PortainerError::NotAllowed | PortainerError::Unreachable(_))),
            "{host}: {refused:?}"
        );
        let address = DockerAddress { host: host.trim_matches(['[', ']']).into(), port: fake.port };
        let signer = Signer::new();
        let pair = signer.leaf(Usage::Client, "portainer");
        let refused = network.ping_docker(&address, None, (&pair.cert, &pair.key)).await;
        let nameless = matches!(&refused, Err(PingError::Other(why)) if why.contains("neither a name"));
        assert!(
            nameless || matches!(refused, Err(PingError::NotAllowed | PingError::Unresolved(_))),
            "{host}: {refused:?}"
        );
    }
    assert!(fake.lines().is_empty());
    let access = access(format!("http://127.0.0.1:{}", fake.port));
    let refused = network.portainer(&access, key(), Arc::default()).unwrap().tags().await.map(drop);
    assert_eq!(refused, Err(PortainerError::NotAllowed));
}

#[tokio::test]
async fn a_server_behind_a_path_is_asked_behind_it() {
    let (fake, _) = always(200, "[]").await;
    for end in ["", "/"] {
        of_key(format!("http://127.0.0.1:{}/a/portainer{end}", fake.port)).groups().await.unwrap();
    }
    assert_eq!(fake.lines(), vec!["GET /a/portainer/api/endpoint_groups"; 2]);
    assert_eq!(fake.asked()[0].header("host"), Some(&*format!("127.0.0.1:{}", fake.port)));
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let (target, _) = always(200, "[]").await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!("http://127.0.0.1:{}/", target.port);
        let redirect = move |_: &Asked| {
            let answer = Response::builder().status(status).header("Location", &to);
            Some(answer.body(Full::default()).unwrap())
        };
        let (_fake, portainer) = answering(redirect).await;
        let message = "a redirect to another address".to_owned();
        assert_eq!(portainer.tags().await, Err(PortainerError::Refused { status, message }));
    }
    assert!(target.lines().is_empty());
    let (_fake, portainer) = always(303, r#"{"message":"Administrator initialization timeout"}"#).await;
    assert_eq!(portainer.status().await, Err(PortainerError::NotInitialised));
}

#[tokio::test]
async fn answers_that_never_come_or_make_no_sense_are_told() {
    let (_fake, portainer) = answering(|_| None).await;
    assert_eq!(portainer.snapshot(7).await, Err(PortainerError::TimedOut));
    let (_fake, portainer) = always(200, r#"{"Id":"#).await;
    assert!(matches!(portainer.me().await, Err(PortainerError::Unreadable(_))));
    let (_fake, portainer) = always(409, "").await;
    let made = portainer.create(&new_environment(true), &files()).await;
    assert_eq!(made, Err(PortainerError::NameInUse));
}

#[tokio::test]
async fn what_is_not_read_of_an_answer_may_be_long() {
    let long: &'static str = format!(r#"{{"Id":1,"Pad":"{}"}}"#, "x".repeat(2 << 20)).leak();
    let (_fake, portainer) = always(200, long).await;
    assert_eq!(portainer.me().await.unwrap().id, 1);
    let changed = portainer.change(1, &EnvironmentChange::default()).await;
    assert_eq!(changed.unwrap().id, 1, "its snapshot makes an environment long");
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let echo = |asked: &Asked| {
        let heard =
            [asked.header("x-api-key"), asked.header("authorization")].into_iter().flatten().collect::<String>();
        let words = format!("{heard} {}", String::from_utf8_lossy(&asked.body));
        let status = if asked.line.ends_with("/auth") { 500 } else { 400 };
        Some(json(status, &serde_json::json!({"message": words, "details": PEM}).to_string()))
    };
    let fake = Fake::plain(echo).await;
    let by_key = of_key(format!("http://127.0.0.1:{}", fake.port));
    let by_user = of_user(&fake);
    let errors = [
        by_key.create(&new_environment(true), &files()).await.unwrap_err(),
        by_key.upload(7, File::Key, PEM.as_bytes()).await.unwrap_err(),
        by_key.ping(7).await.unwrap_err(),
        by_user.me().await.unwrap_err(),
        by_user.initialize().await.unwrap_err(),
    ];
    for error in errors {
        let shown = format!("{error} {error:?}");
        for secret in [KEY, PASSWORD, "c2VjcmV0", "PRIVATE"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    let shown = format!("{by_key:?} {by_user:?} {:?}", ServerCredential::ApiKey(Zeroizing::new(KEY.to_owned())));
    assert!(!shown.contains("ptr_") && !shown.contains("horse"), "{shown}");
}
