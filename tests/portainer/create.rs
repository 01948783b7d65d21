//! Creating environments: what it wants, and what it answers when all is well or one side is not.

use crate::api::Form;
use crate::fixture::{Ca, Files, Fixture};
use crate::support::docker_like::{DockerLike, Material};
use dockseal::adapters::random::quick_key;
use dockseal::pki::profile::Usage;
use serde_json::json;

#[tokio::test]
async fn an_environment_is_created_with_files_that_only_the_server_sees() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let docker = ca.docker()?;
    let (files, serial) = ca.client()?;
    let said = fixture.create(&fixture.form("host", &docker.url(), &files)).await?.is(200);
    let json = said.json();
    assert_eq!((&json["Type"], &json["Status"], &json["GroupId"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!((&json["URL"], &json["Snapshots"]), (&docker.url().into(), &json!([])));
    let id = json["Id"].as_u64().unwrap();
    for (name, file) in [("TLSCACert", "ca"), ("TLSCert", "cert"), ("TLSKey", "key")] {
        let path = json["TLSConfig"][name].as_str().unwrap();
        assert!(path.ends_with(&format!("/tls/{id}/{file}.pem")), "{path}");
    }
    assert!(!said.text().contains("BEGIN"));
    assert_eq!(fixture.ping(id).await?, 200);
    assert_eq!(docker.last_serial(), Some(serial));
    let seen = fixture.api.get(&format!("/endpoints/{id}")).await?.is(200).json();
    assert_eq!(seen["Snapshots"][0]["DockerVersion"], "27.0.0");
    Ok(())
}

#[tokio::test]
async fn a_host_that_demands_certificates_wants_them_whether_or_not_it_is_verified() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let mode = |name: &str, skip_verify: bool, skip_client: bool| {
        let form = fixture.form(name, &docker.url(), &files);
        form.field("TLSSkipVerify", skip_verify).field("TLSSkipClientVerify", skip_client)
    };
    fixture.create(&mode("client", true, false).without("TLSCACertFile")).await?.is(200);
    let bare = |form: Form| form.without("TLSCertFile").without("TLSKeyFile");
    fixture.create(&bare(mode("server", false, true))).await?.is(500);
    fixture.create(&bare(mode("tls", true, true)).without("TLSCACertFile")).await?.is(500);
    Ok(())
}

#[tokio::test]
async fn a_payload_with_something_missing_is_400() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let (files, _) = Ca::new("a")?.client()?;
    let whole = fixture.form("never", "tcp://127.0.0.1:1", &files);
    let broken = [
        (whole.clone().without("Name"), "environment name"),
        (whole.clone().without("EndpointCreationType"), "environment type"),
        (whole.clone().without("TLSCACertFile"), "CA certificate file"),
        (whole.clone().without("TLSCertFile"), "certificate file"),
        (whole.clone().without("TLSKeyFile"), "key file"),
        // Without a file name it is a field and no file.
        (whole.clone().field("TLSKeyFile", &files.key), "key file"),
        (whole.clone().field("TagIds", "1,2"), "TagIds"),
        (whole.field("ContainerEngine", "rkt"), "container engine"),
    ];
    // The last one is unknown to older servers.
    let known = if fixture.is_before(22).await? { broken.len() - 1 } else { broken.len() };
    for (form, words) in broken.into_iter().take(known) {
        fixture.create(&form).await?.refuses(400, words);
    }
    fixture.api.post("/endpoints", &json!({ "Name": "x" })).await?.is(400);
    assert_eq!(fixture.named("never").await?, Vec::<serde_json::Value>::new());
    Ok(())
}

#[tokio::test]
async fn a_name_is_taken_to_the_letter_and_an_address_is_not() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    fixture.create(&fixture.form("host", &docker.url(), &files)).await?.is(200);
    fixture.create(&fixture.form("host", &docker.url(), &files)).await?.refuses(409, "Name is not unique");
    fixture.create(&fixture.form("HOST", &docker.url(), &files)).await?.is(200);
    fixture.create(&fixture.form("a/b c é", &docker.url(), &files)).await?.is(200);
    Ok(())
}

