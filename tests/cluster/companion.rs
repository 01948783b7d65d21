//! The companion on a real API server with the chart's policies: as a pod, through bad days, and outside.

mod home;

use crate::support::faults::{Action, Entry, Fault, FaultProxy};
use crate::world::{find, is};
use anyhow::{Context, ensure};
use home::{By, Home, OBJECT};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_pod_delivers_renews_and_puts_right_what_others_change() -> anyhow::Result<()> {
    let home = Home::new("pod", By::Node, "mode: Files").await?;
    let companion = home.pod().await?;
    let told = || companion.log();
    home.refused("SecretMissing").await.with_context(told)?;
    let first = home.renew().await?;
    let took = home.delivered(&first).await.with_context(told)?;
    let object = home.reported(&first.0).await.with_context(told)?;
    ensure!(is(&object, "Delivered", "True"), "{:#}", object["status"]);
    let host = &object["status"]["host"];
    ensure!(host["deliveredAt"].is_string() && host["deliveredBundle"].is_string(), "{host:#}");
    let managers = home.namespace.kubectl(&["get", "dhc", "pandora", "--show-managed-fields", "-o", "json"]).await?;
    ensure!(managers.contains("\"dockseal-companion\""), "{managers}");

    let mut renewals = vec![took];
    for _ in 0..5 {
        renewals.push(home.delivered(&home.renew().await?).await.with_context(told)?);
    }
    println!("from the Secret's change to files in place: {renewals:?}");
    renewals.sort();
    ensure!(renewals[renewals.len() / 2] < SECOND, "a renewal takes {renewals:?}");

    put_right(&home).await.with_context(told)?;
    still(&home, &companion).await.with_context(told)?;
    started_again(&home, companion).await
}

/// Files that are edited, removed or linked elsewhere are as before within seconds.
async fn put_right(home: &Home) -> anyhow::Result<()> {
    let good = |name: &str| std::fs::read(home.file(name));
    let before = ["ca.pem", "pandora.pem", "pandora.key"].map(|name| (name, good(name).unwrap_or_default()));
    let whole = || before.iter().all(|(name, bytes)| good(name).is_ok_and(|now| now == *bytes));
    ensure!(whole(), "the files are not there");
    type Harm = (&'static str, fn(&Home) -> std::io::Result<()>);
    let harms: [Harm; 6] = [
        ("a name is removed", |home| std::fs::remove_file(home.file("pandora.pem"))),
        ("a file is edited through its name", |home| std::fs::write(home.file("ca.pem"), "mine")),
        ("a name is another file", |home| {
            std::fs::remove_file(home.file("pandora.key"))?;
            std::fs::write(home.file("pandora.key"), "mine")
        }),
        ("the current generation is removed", |home| {
            std::fs::remove_dir_all(std::fs::canonicalize(home.directory.join(".dockseal/current"))?)
        }),
        ("all of ours is removed", |home| std::fs::remove_dir_all(home.directory.join(".dockseal"))),
        ("the directory is removed", |home| std::fs::remove_dir_all(&home.directory)),
    ];
    for (words, harm) in harms {
        harm(home).context(words)?;
        let since = Instant::now();
        home.until(whole, words).await?;
        println!("{words}: put right after {:?}", since.elapsed());
    }
    Ok(())
}

/// Nothing changes: it does nothing.
async fn still(home: &Home, companion: &crate::support::companion::Companion) -> anyhow::Result<()> {
    tokio::time::sleep(5 * SECOND).await; // its own last writes have been looked at then
    let (version, busy) = (home.version().await?, companion.processor_time()?);
    tokio::time::sleep(10 * SECOND).await;
    let busy = companion.processor_time()? - busy;
    println!("processor time within ten seconds in which nothing changes: {busy:?}");
    ensure!(busy <= Duration::from_millis(20), "it worked for {busy:?} in ten seconds");
    ensure!(home.version().await? == version, "it wrote though nothing changed");
    Ok(())
}

/// A companion that starts over what is there writes nothing, neither here nor there.
async fn started_again(home: &Home, before: crate::support::companion::Companion) -> anyhow::Result<()> {
    drop(before);
    let renewed = home.renew().await?;
    let companion = home.pod().await?;
    home.delivered(&renewed).await.with_context(|| companion.log())?;
    home.reported(&renewed.0).await.with_context(|| companion.log())?;
    drop(companion);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().expect("it is there"));
    let (version, files) = (home.version().await?, inode(&home.file("pandora.pem")));
    let companion = home.pod().await?;
    std::fs::remove_file(home.file("ca.pem"))?;
    home.until(|| home.file("ca.pem").exists(), "it does not work").await?;
    tokio::time::sleep(2 * SECOND).await;
    ensure!(inode(&home.file("pandora.pem")) == files, "it delivered again:\n{}", companion.log());
    ensure!(home.version().await? == version, "it reported again:\n{}", companion.log());
    Ok(())
}
