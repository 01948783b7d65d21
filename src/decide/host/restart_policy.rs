//! Whether dockerd may be restarted now: the policy, the user's consent, live-restore and the turn among its authority's
//! hosts in, the reason to wait out.

use super::daemon_state::DaemonState;
use super::observed::ObservedDaemon;
use super::report::serving;
use super::step_request::StepRequest;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Restart;
use crate::decide::status::Verdict;
use k8s_openapi::jiff::Timestamp;

/// What a restart waits for; none where dockerd may be restarted. `why` begins a sentence.
pub fn restart_blocker(
    request: &StepRequest,
    observed: &ObservedDaemon,
    state: &DaemonState,
    now: Timestamp,
    why: &str,
) -> Option<Verdict> {
    let daemon = request.host.delivery.daemon.clone().unwrap_or_default();
    let swarm = observed.engine.is_some_and(|engine| engine.swarm);
    let keeps_running =
        observed.engine.is_some_and(|engine| engine.live_restore || (daemon.enable_live_restore && !engine.swarm));
    let consented = state.is_new_consent(request.host.restart_requested_at.as_deref());
    let held = match daemon.restart {
        _ if (observed.kubelet || request.contained) && !keeps_running => {
            Some("dockerd runs this node's pods, so it is never restarted without live-restore")
        }
        _ if consented => None,
        Restart::Never => Some("daemon.restart is Never"),
        Restart::WhenLiveRestore if !keeps_running && swarm => Some("live-restore does not work on a swarm node"),
        Restart::WhenLiveRestore if !keeps_running => Some("live-restore is off, so containers would stop"),
        Restart::WhenLiveRestore | Restart::Always => None,
    };
    if let Some(held) = held {
        return Some(pending(request, observed, why, held));
    }
    let turn = request.host.turn.is_some_and(|until| now < until);
    let message = format!("{why}; dockerd is restarted when no other host of its authority is being restarted");
    (!turn).then(|| serving(Reason::AwaitingTurn, message))
}

fn pending(request: &StepRequest, observed: &ObservedDaemon, why: &str, held: &str) -> Verdict {
    let by = observed.served_until.map(|end| format!(" before {end}, when the certificate that it serves ends,"));
    let host = &request.host;
    let consent = match host.uid.is_empty() {
        true => "set the annotation dockseal.dev/restart-requested-at of the object to the current time".to_owned(),
        false => format!(
            "kubectl annotate --overwrite -n {} dockerhostcert {} dockseal.dev/restart-requested-at=$(date -u +%FT%TZ)",
            host.namespace, host.name
        ),
    };
    let by = by.unwrap_or_default();
    let message = format!(
        "{why}, and {held}: restart it{by} with: systemctl restart docker; or permit one restart with: {consent}"
    );
    serving(Reason::RestartPending, message)
}
