//! What is done to dockerd.

use super::*;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Restart;
use crate::decide::host::daemon_plan::{DaemonPlan, DaemonStep, attempt, digest, plan};
use crate::decide::host::daemon_state::Stage;
use crate::decide::host::old_trust::OldTrust;

/// The good host with a mutation; what is done, in a word, and why.
fn planned(
    change: impl FnOnce(&mut StepRequest, &mut ObservedDaemon, &mut DaemonState),
) -> (&'static str, Reason, DaemonPlan) {
    let mut request = request();
    let (mut observed, mut state) = (good(&request), remembered(&request));
    change(&mut request, &mut observed, &mut state);
    if state.spec == self::request().spec() {
        state.spec = request.spec(); // the mutation was there before
    }
    let plan = plan(&request, &observed, state, now());
    let step = match plan.step {
        DaemonStep::Keep => "keep",
        DaemonStep::Close(_) => "close",
        DaemonStep::Write(_) => "write",
        DaemonStep::Serve(_, false) => "serve",
        DaemonStep::Serve(_, true) => "serve with sockets",
        DaemonStep::RollBack => "roll back",
        DaemonStep::Remove(_, false) => "remove later",
        DaemonStep::Remove(_, true) => "remove",
    };
    (step, plan.verdict.reason, plan)
}

type Mutation = fn(&mut StepRequest, &mut ObservedDaemon, &mut DaemonState);

fn unsealed(observed: &mut ObservedDaemon) {
    observed.written.daemon_json = Some(b"{}".to_vec());
    observed.found.daemon_json = Some(b"{}".to_vec());
}

fn unserved(observed: &mut ObservedDaemon) {
    observed.listeners[0].leaf = None;
}

fn expose(observed: &mut ObservedDaemon, address: &str) {
    observed.exposed = vec![address.parse().expect("an address")];
}

