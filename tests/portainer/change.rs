//! Changing environments, tags and groups, and removing them.

use crate::api::{Form, Said};
use crate::fixture::{Ca, Fixture};
use dockseal::adapters::random::quick_key;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_change_pings_nobody_and_takes_nearly_anything() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let id = fixture.created(&fixture.form("host", &docker.url(), &files)).await?;
    let served = docker.served().len();
    let path = format!("/endpoints/{id}");
    let put = async |body| fixture.api.put(&path, &body).await;
    let dead = put(json!({ "URL": "tcp://127.0.0.1:1", "PublicURL": "host.example" })).await?.is(200).json();
    assert_eq!((&dead["URL"], &dead["PublicURL"]), (&json!("tcp://127.0.0.1:1"), &json!("host.example")));
    assert_eq!(put(json!({ "GroupID": 987_654 })).await?.is(200).json()["GroupId"], 987_654);
    assert_eq!(put(json!({ "GroupID": 1, "unknown": 1 })).await?.is(200).json()["GroupId"], 1);
    assert_eq!(put(json!({ "publicurl": "" })).await?.is(200).json()["PublicURL"], "", "whatever the case of the key");
    assert_eq!(put(json!({ "Status": 2 })).await?.is(200).json()["Status"], 2, "anybody can say that it is down");
    put(json!({ "Name": 5 })).await?.refuses(400, "Invalid request payload");
    fixture.api.put("/endpoints/987654", &json!({})).await?.is(404);
    assert_eq!(docker.served().len(), served);
    Ok(())
}

#[tokio::test]
async fn a_name_can_be_changed_to_nothing_and_not_to_anothers() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let id = fixture.created(&fixture.form("one", &docker.url(), &files)).await?;
    fixture.created(&fixture.form("two", &docker.url(), &files)).await?;
    let path = format!("/endpoints/{id}");
    fixture.api.put(&path, &json!({ "Name": fixture.name("two") })).await?.refuses(409, "Name is not unique");
    fixture.api.put(&path, &json!({ "Name": fixture.name("one") })).await?.is(200);
    assert_eq!(fixture.api.put(&path, &json!({ "Name": "" })).await?.is(200).json()["Name"], "");
    Ok(())
}

#[tokio::test]
async fn a_change_that_fails_at_its_files_changes_nothing_else() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let id = fixture.created(&fixture.form("host", &docker.url(), &files)).await?;
    fixture.upload_one(id, "key", &quick_key().to_pem()).await?;
    let path = format!("/endpoints/{id}");
    let body = json!({ "PublicURL": "host.example", "TLS": true, "TLSSkipVerify": false });
    fixture.api.put(&path, &body).await?.refuses(500, "Unable to register HTTP proxy for the environment");
    assert_eq!(fixture.api.get(&path).await?.is(200).json()["PublicURL"], "");
    Ok(())
}

#[tokio::test]
async fn an_environment_goes_with_its_tag_link_even_when_its_host_is_down() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let tag = fixture.tag("tag").await?;
    let id = fixture.created(&fixture.form("host", &docker.url(), &files).field("TagIds", json!([tag]))).await?;
    let linked = async || {
        let tags = fixture.api.get("/tags").await?.is(200).json();
        let tag = tags.as_array().unwrap().iter().find(|one| one["ID"] == tag).unwrap().clone();
        Ok::<_, anyhow::Error>(tag["Endpoints"].as_object().unwrap().contains_key(&id.to_string()))
    };
    assert!(linked().await?);
    drop(docker);
    fixture.api.delete(&format!("/endpoints/{id}")).await?.is(204);
    assert!(!linked().await?);
    if let Some(portainer) = &fixture.stand_in {
        assert!(portainer.tls_files().is_empty());
    }
    fixture.api.delete(&format!("/endpoints/{id}")).await?.refuses(404, "Unable to find an environment");
    fixture.api.delete("/endpoints/one").await?.is(400);
    Ok(())
}

#[tokio::test]
async fn a_tag_is_there_once_and_leaves_its_environments_when_it_goes() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let tags = [fixture.tag("one").await?, fixture.tag("two").await?];
    fixture.api.post("/tags", &json!({ "Name": fixture.name("one") })).await?.refuses(409, "already associated");
    fixture.api.post("/tags", &json!({ "Name": "" })).await?.is(400);
    let said = fixture.create(&fixture.form("host", &docker.url(), &files).field("TagIds", json!(tags))).await?.is(200);
    assert_eq!(said.json()["TagIds"], json!(tags), "one field with a list in JSON");
    fixture.api.delete(&format!("/tags/{}", tags[0])).await?.is(204);
    fixture.api.delete(&format!("/tags/{}", tags[0])).await?.is(404);
    let path = format!("/endpoints/{}", said.json()["Id"]);
    assert_eq!(fixture.api.get(&path).await?.is(200).json()["TagIds"], json!([tags[1]]));
    Ok(())
}

/// Tries a tag that there is not.
async fn tag_unknown(fixture: &Fixture) -> anyhow::Result<Said> {
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let id = fixture.created(&fixture.form("host", &docker.url(), &files)).await?;
    fixture.api.put(&format!("/endpoints/{id}"), &json!({ "TagIDs": [987_654], "PublicURL": "x" })).await
}

#[tokio::test]
async fn an_unknown_tag_is_refused_or_silently_left_out_by_older_servers() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let said = tag_unknown(&fixture).await?;
    if fixture.is_before(22).await? {
        let json = said.is(200).json();
        assert_eq!((&json["TagIds"], &json["PublicURL"]), (&json!([]), &json!("x")));
    } else {
        said.refuses(500, "Unable to update environment tags");
    }
    Ok(())
}

#[tokio::test]
async fn the_older_stand_in_is_as_the_older_server() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let Some(portainer) = &fixture.stand_in else { return Ok(()) };
    portainer.set_version("2.21.4");
    assert_eq!(tag_unknown(&fixture).await?.is(200).json()["TagIds"], json!([]));
    Ok(())
}

#[tokio::test]
async fn two_groups_may_have_one_name() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let mut ids = vec![];
    for _ in 0..2 {
        let group = fixture.api.post("/endpoint_groups", &json!({ "Name": fixture.name("ops") })).await?.is(200).json();
        fixture.remember(format!("/endpoint_groups/{}", group["Id"]));
        ids.push(group["Id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
    let groups = fixture.api.get("/endpoint_groups").await?.is(200).json();
    let ours = groups.as_array().unwrap().iter().filter(|group| group["Name"] == fixture.name("ops"));
    assert_eq!(ours.count(), 2);
    assert!(groups.as_array().unwrap().iter().any(|group| group["Id"] == 1));
    Ok(())
}

#[tokio::test]
async fn an_environment_of_another_kind_has_a_name_too() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let edge = Form::default()
        .field("Name", fixture.name("edge"))
        .field("EndpointCreationType", 4)
        .field("URL", "http://192.0.2.1:9000");
    let said = fixture.create(&edge).await?.is(200).json();
    assert_eq!(said["Type"], 4);
    fixture.create(&fixture.form("edge", &docker.url(), &files)).await?.is(409);
    fixture.api.ask(Method::POST, &format!("/endpoints/{}/snapshot", said["Id"])).await?.is(400);
    Ok(())
}
