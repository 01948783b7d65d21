//! New certificates for an environment: what the proxy goes on using, what makes it look, what tells the truth.

use crate::fixture::{Ca, Files, Fixture, until};
use crate::support::docker_like::DockerLike;
use dockseal::adapters::random::quick_key;
use dockseal::pki::profile::Usage;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

/// An environment with its host and authority.
struct Case {
    fixture: Fixture,
    ca: Ca,
    docker: DockerLike,
    files: Files,
    id: u64,
}

impl Case {
    async fn new() -> anyhow::Result<Case> {
        let (fixture, ca) = (Fixture::new()?, Ca::new("a")?);
        let (docker, (files, _)) = (ca.docker()?, ca.client()?);
        let id = fixture.created(&fixture.form("host", &docker.url(), &files)).await?;
        assert_eq!(fixture.ping(id).await?, 200);
        Ok(Case { fixture, ca, docker, files, id })
    }

    /// Changes it.
    async fn put(&self, body: Value) -> anyhow::Result<crate::api::Said> {
        self.fixture.api.put(&format!("/endpoints/{}", self.id), &body).await
    }

    /// The serial number that the host sees when a user uses the proxy.
    async fn seen(&self) -> anyhow::Result<String> {
        assert_eq!(self.fixture.ping(self.id).await?, 200);
        Ok(self.docker.last_serial().expect("it was asked"))
    }
}

