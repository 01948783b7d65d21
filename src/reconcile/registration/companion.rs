//! A companion's own walk for its host: the server is looked at where that is due, and then the host is registered.
//! Everything comes along; nothing is read from a store.

use super::host::RegistrationAttempt;
use super::state::{Registrations, faulty};
use super::{Connection, RegistrationRequest};
use crate::adapters::Clock;
use crate::api::ObjectRef;
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::RegistrationProblem;
use crate::decide::registration::backoff::{INTERVAL, retry_delay};
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::Timestamp;

/// A look may be followed by another one so often at a time.
const TURNS: usize = 3;

/// A host, and all that is needed to register it.
#[derive(Clone, Debug)]
pub struct CompanionRegistration {
    /// The PortainerClient.
    pub client: ObjectRef,
    /// The DockerHostCert.
    pub host: ObjectRef,
    /// How the server is spoken to, or what is missing.
    pub way: Result<Connection, RegistrationProblem>,
    /// Changes with everything that `way` depends on.
    pub about: String,
    /// What is to be done, or why it cannot be.
    pub ready: Result<RegistrationRequest, RegistrationProblem>,
    /// What was reported.
    pub before: EnvironmentReport,
}

impl Registrations {
    /// Does what is to be done; what is known then, and when to come again though nothing changes.
    pub async fn attend(&self, attendance: CompanionRegistration, clock: &Clock) -> (EnvironmentReport, Timestamp) {
        let CompanionRegistration { client, host, way, about, ready, before } = attendance;
        let mut report = self.found_out(&client, &host).unwrap_or(before);
        for _ in 0..TURNS {
            if self.is_due_for(&client, &about, clock.now()) {
                self.look_by(&client, Some(way.clone()), about.clone(), clock).await;
            }
            let (server, looked, again) =
                self.known(&client, |known| (known.server.clone(), known.looked.clone(), known.again));
            let again = again.unwrap_or_else(|| saturating(clock.now(), INTERVAL));
            let server = match (server, looked) {
                (Some(server), Some(Ok(()))) => server,
                (_, Some(Err(fault))) if !report.is_registered() => {
                    return (faulty(&client.name, report, fault), again);
                }
                _ => return (report, again), // Portainer is at fault, and reaches the host for all we know
            };
            let ready = ready.clone().map(|errand| RegistrationRequest { previous: report.clone(), ..errand });
            let turn = RegistrationAttempt { client: &client, host: &host, before: report.clone(), ready };
            let came = self.register(&server, turn, clock).await;
            report = self.found_out(&client, &host).unwrap_or(report);
            if !came.look {
                return (report, came.requeue_at.map_or(again, |requeue_at| requeue_at.min(again)));
            }
            self.look_again(&client, None);
        }
        (report, saturating(clock.now(), retry_delay(Reason::PortainerFailed, 1)))
    }
}
