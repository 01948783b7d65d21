//! Registration: a server is looked at, and step by step each host's environment in it becomes what it should be. The
//! same for the controller, for `up`, and for a companion that registers its own host.

mod apply;
mod attend;
pub mod desk;
mod fault;
pub mod lend;
mod look;
mod looks;
mod order;
mod parting;
pub mod prepare;
mod probe;
pub mod server;
mod standing;
mod visits;

pub use attend::Attendance;
pub use desk::{Came, Registrations};
pub use parting::part;
pub use prepare::Way;
pub use server::{Pair, Server};
pub use visits::Visit;

use crate::api::condition::Reason;
use crate::api::portainer_client::Registrar;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::order::Material;
use crate::decide::registration::plan::DOWN;
use crate::decide::registration::{Fault, Order, Proof, Step, plan};
use crate::pki::lifecycle::whole_seconds;
use crate::portainer::{Environment, Files};
use crate::world::Clock;
use apply::apply;
use desk::faulty;
use fault::Stop;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use zeroize::Zeroizing;

/// No environment needs more steps than that; whoever does is turned round and round by somebody else.
const MOST_STEPS: usize = 12;

/// One host to be registered in one Portainer.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Namespace of the host and of the PortainerClient.
    pub namespace: String,
    /// The environment as it should be.
    pub order: Order,
    /// What is used and what is known to be served.
    pub material: Material,
    /// The trust bundle of the host's authority, PEM.
    pub bundle: Vec<u8>,
    /// What was reported before.
    pub previous: EnvironmentReport,
    /// Who reports.
    pub registrar: Registrar,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// That is known now.
    Reported(EnvironmentReport),
    /// The server is to be looked at anew before anything is written there.
    LookFirst,
    /// The server is at fault, not the host.
    Server(Fault),
}

impl Errand {
    fn files(&self, pair: &Pair) -> Files {
        Files { ca: self.bundle.clone(), cert: pair.certificate.clone(), key: Zeroizing::new(pair.key.to_vec()) }
    }
}

/// Registers. It fails in no other way than that the report says so.
pub async fn register(server: &Server, errand: &Errand, clock: &Clock) -> Done {
    let mut errand = errand.clone();
    if errand.previous.registrar != errand.registrar {
        errand.previous = errand.order.report(errand.registrar); // what another one claims is not believed
    }
    if let Some(done) = at_rest(server, &errand) {
        return done;
    }
    if server.pair().fingerprint != errand.material.client {
        return Done::LookFirst; // the Secret has another one by now
    }
    probe::ask(server, &mut errand).await;
    if let Some(done) = at_rest(server, &errand) {
        return done;
    }
    let name = server.names.of(&server.ground().instance, &errand.order.name);
    let _alone = name.lock().await;
    let _place = server.places.acquire().await.expect("it is never closed");
    let mut run = Run { report: errand.previous.clone(), uploaded: false, wrote: false };
    for _ in 0..MOST_STEPS {
        let step = step(server, &errand, &run.report);
        let begins = writes(&step) && !std::mem::replace(&mut run.wrote, true);
        if begins && !server.is_fresh(clock.now()) {
            return Done::LookFirst;
        }
        match apply(server, &errand, step, &mut run, clock).await {
            Ok(true) => return Done::Reported(registered(&errand, run.report)),
            Ok(false) => {}
            Err(Stop::Host(fault)) => return Done::Reported(failed(&errand, run.report, fault)),
            Err(Stop::Server(fault)) => return Done::Server(fault),
        }
    }
    server.doubt();
    let words = "Portainer shows something else after each change: does somebody else change this environment, too?";
    Done::Reported(failed(&errand, run.report, Fault::new(Reason::PortainerFailed, words)))
}

/// What is known in the course of an errand.
struct Run {
    report: EnvironmentReport,
    uploaded: bool,
    wrote: bool,
}

fn step(server: &Server, errand: &Errand, report: &EnvironmentReport) -> Step {
    plan(&errand.order, &errand.namespace, &errand.material, &server.ground(), report)
}

/// Nothing is to be asked or done.
fn at_rest(server: &Server, errand: &Errand) -> Option<Done> {
    match step(server, errand, &errand.previous) {
        Step::Done if !probe::is_due(errand) => Some(Done::Reported(registered(errand, errand.previous.clone()))),
        Step::Wait(fault) => Some(Done::Reported(failed(errand, errand.previous.clone(), fault))),
        _ => None,
    }
}

fn writes(step: &Step) -> bool {
    !matches!(step, Step::Done | Step::Wait(_) | Step::Prove(_))
}

fn registered(errand: &Errand, report: EnvironmentReport) -> EnvironmentReport {
    let id = report.id.unwrap_or_default();
    EnvironmentReport {
        reason: Reason::Registered.as_str().to_owned(),
        message: format!("environment {id}, {}, at {}", errand.order.name, errand.order.url()),
        ..report
    }
}

fn failed(errand: &Errand, report: EnvironmentReport, fault: Fault) -> EnvironmentReport {
    faulty(&errand.order.client, report, fault)
}

/// What was proved, at that instant.
fn proved(errand: &Errand, report: &mut EnvironmentReport, now: Timestamp) {
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