#[tokio::test]
async fn uploaded_files_wait_for_the_right_change() -> anyhow::Result<()> {
    let case = Case::new().await?;
    let url = case.docker.url();
    let changes = [
        (json!({ "Name": case.fixture.name("host") }), false),
        (json!({ "TLS": true }), false),
        (json!({ "TLSSkipVerify": false, "TLSSkipClientVerify": false }), false),
        (json!({ "URL": url }), false),
        (json!({ "TLS": true, "TLSSkipVerify": false }), true),
        (json!({ "TLS": true, "TLSSkipClientVerify": false }), true),
        (json!({ "tls": true, "tlsskipverify": false }), true),
        (json!({ "URL": url, "TLS": true, "TLSSkipVerify": false, "TLSSkipClientVerify": false }), true),
        (json!({ "URL": format!("{url}/") }), true),
        (json!({ "URL": url }), true),
        (json!({ "URL": url.replace("tcp", "https") }), true),
        (json!({ "URL": url.replace("tcp", "https"), "TLS": true, "TLSSkipVerify": false }), false),
        (json!({ "TLS": true, "TLSSkipVerify": false }), true),
    ];
    for (change, reloads) in changes {
        let (before, (files, fresh)) = (case.seen().await?, case.ca.client()?);
        case.fixture.upload(case.id, &files).await?;
        assert_eq!(case.seen().await?, before, "an upload alone is nothing");
        case.put(change.clone()).await?.is(200);
        assert_eq!(case.seen().await? == fresh, reloads, "{change}");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_with_a_new_authority_is_lost_until_files_and_proxy_follow() -> anyhow::Result<()> {
    let case = Case::new().await?;
    let b = Ca::new("b")?;
    case.docker.reload(&b.host(&b.pem())?)?;
    assert_eq!(case.fixture.ping(case.id).await?, 502);
    let said = case.fixture.api.get(&format!("/endpoints/{}/docker/_ping", case.id)).await?;
    assert!(said.body.is_empty());
    assert_eq!(case.fixture.snapshot(case.id).await?, 2);
    case.fixture.upload(case.id, &b.client()?.0).await?;
    assert_eq!(case.fixture.ping(case.id).await?, 502);
    assert_eq!(case.fixture.snapshot(case.id).await?, 1, "a snapshot dials anew and says up");
    assert_eq!(case.fixture.ping(case.id).await?, 502, "what users see is still broken");
    case.fixture.put_tls(case.id, &case.docker.url()).await?.is(200);
    assert_eq!(case.fixture.ping(case.id).await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_is_204_and_never_the_truth_about_the_proxy() -> anyhow::Result<()> {
    let case = Case::new().await?;
    case.docker.stop();
    assert_eq!(case.fixture.snapshot(case.id).await?, 2);
    assert_eq!(case.fixture.ping(case.id).await?, 502);
    case.docker.go_on()?;
    assert_eq!(case.fixture.ping(case.id).await?, 200);
    let path = format!("/endpoints/{}", case.id);
    assert_eq!(case.fixture.api.get(&path).await?.json()["Status"], 2, "nobody looked since");
    assert_eq!(case.fixture.snapshot(case.id).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_new_certificate_with_the_old_key_breaks_at_the_next_look() -> anyhow::Result<()> {
    let case = Case::new().await?;
    let (new, serial) = case.ca.client()?;
    let old = case.seen().await?;
    case.fixture.upload_one(case.id, "cert", &new.cert).await?;
    assert_eq!(case.seen().await?, old, "the kept proxy goes on");
    assert_eq!(case.fixture.snapshot(case.id).await?, 2);
    let said = case.fixture.put_tls(case.id, &case.docker.url()).await?;
    said.refuses(500, "rivate key does not match public key");
    let lost = case.fixture.api.get(&format!("/endpoints/{}/docker/_ping", case.id)).await?;
    lost.refuses(500, "Unable to create proxy");
    case.fixture.upload_one(case.id, "key", &new.key).await?;
    assert_eq!(case.seen().await?, serial, "healed without a change");
    Ok(())
}

#[tokio::test]
async fn an_authority_of_garbage_is_taken_and_trusts_nobody() -> anyhow::Result<()> {
    let case = Case::new().await?;
    case.fixture.upload_one(case.id, "ca", "garbage").await?;
    case.fixture.put_tls(case.id, &case.docker.url()).await?.is(200);
    assert_eq!(case.fixture.ping(case.id).await?, 502);
    Ok(())
}

#[tokio::test]
async fn an_address_without_a_scheme_works_for_users_and_not_for_snapshots() -> anyhow::Result<()> {
    let case = Case::new().await?;
    case.put(json!({ "URL": case.docker.address().to_string() })).await?.is(200);
    assert_eq!(case.fixture.ping(case.id).await?, 200);
    assert_eq!(case.fixture.snapshot(case.id).await?, 2);
    Ok(())
}

#[tokio::test]
async fn flags_delete_files_and_a_downgraded_environment_can_be_repaired() -> anyhow::Result<()> {
    let case = Case::new().await?;
    let kinds = |case: &Case| {
        let portainer = case.fixture.stand_in.as_ref()?;
        Some(["ca", "cert", "key"].map(|kind| portainer.tls_file(case.id, kind).is_some()))
    };
    let has = |json: &Value| ["TLSCACert", "TLSCert", "TLSKey"].map(|name| json["TLSConfig"].get(name).is_some());
    let no_ca = case.put(json!({ "TLS": true, "TLSSkipVerify": true })).await?.is(200).json();
    assert_eq!(has(&no_ca), [false, true, true]);
    assert!(kinds(&case).is_none_or(|kinds| kinds == [false, true, true]));
    case.put(json!({ "TLS": true, "TLSSkipVerify": false })).await?.refuses(500, "no such file");
    let none = case.put(json!({ "TLS": true, "TLSSkipVerify": true, "TLSSkipClientVerify": true })).await?.is(200);
    assert_eq!(has(&none.json()), [false; 3]);
    assert!(kinds(&case).is_none_or(|kinds| kinds == [false; 3]));
    let off = case.put(json!({ "TLS": false })).await?.is(200).json();
    assert_eq!(off["TLSConfig"], json!({ "TLS": false, "TLSSkipVerify": false }));
    assert_ne!(case.fixture.ping(case.id).await?, 200);
    case.fixture.upload(case.id, &case.files).await?;
    let whole = case.fixture.put_tls(case.id, &case.docker.url()).await?.is(200).json();
    assert_eq!(has(&whole), [true; 3]);
    assert_eq!(case.fixture.ping(case.id).await?, 200);
    Ok(())
}

#[tokio::test]
async fn an_authority_is_changed_over_a_bundle_without_a_gap() -> anyhow::Result<()> {
    let case = Case::new().await?;
    let b = Ca::new("b")?;
    let both = case.ca.pem() + &b.pem();
    let url = case.docker.url();
    let follow = async |files: &Files| {
        case.fixture.upload(case.id, files).await?;
        case.fixture.put_tls(case.id, &url).await?.is(200);
        anyhow::Ok(case.fixture.ping(case.id).await?)
    };
    // Both sides trust both; then the host's certificate, then the client's; then the old one goes.
    assert_eq!(follow(&Files { ca: both.clone(), ..case.files.clone() }).await?, 200);
    case.docker.reload(&case.ca.host(&both)?)?;
    assert_eq!(case.fixture.ping(case.id).await?, 200);
    case.docker.reload(&b.host(&both)?)?;
    assert_eq!(case.fixture.ping(case.id).await?, 200);
    assert_eq!(follow(&Files { ca: both, ..b.client()?.0 }).await?, 200);
    assert_eq!(follow(&b.client()?.0).await?, 200);
    case.docker.reload(&b.host(&b.pem())?)?;
    assert_eq!(case.fixture.ping(case.id).await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_client_certificate_is_renewed_under_load_without_a_failure() -> anyhow::Result<()> {
    let case = Case::new().await?;
    let (new, serial) = case.ca.client()?;
    let load = async {
        let mut failures = vec![];
        for number in 0..200 {
            let status = case.fixture.ping(case.id).await?;
            if status != 200 {
                failures.push((number, status));
            }
        }
        anyhow::Ok(failures)
    };
    let renewal = async {
        case.fixture.upload(case.id, &new).await?;
        case.fixture.put_tls(case.id, &case.docker.url()).await
    };
    let (failures, put) = tokio::join!(load, renewal);
    put?.is(200);
    assert_eq!(failures?, []);
    assert_eq!(case.seen().await?, serial);
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_ran_out_works_until_the_host_restarts() -> anyhow::Result<()> {
    let (fixture, ca) = (Fixture::new()?, Ca::new("a")?);
    let docker = ca.docker()?;
    let key = quick_key();
    let end = Timestamp::now() + SignedDuration::from_secs(15);
    let cert = ca.leaf_until(Usage::Client, &key, until(end))?;
    let files = Files { ca: ca.pem(), cert, key: key.to_pem().to_string() };
    let id = fixture.created(&fixture.form("host", &docker.url(), &files)).await?;
    assert_eq!(fixture.ping(id).await?, 200);
    while Timestamp::now() < end + SignedDuration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fixture.ping(id).await?, 200, "on the connection of before");
    assert_eq!(fixture.snapshot(id).await?, 2);
    docker.stop();
    docker.go_on()?;
    assert_eq!(fixture.ping(id).await?, 502);
    Ok(())
}
