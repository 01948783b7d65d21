//! What the user must fix: the message names file and field, and nothing that is stored changes.

use crate::fixture::{CA, Fixture, host};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// All but what was said, and what the files hold now.
fn stored(fixture: &Fixture) -> BTreeMap<PathBuf, crate::fixture::FileState> {
    let said = [fixture.path("status"), fixture.path("objects.json")];
    let mut tree = fixture.tree();
    tree.retain(|path, _| *path != fixture.state && !said.iter().any(|said| path.starts_with(said)));
    tree
}

/// The good files first; then the others over the same state.
async fn refused(yaml: &str, expected: &[&str]) {
    let good = format!("{CA}{}", host("pandora", "hostname: pandora.lan"));
    let fixture = Fixture::new(&good);
    fixture.ready().await;
    let before = stored(&fixture);
    fixture.write(yaml);
    let said = fixture.refused(expected).await;
    assert!(said.contains("homelab.yaml: "), "{said}");
    assert_eq!(before, stored(&fixture), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_that_make_no_sense() {
    let named = "DockerHostCert default/pandora: ";
    for (spec, field) in [
        ("hostname: 'not a name'", "spec.hostname"),
        ("hostname: pandora.lan, ipAddresses: [300.1.1.1]", "spec.ipAddresses"),
        ("includeLoopback: true", "spec.hostname"),
        ("hostname: pandora.lan, duration: 0h", "spec.duration"),
        ("hostname: pandora.lan, duration: 30m", "spec.duration"),
        ("hostname: pandora.lan, duration: 36526d", "spec.duration"),
        ("hostname: pandora.lan, duration: 10d, renewBefore: 10d", "spec.renewBefore"),
        ("hostname: pandora.lan, privateKey: {algorithm: RSA, size: 1024}", "spec.privateKey.size"),
    ] {
        refused(&format!("{CA}{}", host("pandora", spec)), &[named, field]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn references_to_nothing() {
    let pandora = host("pandora", "hostname: pandora.lan");
    let nowhere = pandora.replace("{name: homelab}", "{name: nowhere}");
    refused(&format!("{CA}{nowhere}"), &["spec.caRef: there is no DockerCA default/nowhere"]).await;
    let unready = CA.replace("homelab", "unready").replace("Docker CA}", "Docker CA, country: DEU}");
    // A sound certificate goes on until it is due; another host gets none.
    let other = host("attic", "hostname: attic.lan").replace("{name: homelab}", "{name: unready}");
    refused(&format!("{unready}{other}"), &["DockerCA default/unready: spec.subject.country", "cannot sign"]).await;
    refused(&format!("{CA}{}", host("ca", "hostname: pandora.lan")), &["metadata.name: ca is refused"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_has_one_owner() {
    let pandora = host("pandora", "hostname: pandora.lan");
    let rival = host("rival", "hostname: rival.lan, secretName: pandora-docker-host");
    // Whoever is named in it has it, even where the other comes first in the files.
    let said = ["DockerHostCert default/rival: ", "belongs to DockerHostCert/default/pandora"];
    refused(&format!("{CA}{rival}{pandora}"), &said).await;
    // Before there is one, the first in the files has it.
    let fixture = Fixture::new(&format!("{CA}{rival}{pandora}"));
    fixture.refused(&["DockerHostCert default/pandora: "]).await;
    assert!(
        fixture.read("secrets/default/pandora-docker-host/.dockseal.json").contains("DockerHostCert/default/rival")
    );
}

#[tokio::test]
async fn a_secret_that_is_not_ours_stays() {
    let fixture = Fixture::new(&format!("{CA}{}", host("pandora", "hostname: pandora.lan")));
    std::fs::create_dir(&fixture.state).unwrap();
    {
        let door_first = Fixture::new(CA);
        door_first.ready().await;
        std::fs::create_dir_all(door_first.path("secrets/default/pandora-docker-host")).unwrap();
        std::fs::write(door_first.path("secrets/default/pandora-docker-host/tls.crt"), "mine").unwrap();
        door_first.write(&format!("{CA}{}", host("pandora", "hostname: pandora.lan")));
        door_first.refused(&["belongs to someone else and stays untouched"]).await;
        assert_eq!(door_first.read("secrets/default/pandora-docker-host/tls.crt"), "mine");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_outside_the_constraints() {
    let ca = CA.replace("Docker CA}", "Docker CA}, nameConstraints: {permittedDNSDomains: [lan]}");
    let fixture = Fixture::new(&format!("{ca}{}", host("pandora", "hostname: pandora.house, includeLoopback: false")));
    fixture.refused(&["DockerHostCert default/pandora: ", "do not permit pandora.house"]).await;
    assert!(!fixture.path("secrets/default/pandora-docker-host").exists());
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_no_state_directory() {
    let pandora = host("pandora", "hostname: pandora.lan");
    for (yaml, expected) in [
        (
            format!("{CA}{}", host("pandora", "hostnam: x")),
            "homelab.yaml:7: DockerHostCert default/pandora: spec.hostnam",
        ),
        (format!("{CA}{pandora}{pandora}"), "DockerHostCert default/pandora: it is in"),
        (pandora.replace("DockerHostCert", "Deployment"), "kind \"Deployment\""),
        ("a: [".to_owned(), "homelab.yaml:1: not valid YAML"),
        ("# nothing\n".to_owned(), "there is no object of Dockseal in"),
    ] {
        let fixture = Fixture::new(&yaml);
        let error = fixture.once(std::time::Duration::from_secs(1)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!fixture.state.exists());
    }
}
