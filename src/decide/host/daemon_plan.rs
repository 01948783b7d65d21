//! What is to be done to dockerd: facts of the host in, one step and its verdict out. It cannot fail.

use super::daemon_config::{self, DaemonFiles, DesiredConfig};
use super::daemon_state::{DaemonState, Rejected, Stage};
use super::material::anchors_differ;
use super::observed::ObservedDaemon;
use super::report::serving;
use super::restart_policy::restart_blocker;
use super::step_request::{StepRequest, listen_addresses};
use crate::api::condition::{ConditionType, Reason};
use crate::decide::status::Verdict;
use crate::docker::daemon_json::{TlsPaths, enforces_client_auth};
use crate::docker::listen::Listen;
use crate::pki::{Certificate, sha256_hex};
use k8s_openapi::jiff::Timestamp;
use std::net::SocketAddr;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonStep {
    /// Nothing.
    Keep,
    /// Write these files, restart dockerd now, and look whether its doors are closed.
    Close(DaemonFiles),
    /// Write these files and have dockerd serve them later.
    Write(DaemonFiles),
    /// Write these files, restart dockerd, prove it; take all back where it fails. With the flag, dockerd's sockets
    /// are opened anew.
    Serve(DaemonFiles, bool),
    /// Take the unfinished change back.
    RollBack,
    /// Take ours away; with the flag, restart dockerd after it.
    Remove(DaemonFiles, bool),
}

/// What is to be done, and what is said where nothing else comes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonPlan {
    /// The step.
    pub step: DaemonStep,
    /// The condition Serving, if the step does not say more.
    pub verdict: Verdict,
    /// What is remembered from now on.
    pub state: DaemonState,
}

/// Where the files of a delivery are, as dockerd is told.
pub fn paths(request: &StepRequest) -> TlsPaths {
    let (directory, name) = (request.host.delivery.directory.trim_end_matches('/'), &request.host.name);
    TlsPaths {
        ca: format!("{directory}/ca.pem"),
        cert: format!("{directory}/{name}.pem"),
        key: format!("{directory}/{name}.key"),
    }
}

