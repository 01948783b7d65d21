//! `up` killed at each call to Portainer, before and after it was done; the next run ends what that one began.

use crate::fleet::Fleet;
use crate::support::portainer::{Call, Fault};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(600);

/// Kills a run at its `number`th call, from 0; false where it makes no more than that. `done` lets Portainer do what
/// the call asks for before.
async fn killed(fleet: &Fleet, number: usize, done: bool) -> bool {
    let mark = fleet.portainer.mark();
    fleet.portainer.inject_at(number, if done { Fault::DelayAnswer(LONG) } else { Fault::Hang(LONG) });
    let mut child = fleet.program(Duration::from_secs(120)).spawn();
    let reached = |call: &Call| !done || call.status.is_some();
    let begun = Instant::now();
    let killed = loop {
        if fleet.portainer.calls_since(mark).get(number).is_some_and(reached) {
            child.kill().unwrap(); // SIGKILL
            break true;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            break false;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "call {number} does not come, and no end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    child.wait().unwrap();
    fleet.portainer.heal();
    killed
}

fn finished(fleet: &Fleet, what: &str) {
    let output = fleet.program(Duration::from_secs(120)).output();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_cut_anywhere_is_ended_by_the_next_run() {
    let fleet = Fleet::new(&["pandora", "titan"]).await;
    let saved = fleet.save();
    for done in [false, true] {
        let mut number = 0;
        loop {
            fleet.portainer.reinstall().unwrap();
            fleet.load(&saved);
            if !killed(&fleet, number, done).await {
                break;
            }
            let what = format!("cut at call {number}, done: {done}");
            finished(&fleet, &what);
            assert_eq!(fleet.portainer.environments().len(), 2, "{what}");
            assert_eq!(fleet.portainer.tls_key_dirs(), Vec::<String>::new(), "{what}: a key of no environment");
            for (name, _) in &fleet.hosts {
                fleet.is_reached_with_what_is_stored(name).await;
            }
            number += 1;
        }
        // Five and a list about the server, two tags; then creation, look, proof and snapshot of each host.
        assert_eq!(number, 6 + 2 + 2 * 4, "a call too many, or one that was never cut");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_cut_anywhere_is_ended_by_the_next_run() {
    let mut fleet = Fleet::new(&["pandora"]).await;
    fleet.ready().await;
    let id = fleet.id("pandora");
    let (saved, backup) = (fleet.save(), fleet.portainer.backup());
    fleet.edit("commonName: portainer.lan", "commonName: portainer.example");
    for done in [false, true] {
        let mut number = 0;
        loop {
            fleet.portainer.restore(&backup).unwrap();
            fleet.load(&saved);
            fleet.asked(id).await; // its proxy is made of the old files
            if !killed(&fleet, number, done).await {
                break;
            }
            let what = format!("cut at call {number}, done: {done}");
            finished(&fleet, &what);
            assert_eq!(fleet.id("pandora"), id, "{what}");
            assert_eq!(fleet.portainer.environments().len(), 1, "{what}");
            fleet.is_reached_with_what_is_stored("pandora").await;
            number += 1;
        }
        // Six about the server; three files, the change, the proof, a snapshot.
        assert_eq!(number, 6 + 6, "a call too many, or one that was never cut");
    }
}
