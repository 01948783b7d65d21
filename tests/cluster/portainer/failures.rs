//! A controller whose Portainers have one bad moment each: it comes back to them when their time has come, neither
//! sooner nor never. Its clock is the test's.

use super::fixture::{Fixture, until};
use crate::fixture::Namespace;
use crate::support::portainer::Fault;
use anyhow::{Context, ensure};
use dockseal::adapters::Clock;
use dockseal::controller::{self, ControllerSettings};
use dockseal::decide::delivery::Allowlist;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const FAULTS: [(&str, Fault); 9] = [
    ("status-401", Fault::Status(401)),
    ("status-403", Fault::Status(403)),
    ("status-409", Fault::Status(409)),
    ("status-500", Fault::Status(500)),
    ("status-303", Fault::Status(303)),
    ("empty-502", Fault::Empty(502)),
    ("cut", Fault::Cut),
    ("lost", Fault::LoseAnswer),
    ("half", Fault::CutAnswer),
];

/// After that it has tried everything again. Certificates begin five minutes before their time, so dockerd still takes
/// those that are issued then.
const LATER: i64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_comes_back_to_what_failed_and_not_too_soon() -> anyhow::Result<()> {
    let namespace = Namespace::new("portainer-bad-days").await?;
    let minutes = Arc::new(AtomicI64::new(0));
    let ahead = Arc::clone(&minutes);
    let clock = Clock::showing(move || Timestamp::now() + SignedDuration::from_mins(ahead.load(Ordering::SeqCst)));
    let kubeconfig = kube::config::Kubeconfig::read_from(namespace.cluster.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    let settings = ControllerSettings {
        destinations: dockseal::adapters::net::destinations::Destinations::anywhere(),
        namespaces: vec![namespace.name.clone()],
        admin: ([127, 0, 0, 1], 0).into(),
        probes: None,
        lease_namespace: namespace.name.clone(),
        identity: "bad-days".into(),
        allowlist: Allowlist::default(),
    };
    let running = controller::run(kube::Client::try_from(config)?, settings, clock, std::future::pending());
    let running = tokio::spawn(running);
    let fixture = Fixture::new(namespace, &FAULTS.map(|(name, _)| name)).await?;

    inject(&fixture, "POST", "/api/endpoints");
    fixture.begin().await?;
    taken(&fixture).await?;
    // What may have left a key is not tried again within two minutes.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (name, most) in [("status-500", 1), ("cut", 1), ("empty-502", 1), ("lost", 1), ("half", 1)] {
        let calls = fixture.pair(name).portainer.calls();
        let creates = calls.iter().filter(|call| call.is("POST", "/api/endpoints")).count();
        ensure!(creates <= most, "{name}: {creates} creates at once: {:#?}", fixture.pair(name).told());
    }
    minutes.store(LATER, Ordering::SeqCst);
    fixture.all_registered().await?;

    inject(&fixture, "PUT", "/api/endpoints/*");
    fixture.renew(&FAULTS.map(|(name, _)| format!("portainerclient/{name}"))).await?;
    taken(&fixture).await?;
    minutes.store(LATER + 1, Ordering::SeqCst);
    fixture.all_registered().await.context("rotation")?;
    ensure!(fixture.pairs.iter().all(|pair| pair.portainer.environments()[0].id == 1), "some were made anew");
    running.abort();
    Ok(())
}

fn inject(fixture: &Fixture, method: &str, path: &str) {
    FAULTS.iter().for_each(|(name, fault)| fixture.pair(name).portainer.inject(method, path, *fault));
}

async fn taken(fixture: &Fixture) -> anyhow::Result<()> {
    for pair in &fixture.pairs {
        until(&format!("{} is not asked", pair.name), || pair.portainer.faults_left() == 0).await?;
    }
    Ok(())
}