/// Decides.
pub fn plan(request: &StepRequest, observed: &ObservedDaemon, mut state: DaemonState, now: Timestamp) -> DaemonPlan {
    let forgotten = state.forget_if_new(&request.spec(), request.host.restart_requested_at.as_deref());
    let (step, verdict) = match decide(request, observed, &mut state, now) {
        Ok((step, verdict)) => (step, verdict),
        Err(verdict) => (DaemonStep::Keep, verdict),
    };
    if forgotten {
        state.drifts.clear(); // what stands there now is what the user wants mended
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
    keeps_old_clients(request, observed, now)?;
    if observed.files.is_none() {
        return Err(serving(Reason::NotServed, "there is no certificate on the host yet"));
    }
    drift(request, observed, state, now)?;
    serve(request, observed, state, now, layout)
}

fn desired(request: &StepRequest, observed: &ObservedDaemon, listen: Vec<Listen>) -> DesiredConfig {
    let asked = request.host.delivery.daemon.as_ref().is_some_and(|daemon| daemon.enable_live_restore);
    // While nobody knows whether this is a swarm node, what stands there stays: dockerd would not start with both.
    let no_swarm = observed.engine.is_some_and(|engine| !engine.swarm);
    DesiredConfig {
        listen,
        paths: paths(request),
        live_restore: asked && no_swarm,
        take_over: request.host.delivery.take_over,
    }
}

/// A door that stands open to strangers goes before everything else.
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
    if !all_ours && let Err(verdict) = daemon_config::can_be_told(&observed.found) {
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
    let in_vain = layout == observed.written && !observed.stale && observed.unfinished.is_none();
    if in_vain && (state.listener_removed || !all_ours) {
        let message = format!(
            "dockerd answers on {open} without a client certificate, though its configuration demands one: everyone who \
             reaches it has root rights on this host. Stop dockerd, and find out how it is started"
        );
        return Some(Err(serving(Reason::ExposedByOthers, message)));
    }
    state.listener_removed |= in_vain; // the guard keeps the listener out whatever daemon.json says
    if all_ours && sound(observed) && state.record_drift(now) {
        state.listener_removed = true; // what is not sound is counted as that
    }
    let verdict = serving(
        Reason::ExposureClosed,
        format!("dockerd answered on {open} without a client certificate; the port is closed now"),
    );
    Some(Ok((DaemonStep::Close(layout), verdict)))
}

/// Clients that were let in until now must not be shut out.
fn keeps_old_clients(request: &StepRequest, observed: &ObservedDaemon, now: Timestamp) -> Result<(), Verdict> {
    let before = super::material::valid_keys(&observed.trusted_before, now);
    match before.difference(&request.trusts).next() {
        None => Ok(()),
        Some(key) => {
            let message = format!(
                "dockerd trusts an authority that the new bundle does not hold (SHA-256 of its key {}): its clients would \
                 be refused. Put its certificate into a Secret and name it in additionalTrust of the DockerCA",
                &key[..16]
            );
            Err(serving(Reason::DaemonConflict, message))
        }
    }
}

/// Somebody undid what keeps strangers out: put right, but not for ever.
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

/// What keeps strangers out stands.
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
    let Some(why) = unserved(observed, now) else {
        state.consent = request.host.restart_requested_at.clone(); // one that nothing was left to do for is no other's
        let step = if written && pointed && observed.unfinished.is_none() {
            DaemonStep::Keep
        } else {
            DaemonStep::Write(layout)
        };
        return Ok((step, serving_verdict(observed)));
    };
    if observed.listeners.iter().all(|listener| listener.absent) && written && pointed {
        return Err(serving(Reason::NotServed, why)); // dockerd listens there as soon as the address is there
    }
    if !observed.running && observed.unfinished != Some(Stage::Restarting) {
        let message = "dockerd is not running; start it: systemctl start docker";
        return Ok((
            if written && pointed { DaemonStep::Keep } else { DaemonStep::Write(layout) },
            serving(Reason::NotServed, message),
        ));
    }
    // What began may end: dockerd may be down because of it.
    let hindered = restart_blocker(request, observed, state, now, &why);
    match hindered.filter(|_| observed.unfinished != Some(Stage::Restarting)) {
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

/// The memory of an attempt that was taken back, on a host that is by now as it was before.
pub fn attempt(request: &StepRequest, observed: &ObservedDaemon, message: String) -> Option<Rejected> {
    let layout =
        daemon_config::served(&observed.found, &desired(request, observed, listen_addresses(&request.host).ok()?))
            .ok()?;
    let files = observed.files.as_ref().map(|files| files.generation);
    Some(Rejected { digest: digest(&layout, observed), files, message })
}

/// Why dockerd does not serve as it should; none where it does. Begins a sentence.
pub fn unserved(observed: &ObservedDaemon, now: Timestamp) -> Option<String> {
    let files = observed.files.as_ref()?;
    for listener in observed.listeners.iter().filter(|listener| !listener.absent) {
        let address = listener.address;
        match (&listener.leaf, listener.accepts) {
            (None, _) => {
                let fault = listener.error.as_deref().unwrap_or("no answer");
                return Some(format!("dockerd does not serve {address} ({fault})"));
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

/// Serving holds.
pub fn serving_verdict(observed: &ObservedDaemon) -> Verdict {
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

/// Sockets of systemd's must be closed and opened again, not dockerd alone.
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
    let hindered = restart_blocker(request, observed, state, now, "the delivered files are removed").is_some();
    let message =
        "dockerd's configuration no longer names the delivered files; dockerd listens on TCP until its next start";
    let verdict = if hindered { Verdict { message: message.into(), ..gone } } else { gone };
    Ok((DaemonStep::Remove(layout, !hindered && observed.running), verdict))
}
