//! What others do to a Portainer, and what users do to the objects: noticed, and put right or let go.

use super::fixture::{Fixture, Pair, client, event, info, marks, until};
use crate::fixture::{Namespace, SOON, base64, fails, find, is};
use crate::support::portainer::state::Environment;
use anyhow::{Context, ensure};
use dockseal::adapters::Clock;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn fixture(name: &str, pairs: &[&str]) -> anyhow::Result<(Fixture, crate::support::controller::Controller)> {
    let namespace = Namespace::new(name).await?;
    let controller = namespace.controller(name).await?;
    let fixture = Fixture::new(namespace, pairs).await?;
    fixture.begin().await?;
    fixture.all_registered().await?;
    Ok((fixture, controller))
}

/// Waits until a pair is as it should be, under that id where it keeps it, and Portainer's users reach the host.
async fn right(pair: &Pair, id: Option<u64>) -> anyhow::Result<u64> {
    let is_right = |environment: &Environment| {
        id.is_none_or(|id| id == environment.id)
            && environment.tls.on
            && !environment.tls.skip_verify
            && environment.status == 1
    };
    let all = || pair.is_whole().is_ok() && is_right(&pair.portainer.environments()[0]);
    until(&format!("{} is not put right", pair.name), all).await.with_context(|| {
        format!(
            "{:#?} {:#?} {:?}",
            pair.portainer.environments(),
            pair.told(),
            pair.is_whole().map_err(|e| e.to_string())
        )
    })?;
    let id = pair.portainer.environments()[0].id;
    info(&pair.portainer, id).await?;
    Ok(id)
}

