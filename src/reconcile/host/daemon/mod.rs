//! The step that works on dockerd: a note with a request in, a note with the result out. It runs on the host, as root,
//! in a unit of its own, so that it outlives the process that asked for it: observe, plan, one change at a time, prove it, or
//! roll it back.

mod apply;
mod docker_host;

mod error;
mod guard;
mod journal;
mod next_start;
mod observe;
mod old_trust;
mod precheck;
mod probes;
mod restart;
mod rollback;
mod running_dockerd;
mod support;

pub use guard::guard;
pub use probes::dialled;

use crate::adapters::Clock;
use crate::adapters::disk::file_error::FileError;
use crate::adapters::host::cert_dir::DeliveryError;
use crate::adapters::host::{DeliveryDirectory, Host};
use crate::api::AssignedHost;
use crate::api::condition::{ConditionType, Reason};
use crate::api::marker::Taken;
use crate::decide::host::DaemonState;
use crate::decide::host::daemon_config::DaemonFiles;
use crate::decide::host::daemon_plan::{DaemonStep, attempt, plan, serving_verdict, unserved};
use crate::decide::host::daemon_state::Stage;
use crate::decide::host::observed::ObservedDaemon;
use crate::decide::host::ownership::{claim_daemon, is_anothers};
use crate::decide::host::report::serving;
use crate::decide::host::step_request::{StepRequest, StepResult};
use crate::decide::status::Verdict;
use crate::pki::lifecycle::saturating;
use docker_host::DockerHost;
use error::{RollbackCause, StepError};
use guard::LISTENER_OUT;
use k8s_openapi::jiff::SignedDuration;
use std::path::Path;
use support::check_supported;

/// Directories in which dockerd's configuration lies.
pub const CONFIGURATION: [&str; 5] = [
    "/etc/docker",
    "/etc/systemd/system",
    "/etc/systemd/system/docker.service.d",
    "/etc/systemd/system/docker.socket.d",
    "/etc/default",
];
/// Note with the request.
pub const REQUEST: &str = "order.json";
/// Note with the result.
pub const RESULT: &str = "answer.json";
/// Note with the [`DaemonState`].
pub(super) const STATE: &str = "memory.json";
/// Changes that one step makes: a listener is closed, then dockerd is made to serve.
const MAX_CHANGES: usize = 3;
/// What failed for a reason that may pass is asked for again.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// Takes the step that the note asks for, and leaves another note with the result.
///
/// # Errors
/// Where a note cannot be read or written.
pub async fn step(host: &impl Host, clock: &Clock) -> Result<(), FileError> {
    let Some(request) = host.read_note::<StepRequest>(REQUEST)? else { return Ok(()) };
    let (worked, last) = match start(host, &request, clock).await {
        Ok(mut worker) => (worker.work().await, worker.last),
        Err(error) => (Err(error), None),
    };
    let (verdict, failed) = worked.map_or_else(|error| (error.verdict(), true), |verdict| (verdict, false));
    let passes = |last: &ObservedDaemon| !last.running || !last.uncertain.is_empty();
    let again = failed || !verdict.holds && last.as_ref().is_some_and(passes);
    let listeners = last.map(|last| last.listeners).unwrap_or_default();
    let result = StepResult {
        holds: verdict.holds,
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message,
        served: listeners.iter().find_map(|listener| listener.leaf.clone()),
        loaded: listeners.iter().find_map(|listener| listener.accepts),
        rejected: host.read_note::<DaemonState>(STATE)?.unwrap_or_default().rejected,
        requeue_at: again.then(|| saturating(clock.now(), RETRY_INTERVAL)),
        request,
    };
    host.write_note(RESULT, Some(&result))
}

async fn start<'a, H: Host>(
    host: &'a H,
    request: &'a StepRequest,
    clock: &'a Clock,
) -> Result<Worker<'a, H>, StepError> {
    check_supported(host).await?;
    let state = host.read_note::<DaemonState>(STATE)?.unwrap_or_default();
    let owner = claim_daemon(&state, &request.host);
    let owner = owner.map_err(|message| StepError::Refused(serving(Reason::HostConflict, message)))?;
    let path = Path::new(&request.host.delivery.directory);
    let directory = host.find_directory(&[path.to_owned()], path)?;
    directory.iter().try_for_each(|directory| hold(directory, &request.host))?;
    Ok(Worker { docker: DockerHost { host, request, clock, directory }, last: None, owner })
}

/// Has writes to the directory fail once it is another's.
fn hold(directory: &impl DeliveryDirectory, host: &AssignedHost) -> Result<(), DeliveryError> {
    let Some(there) = directory.contents(&host.name)?.marker else { return Ok(()) };
    match is_anothers(there.writer.as_deref(), host) {
        true => Err(DeliveryError::Claimed { path: host.delivery.directory.clone().into(), owner: there.object }),
        false => directory.claim(&there, Some(&there)),
    }
}

/// Where a step is, and what it saw last.
struct Worker<'a, H: Host> {
    docker: DockerHost<'a, H>,
    last: Option<ObservedDaemon>,
    /// Who configures dockerd from now on, and what was replaced for it.
    owner: (Option<String>, Vec<Taken>),
}

