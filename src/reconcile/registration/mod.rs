//! Registration: a server is looked at, and step by step each host's environment in it becomes what it should be. The
//! same for the controller, for `up`, and for a companion that registers its own host.

mod apply;
mod companion;
pub mod connect;
pub mod delegate;
mod deregister;
mod error;
mod host;
mod probe;
mod refresh;
mod refresh_schedule;
mod request;
pub mod server;
pub mod state;
mod status;

pub use companion::CompanionRegistration;
pub use connect::Connection;
pub use deregister::part;
pub use host::HostSync;
pub use server::{ClientPair, RegistrationServer};
pub use state::{Registrations, SyncOutcome};

use crate::adapters::Clock;
use crate::api::condition::Reason;
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::desired::RegistrationInput;
use crate::decide::registration::plan::DOWN;
use crate::decide::registration::{DesiredEnvironment, Proof, RegistrationProblem, RegistrationStep, plan};
use crate::pki::lifecycle::whole_seconds;
use crate::portainer::{Environment, TlsFiles};
use apply::apply;
use error::RegistrationError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use state::faulty;
use zeroize::Zeroizing;

/// No environment needs more steps than that; whoever does is turned round and round by somebody else.
const MAX_STEPS: usize = 12;

/// One host to be registered in one Portainer.
#[derive(Clone, Debug)]
pub struct RegistrationRequest {
    /// Namespace of the host and of the PortainerClient.
    pub namespace: String,
    /// The environment as it should be.
    pub order: DesiredEnvironment,
    /// What is used and what is known to be served.
    pub material: RegistrationInput,
    /// The trust bundle of the host's authority, PEM.
    pub bundle: Vec<u8>,
    /// What was reported before.
    pub previous: EnvironmentReport,
    /// Who reports.
    pub registrar: Registrar,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistrationOutcome {
    /// That is known now.
    Reported(EnvironmentReport),
    /// The server is to be looked at anew before anything is written there.
    LookFirst,
    /// The server is at fault, not the host.
    Server(RegistrationProblem),
}

impl RegistrationRequest {
    fn files(&self, pair: &ClientPair) -> TlsFiles {
        TlsFiles { ca: self.bundle.clone(), cert: pair.certificate.clone(), key: Zeroizing::new(pair.key.to_vec()) }
    }
}

/// Registers. It fails in no other way than that the report says so.
pub async fn register(server: &RegistrationServer, errand: &RegistrationRequest, clock: &Clock) -> RegistrationOutcome {
    let mut errand = errand.clone();
    if errand.previous.registrar != errand.registrar {
        errand.previous = errand.order.report(errand.registrar); // what another one claims is not believed
    }
    if let Some(done) = at_rest(server, &errand) {
        return done;
    }
    if server.pair().fingerprint != errand.material.client {
        return RegistrationOutcome::LookFirst; // the Secret has another one by now
    }
    probe::ask(server, &mut errand).await;
    if let Some(done) = at_rest(server, &errand) {
        return done;
    }
    let name = server.names.of(&server.snapshot().instance, &errand.order.name);
    let _alone = name.lock().await;
    let _place = server.places.acquire().await.expect("it is never closed");
    let mut run = Run { report: errand.previous.clone(), uploaded: false, wrote: false };
    for _ in 0..MAX_STEPS {
        let step = step(server, &errand, &run.report);
        let begins = writes(&step) && !std::mem::replace(&mut run.wrote, true);
        if begins && !server.is_fresh(clock.now()) {
            return RegistrationOutcome::LookFirst;
        }
        match apply(server, &errand, step, &mut run, clock).await {
            Ok(true) => return RegistrationOutcome::Reported(registered(&errand, run.report)),
            Ok(false) => {}
            Err(RegistrationError::Host(fault)) => {
                return RegistrationOutcome::Reported(failed(&errand, run.report, fault));
            }
            Err(RegistrationError::Server(fault)) => return RegistrationOutcome::Server(fault),
        }
    }
    server.doubt();
    let words = "Portainer shows something else after each change: does somebody else change this environment, too?";
    RegistrationOutcome::Reported(failed(&errand, run.report, RegistrationProblem::new(Reason::PortainerFailed, words)))
}

/// What is known in the course of an errand.
struct Run {
    report: EnvironmentReport,
    uploaded: bool,
    wrote: bool,
}

fn step(server: &RegistrationServer, errand: &RegistrationRequest, report: &EnvironmentReport) -> RegistrationStep {
    plan(&errand.order, &errand.namespace, &errand.material, &server.snapshot(), report)
}

/// Nothing is to be asked or done.
fn at_rest(server: &RegistrationServer, errand: &RegistrationRequest) -> Option<RegistrationOutcome> {
    match step(server, errand, &errand.previous) {
        RegistrationStep::Done if !probe::is_due(errand) => {
            Some(RegistrationOutcome::Reported(registered(errand, errand.previous.clone())))
        }
        RegistrationStep::Wait(fault) => {
            Some(RegistrationOutcome::Reported(failed(errand, errand.previous.clone(), fault)))
        }
        _ => None,
    }
}

fn writes(step: &RegistrationStep) -> bool {
    !matches!(step, RegistrationStep::Done | RegistrationStep::Wait(_) | RegistrationStep::Prove(_))
}

fn registered(errand: &RegistrationRequest, report: EnvironmentReport) -> EnvironmentReport {
    let id = report.id.unwrap_or_default();
    EnvironmentReport {
        reason: Reason::Registered.as_str().to_owned(),
        message: format!("environment {id}, {}, at {}", errand.order.name, errand.order.url()),
        ..report
    }
}

fn failed(errand: &RegistrationRequest, report: EnvironmentReport, fault: RegistrationProblem) -> EnvironmentReport {
    faulty(&errand.order.client, report, fault)
}

/// What was proved, at that instant.
fn proved(errand: &RegistrationRequest, report: &mut EnvironmentReport, now: Timestamp) {
    let served = match &errand.material.proof {
        Proof::Serves(served) => Some(served.clone()),
        Proof::Ask | Proof::Not(_) => report.proved_fingerprint.clone(),
    };
    report.proved_fingerprint = served;
    report.proved_at = Some(Time(whole_seconds(now)));
    report.reason = Reason::Registered.as_str().to_owned();
}

/// Its last snapshot failed, as the list shows it.
fn is_down(environment: &Environment) -> bool {
    environment.status == DOWN
}
