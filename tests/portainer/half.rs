//! Creates that end badly: half-made, abandoned, side by side, before a host that says nothing.

use crate::fixture::{Ca, Fixture};
use crate::support::docker_like::DockerLike;
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;

/// In that time a request has come, also on a busy machine.
const ARRIVES: Duration = Duration::from_secs(3);

/// The stand-in waits for a host nearly as long as the real one does.
fn patient(fixture: &Fixture) {
    if let Some(portainer) = &fixture.stand_in {
        portainer.set_patience(Duration::from_secs(90));
    }
}

#[tokio::test]
async fn an_unknown_group_is_500_and_the_environment_is_there_all_the_same() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let form = fixture.form("half", &docker.url(), &files).field("GroupID", 987_654);
    fixture.create(&form).await?.refuses(500, "environment group");
    let found = fixture.named("half").await?;
    assert_eq!((found.len(), &found[0]["GroupId"]), (1, &json!(987_654)));
    // It can be mended.
    let path = format!("/endpoints/{}", found[0]["Id"]);
    assert_eq!(fixture.api.put(&path, &json!({ "GroupID": 1 })).await?.is(200).json()["GroupId"], 1);
    fixture.api.delete(&path).await?.is(204);
    Ok(())
}

#[tokio::test]
async fn an_unknown_tag_is_500_and_the_environment_is_there_all_the_same() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let tag = fixture.tag("known").await?;
    let form = fixture.form("half", &docker.url(), &files).field("TagIds", json!([987_654]));
    fixture.create(&form).await?.is(500);
    let found = fixture.named("half").await?;
    assert_eq!((found.len(), &found[0]["TagIds"]), (1, &json!([987_654])));
    let path = format!("/endpoints/{}", found[0]["Id"]);
    // The unknown tag is in the way of any other set of tags.
    let said = fixture.api.put(&path, &json!({ "TagIDs": [tag] })).await?;
    if fixture.is_before(22).await? {
        assert_eq!(said.is(200).json()["TagIds"], json!([987_654]), "no change, and not a word of it");
    } else {
        said.is(500);
    }
    fixture.api.put(&path, &json!({ "PublicURL": "host" })).await?.is(200);
    fixture.api.delete(&path).await?.is(204);
    Ok(())
}

/// Waits until environments of that name are listed.
async fn listed(fixture: &Fixture, name: &str) -> anyhow::Result<usize> {
    for _ in 0..300 {
        let found = fixture.named(name).await?.len();
        if found > 0 {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(0)
}

#[tokio::test]
async fn a_create_whose_client_hung_up_goes_on() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    docker.pause();
    patient(&fixture);
    let form = fixture.form("abandoned", &docker.url(), &files);
    let gave_up = tokio::time::timeout(ARRIVES, fixture.create(&form)).await;
    assert!(gave_up.is_err(), "{gave_up:?}");
    assert_eq!(fixture.named("abandoned").await?.len(), 0);
    docker.resume();
    assert_eq!(listed(&fixture, "abandoned").await?, 1);
    Ok(())
}

#[tokio::test]
async fn creates_of_one_name_side_by_side_may_all_succeed() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let form = fixture.form("twin", &docker.url(), &files);
    docker.pause();
    patient(&fixture);
    let going_on = async {
        tokio::time::sleep(ARRIVES).await;
        docker.resume();
    };
    let (answers, ()) = tokio::join!(join_all((0..4).map(|_| fixture.create(&form))), going_on);
    let answers = answers.into_iter().map(|said| Ok(said?.status)).collect::<anyhow::Result<Vec<_>>>()?;
    let made = answers.iter().filter(|status| **status == 200).count();
    assert!(made >= 2, "{answers:?}");
    assert_eq!(fixture.named("twin").await?.len(), made);
    Ok(())
}

#[tokio::test]
async fn a_host_that_says_nothing_holds_a_create_until_its_time_is_over() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let Some(portainer) = &fixture.stand_in else { return Ok(()) }; // two minutes on a real one
    portainer.set_patience(Duration::from_millis(300));
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (DockerLike::start(&ca.host(&ca.pem())?)?, ca.client()?);
    docker.pause();
    let form = fixture.form("never", &docker.url(), &files);
    fixture.create(&form).await?.refuses(500, "Unable to initiate communications");
    assert_eq!(portainer.tls_key_dirs(), ["1"]);
    Ok(())
}
