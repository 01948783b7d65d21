//! (h) Hosts registered in the tests' stand-in for Portainer by `up`, in this process: calls, and who waits for whom.

use super::table::{Table, median};
use crate::support::load::{Hanging, Load};

/// All of them, with nobody who hangs and with one; then intervals in which nothing changes.
pub async fn registering(table: &mut Table, hosts: usize) -> anyhow::Result<()> {
    let mut load = Load::new(hosts).await?;
    let (alone, mut door) = load.register(Hanging::Nobody).await?;
    let each = |calls: usize| calls as f64 / hosts as f64;
    table.row(
        format!("(h) {hosts} hosts registered in Portainer: calls a host, the server's own shared out"),
        format!("{:.2}", each(alone.calls)),
    );
    table.row("(h) most calls at a time", alone.most_in_flight.to_string());
    table.row("(h) from the first call to all but one registered", seconds(alone.all_but_one.as_secs_f64()));
    let steady = load.rest(&mut door, 9).await?;
    let mut calls: Vec<String> = steady.iter().map(|interval| interval.calls.join(", ")).collect();
    calls.dedup();
    table.row("(h) calls in an interval where nothing changes, of 9", calls.join("; "));
    let written: usize = steady.iter().map(|interval| interval.written.len()).sum();
    table.row("(h) files written in them", written.to_string());
    let visits: Vec<f64> = steady.iter().map(|interval| interval.visits.as_secs_f64() * 1000.0).collect();
    table.row("(h) an interval's visits to all hosts", format!("{:.1} ms", median(&visits)));
    drop(door);
    // In turn, so that what else the machine does meets all alike.
    let mut times = [vec![alone.all_but_one.as_secs_f64()], vec![], vec![]];
    for _ in 0..3 {
        for (hanging, times) in [Hanging::Nobody, Hanging::Host, Hanging::Creation].into_iter().zip(&mut times) {
            let (all, _) = load.register(hanging).await?;
            times.push(all.all_but_one.as_secs_f64());
        }
    }
    let [alone, host, creation] = times.map(|times| median(&times));
    table.row("(h) all but one, where one host hangs: times as long", format!("{:.2}", host / alone));
    table
        .row("(h) all but one, where Portainer hangs over one host: times as long", format!("{:.2}", creation / alone));
    Ok(())
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}
