//! The controller is killed between any two calls, of first registrations and of rotations: the next one ends them all.
//! One kill serves for every place at once, since each pair's Portainer holds another call up.

use super::fixture::{Fixture, is_discreet, until};
use crate::fixture::Namespace;
use crate::support::portainer::{Fault, Portainer};
use anyhow::{Context, ensure};
use std::time::Duration;

/// Longer than the test.
const LONG: Duration = Duration::from_secs(600);

/// The calls of a first registration behind its look, and of a rotation.
const CALLS: [(&str, &str); 9] = [
    ("GET", "/api/endpoints"),
    ("POST", "/api/tags"),
    ("POST", "/api/endpoints"),
    ("POST", "/api/upload/tls/ca"),
    ("POST", "/api/upload/tls/cert"),
    ("POST", "/api/upload/tls/key"),
    ("PUT", "/api/endpoints/*"),
    ("GET", "/api/endpoints/*/docker/_ping"),
    ("POST", "/api/endpoints/*/snapshot"),
];
/// Those that a first registration does not make, and those that a rotation does not.
const NOT_FIRST: std::ops::Range<usize> = 3..7;
const NOT_THEN: std::ops::Range<usize> = 1..3;

/// Before it does that call, and after it.
fn holds() -> impl Iterator<Item = (usize, Fault)> {
    (0..CALLS.len()).flat_map(|call| [(call, Fault::Hang(LONG)), (call, Fault::DelayAnswer(LONG))])
}

#[tokio::test]
async fn a_controller_killed_between_any_two_calls_leaves_nothing_undone() -> anyhow::Result<()> {
    let namespace = Namespace::new("portainer-killed").await?;
    let mut controller = namespace.controller("portainer-killed").await?;
    let names: Vec<String> = holds().map(|(call, fault)| name(call, fault)).collect();
    let fixture = Fixture::new(namespace, &names).await?;
    for rotation in [false, true] {
        let skipped = if rotation { NOT_THEN } else { NOT_FIRST };
        for (call, fault) in holds().filter(|(call, _)| !skipped.contains(call)) {
            let (method, path) = CALLS[call];
            fixture.pair(&name(call, fault)).portainer.inject(method, path, fault);
        }
        match rotation {
            false => fixture.begin().await?,
            true => {
                let clients = names.iter().map(|name| format!("portainerclient/{name}"));
                fixture.renew(&clients.collect::<Vec<_>>()).await?;
            }
        }
        let held = |pair: &Portainer| pair.faults_left() == 0;
        for pair in &fixture.pairs {
            let waits = format!("{} never comes to its call: {:#?}", pair.name, pair.told());
            until(&waits, || held(&pair.portainer)).await?;
        }
        controller.kill();
        controller = fixture.namespace.controller("portainer-killed").await?;
        let ids: Vec<_> =
            fixture.pairs.iter().map(|pair| pair.portainer.environments().first().map(|one| one.id)).collect();
        fixture.all_registered().await.with_context(|| format!("rotation: {rotation}; {}", controller.log()))?;
        for (pair, before) in fixture.pairs.iter().zip(ids) {
            let now = pair.portainer.environments()[0].id;
            ensure!(before.is_none_or(|before| before == now), "{} was made anew", pair.name);
        }
    }
    let portainers: Vec<&Portainer> = fixture.pairs.iter().map(|pair| &pair.portainer).collect();
    is_discreet(&fixture.namespace, &controller, &portainers).await
}

fn name(call: usize, fault: Fault) -> String {
    let when = if matches!(fault, Fault::Hang(_)) { "before" } else { "after" };
    format!("{when}-{call}")
}