#[test]
fn one_step_and_its_reason() {
    let cases: &[(&str, Mutation, &str, Reason)] = &[
        ("served well", |_, _, _| {}, "keep", Reason::Serving),
        ("no certificate", |_, seen, _| seen.files = None, "keep", Reason::NotServed),
        ("other leaf", |_, seen, _| seen.listeners[0].leaf = Some("other".into()), "serve", Reason::NotServed),
        ("refused", |_, seen, _| seen.listeners[0].accepts = None, "serve", Reason::NotServed),
        ("not read", |_, seen, _| seen.stale = true, "write", Reason::Serving),
        ("binary gone", |_, seen, _| seen.guarded = false, "write", Reason::Serving),
        ("drop-in gone", |_, seen, _| seen.written.drop_in = None, "write", Reason::Serving),
        (
            "socket gone",
            |_, seen, _| (seen.written.socket, seen.listeners[0].leaf) = (None, None),
            "serve with sockets",
            Reason::NotServed,
        ),
        (
            "address away",
            |_, seen, _| (seen.listeners[0].absent, seen.listeners[0].leaf) = (true, None),
            "keep",
            Reason::NotServed,
        ),
        ("not running", |_, seen, _| (seen.running, seen.listeners[0].leaf) = (false, None), "keep", Reason::NotServed),
        ("unfinished", |_, seen, _| seen.unfinished = Some(Stage::Writing), "write", Reason::Serving),
        (
            "gave up",
            |_, seen, _| (seen.unfinished, seen.failed) = (Some(Stage::Restarting), true),
            "roll back",
            Reason::RolledBack,
        ),
        ("rolling back", |_, seen, _| seen.unfinished = Some(Stage::RollingBack), "roll back", Reason::RolledBack),
        ("unsealed, not restarted", |_, seen, _| unsealed(seen), "write", Reason::Serving),
        (
            "unsealed",
            |_, seen, _| {
                unsealed(seen);
                unserved(seen)
            },
            "serve",
            Reason::NotServed,
        ),
        ("broken", |_, seen, _| seen.found.daemon_json = Some(b"{,}".to_vec()), "keep", Reason::DaemonUnusable),
        ("listen", |request, _, _| listen(request, "pandora:2376"), "keep", Reason::InvalidSpec),
        (
            "hosts",
            |_, seen, _| seen.found.daemon_json = Some(br#"{"hosts":["tcp://0.0.0.0:2375"]}"#.to_vec()),
            "keep",
            Reason::DaemonConflict,
        ),
        (
            "never",
            |request, seen, _| {
                restart(request, Restart::Never);
                unserved(seen)
            },
            "keep",
            Reason::RestartPending,
        ),
        (
            "no turn",
            |request, seen, _| {
                request.host.turn = None;
                unserved(seen)
            },
            "keep",
            Reason::AwaitingTurn,
        ),
        ("gone", |request, _, _| request.host.removing = true, "remove", Reason::Removed),
        (
            "gone, but no restart",
            |request, _, _| {
                request.host.removing = true;
                restart(request, Restart::Never)
            },
            "remove later",
            Reason::Removed,
        ),
    ];
    for (name, change, step, reason) in cases {
        let (planned, because, plan) = planned(*change);
        assert_eq!((planned, because), (*step, *reason), "{name}: {}", plan.verdict.message);
    }
}

fn restart(request: &mut StepRequest, policy: Restart) {
    request.host.delivery.daemon = Some(Daemon { restart: policy, ..Daemon::default() });
}

fn listen(request: &mut StepRequest, address: &str) {
    request.host.delivery.daemon = Some(Daemon { listen: vec![address.into()], ..Daemon::default() });
}

#[test]
fn a_door_that_stands_open_goes_first() {
    let cases: &[(&str, Mutation, &str, Reason)] = &[
        (
            "ours",
            |_, seen, _| {
                expose(seen, "0.0.0.0:2376");
                unsealed(seen)
            },
            "close",
            Reason::ExposureClosed,
        ),
        (
            "ours, and no restarts",
            |request, seen, _| {
                restart(request, Restart::Never);
                expose(seen, "[::]:2376")
            },
            "close",
            Reason::ExposureClosed,
        ),
        (
            "ours, and no certificate",
            |_, seen, _| {
                seen.files = None;
                expose(seen, "127.0.0.1:2376")
            },
            "close",
            Reason::ExposureClosed,
        ),
        (
            "never ours",
            |_, seen, state| {
                state.configured = None;
                expose(seen, "0.0.0.0:2376")
            },
            "keep",
            Reason::ExposedByOthers,
        ),
        ("others'", |_, seen, _| expose(seen, "0.0.0.0:2375"), "keep", Reason::ExposedByOthers),
        (
            "others', taken over",
            |request, seen, _| {
                request.host.delivery.take_over = true;
                restart(request, Restart::Never);
                expose(seen, "0.0.0.0:2375")
            },
            "close",
            Reason::ExposureClosed,
        ),
        (
            "others', overruling us",
            |request, seen, _| {
                request.host.delivery.take_over = true;
                seen.found.overruling = vec!["/x/zzz.conf".into()];
                expose(seen, "0.0.0.0:2375")
            },
            "keep",
            Reason::ExposedByOthers,
        ),
        (
            "closing it ended early",
            |_, seen, _| (seen.unfinished, seen.running) = (Some(Stage::Closing), false),
            "close",
            Reason::ExposureClosed,
        ),
    ];
    for (name, change, step, reason) in cases {
        let (planned, because, plan) = planned(*change);
        assert_eq!((planned, because), (*step, *reason), "{name}: {}", plan.verdict.message);
    }
}

/// The same files a second time, which did not help the first time: the guard is told to keep the listener out.
#[test]
fn what_closing_does_not_close_is_kept_out_and_then_left_to_the_user() {
    let closed = |request: &StepRequest, seen: &mut ObservedDaemon| {
        expose(seen, "0.0.0.0:2376");
        let DaemonStep::Close(layout) = plan(request, seen, remembered(request), now()).step else {
            panic!("it is closed first")
        };
        seen.written = layout;
    };
    let (step, _, plan) = planned(|request, seen, _| closed(request, seen));
    assert!(step == "close" && plan.state.listener_removed);
    let (step, reason, _) = planned(|request, seen, state| {
        closed(request, seen);
        state.listener_removed = true;
    });
    assert_eq!((step, reason), ("keep", Reason::ExposedByOthers));
}

fn known(authorities: &[Authority]) -> OldTrust {
    OldTrust::Known(authorities.iter().map(|authority| authority.certificate.clone()).collect())
}

#[test]
fn old_clients_are_not_shut_out() {
    let (step, reason, plan) = planned(|_, seen, _| seen.old_trust = known(&[authority(2, 100)]));
    assert_eq!((step, reason), ("keep", Reason::DaemonConflict));
    assert!(plan.verdict.message.contains("additionalTrust"));
    let (step, ..) = planned(|_, seen, _| {
        seen.old_trust = known(&[authority(0, 100), authority(2, 0)]);
    });
    assert_eq!(step, "keep", "the one has the same key, the other has ended");
    let (_, reason, _) = planned(|_, seen, _| seen.files = None);
    assert_eq!(reason, Reason::NotServed);
    let (_, reason, _) = planned(|_, seen, _| {
        (seen.files, seen.old_trust) = (None, known(&[authority(2, 100)]));
    });
    assert_eq!(reason, Reason::DaemonConflict, "before anything is delivered too");
    for files in [true, false] {
        let (step, reason, plan) = planned(|_, seen, _| {
            seen.files = seen.files.take().filter(|_| files);
            seen.old_trust = OldTrust::Unknown("the file is gone".into());
        });
        assert_eq!((step, reason), ("keep", Reason::DaemonConflict));
        assert!(plan.verdict.message.contains("the file is gone"), "{}", plan.verdict.message);
    }
}

#[test]
fn anchors_are_loaded_anew_when_a_key_came_or_went() {
    let cases: [(&str, Vec<Certificate>, &str); 5] = [
        ("renewed", vec![authority(0, 900).certificate], "keep"),
        ("one came", Vec::new(), "serve"),
        ("one went", vec![authority(0, 900).certificate, authority(2, 900).certificate], "serve"),
        ("one that had ended went", vec![authority(0, 900).certificate, authority(2, 0).certificate], "keep"),
        ("what is loaded ends soon", vec![authority(0, 6).certificate], "serve"),
    ];
    for (name, loaded, expected) in cases {
        let (step, _, plan) = planned(|_, seen, _| seen.loaded = Some(loaded));
        assert_eq!(step, expected, "{name}: {}", plan.verdict.message);
    }
}

#[test]
fn what_was_taken_back_is_not_tried_again_until_something_changes() {
    let tried = |request: &StepRequest, seen: &mut ObservedDaemon, state: &mut DaemonState| {
        unserved(seen);
        let step = plan(request, seen, state.clone(), now()).step;
        assert!(matches!(step, DaemonStep::Serve(..)), "it is tried");
        state.rejected = attempt(request, seen, "it did not work".into());
    };
    let (step, reason, plan) = planned(|request, seen, state| tried(request, seen, state));
    assert_eq!((step, reason, plan.verdict.message.as_str()), ("keep", Reason::RolledBack, "it did not work"));
    let (step, ..) = planned(|request, seen, state| {
        tried(request, seen, state);
        request.host.generation = 2;
        state.spec = "another".into();
    });
    assert_eq!(step, "serve", "a changed spec");
    let (step, ..) = planned(|request, seen, state| {
        tried(request, seen, state);
        request.host.restart_requested_at = Some("now".into());
    });
    assert_eq!(step, "serve", "a consent");
    let (step, ..) = planned(|request, seen, state| {
        tried(request, seen, state);
        seen.files.as_mut().expect("files").leaf = "newer".into();
    });
    assert_eq!(step, "serve", "another certificate");
}

#[test]
fn the_third_drift_of_a_day_has_the_listener_out() {
    let twice = |state: &mut DaemonState| state.drifts = vec![days(0) - SignedDuration::from_hours(2), days(0)];
    let (step, reason, plan) = planned(|_, seen, state| {
        twice(state);
        unsealed(seen);
    });
    assert_eq!((step, reason, plan.state.listener_removed), ("keep", Reason::DriftRepeats, true));
    let (step, _, plan) = planned(|request, seen, state| {
        twice(state);
        unsealed(seen);
        unserved(seen);
        request.host.restart_requested_at = Some("now".into());
    });
    assert_eq!(
        (step, plan.state.listener_removed, plan.state.drifts.len()),
        ("serve", false, 0),
        "the user wants it mended"
    );
    let (step, _, plan) = planned(|_, seen, state| {
        twice(state);
        unsealed(seen);
        state.configured = None;
    });
    assert_eq!((step, plan.state.drifts.len()), ("write", 2), "it was not ours before");
}

#[test]
fn a_consent_is_for_one_restart() {
    let (step, _, plan) = planned(|request, _, _| request.host.restart_requested_at = Some("now".into()));
    assert_eq!((step, plan.state.consent.as_deref()), ("keep", Some("now")), "nothing is left to consent to");
    let (step, ..) = planned(|request, seen, state| {
        restart(request, Restart::Never);
        (request.host.restart_requested_at, state.consent) = (Some("now".into()), Some("now".into()));
        unserved(seen);
    });
    assert_eq!(step, "keep");
}

/// The digest is kept on the host. When it changed with a type's name, a new version tried again what an older one had
/// rolled back.
#[test]
fn the_digest_of_an_attempt_is_the_same_in_every_version() {
    let known = "16d63635a4a01b4128c909136b626454dafec51b2e3374f660990720eddaa1b9";
    assert_eq!(digest(&DaemonFiles::default(), &ObservedDaemon::default()), known);
}
