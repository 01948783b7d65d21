//! The step that works on dockerd. It runs on the host, as root, in a unit of its own, so that it outlives whoever
//! asked for it: observe, plan, one change at a time, prove, take back.

mod apply;
mod observe;
mod rollback;

pub use observe::{DAEMON_JSON, SERVICE};

use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::systemd::{Systemd, SystemdError};
use crate::adapters::host::{cert_dir, system_files};
use crate::api::condition::{ConditionType, Reason};
use crate::decide::host::DaemonState;
use crate::decide::host::daemon_config::DaemonFiles;
use crate::decide::host::daemon_plan::{DaemonStep, attempt, plan, serving_verdict, unserved};
use crate::decide::host::daemon_state::Stage;
use crate::decide::host::observed::ObservedDaemon;
use crate::decide::host::report::serving;
use crate::decide::host::step_request::{StepRequest, StepResult};
use crate::decide::status::Verdict;
use crate::docker::unit;
use apply::RollbackCause;
use k8s_openapi::jiff::SignedDuration;

/// Directories in which dockerd's configuration lies.
pub const CONFIGURATION: [&str; 5] = [
    "/etc/docker",
    "/etc/systemd/system",
    "/etc/systemd/system/docker.service.d",
    "/etc/systemd/system/docker.socket.d",
    "/etc/default",
];
/// Note with what is asked.
pub const ORDER: &str = "order.json";
/// Note with what came of it.
pub const ANSWER: &str = "answer.json";
/// Note that tells the guard to keep the listener out.
pub const OUT: &str = "closed.json";
const MEMORY: &str = "memory.json";
/// Changes that one step makes: a door is closed, then dockerd is brought to serve.
const MAX_CHANGES: usize = 3;
/// What failed for a reason that may pass is asked for again.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// Why a step could not be taken. What was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A file of the host.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate files.
    #[error(transparent)]
    Directory(#[from] cert_dir::DeliveryError),
    /// systemd.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// dockerd does not come up.
    #[error("dockerd has been starting for {0} seconds and does not say that it is ready")]
    Hangs(u64),
    /// dockerd is run in another way than by systemd's units of that name.
    #[error("{0}")]
    Unsupported(String),
    /// The user must mend something.
    #[error("{}", .0.message)]
    Refused(Verdict),
}

impl StepError {
    fn verdict(self) -> Verdict {
        match self {
            StepError::Refused(verdict) => verdict,
            StepError::Unsupported(message) => serving(Reason::UnsupportedHost, message),
            StepError::Directory(error) => serving(Reason::DirectoryUnusable, error.to_string()),
            error => serving(Reason::DaemonUnusable, error.to_string()),
        }
    }
}

/// Takes the step that the note asks for, and leaves another one with what came of it.
///
/// # Errors
/// Where there is no note, or none can be left.
pub async fn step(clock: &Clock) -> Result<(), FileError> {
    let Some(order) = system_files::recall::<StepRequest>(ORDER)? else { return Ok(()) };
    let mut worker = Worker { order: &order, clock, last: None };
    let (verdict, again) = match worker.work().await {
        Ok(verdict) => (verdict, false),
        Err(trouble) => (trouble.verdict(), true),
    };
    let again = again || !verdict.holds && worker.last.as_ref().is_some_and(|last| !last.running);
    let memory = system_files::recall::<DaemonState>(MEMORY)?.unwrap_or_default();
    let last = worker.last.as_ref();
    let answer = StepResult {
        holds: verdict.holds,
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message,
        served: last.and_then(|last| last.listeners.iter().find_map(|listener| listener.leaf.clone())),
        loaded: last.and_then(|last| last.listeners.iter().find_map(|listener| listener.accepts)),
        rejected: memory.rejected,
        requeue_at: again.then(|| crate::pki::lifecycle::saturating(clock.now(), RETRY_INTERVAL)),
        request: order.clone(),
    };
    system_files::keep(ANSWER, Some(&answer))
}

