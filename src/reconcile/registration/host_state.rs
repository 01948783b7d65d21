//! What is remembered of one host in one Portainer between two syncs. It does no I/O.

use crate::api::status::EnvironmentReport;
use crate::decide::registration::RegistrationProblem;
use crate::decide::registration::backoff::after_sync;
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::Timestamp;

#[derive(Clone, Default)]
pub struct HostState {
    report: Option<EnvironmentReport>,
    deregistered: bool,
    failures: u32,
    /// After a failure: no retry before then, unless the input (a digest) changes.
    backoff: Option<(Timestamp, String)>,
    /// The companion's last report and the problem that the server showed with it.
    checked: Option<(EnvironmentReport, Option<RegistrationProblem>)>,
    /// Whether the companion last reported the host as registered, while the server was not reached from here.
    companion_registered: Option<bool>,
}

impl HostState {
    pub fn report(&self) -> Option<EnvironmentReport> {
        self.report.clone()
    }

    pub fn is_deregistered(&self) -> bool {
        self.deregistered
    }

    /// The host is selected, so its environment is ours again.
    pub fn select(&mut self) {
        self.deregistered = false;
    }

    /// Nothing of ours is left; true if that is new.
    pub fn set_deregistered(&mut self) -> bool {
        !std::mem::replace(&mut self.deregistered, true)
    }

    /// Our environment was deleted or is no longer marked; `report` is what stays known of it.
    pub fn deregister(&mut self, report: Option<EnvironmentReport>) {
        *self = HostState { deregistered: true, report, ..HostState::default() };
    }

    /// Until when a sync with the same input waits after a failure.
    pub fn wait_until(&self, input: &str, now: Timestamp) -> Option<Timestamp> {
        let (until, failed_input) = self.backoff.as_ref()?;
        (now < *until && failed_input == input).then_some(*until)
    }

    pub fn postpone(&mut self, input: &str, until: Timestamp) {
        self.backoff = Some((until, input.to_owned()));
    }

    /// Takes the report of a sync; returns when to retry if it failed.
    pub fn note_sync(&mut self, report: &EnvironmentReport, input: &str, now: Timestamp) -> Option<Timestamp> {
        self.report = Some(report.clone());
        if report.is_registered() {
            (self.failures, self.backoff) = (0, None);
            return None;
        }
        let same = self.backoff.as_ref().is_some_and(|(_, failed_input)| failed_input == input);
        self.failures = if same { self.failures + 1 } else { 1 };
        let until = saturating(now, after_sync(report, self.failures));
        self.postpone(input, until);
        Some(until)
    }

    /// The companion's last report that was compared with the server.
    pub fn checked_report(&self) -> Option<EnvironmentReport> {
        self.checked.as_ref().map(|(report, _)| report.clone())
    }

    pub fn checked_problem(&self) -> Option<RegistrationProblem> {
        self.checked.as_ref().and_then(|(_, problem)| problem.clone())
    }

    /// Takes a companion's report and the problem that the server shows with it; returns those of before.
    pub fn note_checked(
        &mut self,
        report: &EnvironmentReport,
        problem: &Option<RegistrationProblem>,
    ) -> (EnvironmentReport, Option<RegistrationProblem>) {
        (self.deregistered, self.report) = (false, None);
        let report = match (report.id, &self.checked) {
            (None, Some((before, _))) => before.clone(), // the environment may exist all the same
            _ => report.clone(),
        };
        self.checked.replace((report, problem.clone())).unwrap_or_default()
    }

    /// Takes what a companion reports while the server is not reached from here; true if that is new.
    pub fn note_unchecked(&mut self, registered: bool) -> bool {
        self.companion_registered.replace(registered) != Some(registered)
    }
}
