//! The step on dockerd, from the side of the delivery that asks for it: a request in a note, a unit of its own that
//! takes the step, its result in another note. It touches nothing of dockerd's itself.

use super::delivery::{HostDelivery, blocking};
use crate::adapters::host::Host;
use crate::api::condition::Reason;
use crate::decide::host::report::serving;
use crate::decide::host::step_request::{StepRequest, StepResult};
use crate::decide::status::Verdict;
use crate::docker::unit::BINARY;
use crate::pki::Certificate;
use crate::reconcile::host::daemon;
use std::collections::BTreeSet;
use std::path::Path;

/// Unit in which the step that works on dockerd runs.
const STEP_UNIT: &str = "dockseal-step.service";
/// How often another step may be in the way of ours.
const MAX_STEPS: usize = 5;

/// Has the step on this host's dockerd taken, in a unit of its own.
pub(super) async fn request_step(
    host: &impl Host,
    delivery: &HostDelivery,
    files: Option<u64>,
    trusts: BTreeSet<String>,
    proof: Option<&Certificate>,
) -> Result<StepResult, Verdict> {
    let request = StepRequest {
        host: delivery.host.clone(),
        files,
        trusts,
        proof: proof.map(Certificate::to_pem),
        contained: delivery.contained,
    };
    if let Err(error) = host.reach_systemd().await {
        let message = format!(
            "mode: Daemon needs systemd's system bus, which cannot be used ({error}), and nothing was touched: use mode: \
             Files and restart dockerd yourself"
        );
        return Err(serving(Reason::UnsupportedHost, message));
    }
    for _ in 0..MAX_STEPS {
        let result = one_step(host, &request).await.map_err(|error| serving(Reason::DaemonUnusable, error))?;
        if let Some(result) = result {
            return Ok(result);
        }
    }
    Err(serving(Reason::DaemonUnusable, "another step is under way again and again; this one is taken later"))
}

/// Asks, and waits; None where another step was under way, or its unit not gone yet, so that ours was not taken.
async fn one_step(host: &impl Host, request: &StepRequest) -> Result<Option<StepResult>, String> {
    let (on, note) = (host.clone(), request.clone());
    let prepared = blocking(move || {
        on.install_binary(Path::new(BINARY))?;
        on.write_note(daemon::RESULT, None::<&StepResult>)?; // an old one is not to be taken for a new one
        on.write_note(daemon::REQUEST, Some(&note))
    });
    prepared.await.map_err(|error| error.to_string())?;
    host.run_apart(STEP_UNIT, &[BINARY, "daemon-step"]).await.map_err(|error| error.to_string())?;
    let result = host.read_note::<StepResult>(daemon::RESULT).map_err(|error| error.to_string())?;
    Ok(result.filter(|result| result.request == *request))
}
