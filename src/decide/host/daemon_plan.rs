//! The next step for dockerd: the observed host in, one step and its verdict out. It cannot fail, and does nothing.

use super::daemon_config::{self, DaemonFiles, DesiredConfig};
use super::daemon_state::{DaemonState, Rejected, Stage};
use super::material::anchors_differ;
use super::observed::ObservedDaemon;
use super::old_trust::keeps_old_clients;
use super::report::{authority_refused, serving, uncertain_exposure};
use super::restart_policy::restart_blocker;
use super::step_request::{StepRequest, listen_addresses};
use crate::api::condition::{ConditionType, Reason};
use crate::decide::status::Verdict;
use crate::docker::daemon_json::{TlsPaths, enforces_client_auth};
use crate::docker::listen::Listen;
use crate::pki::{Certificate, sha256_hex};
use k8s_openapi::jiff::Timestamp;
use std::net::SocketAddr;

/// One step on dockerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonStep {
    /// Nothing.
    Keep,
    /// Write these files, restart dockerd now, and check that no port answers without a certificate.
    Close(DaemonFiles),
    /// Write these files and have dockerd serve them later.
    Write(DaemonFiles),
    /// Write these files, restart dockerd, check that it serves them; roll back where it does not. With the flag,
    /// systemd's sockets are restarted too.
    Serve(DaemonFiles, bool),
    /// Roll back the unfinished change.
    RollBack,
    /// Remove our files; with the flag, restart dockerd after that.
    Remove(DaemonFiles, bool),
}

/// The step, its verdict, and the state to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonPlan {
    /// The step.
    pub step: DaemonStep,
    /// The condition Serving, unless the step gives another.
    pub verdict: Verdict,
    /// The state to store.
    pub state: DaemonState,
}

/// The paths of the delivered files, as dockerd's configuration names them.
pub fn paths(request: &StepRequest) -> TlsPaths {
    let (directory, name) = (request.host.delivery.directory.trim_end_matches('/'), &request.host.name);
    TlsPaths {
        ca: format!("{directory}/ca.pem"),
        cert: format!("{directory}/{name}.pem"),
        key: format!("{directory}/{name}.key"),
    }
}

/// Plans the next step.
pub fn plan(request: &StepRequest, observed: &ObservedDaemon, mut state: DaemonState, now: Timestamp) -> DaemonPlan {
    let forgotten = state.forget_if_new(&request.spec(), request.host.restart_requested_at.as_deref());
    let (step, verdict) = match decide(request, observed, &mut state, now) {
        Ok((step, verdict)) => (step, verdict),
        Err(verdict) => (DaemonStep::Keep, verdict),
    };
    if forgotten {
        state.drifts.clear(); // the user wants the present configuration corrected
    }
    DaemonPlan { step, verdict, state }
}

type Decision = Result<(DaemonStep, Verdict), Verdict>;

fn decide(request: &StepRequest, observed: &ObservedDaemon, state: &mut DaemonState, now: Timestamp) -> Decision {
    let listen = listen_addresses(&request.host);
    let listen =
        listen.map_err(|error| serving(Reason::InvalidSpec, format!("spec.delivery.daemon.listen: {error}")))?;
    let gave_up = observed.unfinished.is_some_and(|stage| stage != Stage::Closing) && observed.failed;
    if observed.unfinished == Some(Stage::RollingBack) || gave_up {
        return Ok((
            DaemonStep::RollBack,
            serving(Reason::RolledBack, "dockerd did not start after its configuration was changed"),
        ));
    }
    if request.host.removing {
        return removal(request, observed, state, now);
    }
    if let Some(decision) = exposure(request, observed, state, now, &listen) {
        return decision;
    }
    let desired = desired(request, observed, listen);
    let layout = daemon_config::served(&observed.found, &desired)?;
    keeps_old_clients(&observed.old_trust, &request.trusts, now)?;
    if observed.files.is_none() {
        return Err(serving(Reason::NotServed, "there is no certificate on the host yet"));
    }
    drift(request, observed, state, now)?;
    serve(request, observed, state, now, layout)
}

