//! Bad days: requests that fail, stall or are cut, and a controller that dies at every single write.

use crate::fixture::{Namespace, SOON, fails, homelab, host, secret_bytes, serial};
use crate::support::controller::Controller;
use crate::support::faults::{Action, Entry, Fault, FaultProxy};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use http::Method;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const HOSTS: [&str; 3] = ["one", "two", "three"];
const SECRETS: [&str; 4] = ["homelab-docker-ca", "one-docker-host", "two-docker-host", "three-docker-host"];

/// A namespace, a proxy, and the way through it.
struct Fixture {
    namespace: Namespace,
    proxy: FaultProxy,
    kubeconfig: std::path::PathBuf,
}

impl Fixture {
    async fn new(name: &str) -> anyhow::Result<Fixture> {
        let namespace = Namespace::new(name).await?;
        let proxy = FaultProxy::start(namespace.cluster)?;
        let kubeconfig = namespace.cluster.kubeconfig_through(proxy.url())?;
        Ok(Fixture { namespace, proxy, kubeconfig })
    }

    /// Always of the same identity, so that one that was killed goes on with its own lease.
    async fn controller(&self) -> anyhow::Result<Controller> {
        let (cluster, scope) = (self.namespace.cluster, self.namespace.scope());
        Controller::start(cluster, &self.kubeconfig, &self.namespace.name, &scope).await
    }

    /// All Ready, each Secret written exactly once, and what was written first is what is there now.
    async fn sound(&self) -> anyhow::Result<()> {
        let objects = self.namespace.all_ready().await?;
        let serials: HashSet<String> = objects.iter().map(serial).collect();
        ensure!(serials.len() == objects.len(), "two certificates have one serial number");
        for name in SECRETS {
            self.written_once(name).await.with_context(|| format!("Secret {name}"))?;
        }
        Ok(())
    }

    async fn written_once(&self, name: &str) -> anyhow::Result<()> {
        let landed = |entry: &Entry| entry.upstream.is_some_and(|code| code < 300);
        let about = |entry: &Entry| {
            let body: Value = serde_json::from_str(&entry.body).unwrap_or_default();
            entry.path.contains("/secrets") && body["metadata"]["name"] == name
        };
        let writes: Vec<Entry> =
            self.proxy.writes().into_iter().filter(|entry| landed(entry) && about(entry)).collect();
        let verbs: Vec<_> = writes.iter().map(|entry| entry.method.as_str()).collect();
        ensure!(verbs == ["POST"], "it was written by {verbs:?}");
        let first: Value = serde_json::from_str(&writes[0].body)?;
        let now = self.namespace.get(&format!("secret/{name}")).await?;
        ensure!(now["data"] == first["data"], "it is not as it was first written");
        ensure!(!secret_bytes(&now, "tls.key").is_empty());
        Ok(())
    }
}

/// Each write meets the fault once, at its first attempt.
fn first_attempts(fits: fn(&Entry) -> bool) -> impl Fn(&Entry) -> bool + Send + Sync + 'static {
    let seen = Mutex::new(HashSet::new());
    move |entry| {
        let body: Value = serde_json::from_str(&entry.body).unwrap_or_default();
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        fits(entry) && seen.lock().is_ok_and(|mut seen| seen.insert((entry.method.clone(), entry.path.clone(), name)))
    }
}

fn writes(entry: &Entry) -> bool {
    entry.is_write()
}

fn secrets_and_statuses(entry: &Entry) -> bool {
    entry.is_write() && (entry.path.ends_with("/secrets") || entry.path.ends_with("/status"))
}

fn secrets(entry: &Entry) -> bool {
    entry.is_write() && entry.path.ends_with("/secrets")
}

fn reads(entry: &Entry) -> bool {
    entry.method == http::Method::GET && !entry.path.contains("/leases")
}

fn everything(entry: &Entry) -> bool {
    entry.is_write() || reads(entry)
}

async fn issues_under(name: &'static str, action: Action, fits: fn(&Entry) -> bool) -> anyhow::Result<()> {
    let fixture = Fixture::new(name).await?;
    let fault = fixture.proxy.inject(Fault::new(action).when(first_attempts(fits)).always());
    let controller = fixture.controller().await?;
    fixture.namespace.apply(&homelab(&HOSTS)).await?;
    let told = || format!("{name}: {} faults; the controller's log:\n{}", fault.fired(), controller.log());
    fixture.sound().await.with_context(told)?;
    ensure!(fault.fired() >= 4, "{name}: only {} faults", fault.fired());
    Ok(())
}

