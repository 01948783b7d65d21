//! Issuing, renewing and putting right.

use crate::fixture::{CA, CANARY, Fixture, host};
use dockseal::adapters::Clock;
use dockseal::local::{UpResult, export};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

fn good() -> String {
    format!("{CA}{}", host("pandora", "hostname: pandora.bodkys.house, ipAddresses: [192.168.1.7]"))
}

const SECRET: &str = "secrets/default/pandora-docker-host";

#[tokio::test]
async fn files_are_issued_and_a_second_run_writes_nothing() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    let mode = |below: &str| std::fs::metadata(fixture.path(below)).unwrap().permissions().mode() & 0o7777;
    for (file, expected) in [
        ("tls.key", 0o400),
        ("key.pem", 0o400),
        ("tls.crt", 0o444),
        ("cert.pem", 0o444),
        ("ca.crt", 0o444),
        ("ca.pem", 0o444),
        ("proof.pem", 0o444),
        ("", 0o700),
    ] {
        assert_eq!(mode(&format!("{SECRET}/{file}")), expected, "{file}");
    }
    assert_eq!(mode("secrets/default/homelab-docker-ca/tls.key"), 0o400);
    assert_eq!(mode(""), 0o700);
    assert!(fixture.read("configmaps/default/homelab-ca-bundle/ca.crt").contains("BEGIN CERTIFICATE"));
    assert!(fixture.read("status/DockerHostCert/default/pandora.yaml").contains("Ready"));
    assert_eq!(fixture.read("authorities/default/homelab").trim().len(), 64);
    assert_eq!(fixture.err.text(), "", "a first issuance is no event");
    let before = fixture.tree();
    fixture.ready().await;
    assert_eq!(before, fixture.tree());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_door_puts_right_what_others_do() {
    let fixture = Fixture::new(&good());
    let settings = fixture.settings(false, Duration::ZERO);
    let running = tokio::spawn(fixture.run(settings, Clock::system()));
    let sound = || {
        !fixture.read(&format!("{SECRET}/tls.crt")).is_empty()
            && fixture.read(&format!("{SECRET}/tls.crt")) == fixture.read(&format!("{SECRET}/cert.pem"))
    };
    fixture.until("issued", sound).await;
    let file = |name: &str| fixture.path(&format!("{SECRET}/{name}"));
    for (what, deed) in [
        ("deleted", Box::new(|| std::fs::remove_dir_all(fixture.path(SECRET)).unwrap()) as Box<dyn Fn()>),
        ("cut short", Box::new(|| truncate(&file("tls.crt")))),
        ("key gone", Box::new(|| std::fs::remove_file(file("tls.key")).unwrap())),
        ("key cut short", Box::new(|| truncate(&file("tls.key")))),
        ("copy gone", Box::new(|| std::fs::remove_file(file("ca.pem")).unwrap())),
    ] {
        let before = at_rest(&fixture.path(SECRET)).await;
        deed();
        fixture
            .until(what, || {
                sound()
                    && fixture.read(&format!("{SECRET}/key.pem")).contains("PRIVATE KEY")
                    && std::fs::metadata(fixture.path(SECRET)).is_ok_and(|now| (now.ino(), now.ctime_nsec()) != before)
            })
            .await;
    }
    // An edited file, a broken one, and a mended one.
    fixture.write(&format!("{}{}", good(), host("attic", "ipAddresses: [192.168.1.8]")));
    fixture.until("added", || fixture.path("secrets/default/attic-docker-host/tls.crt").exists()).await;
    fixture.write("kind: [");
    fixture.until("broken", || fixture.err.text().contains("homelab.yaml:1: not valid YAML")).await;
    fixture.write("# nothing\n");
    fixture.until("emptied", || fixture.err.text().contains("there is no object of Dockseal in")).await;
    fixture.write(&format!("{}{}", good(), host("cellar", "ipAddresses: [192.168.1.9]")));
    fixture.until("mended", || fixture.path("secrets/default/cellar-docker-host/tls.crt").exists()).await;
    assert!(fixture.path("secrets/default/attic-docker-host/tls.crt").exists(), "what left the files stays");
    running.abort();
    let _ = running.await;
}

/// Inode and time of change of a directory, once they are the same for half a second.
async fn at_rest(path: &Path) -> (u64, i64) {
    let stamp = || std::fs::metadata(path).ok().map(|found| (found.ino(), found.ctime_nsec()));
    for _ in 0..180 {
        let before = stamp();
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(now) = before
            && stamp() == before
        {
            return now;
        }
    }
    panic!("{} is written again and again", path.display());
}

fn truncate(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, "-----BEGIN").unwrap();
}

#[tokio::test]
async fn a_lost_authority_is_lost_until_its_user_says_otherwise() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    let fingerprint = fixture.read("authorities/default/homelab").trim().to_owned();
    let leaf = fixture.read(&format!("{SECRET}/tls.crt"));
    std::fs::remove_dir_all(fixture.path("secrets/default/homelab-docker-ca")).unwrap();
    fixture.refused(&["homelab.yaml: DockerCA default/homelab: "]).await;
    assert!(fixture.out.text().contains("AuthorityLost"), "{}", fixture.out.text());
    assert!(!fixture.path("secrets/default/homelab-docker-ca").exists());
    assert_eq!(fixture.read(&format!("{SECRET}/tls.crt")), leaf);
    assert_eq!(fixture.read("authorities/default/homelab").trim(), fingerprint);
    let annotated = format!("{{name: homelab, annotations: {{dockseal.dev/replace-authority: {fingerprint}}}}}");
    fixture.write(&good().replace("metadata: {name: homelab}", &format!("metadata: {annotated}")));
    fixture.ready().await;
    assert_ne!(fixture.read("authorities/default/homelab").trim(), fingerprint);
    assert_ne!(fixture.read(&format!("{SECRET}/tls.crt")), leaf);
    assert!(fixture.err.text().contains("IssuerChanged"), "{}", fixture.err.text());
}

