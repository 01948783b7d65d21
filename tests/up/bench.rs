//! How long a thousand hosts take: `cargo test --test up thousand -- --ignored --nocapture`.

use crate::door::{CA, Door, host};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn a_thousand_hosts() {
    let hosts = (0..1000).map(|n| host(&format!("host-{n}"), &format!("hostname: host-{n}.lan")));
    let door = Door::new(&format!("{CA}{}", hosts.collect::<String>()));
    for what in ["first", "second"] {
        let begun = Instant::now();
        door.ready().await;
        println!("{what}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    drop(door);
    println!("removed: {:?}", begun.elapsed());
}
