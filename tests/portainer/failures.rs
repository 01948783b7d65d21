//! The stand-in's own side: faults on order, the log of calls, backups, many environments, HTTPS. Never a real server.

use crate::api::Api;
use crate::fixture::{Ca, form};
use crate::support::docker_like::DockerLike;
use crate::support::portainer::{Backup, Fault, Options, Portainer};
use dockseal::adapters::random::quick_key;
use dockseal::pki::profile::Usage;
use futures::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};

/// As long as a busy machine may need.
const SOON: Duration = Duration::from_secs(90);

fn started() -> anyhow::Result<(Portainer, Api)> {
    let portainer = Portainer::start()?;
    let api = Api::anonymous(&portainer.url()).key(portainer.admin_key());
    Ok((portainer, api))
}

#[tokio::test]
async fn a_fault_hits_the_requests_that_it_was_ordered_for() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    portainer.inject("GET", "/api/tags", Fault::Status(503));
    portainer.inject_times(2, "GET", "/api/endpoints/**", Fault::Empty(502));
    api.get("/endpoint_groups").await?.is(200);
    assert_eq!(api.get("/tags").await?.is(503).json()["message"], "Ordered by the test");
    api.get("/tags").await?.is(200);
    assert!(api.get("/endpoints/1").await?.is(502).body.is_empty());
    api.get("/endpoints/1/docker/_ping").await?.is(502);
    api.get("/endpoints/1").await?.is(404);
    assert_eq!(portainer.faults_left(), 0);
    portainer.inject_times(usize::MAX, "GET", "/api/tags", Fault::Status(500));
    api.get("/tags").await?.is(500);
    portainer.heal();
    api.get("/tags").await?.is(200);
    Ok(())
}

#[tokio::test]
async fn a_cut_tells_nothing_of_what_was_done() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    let cuts = [("never", Fault::Cut, 0), ("lost", Fault::LoseAnswer, 1), ("torn", Fault::CutAnswer, 1)];
    for (name, fault, made) in cuts {
        portainer.inject("POST", "/api/tags", fault);
        let before = portainer.tags().len();
        assert!(api.post("/tags", &json!({ "Name": name })).await.is_err(), "{fault:?}");
        portainer.wait(name, SOON, |portainer| portainer.tags().len() == before + made).await?;
        assert_eq!(portainer.calls().last().map(|call| (call.status, call.fault)), Some((None, Some(fault))));
    }
    Ok(())
}

#[tokio::test]
async fn a_hang_ends_with_its_client_and_a_late_answer_is_of_something_done() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    let long = Duration::from_secs(600);
    for (name, fault, made) in [("hang", Fault::Hang(long), 0), ("late", Fault::DelayAnswer(long), 1)] {
        portainer.inject("POST", "/api/tags", fault);
        let (body, mark) = (json!({ "Name": name }), portainer.mark());
        let there = |portainer: &Portainer| {
            portainer.count_since(mark, "POST", "/api/tags") == 1 && portainer.tags().len() == made
        };
        let waiting = async {
            portainer.wait("it came", SOON, there).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            anyhow::Ok(())
        };
        tokio::select! {
            answered = api.post("/tags", &body) => panic!("{fault:?}: {answered:?}"),
            waited = waiting => waited?,
        }
        let ended = |portainer: &Portainer| portainer.calls().iter().all(|call| call.ended.is_some());
        portainer.wait("the end", SOON, ended).await?;
        assert_eq!(portainer.tags().len(), made);
    }
    Ok(())
}

#[tokio::test]
async fn the_log_counts_calls_by_environment_and_side_by_side() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let id = api.form("/endpoints", &form("host", &docker.url(), &files)).await?.is(200).json()["Id"].as_u64();
    let upload = crate::api::Form::default().field("folder", id.unwrap()).file("file", &files.ca);
    api.form("/upload/tls/ca", &upload).await?.is(204);
    api.get(&format!("/endpoints/{}/docker/_ping", id.unwrap())).await?.is(200);
    api.get("/endpoints").await?.is(200);
    assert_eq!(portainer.calls().iter().filter(|call| call.environment == id).count(), 3);
    assert_eq!(portainer.calls().iter().filter(|call| call.is_write()).count(), 2);
    let mark = portainer.mark();
    portainer.inject_times(3, "GET", "/api/tags", Fault::DelayAnswer(Duration::from_secs(5)));
    join_all((0..3).map(|_| api.get("/tags"))).await;
    api.get("/tags").await?.is(200);
    assert_eq!(portainer.count_since(mark, "GET", "/api/*"), 4);
    assert_eq!(portainer.most_in_flight_since(mark), 3);
    Ok(())
}