fn desired(request: &StepRequest, observed: &ObservedDaemon, listen: Vec<Listen>) -> DesiredConfig {
    let asked = request.host.delivery.daemon.as_ref().is_some_and(|daemon| daemon.enable_live_restore);
    // Unless this is known not to be a swarm node, live-restore is not set: dockerd would not start with both.
    let no_swarm = observed.engine.is_some_and(|engine| !engine.swarm);
    DesiredConfig {
        listen,
        paths: paths(request),
        live_restore: asked && no_swarm,
        take_over: request.host.delivery.take_over,
    }
}

/// A port that answers without a client certificate is closed before everything else.
fn exposure(
    request: &StepRequest,
    observed: &ObservedDaemon,
    state: &mut DaemonState,
    now: Timestamp,
    listen: &[Listen],
) -> Option<Decision> {
    if observed.unfinished == Some(Stage::Closing) && !observed.running {
        let verdict =
            serving(Reason::ExposureClosed, "dockerd answered without a client certificate; the port is closed now");
        return Some(daemon_config::closed(&observed.found, listen).map(|layout| (DaemonStep::Close(layout), verdict)));
    }
    let open = observed.exposed.first()?;
    let at = |address: &SocketAddr| Listen::parse(&address.to_string()).ok();
    let ours = |address: &SocketAddr| at(address).is_some_and(|open| listen.iter().any(|wanted| wanted.covers(&open)));
    let all_ours = observed.exposed.iter().all(ours) && state.configured.is_some();
    if !all_ours && !request.host.delivery.take_over {
        let message = format!(
            "dockerd answers on {open} without a client certificate: everyone who reaches it has root rights on this host. \
             Close the port, or set delivery.takeOver: true to have it closed"
        );
        return Some(Err(serving(Reason::ExposedByOthers, message)));
    }
    if !all_ours && let Err(verdict) = daemon_config::check_in_force(&observed.found) {
        let message = format!(
            "dockerd answers on {open} without a client certificate, and the port cannot be closed: {}",
            verdict.message
        );
        return Some(Err(serving(Reason::ExposedByOthers, message)));
    }
    let layout = match daemon_config::closed(&observed.found, listen) {
        Ok(layout) => layout,
        Err(verdict) => return Some(Err(verdict)),
    };
    let ineffective = layout == observed.written && !observed.stale && observed.unfinished.is_none();
    if ineffective && (state.listener_removed || !all_ours) {
        let message = format!(
            "dockerd answers on {open} without a client certificate, though its configuration demands one: everyone who \
             reaches it has root rights on this host. Stop dockerd, and find out how it is started"
        );
        return Some(Err(serving(Reason::ExposedByOthers, message)));
    }
    state.listener_removed |= ineffective; // from now on the guard keeps the listener closed, whatever daemon.json says
    if all_ours && sound(observed) && state.record_drift(now) {
        state.listener_removed = true; // an unsound configuration is counted in drift()
    }
    let verdict = serving(
        Reason::ExposureClosed,
        format!("dockerd answered on {open} without a client certificate; the port is closed now"),
    );
    Some(Ok((DaemonStep::Close(layout), verdict)))
}

/// Another program undid what demands client certificates: it is corrected, but only a few times a day.
fn drift(
    request: &StepRequest,
    observed: &ObservedDaemon,
    state: &mut DaemonState,
    now: Timestamp,
) -> Result<(), Verdict> {
    let configured = state.configured.as_deref() == Some(&request.host.object().to_string());
    let settled = observed.unfinished.is_none() && state.rejected.is_none();
    if configured && settled && !sound(observed) && !state.listener_removed && state.record_drift(now) {
        state.listener_removed = true;
    }
    if !state.listener_removed {
        return Ok(());
    }
    let message = "another program changes dockerd's configuration back again and again (daemon.json or Dockseal's \
                   drop-in): from its next start on, dockerd does not listen on TCP. Find that program, then change \
                   the object's spec or set the annotation dockseal.dev/restart-requested-at";
    Err(serving(Reason::DriftRepeats, message))
}