/// A namespace's name, what goes wrong, and with which requests.
type Case = (&'static str, Action, fn(&Entry) -> bool);

async fn all_of(cases: Vec<Case>) -> anyhow::Result<()> {
    let runs = cases.into_iter().map(|(name, action, fits)| issues_under(name, action, fits));
    futures::stream::iter(runs).buffer_unordered(8).try_collect().await
}

#[tokio::test]
async fn every_write_fails_once_and_nothing_is_issued_twice() -> anyhow::Result<()> {
    let status = |code, retry_after| Action::Status { code, retry_after };
    all_of(vec![
        ("fault-refuse", Action::Refuse, writes),
        ("fault-cut", Action::CutAfterSend, writes),
        ("fault-409", status(409, None), writes),
        ("fault-429", status(429, Some(1)), writes),
        ("fault-500", status(500, None), writes),
        ("fault-503", status(503, None), everything),
        ("fault-refuse-all", Action::Refuse, everything),
        ("fault-cut-all", Action::CutAfterSend, everything),
    ])
    .await
}

#[tokio::test]
async fn silence_holds_up_and_breaks_nothing() -> anyhow::Result<()> {
    let seconds = Duration::from_secs;
    all_of(vec![
        ("silence-before", Action::HoldRequest(seconds(10)), secrets_and_statuses),
        ("silence-after", Action::HoldAnswer(seconds(10)), secrets_and_statuses),
        // Longer than the controller waits: the first attempt lands after the second.
        ("silence-late", Action::HoldRequest(seconds(25)), secrets),
        ("silence-lost", Action::HoldAnswer(seconds(25)), secrets),
    ])
    .await
}

#[tokio::test]
async fn watches_that_end_are_taken_up_again() -> anyhow::Result<()> {
    let fixture = Fixture::new("watches").await?;
    fixture.proxy.inject(Fault::new(Action::WatchGone).when(first_attempts(Entry::is_watch)).always());
    fixture.proxy.inject(Fault::status(410).watches().when(first_attempts(Entry::is_watch)).always());
    for after_events in 0..3 {
        fixture
            .proxy
            .inject(Fault::new(Action::CutWatch { after_events }).when(first_attempts(Entry::is_watch)).always());
    }
    let controller = fixture.controller().await?;
    fixture.namespace.apply(&homelab(&HOSTS)).await?;
    fixture.sound().await?;
    fixture.proxy.heal();
    // Cut while there is something new: an edited Secret, a deleted one and a new host are all seen.
    controller.ready("leading").await?;
    let before = fixture.namespace.get("secret/two-docker-host").await?;
    let deadline = Instant::now() + SOON;
    while fixture.proxy.open_watches("") < 6 {
        ensure!(Instant::now() < deadline, "{} watches are open", fixture.proxy.open_watches(""));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(fixture.proxy.cut_watches("") >= 6, "all watches were open");
    fixture.namespace.merge("secret/two-docker-host", serde_json::json!({"data": {"ca.pem": null}})).await?;
    fixture.namespace.delete("secret/one-docker-host").await?;
    fixture.namespace.apply(&host("four", "")).await?;
    fixture.namespace.until("secret/two-docker-host", |now| now["data"] == before["data"]).await?;
    fixture.namespace.until("secret/one-docker-host", |_| true).await?;
    fixture.namespace.all_ready().await.map(|_| ())
}

/// Kills the controller at its write number `n`; false where there is no such write.
async fn killed_at(n: usize, action: Action) -> anyhow::Result<bool> {
    let moment = if action == Action::PauseBefore { "before" } else { "after" };
    let fixture = Fixture::new(&format!("killed-{moment}-{n}")).await?;
    let pause = fixture.proxy.inject(Fault::new(action).writes().skip(n));
    fixture.namespace.apply(&homelab(&HOSTS)).await?;
    let first = fixture.controller().await?;
    let reached = tokio::select! {
        reached = pause.reached(1, SOON) => { reached?; true }
        ready = fixture.namespace.all_ready() => { ready?; false }
    };
    first.kill();
    pause.cut();
    if reached {
        let _second = fixture.controller().await?;
        fixture.sound().await.with_context(|| format!("killed {moment} write {n}"))?;
    }
    Ok(reached)
}

async fn killed_at_every_write(action: Action) -> anyhow::Result<()> {
    let runs = (0..13).map(|n| {
        let action = action.clone();
        async move { anyhow::Ok((n, killed_at(n, action).await?)) }
    });
    let reached: BTreeMap<usize, bool> = futures::stream::iter(runs).buffer_unordered(4).try_collect().await?;
    // Secret, annotation, bundle and status of the authority, Secret and status of each host.
    ensure!((0..9).all(|n| reached[&n]) && !reached[&12], "writes that were reached: {reached:?}");
    Ok(())
}

#[tokio::test]
async fn killed_before_any_write_it_goes_on() -> anyhow::Result<()> {
    killed_at_every_write(Action::PauseBefore).await
}

#[tokio::test]
async fn killed_after_any_write_it_goes_on() -> anyhow::Result<()> {
    killed_at_every_write(Action::PauseAfter).await
}

#[tokio::test]
async fn a_store_that_refuses_again_and_again_shows_in_the_status_until_it_takes() -> anyhow::Result<()> {
    let fixture = Fixture::new("refusing").await?;
    let _controller = fixture.controller().await?;
    fixture.namespace.apply(&homelab(&[])).await?;
    fixture.namespace.all_ready().await?;
    let refusing = fixture.proxy.inject(Fault::status(500).method(Method::POST).path("/secrets").always());
    fixture.namespace.apply(&host("one", "")).await?;
    fixture.namespace.until("dockerhostcert/one", |host| fails(host, "Ready", "StoreFailed")).await?;
    ensure!(refusing.fired() >= 3, "it was told after {} failures", refusing.fired());
    fixture.proxy.heal();
    fixture.namespace.all_ready().await?;
    Ok(())
}

#[tokio::test]
async fn an_authority_that_cannot_be_stored_tells_its_leaves() -> anyhow::Result<()> {
    let fixture = Fixture::new("unstored").await?;
    fixture.proxy.inject(Fault::status(500).method(Method::POST).path("/secrets").always());
    let _controller = fixture.controller().await?;
    fixture.namespace.apply(&homelab(&["one"])).await?;
    fixture.namespace.until("dockerca/homelab", |ca| fails(ca, "Ready", "StoreFailed")).await?;
    fixture.namespace.until("dockerhostcert/one", |host| fails(host, "Issued", "AuthorityNotReady")).await?;
    fixture.proxy.heal();
    fixture.namespace.all_ready().await?;
    Ok(())
}
