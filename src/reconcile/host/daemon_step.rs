//! The step on dockerd, from the side of the one who asks for it: a note, a unit of its own, a note back.

use super::HostDelivery;
use crate::adapters::host::system_files;
use crate::adapters::host::systemd::Systemd;
use crate::api::condition::Reason;
use crate::decide::host::report::serving;
use crate::decide::host::step_request::{StepRequest, StepResult};
use crate::decide::status::Verdict;
use crate::docker::unit::BINARY;
use crate::reconcile::host::daemon;
use std::collections::BTreeSet;
use std::path::Path;

/// Unit in which the step that works on dockerd runs.
const STEP_UNIT: &str = "dockseal-step.service";
/// So often another step may be in the way of ours.
const MAX_STEPS: usize = 5;
/// Has the step on this host's dockerd taken, in a unit of its own.
pub(super) async fn ask(
    delivery: &HostDelivery,
    files: Option<u64>,
    trusts: BTreeSet<String>,
) -> Result<StepResult, Verdict> {
    let order = StepRequest { host: delivery.host.clone(), files, trusts, contained: delivery.contained };
    let unsupported = |error: String| {
        let message = format!(
            "mode: Daemon needs systemd's system bus, which cannot be used ({error}), and nothing was touched: use mode: \
             Files and restart dockerd yourself"
        );
        serving(Reason::UnsupportedHost, message)
    };
    let systemd = Systemd::reach().await.map_err(|error| unsupported(error.to_string()))?;
    for _ in 0..MAX_STEPS {
        if let Some(answer) =
            one_step(&systemd, &order).await.map_err(|error| serving(Reason::DaemonUnusable, error))?
        {
            return Ok(answer);
        }
    }
    Err(serving(Reason::DaemonUnusable, "another step is under way again and again; this one is taken later"))
}

/// Asks, and waits; none where another step was under way, or its unit not gone yet, so that ours was not taken.
async fn one_step(systemd: &Systemd, order: &StepRequest) -> Result<Option<StepResult>, String> {
    let asked = order.clone();
    let prepared = tokio::task::spawn_blocking(move || {
        system_files::install_binary(Path::new(BINARY))?;
        system_files::keep(daemon::ANSWER, None::<&StepResult>)?; // an old one is not to be taken for a new one
        system_files::keep(daemon::ORDER, Some(&asked))
    });
    prepared.await.expect("writing files does not panic").map_err(|error| error.to_string())?;
    systemd.run_apart(STEP_UNIT, &[BINARY, "daemon-step"]).await.map_err(|error| error.to_string())?;
    let answer = system_files::recall::<StepResult>(daemon::ANSWER).map_err(|error| error.to_string())?;
    Ok(answer.filter(|answer| answer.request == *order))
}