#[tokio::test]
async fn a_renewal_is_said_once() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    let leaf = fixture.read(&format!("{SECRET}/tls.crt"));
    let later = k8s_openapi::jiff::Timestamp::now() + k8s_openapi::jiff::SignedDuration::from_hours(24 * 300);
    for _ in 0..2 {
        let settings = fixture.settings(true, Duration::from_secs(120));
        let ended = fixture.run(settings, Clock::showing(move || later)).await.unwrap();
        assert_eq!(ended, UpResult::Ready);
    }
    assert_ne!(fixture.read(&format!("{SECRET}/tls.crt")), leaf);
    let said = fixture.err.text();
    let lines: Vec<&str> =
        said.lines().filter(|line| line.contains("DockerHostCert/default/pandora Renewal: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
}

#[tokio::test]
async fn an_interrupted_write_leaves_nothing() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    let before = fixture.tree();
    for left in ["secrets/default/.dockseal-0", "status/DockerHostCert/default/.dockseal-7"] {
        std::fs::create_dir(fixture.path(left)).unwrap();
        std::fs::write(fixture.path(left).join("tls.key"), "half").unwrap();
    }
    fixture.ready().await;
    let content = |tree: std::collections::BTreeMap<_, crate::fixture::FileState>| {
        tree.into_iter().map(|(path, print)| (path, print.4)).collect::<Vec<_>>()
    };
    assert_eq!(content(before), content(fixture.tree()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_seen_nowhere() {
    let secret =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: ca-pass}}\nstringData: {{passphrase: {CANARY}}}\n");
    let ca = CA.replace("Docker CA}", "Docker CA}, passphraseSecretRef: {name: ca-pass, key: passphrase}");
    let fixture = Fixture::new(&format!("{secret}{ca}{}", host("pandora", "hostname: pandora.lan")));
    fixture.ready().await;
    assert!(fixture.read("secrets/default/homelab-docker-ca/tls.key").contains("ENCRYPTED PRIVATE KEY"));
    let before = fixture.tree();
    fixture.write(&format!("{}{ca}", secret.replace(CANARY, &format!("wrong-{CANARY}"))));
    let said = fixture.refused(&["DockerCA default/homelab: "]).await;
    assert!(fixture.out.text().contains("PassphraseWrong"), "{said}");
    fixture.write(&ca);
    fixture.refused(&["spec.passphraseSecretRef: there is no Secret default/ca-pass"]).await;
    for (path, print) in fixture.tree() {
        assert!(!String::from_utf8_lossy(&print.4).contains(CANARY), "{}", path.display());
        if path.starts_with(fixture.path("secrets")) {
            assert_eq!(before.get(&path), Some(&print));
        }
    }
    assert!(!fixture.out.text().contains(CANARY) && !fixture.err.text().contains(CANARY));
}

#[tokio::test]
async fn a_state_directory_is_exported_as_manifests() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    std::fs::create_dir(fixture.path("secrets/default/foreign")).unwrap();
    let before = fixture.tree();
    let mut printed = Vec::new();
    export(&fixture.state, &mut printed).unwrap();
    let text = String::from_utf8(printed).unwrap();
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(documents.len(), 3, "{text}");
    let secret = documents.iter().find(|document| document["metadata"]["name"] == "pandora-docker-host").unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["labels"]["dockseal.dev/managed"], "true");
    assert_eq!(secret["metadata"]["annotations"]["dockseal.dev/owner"], "DockerHostCert/default/pandora");
    let ca = documents.iter().find(|document| document["metadata"]["name"] == "homelab-docker-ca").unwrap();
    assert_eq!(ca["type"], "dockseal.dev/ca");
    assert_eq!(
        ca["metadata"]["annotations"]["dockseal.dev/authority"],
        fixture.read("authorities/default/homelab").trim()
    );
    let identity = fixture.read("identities/default/homelab");
    assert_eq!(ca["metadata"]["annotations"]["dockseal.dev/identity"], identity.trim());
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret.clone()).unwrap();
    assert_eq!(secret.data.unwrap()["tls.key"].0, std::fs::read(fixture.path(&format!("{SECRET}/tls.key"))).unwrap());
    assert!(text.contains("# Secret default/foreign is not Dockseal's"));
    assert_eq!(before, fixture.tree());
    let missing = export(&fixture.root, &mut Vec::new()).unwrap_err().to_string();
    assert!(missing.contains("is not a state directory of dockseal"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_becomes_ready() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        let for_portainer = path.file_name().is_some_and(|name| name == "portainer.yaml"); // see up/portainer.rs
        if for_portainer || path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let fixture = Fixture::new(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(fixture.once(Duration::from_secs(120)).await.unwrap(), UpResult::Ready, "{}", path.display());
    }
}
