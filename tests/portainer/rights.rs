//! Who is accepted: headers, keys, roles. What a registrar sees when it has the wrong ones.

use crate::api::Form;
use crate::fixture::{Ca, Fixture};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn users_me_tells_administrators_from_others() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    assert_eq!(fixture.api.get("/users/me").await?.is(200).json()["Role"], 1);
    let standard = fixture.standard().await?;
    assert_eq!(standard.get("/users/me").await?.is(200).json()["Role"], 2);
    Ok(())
}

#[tokio::test]
async fn a_missing_credential_is_told_from_a_wrong_one_and_no_wrong_ones_from_each_other() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let bare = fixture.api.bare();
    bare.get("/endpoints").await?.refuses(401, "A valid authorization token is missing");
    let standard = fixture.standard().await?;
    let key = standard.credential("x-api-key");
    let wrong = [
        bare.key("ptr_wrong"),
        bare.with("authorization", format!("Bearer {key}")),
        bare.with("authorization", "Bearer a.b.c"),
    ];
    for api in wrong {
        api.get("/endpoints").await?.refuses(401, "Invalid JWT token");
    }
    standard.with("authorization", "Bearer x").get("/users/me").await?.is(403);
    Ok(())
}

#[tokio::test]
async fn a_cookie_makes_a_change_need_a_token_even_beside_a_key() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let api = fixture.api.with("cookie", "portainer_api_key=x");
    let said = api.post("/tags", &json!({ "Name": fixture.name("never") })).await?.refuses(403, "CSRF");
    assert!(said.json().is_null());
    let foreign = fixture.api.with("origin", "http://elsewhere.example");
    let tag = foreign.post("/tags", &json!({ "Name": fixture.name("tag") })).await?.is(200).json();
    fixture.remember(format!("/tags/{}", tag["ID"]));
    Ok(())
}

#[tokio::test]
async fn who_is_no_administrator_sees_an_empty_list_and_is_denied_the_rest() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let form = fixture.form("theirs", &docker.url(), &files);
    let id = fixture.created(&form).await?;
    let standard = fixture.standard().await?;
    let said = standard.get("/endpoints").await?.is(200);
    assert_eq!(said.text().trim(), "[]");
    assert_eq!(said.headers["x-total-count"], "0");
    let denied = "Permission denied to access environment";
    standard.get(&format!("/endpoints/{id}")).await?.refuses(403, denied);
    standard.get(&format!("/endpoints/{id}/docker/_ping")).await?.refuses(403, denied);
    standard.form("/endpoints", &form.clone().field("Name", "other")).await?.refuses(403, "Access denied");
    let upload = Form::default().field("folder", id).file("file", "x");
    standard.form("/upload/tls/ca", &upload).await?.refuses(403, "Access denied");
    standard.put(&format!("/endpoints/{id}"), &json!({ "Name": "x" })).await?.refuses(403, "Access denied");
    standard.ask(Method::POST, &format!("/endpoints/{id}/snapshot")).await?.refuses(403, "Access denied");
    standard.post("/tags", &json!({ "Name": "x" })).await?.refuses(403, "Access denied");
    // Also of one that is not there: 403 says nothing about it.
    standard.delete("/endpoints/987654").await?.refuses(403, "Access denied");
    standard.get("/tags").await?.is(200);
    standard.get("/endpoint_groups").await?.is(200);
    Ok(())
}

#[tokio::test]
async fn access_that_was_granted_lets_look_and_proxy() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let id = fixture.created(&fixture.form("shared", &docker.url(), &files)).await?;
    let standard = fixture.standard().await?;
    let user = standard.get("/users/me").await?.json()["Id"].as_u64().unwrap();
    let policies = json!({ "UserAccessPolicies": { user.to_string(): { "RoleId": 0 } } });
    fixture.api.put(&format!("/endpoints/{id}"), &policies).await?.is(200);
    standard.get(&format!("/endpoints/{id}")).await?.is(200);
    standard.get(&format!("/endpoints/{id}/docker/_ping")).await?.is(200);
    standard.put(&format!("/endpoints/{id}"), &json!({})).await?.is(403);
    Ok(())
}
