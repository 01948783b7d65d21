//! A companion's registration of its own host: everything that it needs in, a report and the next instant out. It reads no
//! store.

use super::connect::Connection;
use super::error::failed_report;
use super::host::RegistrationAttempt;
use super::registrations::Registrations;
use super::request::RegistrationRequest;
use crate::adapters::Clock;
use crate::api::ObjectRef;
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::RegistrationProblem;
use crate::decide::registration::backoff::{INTERVAL, retry_delay};
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::Timestamp;

/// How often a registration may ask for another refresh at a time.
const MAX_TURNS: usize = 3;

/// A host, and all that is needed to register it.
#[derive(Clone, Debug)]
pub struct CompanionRegistration {
    /// The PortainerClient.
    pub client: ObjectRef,
    /// The DockerHostCert.
    pub host: ObjectRef,
    pub connection: Result<Connection, RegistrationProblem>,
    /// Digest of everything that `connection` depends on.
    pub input: String,
    /// What to do, or why it cannot be done.
    pub request: Result<RegistrationRequest, RegistrationProblem>,
    /// The last report in the host's status.
    pub before: EnvironmentReport,
}

impl Registrations {
    /// Registers the host; returns the report, and when to do it again if nothing changes.
    pub async fn register_own_host(
        &self,
        registration: CompanionRegistration,
        clock: &Clock,
    ) -> (EnvironmentReport, Timestamp) {
        let CompanionRegistration { client, host, connection, input, request, before } = registration;
        let last_report = || self.cache().with_host(&client, &host, |known| known.report());
        let mut report = last_report().unwrap_or(before);
        for _ in 0..MAX_TURNS {
            if self.is_due_for(&client, &input, clock.now()) {
                self.refresh_over(&client, Some(connection.clone()), input.clone(), clock).await;
            }
            let next_refresh = self.next_refresh(&client).unwrap_or_else(|| saturating(clock.now(), INTERVAL));
            let server = match self.cache().refreshed_server(&client) {
                Some(Ok(server)) => server,
                Some(Err(problem)) if !report.is_registered() => {
                    return (failed_report(&client.name, report, problem), next_refresh);
                }
                _ => return (report, next_refresh), // the server is at fault; it may still reach the host
            };
            let request = request.clone().map(|request| RegistrationRequest { previous: report.clone(), ..request });
            let attempt = RegistrationAttempt { client: &client, host: &host, before: report.clone(), request };
            let outcome = self.register_attempt(&server, attempt, clock).await;
            report = last_report().unwrap_or(report);
            if !outcome.refresh {
                return (report, outcome.requeue_at.map_or(next_refresh, |at| at.min(next_refresh)));
            }
            self.schedule_refresh(&client, None);
        }
        (report, saturating(clock.now(), retry_delay(Reason::PortainerFailed, 1)))
    }
}