#[tokio::test]
async fn what_is_edited_by_hand_is_put_right() -> anyhow::Result<()> {
    type Edit = fn(&mut Environment);
    let edits: [(&str, Edit); 7] = [
        ("renamed", |it| it.name = "mine".into()),
        ("untagged", |it| it.tags.clear()),
        ("tls-off", |it| it.tls.on = false),
        ("unverified", |it| it.tls.skip_verify = true),
        ("moved", |it| it.url = "tcp://127.0.0.1:1".into()),
        ("broken", |it| (it.status, it.tls.cert, it.tls.key) = (2, String::new(), String::new())),
        ("down", |it| it.status = 2),
    ];
    let names = edits.map(|(name, _)| name);
    let (fixture, _controller) = fixture("portainer-edited", &names).await?;
    for (name, edit) in edits {
        let pair = fixture.pair(name);
        let id = pair.portainer.environments()[0].id;
        pair.portainer.edit(id, edit);
        fixture.look(name).await?;
        right(pair, Some(id)).await.with_context(|| name)?;
        fixture.registered(name).await?;
    }
    // What others add stays.
    let pair = fixture.pair("renamed");
    let (id, theirs) = (pair.portainer.environments()[0].id, pair.portainer.add_tag("theirs"));
    pair.portainer.edit(id, |it| {
        it.tags.push(theirs);
        it.name = "mine again".into();
    });
    fixture.look("renamed").await?;
    right(pair, Some(id)).await?;
    ensure!(pair.portainer.environments()[0].tags.contains(&theirs), "a tag of others is gone");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_another_or_an_older_one_gets_its_environments_back() -> anyhow::Result<()> {
    let (fixture, _controller) =
        fixture("portainer-replaced", &["removed", "restored", "rolled-back", "replaced"]).await?;

    let pair = fixture.pair("removed");
    pair.portainer.remove_environment(pair.portainer.environments()[0].id);
    fixture.look("removed").await?;
    right(pair, None).await?;

    // From before it was registered; another environment has the number now.
    let pair = fixture.pair("restored");
    let registered = pair.portainer.backup();
    let id = pair.portainer.environments()[0].id;
    pair.portainer.remove_environment(id);
    let before = pair.portainer.backup();
    pair.portainer.restore(&before)?;
    fixture.look("restored").await?;
    let second = right(pair, None).await?;
    ensure!(second != id, "ids are not used again");
    pair.portainer.restore(&registered)?;
    fixture.look("restored").await?;
    ensure!(right(pair, None).await? == id, "what the backup has is found");
    fixture.registered("restored").await?;

    // From before a rotation: it has the old certificate, which is still good, and the next rotation replaces it.
    let pair = fixture.pair("rolled-back");
    let (id, old) = (pair.portainer.environments()[0].id, pair.portainer.backup());
    fixture.renew(&["portainerclient/rolled-back".into()]).await?;
    fixture.registered("rolled-back").await?;
    pair.portainer.restore(&old)?;
    fixture.look("rolled-back").await?;
    info(&pair.portainer, id).await?;
    fixture.renew(&["portainerclient/rolled-back".into()]).await?;
    fixture.registered("rolled-back").await?;
    right(pair, Some(id)).await?;
    // Or it was replaced by one that no longer is: Portainer's own look at the host fails.
    pair.portainer.equip(id, "none", "none", "none");
    pair.portainer.restart()?;
    pair.portainer.edit(id, |it| it.status = 2);
    fixture.look("rolled-back").await?;
    right(pair, Some(id)).await?;

    let pair = fixture.pair("replaced");
    let before = pair.portainer.instance();
    pair.portainer.reinstall()?;
    let (old, new) = (pair.portainer.admin_key(), pair.portainer.add_key(pair.portainer.admin_key()));
    let theirs = pair.portainer.add_environment("theirs", &pair.docker.url());
    ensure!(pair.portainer.named("theirs")[0].id == 1, "it has not the number that ours had");
    fixture.namespace.merge("secret/replaced-admin", json!({"data": {"apiKey": base64(&new)}})).await?;
    until("it is not registered anew", || pair.portainer.named("replaced").len() == 1).await?;
    let instance = pair.portainer.instance();
    ensure!(instance != before && old != new, "it is the same server");
    let anew = |host: &Value| {
        is(host, "Registered", "True") && host["status"]["environments"][0]["instanceId"] == json!(instance)
    };
    fixture.namespace.until("dockerhostcert/replaced", anew).await?;
    fixture
        .namespace
        .until("portainerclient/replaced", |client| client["status"]["instanceId"] == json!(instance))
        .await?;
    let untouched = pair.portainer.environment(theirs).context("it is there")?;
    ensure!(untouched.name == "theirs" && untouched.tags.is_empty() && !untouched.tls.on, "{untouched:#?}");
    Ok(())
}

#[tokio::test]
async fn a_host_that_leaves_the_selector_keeps_its_environment_and_may_come_back() -> anyhow::Result<()> {
    let (fixture, mut controller) = fixture("portainer-selector", &["leaves"]).await?;
    let pair = fixture.pair("leaves");
    let id = pair.portainer.environments()[0].id;
    fixture
        .namespace
        .merge("portainerclient/leaves", json!({"spec": {"environment": {"deletionPolicy": "Delete"}}}))
        .await?;
    for _ in 0..2 {
        let label = |of: &str| json!({"metadata": {"labels": {"of": of}}});
        fixture.namespace.merge("dockerhostcert/leaves", label("nobody")).await?;
        let unmarked = || {
            let environment = pair.portainer.environment(id);
            environment.is_some_and(|environment| marks(&pair.portainer, &environment).is_empty())
        };
        until("the tag stays", unmarked).await?;
        let out = |host: &Value| {
            find(host, "Registered").is_none()
                && is(host, "Ready", "True")
                && host["status"]["environments"][0]["reason"] == "Deregistered"
        };
        fixture.namespace.until("dockerhostcert/leaves", out).await?;
        fixture.namespace.until("portainerclient/leaves", |client| client["status"]["selected"] == 0).await?;
        info(&pair.portainer, id).await?;
        // Another controller knows it by what the status keeps.
        controller.stop()?;
        controller = fixture.namespace.controller("portainer-selector").await?;
        fixture.namespace.merge("dockerhostcert/leaves", label("leaves")).await?;
        ensure!(fixture.registered("leaves").await?.id == id, "it is another one");
        right(pair, Some(id)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_two_portainer_clients_the_older_has_the_host() -> anyhow::Result<()> {
    let (fixture, _controller) = fixture("portainer-contest", &["older"]).await?;
    let pair = fixture.pair("older");
    let id = pair.portainer.environments()[0].id;
    let older = fixture.namespace.get("portainerclient/older").await?["metadata"]["creationTimestamp"].clone();
    // Times are in whole seconds, and of two in one second the name decides.
    while k8s_openapi::jiff::Timestamp::now().as_second() <= seconds(&older)? {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let younger = client("a-younger", &pair.portainer, "").replace("of: a-younger", "of: older");
    fixture.namespace.apply(&younger).await?;
    let lost =
        fixture.namespace.until("dockerhostcert/older", |host| fails(host, "Registered", "NameConflict")).await?;
    let reports = lost["status"]["environments"].as_array().context("a list")?;
    let reason = |name: &str| {
        let report = reports.iter().find(|report| report["portainerClient"] == name);
        report.map(|report| report["reason"].clone()).unwrap_or_default()
    };
    ensure!(reason("older") == "Registered" && reason("a-younger") == "NameConflict", "{reports:#?}");
    let why = reports.iter().find(|report| report["portainerClient"] == "a-younger").context("it is there")?;
    ensure!(why["message"].to_string().contains("let only one of them select it"), "{why:#}");
    fixture.namespace.until("portainerclient/older", |client| is(client, "Ready", "True")).await?;
    right(pair, Some(id)).await?;
    ensure!(marks(&pair.portainer, &pair.portainer.environments()[0])[0].contains("/older/"), "it has another mark");
    // The younger goes, and takes nothing along.
    fixture.namespace.delete("portainerclient/a-younger").await?;
    fixture.namespace.until("dockerhostcert/older", |host| is(host, "Registered", "True")).await?;
    right(pair, Some(id)).await.map(drop)
}

fn seconds(time: &Value) -> anyhow::Result<i64> {
    let time: k8s_openapi::jiff::Timestamp = time.as_str().unwrap_or_default().parse()?;
    Ok(time.as_second())
}

#[tokio::test]
async fn a_portainer_client_goes_as_its_policy_says_and_no_server_holds_it_for_ever() -> anyhow::Result<()> {
    let names = ["deleted", "retained", "gone", "gone-host"];
    let (fixture, _controller) = fixture("portainer-going", &names).await?;
    for name in ["deleted", "gone", "gone-host"] {
        let client = format!("portainerclient/{name}");
        fixture.namespace.merge(&client, json!({"spec": {"environment": {"deletionPolicy": "Delete"}}})).await?;
        fixture.namespace.until(&client, |client| client["metadata"]["finalizers"].is_array()).await?;
        let host = format!("dockerhostcert/{name}");
        fixture.namespace.until(&host, |host| host["metadata"]["finalizers"].is_array()).await?;
    }
    for name in ["deleted", "retained"] {
        fixture.namespace.delete(&format!("portainerclient/{name}")).await?;
        fixture.namespace.gone(&format!("portainerclient/{name}")).await?;
        let out = |host: &Value| find(host, "Registered").is_none() && is(host, "Ready", "True");
        fixture.namespace.until(&format!("dockerhostcert/{name}"), out).await?;
        event(&fixture.namespace, name, "Deregistered").await?;
    }
    ensure!(fixture.pair("deleted").portainer.environments().is_empty(), "it is still there");
    let pair = fixture.pair("retained");
    let left = pair.portainer.environments();
    ensure!(left.len() == 1 && marks(&pair.portainer, &left[0]).is_empty(), "{left:#?}");
    info(&pair.portainer, left[0].id).await?;

    // A Portainer that is gone for good.
    for (name, what) in [("gone", "portainerclient/gone"), ("gone-host", "dockerhostcert/gone-host")] {
        fixture.pair(name).portainer.stop();
        fixture.namespace.delete(what).await?;
        fixture.namespace.until(what, |object| fails(object, "Ready", "Deregistering")).await?;
        fixture.look(name).await?;
        fixture
            .namespace
            .until(&format!("portainerclient/{name}"), |client| {
                fails(client, "Registered", "PortainerUnreachable") || fails(client, "Ready", "Deregistering")
            })
            .await?;
        fixture.namespace.get(what).await.context("it waits")?;
        fixture.namespace.annotate(what, "dockseal.dev/force-remove", "yes").await?;
        fixture.namespace.gone(what).await?;
        event(&fixture.namespace, name, "FinalizerForced").await?;
    }
    Ok(())
}

/// What the controller says of its requests, hosts and environments, and that none of it outlives its object.
#[tokio::test]
async fn requests_are_counted_as_long_as_their_portainer_client_is_there() -> anyhow::Result<()> {
    let (fixture, controller) = fixture("portainer-counted", &["stays", "goes"]).await?;
    let shows = async |what: &str, name: &str, labels: &str| -> anyhow::Result<Option<f64>> {
        let series = format!("dockseal_{what}{{namespace=\"portainer-counted\",name=\"{name}\"{labels}}} ");
        let (_, metrics) = controller.get("/metrics").await?;
        metrics.lines().find_map(|line| line.strip_prefix(&series)).map(str::parse).transpose().map_err(Into::into)
    };
    for name in ["stays", "goes"] {
        // What the statuses say is in the figures a moment later.
        let registered = format!(",portainer_client=\"{name}\"");
        let deadline = Instant::now() + SOON;
        while shows("environment_registered", name, &registered).await? != Some(1.0)
            || shows("host_served", name, ",seen_by=\"registration\"").await? != Some(1.0)
        {
            ensure!(Instant::now() < deadline, "{name} is not registered, or not served");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let of = |operation| format!(",operation=\"{operation}\",outcome=\"ok\"");
        ensure!(shows("portainer_requests_total", name, &of("create")).await? == Some(1.0), "one is made");
        ensure!(shows("portainer_requests_total", name, &of("ping")).await? >= Some(1.0), "it is pinged");
        let looked = shows("portainer_last_look_timestamp_seconds", name, "").await?.unwrap_or_default();
        ensure!((0.0..600.0).contains(&(Clock::system().now().as_second() as f64 - looked)), "looked at {looked}");
    }
    fixture.pair("stays").portainer.stop();
    fixture.look("stays").await?;
    fixture
        .namespace
        .until("portainerclient/stays", |client| fails(client, "Registered", "PortainerUnreachable"))
        .await?;
    let deadline = Instant::now() + SOON;
    while !controller.get("/metrics").await?.1.contains("outcome=\"unreachable\"") {
        ensure!(Instant::now() < deadline, "the failed request is not counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    fixture.namespace.delete("portainerclient/goes").await?;
    fixture.namespace.gone("portainerclient/goes").await?;
    for _ in 0..300 {
        let (_, metrics) = controller.get("/metrics").await?;
        let left = |line: &&str| line.contains("\"goes\"") && !line.contains("DockerHostCert");
        let left: Vec<&str> = metrics.lines().filter(left).collect();
        if left.is_empty() {
            ensure!(shows("portainer_last_look_timestamp_seconds", "stays", "").await?.is_some());
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("a PortainerClient that is gone has series still")
}