/// The files that demand client certificates are in place.
fn sound(observed: &ObservedDaemon) -> bool {
    let DaemonFiles { daemon_json, drop_in, socket, .. } = &observed.written;
    drop_in.is_some()
        && socket.is_some()
        && daemon_json.as_deref().is_some_and(|text| enforces_client_auth(text).is_ok())
}

fn serve(
    request: &StepRequest,
    observed: &ObservedDaemon,
    state: &mut DaemonState,
    now: Timestamp,
    layout: DaemonFiles,
) -> Decision {
    let written = layout == observed.written && observed.guarded && !observed.stale;
    let digest = digest(&layout, observed);
    if let Some(rejected) = state.rejected.as_ref().filter(|rejected| rejected.digest == digest) {
        return Err(serving(Reason::RolledBack, rejected.message.clone()));
    }
    let pointed = observed.current == observed.files.as_ref().map(|files| files.generation);
    // Where a change has not ended, the proof is made again, and rolls it back.
    let unproved = observed.refused_authority.as_ref().filter(|_| observed.unfinished.is_some());
    let unproved = unproved.map(|(address, why)| authority_refused(*address, why).message);
    let Some(why) = unserved(observed, now).or(unproved) else {
        state.consent = request.host.restart_requested_at.clone(); // a consent that needed no restart permits no later one
        let step = if written && pointed && observed.unfinished.is_none() {
            DaemonStep::Keep
        } else {
            DaemonStep::Write(layout)
        };
        return Ok((step, serving_verdict(observed)));
    };
    if observed.listeners.iter().all(|listener| listener.absent) && written && pointed {
        return Err(serving(Reason::NotServed, why)); // dockerd listens as soon as the host has the address
    }
    if !observed.running && observed.unfinished != Some(Stage::Restarting) {
        let message = "dockerd is not running; start it: systemctl start docker";
        return Ok((
            if written && pointed { DaemonStep::Keep } else { DaemonStep::Write(layout) },
            serving(Reason::NotServed, message),
        ));
    }
    // A restart that began is finished: dockerd may be down because of it.
    let blocked = restart_blocker(request, observed, state, now, &why);
    match blocked.filter(|_| observed.unfinished != Some(Stage::Restarting)) {
        Some(waiting) if written && pointed => Err(waiting),
        Some(waiting) => Ok((DaemonStep::Write(layout), waiting)),
        None => {
            state.consent = request.host.restart_requested_at.clone();
            let sockets = sockets_change(observed, &layout);
            Ok((DaemonStep::Serve(layout, sockets), serving(Reason::NotServed, why)))
        }
    }
}

/// What tells one attempt from another. It is kept on the host, so its text stays as it is whatever types are called:
/// an attempt that an earlier version rolled back must not be made again.
pub(super) fn digest(layout: &DaemonFiles, observed: &ObservedDaemon) -> String {
    let DaemonFiles { daemon_json, drop_in, socket, docker_socket, wanted } = layout;
    let files = observed.files.as_ref().map(|files| (files.leaf.clone(), anchors_text(&files.anchors)));
    let text = format!(
        "Layout {{ daemon_json: {daemon_json:?}, drop_in: {drop_in:?}, socket: {socket:?}, \
         docker_socket: {docker_socket:?}, wanted: {wanted} }} {files:?}"
    );
    sha256_hex(text.as_bytes())
}

fn anchors_text(anchors: &[Certificate]) -> String {
    anchors.iter().map(Certificate::fingerprint).collect()
}

