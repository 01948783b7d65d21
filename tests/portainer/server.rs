//! The server itself: its status, its first administrator, its sessions, and what it does with strange calls.

use crate::api::Api;
use crate::fixture::Fixture;
use crate::support::portainer::{ADMIN, Options, Portainer};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn the_status_is_open_to_all_and_names_the_instance() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let status = fixture.api.bare().get("/system/status").await?.is(200).json();
    assert!(!status["InstanceID"].as_str().unwrap().is_empty());
    assert!(!status["Version"].as_str().unwrap().is_empty());
    let old = fixture.api.bare().get("/status").await?.is(200).json();
    assert_eq!(old["InstanceID"], status["InstanceID"]);
    Ok(())
}

#[tokio::test]
async fn an_initialised_server_has_an_administrator_and_takes_no_other() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    fixture.api.bare().get("/users/admin/check").await?.is(204);
    let another = json!({ "Username": "another", "Password": "long enough for it" });
    fixture.api.bare().post("/users/admin/init", &another).await?.is(409);
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_422_and_none_400() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let wrong = json!({ "Username": "nobody", "Password": "wrong" });
    fixture.turn().await;
    fixture.api.bare().post("/auth", &wrong).await?.refuses(422, "Invalid credentials");
    fixture.turn().await;
    fixture.api.bare().post("/auth", &json!({ "Username": "", "Password": "" })).await?.is(400);
    Ok(())
}

#[tokio::test]
async fn a_key_is_made_with_a_session_and_not_with_a_key() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let (user, password) = fixture.user("maker").await?;
    let wanted = json!({ "password": password, "description": "contract" });
    let session = fixture.session(&fixture.name("maker"), &password).await?;
    fixture.turn().await;
    let made = session.post(&format!("/users/{user}/tokens"), &wanted).await?.is(201).json();
    let key = made["rawAPIKey"].as_str().unwrap();
    assert!(key.starts_with("ptr_"), "{key}");
    let (by_key, number) = (fixture.api.bare().key(key), &made["apiKey"]["id"]);
    fixture.turn().await;
    by_key.post(&format!("/users/{user}/tokens"), &wanted).await?.is(401);
    let wrong = json!({ "password": "wrong", "description": "contract" });
    fixture.turn().await;
    session.post(&format!("/users/{user}/tokens"), &wrong).await?.is(403);
    by_key.get("/users/me").await?.is(200);
    session.delete(&format!("/users/{user}/tokens/{number}")).await?.is(204);
    by_key.get("/users/me").await?.refuses(401, "Invalid JWT token");
    Ok(())
}

#[tokio::test]
async fn strange_paths_and_methods_are_404_and_405_without_json() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    assert!(fixture.api.get("/no/such/path").await?.is(404).json().is_null());
    let answer = fixture.api.ask(Method::GET, "/endpoints/1/snapshot").await?.is(405);
    assert!(answer.body.is_empty());
    assert!(fixture.api.get("/endpoints/1/docker").await?.is(404).json().is_null());
    fixture.api.get("/endpoints/one").await?.is(400);
    fixture.api.get("/endpoints/987654").await?.refuses(404, "Unable to find an environment");
    fixture.api.get("/endpoints/987654/docker/_ping").await?.refuses(404, "Unable to find an environment");
    Ok(())
}

// From here on only the stand-in: a real server would ban the tests, or would have to be started anew.

#[tokio::test]
async fn a_fresh_server_takes_its_first_administrator_once() -> anyhow::Result<()> {
    let portainer = Portainer::with(Options { initialised: false, ..Options::default() })?;
    let api = Api::anonymous(&portainer.url());
    api.get("/users/admin/check").await?.is(404);
    api.get("/system/status").await?.is(200);
    let first = |password: &str| json!({ "Username": "admin", "Password": password });
    api.post("/users/admin/init", &first("short")).await?.refuses(400, "Password does not meet");
    api.post("/users/admin/init", &first("long enough for it")).await?.is(200);
    api.get("/users/admin/check").await?.is(204);
    api.post("/users/admin/init", &first("long enough for it")).await?.is(409);
    Ok(())
}

#[tokio::test]
async fn a_server_without_administrator_answers_303_after_a_while() -> anyhow::Result<()> {
    let portainer = Portainer::with(Options { initialised: false, ..Options::default() })?;
    let api = Api::anonymous(&portainer.url());
    portainer.time_out();
    for path in ["/system/status", "/users/admin/check", "/endpoints"] {
        let said = api.get(path).await?.refuses(303, "Administrator initialization timeout");
        assert_eq!(said.headers["redirect-reason"], "AdminInitTimeout");
        assert!(!said.headers.contains_key("location"));
    }
    api.get("/status").await?.is(200);
    portainer.restart()?;
    api.get("/system/status").await?.is(200);
    Ok(())
}

#[tokio::test]
async fn who_logs_in_too_often_is_banned_but_keys_go_on() -> anyhow::Result<()> {
    let portainer = Portainer::start()?;
    let api = Api::anonymous(&portainer.url());
    let right = json!({ "Username": ADMIN.0, "Password": ADMIN.1 });
    let mut statuses = vec![];
    for _ in 0..25 {
        statuses.push(api.post("/auth", &right).await?.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&403));
    api.key(portainer.admin_key()).get("/users/me").await?.is(200);
    portainer.restart()?;
    api.post("/auth", &right).await?.is(200);
    Ok(())
}

#[tokio::test]
async fn a_restart_ends_sessions_and_keeps_keys_environments_and_the_instance() -> anyhow::Result<()> {
    let portainer = Portainer::start()?;
    let api = Api::anonymous(&portainer.url());
    let before = api.get("/system/status").await?.json();
    let id = portainer.add_environment("kept", "tcp://127.0.0.1:1");
    let right = json!({ "Username": ADMIN.0, "Password": ADMIN.1 });
    let jwt = api.post("/auth", &right).await?.is(200).json()["jwt"].as_str().unwrap().to_owned();
    let session = api.with("authorization", format!("Bearer {jwt}"));
    session.get("/users/me").await?.is(200);
    portainer.restart()?;
    session.get("/users/me").await?.refuses(401, "Invalid JWT token");
    api.key(portainer.admin_key()).get(&format!("/endpoints/{id}")).await?.is(200);
    assert_eq!(api.get("/system/status").await?.json(), before);
    Ok(())
}
