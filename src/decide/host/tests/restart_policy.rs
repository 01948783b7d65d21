//! When dockerd may be restarted.

use super::*;
use crate::api::condition::Reason;
use crate::decide::host::restart_policy::restart_blocker;

const NEVER: Restart = Restart::Never;
const ALWAYS: Restart = Restart::Always;
const KEEPING: Restart = Restart::WhenLiveRestore;

/// Policy, enableLiveRestore, what dockerd says, whether it runs pods, consent; and what is in the way.
type Case = (Restart, bool, Option<(bool, bool)>, bool, bool, Option<Reason>);

#[test]
fn policy_live_restore_swarm_and_consent() {
    const PENDING: Option<Reason> = Some(Reason::RestartPending);
    let cases: &[Case] = &[
        (ALWAYS, false, Some((false, false)), false, false, None),
        (ALWAYS, false, None, false, false, None),
        (NEVER, false, Some((true, false)), false, false, PENDING),
        (NEVER, false, Some((false, false)), false, true, None),
        (KEEPING, false, Some((true, false)), false, false, None),
        (KEEPING, false, Some((false, false)), false, false, PENDING),
        (KEEPING, true, Some((false, false)), false, false, None),
        (KEEPING, true, Some((false, true)), false, false, PENDING), // a swarm node has none
        (KEEPING, true, None, false, false, PENDING),                // it cannot be turned on in what does not answer
        (KEEPING, false, Some((false, false)), false, true, None),
        (ALWAYS, false, Some((false, false)), true, true, PENDING), // pods, whoever consents
        (ALWAYS, false, Some((true, false)), true, false, None),
    ];
    for (index, (restart, enable_live_restore, says, kubelet, consented, expected)) in cases.iter().enumerate() {
        let mut request = request();
        let daemon = Daemon { restart: *restart, enable_live_restore: *enable_live_restore, ..Daemon::default() };
        request.host.delivery.daemon = Some(daemon);
        request.host.restart_requested_at = consented.then(|| "now".into());
        let engine = says.map(|(live_restore, swarm)| Engine { live_restore, swarm, running: 1 });
        let observed = ObservedDaemon { engine, kubelet: *kubelet, ..good(&request) };
        let found = restart_blocker(&request, &observed, &remembered(&request), now(), "it does not serve");
        assert_eq!(found.map(|verdict| verdict.reason), *expected, "case {index}");
    }
}

#[test]
fn it_says_by_when_and_how() {
    let mut request = request();
    request.host.delivery.daemon = Some(Daemon { restart: NEVER, ..Daemon::default() });
    let observed = ObservedDaemon { served_until: Some(days(3)), ..good(&request) };
    let said = restart_blocker(&request, &observed, &remembered(&request), now(), "another certificate is served");
    let said = said.expect("it is never restarted").message;
    for part in
        ["another certificate is served", "2026-11-25", "systemctl restart docker", "kubectl annotate", "-n home"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    request.contained = true;
    request.host.delivery.daemon = Some(Daemon { restart: ALWAYS, ..Daemon::default() });
    assert!(restart_blocker(&request, &observed, &remembered(&request), now(), "x").is_some(), "it would end with it");
}

#[test]
fn a_turn_ends() {
    let mut request = request();
    for (turn, waits) in [(None, true), (Some(days(-1)), true), (Some(now()), true), (Some(days(1)), false)] {
        request.host.turn = turn;
        let found = restart_blocker(&request, &good(&request), &remembered(&request), now(), "x");
        assert_eq!(found.map(|verdict| verdict.reason), waits.then_some(Reason::AwaitingTurn), "{turn:?}");
    }
}