/// What fails at the host, and the words in which it says so.
async fn failures(fixture: &Fixture, ca: &Ca, docker: &DockerLike) -> anyhow::Result<Vec<(Form, &'static str)>> {
    let (other, (files, _)) = (Ca::new("other")?, ca.client()?);
    let whole = fixture.form("never", &docker.url(), &files);
    let stranger = Files { ca: ca.pem(), ..other.client()?.0 };
    Ok(vec![
        (whole.clone().file("TLSCACertFile", &other.pem()), "certificate signed by unknown authority"),
        (whole.clone().file("TLSCACertFile", "garbage"), "certificate signed by unknown authority"),
        (fixture.form("never", &docker.url(), &stranger), "remote error: tls:"),
        (whole.clone().field("URL", "tcp://127.0.0.1:1"), "Cannot connect to the Docker daemon"),
        (whole.clone().field("URL", docker.address()), "nable to parse docker host"),
        (whole.clone().file("TLSCertFile", "garbage"), "failed to find any PEM data"),
        (whole.clone().file("TLSKeyFile", &quick_key().to_pem()), "private key does not match public key"),
        (whole.field("TLS", false), "Client sent an HTTP request to an HTTPS server"),
    ])
}

#[tokio::test]
async fn every_failure_at_the_host_is_500_and_saves_nothing() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let docker = ca.docker()?;
    for (form, words) in failures(&fixture, &ca, &docker).await? {
        let said = fixture.create(&form).await?.refuses(500, "Unable to initiate communications with environment");
        assert!(said.text().contains(words), "not {words:?} but {}", said.text());
        assert!(said.json()["details"].as_str().unwrap().starts_with(|first: char| !first.is_lowercase()));
        assert!(fixture.named("never").await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_host_of_another_name_is_refused() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let key = quick_key();
    let (chain, _) = ca.leaf_for(Usage::Server, &key, "192.0.2.1")?;
    let docker = DockerLike::start(&Material { chain, key: key.to_pem().to_string(), clients: ca.pem() })?;
    let (files, _) = ca.client()?;
    fixture.create(&fixture.form("never", &docker.url(), &files)).await?.refuses(500, "192.0.2.1, not 127.0.0.1");
    Ok(())
}

#[tokio::test]
async fn a_failed_create_leaves_a_private_key_on_the_servers_disk() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let Some(portainer) = &fixture.stand_in else { return Ok(()) }; // its disk is not ours to look at
    let ca = Ca::new("a")?;
    let docker = ca.docker()?;
    let failures: Vec<_> =
        failures(&fixture, &ca, &docker).await?.into_iter().filter(|(_, words)| !words.contains("HTTPS")).collect();
    for (number, (form, _)) in failures.iter().enumerate() {
        fixture.create(form).await?.is(500);
        assert_eq!(portainer.tls_key_dirs().len(), number + 1);
    }
    let (files, _) = ca.client()?;
    let id = fixture.created(&fixture.form("host", &docker.url(), &files)).await?;
    assert_eq!(id, failures.len() as u64 + 1, "numbers of failed creates are not used again");
    assert!(!portainer.tls_key_dirs().contains(&id.to_string()));
    Ok(())
}

#[tokio::test]
async fn every_kind_of_key_is_taken() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let docker = ca.docker()?;
    for (number, kind) in crate::keys::kinds().await?.into_iter().enumerate() {
        let (cert, serial) = ca.leaf(Usage::Client, &kind.key)?;
        let files = Files { ca: ca.pem(), cert, key: kind.pem };
        let id = fixture.created(&fixture.form(&number.to_string(), &docker.url(), &files)).await?;
        assert_eq!(fixture.ping(id).await?, 200, "{}", kind.name);
        assert_eq!(docker.last_serial(), Some(serial), "{}", kind.name);
    }
    Ok(())
}