#[tokio::test]
async fn a_restored_server_knows_what_it_knew_then() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    let ca = Ca::new("a")?;
    let (docker, (files, serial)) = (ca.docker()?, ca.client()?);
    let id = portainer.add_environment("host", &docker.url());
    portainer.equip(id, &files.ca, &files.cert, &files.key);
    let (instance, backup): (String, Backup) = (portainer.instance(), portainer.backup());
    let (newer, _) = ca.client()?;
    portainer.equip(id, &newer.ca, &newer.cert, &newer.key);
    portainer.reinstall()?;
    assert_ne!(portainer.instance(), instance);
    assert!(portainer.environments().is_empty() && portainer.tls_files().is_empty());
    api.get("/users/me").await?.is(200);
    portainer.restore(&backup)?;
    assert_eq!(portainer.instance(), instance);
    api.get(&format!("/endpoints/{id}/docker/_ping")).await?.is(200);
    assert_eq!(docker.last_serial(), Some(serial));
    Ok(())
}

#[tokio::test]
async fn a_restart_loads_the_files_that_wait() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    let ca = Ca::new("a")?;
    let (docker, (old, first), (new, second)) = (ca.docker()?, ca.client()?, ca.client()?);
    let id = portainer.add_environment("host", &docker.url());
    let seen = async || {
        api.get(&format!("/endpoints/{id}/docker/_ping")).await?.is(200);
        Ok::<_, anyhow::Error>(docker.last_serial())
    };
    portainer.equip(id, &old.ca, &old.cert, &old.key);
    assert_eq!(seen().await?, Some(first.clone()));
    portainer.equip(id, &new.ca, &new.cert, &new.key);
    assert_eq!(seen().await?, Some(first));
    portainer.restart()?;
    assert_eq!(seen().await?, Some(second));
    Ok(())
}

#[tokio::test]
async fn a_paused_host_answers_what_waited_when_it_is_resumed() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    docker.set_version("29.0.0");
    let id = portainer.add_environment("host", &docker.url());
    portainer.equip(id, &files.ca, &files.cert, &files.key);
    docker.pause();
    let path = format!("/endpoints/{id}/docker/v1.44/version");
    let asking = api.get(&path);
    tokio::pin!(asking);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut asking).await.is_err());
    assert_eq!(docker.served(), []);
    docker.resume();
    let version = asking.await?.is(200).json();
    assert_eq!((&version["Version"], &version["MinAPIVersion"]), (&json!("29.0.0"), &json!("1.44")));
    let served = docker.served();
    assert_eq!((served.len(), served[0].path.as_str(), served[0].at), (1, "/v1.44/version", docker.address()));
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_refuses_until_it_is_started_again() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    portainer.stop();
    assert!(api.get("/tags").await.is_err());
    portainer.restart()?;
    api.get("/tags").await?.is(200);
    Ok(())
}

#[tokio::test]
async fn a_thousand_environments_are_listed_and_pinged_soon() -> anyhow::Result<()> {
    let (portainer, api) = started()?;
    let ca = Ca::new("a")?;
    let pinged = [1, 500, 1000];
    let docker = DockerLike::start_as_one(1000, &ca.many(&pinged)?)?;
    let (files, _) = ca.client()?;
    let start = Instant::now();
    for address in docker.addresses() {
        let id = portainer.add_environment(&address.to_string(), &format!("tcp://{address}"));
        portainer.equip(id, &files.ca, &files.cert, &files.key);
    }
    let list = api.get("/endpoints?excludeSnapshots=true").await?.is(200).json();
    assert_eq!(list.as_array().map(Vec::len), Some(1000));
    for id in pinged {
        api.get(&format!("/endpoints/{id}/docker/_ping")).await?.is(200);
    }
    assert_eq!(docker.served().len(), 3);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn over_https_it_tells_who_speaks_http() -> anyhow::Result<()> {
    let ca = Ca::new("a")?;
    let key = quick_key();
    let (chain, _) = ca.leaf(Usage::Server, &key)?;
    let https = Some((chain, key.to_pem().to_string()));
    let portainer = Portainer::with(Options { https, ..Options::default() })?;
    assert!(portainer.url().starts_with("https://127.0.0.1:"));
    let plain = Api::anonymous(&format!("http://{}", portainer.address()));
    plain.get("/system/status").await?.refuses(400, "Client sent an HTTP request to an HTTPS server");
    let answer = crate::api::over_tls(portainer.address(), &ca.pem(), "/api/system/status").await?;
    assert!(answer.contains(&portainer.instance()), "{answer}");
    Ok(())
}