/// The record of a change that was rolled back, made when the host is as it was before.
pub fn attempt(request: &StepRequest, observed: &ObservedDaemon, message: String) -> Option<Rejected> {
    let layout =
        daemon_config::served(&observed.found, &desired(request, observed, listen_addresses(&request.host).ok()?))
            .ok()?;
    let files = observed.files.as_ref().map(|files| files.generation);
    Some(Rejected { digest: digest(&layout, observed), files, message })
}

/// Why dockerd does not serve as desired, as the beginning of a sentence; none where it does.
pub fn unserved(observed: &ObservedDaemon, now: Timestamp) -> Option<String> {
    let files = observed.files.as_ref()?;
    for listener in observed.listeners.iter().filter(|listener| !listener.absent) {
        let address = listener.address;
        match (&listener.leaf, listener.accepts) {
            (None, _) => {
                let error = listener.error.as_deref().unwrap_or("no answer");
                return Some(format!("dockerd does not serve {address} ({error})"));
            }
            (Some(leaf), _) if *leaf != files.leaf => {
                return Some(format!("dockerd serves another certificate on {address}"));
            }
            (Some(_), None) => {
                return Some(format!("dockerd on {address} does not accept Dockseal's own client certificate"));
            }
            (Some(_), Some(_)) => {}
        }
    }
    if let Some(listener) = observed.listeners.iter().find(|listener| listener.absent)
        && observed.listeners.iter().all(|listener| listener.absent)
    {
        return Some(format!("this host does not have the address of {} now", listener.address));
    }
    let loaded = observed.loaded.as_deref().unwrap_or_default();
    anchors_differ(loaded, &files.anchors, now).map(str::to_owned)
}

/// Serving=True, where it is certain that dockerd refuses clients without a certificate.
pub fn serving_verdict(observed: &ObservedDaemon) -> Verdict {
    if let Some((address, why)) = observed.uncertain.first() {
        return uncertain_exposure(*address, why); // no reason to restart it
    }
    if let Some((address, why)) = &observed.refused_authority {
        return authority_refused(*address, why); // no restart helps
    }
    let addresses: Vec<String> = observed
        .listeners
        .iter()
        .filter(|listener| !listener.absent)
        .map(|listener| listener.address.to_string())
        .collect();
    let absent: Vec<String> = observed
        .listeners
        .iter()
        .filter(|listener| listener.absent)
        .map(|listener| listener.address.to_string())
        .collect();
    let mut message =
        format!("dockerd serves the certificate on {}, and refuses clients without one", addresses.join(" and "));
    if !absent.is_empty() {
        message += &format!("; this host does not have {} now", absent.join(" and "));
    }
    Verdict::new(ConditionType::Serving, true, Reason::Serving, message)
}

/// Whether systemd's sockets must be restarted, not only dockerd.
fn sockets_change(observed: &ObservedDaemon, layout: &DaemonFiles) -> bool {
    observed.written.socket != layout.socket
        || observed.written.docker_socket != layout.docker_socket
        || observed.written.drop_in != layout.drop_in
}

fn removal(request: &StepRequest, observed: &ObservedDaemon, state: &mut DaemonState, now: Timestamp) -> Decision {
    let layout = daemon_config::removed(&observed.found, &paths(request))?;
    let gone =
        Verdict::new(ConditionType::Serving, false, Reason::Removed, "dockerd no longer uses the delivered files");
    *state = DaemonState::default();
    if layout == observed.written && observed.unfinished.is_none() {
        return Ok((DaemonStep::Keep, gone));
    }
    let blocked = restart_blocker(request, observed, state, now, "the delivered files are removed").is_some();
    let message =
        "dockerd's configuration no longer names the delivered files; dockerd listens on TCP until its next start";
    let verdict = if blocked { Verdict { message: message.into(), ..gone } } else { gone };
    Ok((DaemonStep::Remove(layout, !blocked && observed.running), verdict))
}