struct Worker<'a> {
    order: &'a StepRequest,
    clock: &'a Clock,
    last: Option<ObservedDaemon>,
}

impl Worker<'_> {
    async fn work(&mut self) -> Result<Verdict, StepError> {
        let systemd = Systemd::reach().await.map_err(|error| {
            StepError::Unsupported(format!(
                "mode: Daemon needs systemd, which cannot be reached ({error}): use mode: Files and restart dockerd yourself"
            ))
        })?;
        let mut verdict = None;
        for _ in 0..MAX_CHANGES {
            observe::settled(&systemd).await?;
            let observed = observe::observe(self.order, &systemd).await;
            let observed = self.last.insert(observed?).clone();
            let memory = system_files::recall::<DaemonState>(MEMORY)?.unwrap_or_default();
            let consent = memory.consent.clone();
            let plan = plan(self.order, &observed, memory, self.clock.now());
            system_files::keep(OUT, plan.state.listener_removed.then_some(&self.order.host.name))?;
            let kept = match plan.step {
                // A consent is used up by the restart that it was given for, not by one that never came.
                DaemonStep::Serve(..) => DaemonState { consent, ..plan.state.clone() },
                _ => plan.state.clone(),
            };
            system_files::keep(MEMORY, Some(&kept))?;
            let (found, more) = self.take(&systemd, &observed, plan.step, plan.verdict, plan.state).await?;
            verdict = Some(found);
            if !more {
                break;
            }
        }
        Ok(verdict.unwrap_or_else(|| serving(Reason::NotServed, "nothing was done")))
    }

    /// Takes one step; true where another one may follow at once.
    async fn take(
        &mut self,
        systemd: &Systemd,
        observed: &ObservedDaemon,
        step: DaemonStep,
        verdict: Verdict,
        memory: DaemonState,
    ) -> Result<(Verdict, bool), StepError> {
        let host = apply::DockerHost { systemd, order: self.order, clock: self.clock };
        match step {
            DaemonStep::Keep => {
                system_files::keep(MEMORY, Some(&memory))?; // nothing was left to do for a consent
                Ok((verdict, false))
            }
            DaemonStep::Write(layout) => {
                if let Err(trouble) = host.check(observed, &layout).await {
                    return self.impossible(&host, trouble).await;
                }
                host.write(observed, &layout).await?;
                self.settle(verdict.holds, memory)?;
                Ok((verdict, false))
            }
            DaemonStep::Close(layout) => {
                host.close(observed, &layout).await?;
                self.last = Some(observe::observe(self.order, systemd).await?);
                Ok((verdict, true))
            }
            DaemonStep::RollBack => {
                let message = self.take_back(&host, &RollbackCause::of(&verdict), memory).await?.message;
                Ok((serving(Reason::RolledBack, message), false))
            }
            DaemonStep::Remove(layout, restart) => {
                host.remove(observed, &layout, restart).await?;
                Ok((verdict, false))
            }
            DaemonStep::Serve(layout, sockets) => self.serve(&host, observed, (layout, sockets), memory).await,
        }
    }

    async fn serve(
        &mut self,
        host: &apply::DockerHost<'_>,
        observed: &ObservedDaemon,
        (layout, sockets): (DaemonFiles, bool),
        memory: DaemonState,
    ) -> Result<(Verdict, bool), StepError> {
        if let Err(trouble) = host.check(observed, &layout).await {
            return self.impossible(host, trouble).await;
        }
        match host.serve(observed, &layout, sockets).await {
            Ok(proved) => {
                let verdict = match unserved(&proved, self.clock.now()) {
                    None => serving_verdict(&proved),
                    Some(why) => serving(Reason::NotServed, why),
                };
                self.last = Some(proved);
                self.settle(true, memory)?;
                Ok((verdict, false))
            }
            Err(fault) => Ok((self.take_back(host, &fault, memory).await?, false)),
        }
    }

    /// Takes back what was tried, and remembers not to try it again on this host as it is then.
    async fn take_back(
        &mut self,
        host: &apply::DockerHost<'_>,
        fault: &RollbackCause,
        memory: DaemonState,
    ) -> Result<Verdict, StepError> {
        let verdict = match fault {
            RollbackCause::Refused(verdict) => {
                host.roll_back(&verdict.message).await?;
                verdict.clone()
            }
            RollbackCause::Failed(fault) => {
                let message = host.roll_back(fault).await?;
                let now = observe::observe(self.order, host.systemd).await?;
                let rejected = attempt(self.order, &now, message.clone());
                system_files::keep(MEMORY, Some(&DaemonState { rejected, ..memory }))?;
                self.last = Some(now);
                serving(Reason::RolledBack, message)
            }
        };
        apply::forget()?;
        Ok(verdict)
    }

    /// What cannot be done is not begun; a restart that was begun is taken back, since dockerd may be down by it.
    async fn impossible(&self, host: &apply::DockerHost<'_>, trouble: StepError) -> Result<(Verdict, bool), StepError> {
        let journal = system_files::recall::<apply::Journal>(apply::JOURNAL)?;
        if journal.is_some_and(|journal| journal.stage == Stage::Restarting) {
            host.roll_back(&trouble.to_string()).await?;
            apply::forget()?;
        }
        Err(trouble)
    }

    /// The change has ended: dockerd serves, or will on its next start.
    fn settle(&self, proved: bool, memory: DaemonState) -> Result<(), StepError> {
        let memory = DaemonState {
            configured: Some(self.order.host.object().to_string()),
            spec: self.order.spec(),
            rejected: memory.rejected.filter(|_| !proved),
            ..memory
        };
        system_files::keep(MEMORY, Some(&memory))?;
        if proved {
            apply::forget()?;
        }
        Ok(())
    }
}