impl<H: Host> Worker<'_, H> {
    async fn work(&mut self) -> Result<Verdict, StepError> {
        let mut verdict = None;
        for _ in 0..MAX_CHANGES {
            let service = self.docker.settled_service().await?;
            let observed = self.last.insert(self.docker.observe_with(&service).await?).clone();
            let state = self.docker.host.read_note::<DaemonState>(STATE)?.unwrap_or_default();
            let consent = state.consent.clone();
            let plan = plan(self.docker.request, &observed, state, self.docker.clock.now());
            let out = plan.state.listener_removed.then_some(&self.docker.request.host.name);
            self.docker.host.write_note(LISTENER_OUT, out)?;
            self.save(&match plan.step {
                // A consent is used up by the restart that it was given for, not by one that never came.
                DaemonStep::Serve(..) => DaemonState { consent, ..plan.state.clone() },
                _ => plan.state.clone(),
            })?;
            let (found, more) = self.take(&observed, plan.step, plan.verdict, plan.state).await?;
            verdict = Some(found);
            if !more {
                break;
            }
        }
        Ok(verdict.unwrap_or_else(|| serving(Reason::NotServed, "nothing was done")))
    }

    fn save(&self, state: &DaemonState) -> Result<(), FileError> {
        self.docker.host.write_note(STATE, Some(state))
    }

    /// Takes one step; true where another one may follow at once.
    async fn take(
        &mut self,
        observed: &ObservedDaemon,
        step: DaemonStep,
        verdict: Verdict,
        state: DaemonState,
    ) -> Result<(Verdict, bool), StepError> {
        match step {
            DaemonStep::Keep => self.save(&state)?, // nothing was left to do for a consent
            DaemonStep::Write(files) => {
                self.check(observed, &files).await?;
                self.docker.write(observed, &files).await?;
                self.finish(verdict.holds, state)?;
            }
            DaemonStep::Close(files) => {
                self.docker.close(observed, &files).await?;
                self.last = Some(self.docker.observe().await?);
                return Ok((verdict, true));
            }
            DaemonStep::RollBack => {
                let cause = RollbackCause::Failed(verdict.message);
                let message = self.roll_back(&cause, state).await?.message;
                return Ok((serving(Reason::RolledBack, message), false));
            }
            DaemonStep::Remove(files, restart) => self.docker.remove(observed, &files, restart).await?,
            DaemonStep::Serve(files, sockets) => {
                return Ok((self.serve(observed, (files, sockets), state).await?, false));
            }
        }
        Ok((verdict, false))
    }

    async fn serve(
        &mut self,
        observed: &ObservedDaemon,
        (files, sockets): (DaemonFiles, bool),
        state: DaemonState,
    ) -> Result<Verdict, StepError> {
        self.check(observed, &files).await?;
        let proved = match self.docker.serve(observed, &files, sockets).await {
            Ok(proved) => proved,
            Err(cause) => return self.roll_back(&cause, state).await,
        };
        let verdict = match unserved(&proved, self.docker.clock.now()) {
            None => serving_verdict(&proved),
            Some(why) => serving(Reason::NotServed, why),
        };
        self.last = Some(proved);
        self.finish(true, state)?;
        Ok(verdict)
    }

    /// Rolls back what was tried, and notes not to try it again on this host as it is then.
    async fn roll_back(&mut self, cause: &RollbackCause, state: DaemonState) -> Result<Verdict, StepError> {
        let verdict = match cause {
            RollbackCause::Refused(verdict) => {
                self.docker.roll_back(&verdict.message).await?;
                verdict.clone()
            }
            RollbackCause::Failed(fault) => {
                let message = self.docker.roll_back(fault).await?;
                let now = self.docker.observe().await?;
                let rejected = attempt(self.docker.request, &now, message.clone());
                self.save(&DaemonState { rejected, ..state })?;
                self.last = Some(now);
                serving(Reason::RolledBack, message)
            }
        };
        self.docker.end_rollback()?;
        Ok(verdict)
    }

    /// What cannot be done is not begun; a restart that was begun is rolled back, since dockerd may be down by it.
    async fn check(&self, observed: &ObservedDaemon, files: &DaemonFiles) -> Result<(), StepError> {
        let Err(error) = self.docker.check(observed, files).await else { return Ok(()) };
        if self.docker.journal()?.is_some_and(|journal| journal.stage == Stage::Restarting) {
            self.docker.roll_back(&error.to_string()).await?;
            self.docker.end_rollback()?;
        }
        Err(error)
    }

    /// The change has ended: dockerd serves, or will on its next start.
    fn finish(&self, proved: bool, state: DaemonState) -> Result<(), StepError> {
        self.save(&DaemonState {
            configured: Some(self.docker.request.host.object().to_string()),
            spec: self.docker.request.spec(),
            writer: self.owner.0.clone(),
            taken: self.owner.1.clone(),
            rejected: state.rejected.filter(|_| !proved),
            ..state
        })?;
        if proved {
            self.docker.end_change()?;
        }
        Ok(())
    }
}

/// Serving, as a result has it.
pub fn verdict(result: &StepResult) -> Verdict {
    Verdict::new(ConditionType::Serving, result.holds, result.reason(), result.message.clone())
}

#[cfg(test)]
mod tests;
