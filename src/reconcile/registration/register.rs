//! A request to register one host in, steps against Portainer and a report out. It never fails: a problem is part of the
//! report.

use super::apply::{RegistrationRun, apply};
use super::error::{RegistrationError, failed_report};
use super::outcome::RegistrationOutcome;
use super::probe;
use super::request::RegistrationRequest;
use super::server::RegistrationServer;
use crate::adapters::Clock;
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::{RegistrationProblem, RegistrationStep, plan};

/// No environment needs more steps. If one does, someone else changes it at the same time.
const MAX_STEPS: usize = 12;

pub async fn register(
    server: &RegistrationServer,
    request: &RegistrationRequest,
    clock: &Clock,
) -> RegistrationOutcome {
    let mut request = request.clone();
    if request.previous.registrar != request.registrar {
        request.previous = request.desired.report(request.registrar); // another registrar's report is not trusted
    }
    if let Some(outcome) = without_calls(server, &request) {
        return outcome;
    }
    if server.client_pair().fingerprint != request.input.client {
        return RegistrationOutcome::RefreshFirst; // the Secret has another certificate by now
    }
    probe::ask_docker(server, &mut request).await;
    if let Some(outcome) = without_calls(server, &request) {
        return outcome;
    }
    let _name = server.lock_name(&request.namespace, &request.desired.name).await;
    let _permit = server.permit().await;
    run_steps(server, &request, clock).await
}

async fn run_steps(server: &RegistrationServer, request: &RegistrationRequest, clock: &Clock) -> RegistrationOutcome {
    let mut run = RegistrationRun::new(request.previous.clone());
    let mut has_written = false;
    for _ in 0..MAX_STEPS {
        let step = next_step(server, request, run.report());
        let first_write = writes(&step) && !has_written;
        has_written |= first_write;
        if first_write && !server.is_fresh(clock.now()) {
            return RegistrationOutcome::RefreshFirst;
        }
        match apply(server, request, step, &mut run, clock).await {
            Ok(true) => return RegistrationOutcome::Reported(registered(request, run.into_report())),
            Ok(false) => {}
            Err(RegistrationError::Host(problem)) => {
                return RegistrationOutcome::Reported(failed(request, run.into_report(), problem));
            }
            Err(RegistrationError::Server(problem)) => return RegistrationOutcome::Server(problem),
        }
    }
    server.mark_stale();
    let message = "Portainer shows something else after each change: find out what else changes this environment";
    let problem = RegistrationProblem::new(Reason::PortainerFailed, message);
    RegistrationOutcome::Reported(failed(request, run.into_report(), problem))
}

fn next_step(
    server: &RegistrationServer,
    request: &RegistrationRequest,
    report: &EnvironmentReport,
) -> RegistrationStep {
    plan(&request.desired, &request.namespace, &request.input, &server.snapshot(), report)
}

/// The outcome, if no call is needed for it.
fn without_calls(server: &RegistrationServer, request: &RegistrationRequest) -> Option<RegistrationOutcome> {
    let previous = request.previous.clone();
    match next_step(server, request, &previous) {
        RegistrationStep::Done if !probe::is_due(request) => {
            Some(RegistrationOutcome::Reported(registered(request, previous)))
        }
        RegistrationStep::Wait(problem) => Some(RegistrationOutcome::Reported(failed(request, previous, problem))),
        _ => None,
    }
}

fn writes(step: &RegistrationStep) -> bool {
    !matches!(step, RegistrationStep::Done | RegistrationStep::Wait(_) | RegistrationStep::Prove(_))
}

fn registered(request: &RegistrationRequest, report: EnvironmentReport) -> EnvironmentReport {
    let id = report.id.unwrap_or_default();
    EnvironmentReport {
        reason: Reason::Registered.as_str().to_owned(),
        message: format!("environment {id}, {}, at {}", request.desired.name, request.desired.url()),
        ..report
    }
}

fn failed(request: &RegistrationRequest, report: EnvironmentReport, problem: RegistrationProblem) -> EnvironmentReport {
    failed_report(&request.desired.client, report, problem)
}