/// Whether dockerd may be handed its TCP listener: only where daemon.json makes it demand client certificates.
///
/// # Errors
/// Why not, in words.
pub fn guard() -> Result<(), String> {
    let out = system_files::recall::<String>(OUT).map_err(|error| error.to_string())?;
    if out.is_some() {
        return Err("the listener is kept out, since somebody changed dockerd's configuration again and again".into());
    }
    demands_certificates()?; // the sooner it is closed the better, and the later it is found open
    reads_daemon_json()?;
    demands_certificates()
}

/// dockerd is not told to read another file.
fn reads_daemon_json() -> Result<(), String> {
    let line =
        system_files::started_with(observe::SERVICE).ok_or("systemd does not say how dockerd is started")?.join(" ");
    let values = unit::variables(&line).filter_map(system_files::variable);
    let words: Vec<String> = [line.clone()].into_iter().chain(values).collect();
    let words: Vec<&str> = words.iter().flat_map(|text| text.split_whitespace()).collect();
    let files = words.iter().enumerate().filter_map(|(index, word)| match word.strip_prefix("--config-file")? {
        "" => words.get(index + 1).copied(),
        value => value.strip_prefix('='),
    });
    match files.into_iter().find(|file| *file != observe::DAEMON_JSON) {
        Some(other) => Err(format!("dockerd is started with --config-file={other}, and reads no daemon.json")),
        None => Ok(()),
    }
}

fn demands_certificates() -> Result<(), String> {
    let path = system_files::behind_links(observe::DAEMON_JSON.as_ref()).map_err(|error| error.to_string())?;
    let entry = system_files::read(&path).map_err(|error| error.to_string())?;
    let text = entry.bytes().ok_or("there is no daemon.json")?;
    let paths = crate::docker::daemon_json::enforces_client_auth(text).map_err(|error| error.to_string())?;
    let missing = [&paths.ca, &paths.cert, &paths.key].into_iter().find(|path| !system_files::is_there(path));
    missing.map_or(Ok(()), |path| Err(format!("{path} is missing")))
}

/// Serving, as an answer has it.
pub fn verdict(answer: &StepResult) -> Verdict {
    Verdict::new(ConditionType::Serving, answer.holds, answer.reason(), answer.message.clone())
}

#[cfg(test)]
mod tests;
