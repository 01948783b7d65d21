//! (d) 24 hours of steady state: the controller in this process, its clock moved hour by hour.

use super::server::{Server, difference, words};
use super::table::Table;
use dockseal::adapters::Clock;
use dockseal::controller::{self, ControllerSettings};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// A tenth of the hosts have certificates of 36 hours, all of which are renewed within the day.
pub async fn day(server: &Server, table: &mut Table, hosts: usize) -> anyhow::Result<()> {
    let short = hosts / 10;
    server.fleet("steady", hosts - short, "365d").await?;
    server.hosts("steady", "short", short, "36h").await?;
    let offset = Arc::new(AtomicI64::new(0));
    let clock = moved(Arc::clone(&offset));
    let (stop, stopped) = oneshot::channel::<()>();
    let settings = ControllerSettings {
        destinations: dockseal::adapters::net::destinations::Destinations::anywhere(),
        namespaces: vec!["steady".into()],
        admin: ([127, 0, 0, 1], 0).into(),
        probes: None,
        lease_namespace: "steady".into(),
        identity: "steady".into(),
        allowlist: Default::default(),
    };
    let running = tokio::spawn(controller::run(server.client.clone(), settings, clock, async {
        let _ = stopped.await;
    }));
    quiet(server).await?;
    let (before, lists) = (server.writes().await?, server.lists().await?);
    for hour in 1..=24 {
        offset.store(hour, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    quiet(server).await?;
    let writes = difference(&before, &server.writes().await?);
    table.row(
        format!("(d) 24 hours over {hosts} hosts, {short} of them due: writes, the lease left out"),
        words(&writes),
    );
    table.row("(d) lists in that time", words(&difference(&lists, &server.lists().await?)));
    let _ = stop.send(());
    running.await??;
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the clock that is moved starts at the system's")]
fn moved(hours: Arc<AtomicI64>) -> Clock {
    Clock::showing(move || Timestamp::now() + SignedDuration::from_hours(hours.load(Ordering::SeqCst)))
}

/// Waits until the server has taken no write for two seconds.
async fn quiet(server: &Server) -> anyhow::Result<()> {
    let mut last = server.writes().await?;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = server.writes().await?;
        if now == last && now.contains_key("APPLY dockerhostcerts status") {
            return Ok(());
        }
        last = now;
    }
}
