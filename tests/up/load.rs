//! Two hundred hosts at once: the limits of docs/benchmarks.md, held in every run.

use crate::support::load::{Hanging, Load};

const HOSTS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_need_few_calls_few_at_a_time_and_none_waits_for_one_that_hangs() -> anyhow::Result<()> {
    let mut load = Load::new(HOSTS).await?;
    let (first, mut fixture) = load.register(Hanging::Nobody).await?;
    println!("{first:?}");
    assert_eq!(load.environments(), (HOSTS, HOSTS));
    assert!(first.calls <= 6 * HOSTS, "{first:?}");
    assert!((2..=16).contains(&first.most_in_flight), "{first:?}");
    for interval in load.rest(&mut fixture, 3).await? {
        println!("{interval:?}");
        assert_eq!(interval.calls, ["GET /api/endpoints"]);
        assert!(interval.written.is_empty(), "{interval:?}");
    }
    let (calls, at_a_time) = load.leave(&mut fixture).await?;
    assert!(calls <= 2 * HOSTS && at_a_time <= 16, "{calls} calls, {at_a_time} at a time");
    drop(fixture);
    for hanging in [Hanging::Host, Hanging::Creation] {
        let (others, _) = load.register(hanging).await?;
        println!("{hanging:?}: {others:?}");
        assert!(others.most_in_flight <= 16, "{hanging:?}: {others:?}");
    }
    Ok(())
}
