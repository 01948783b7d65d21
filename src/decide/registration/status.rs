//! Reports on environments in, the condition Registered of hosts and PortainerClients out.

use super::problem::RegistrationProblem;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::{EnvironmentReport, ServerReport};
use crate::decide::status::Verdict;

/// What the status of a host or a PortainerClient says of registration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegistrationStatus {
    /// The condition Registered; `None` if nothing is to be registered.
    pub verdict: Option<Verdict>,
    /// Of a host: the environments that the controller registers, and those that it still has to remove.
    pub environments: Vec<EnvironmentReport>,
    /// Of a PortainerClient: what is known of its server.
    pub server: ServerReport,
    /// Environments are deleted with the object.
    pub deletes: bool,
    /// Some of them still exist.
    pub left: bool,
    /// Of a host: the PortainerClients that its companion registers it for.
    pub delegated: Vec<String>,
}

/// The condition Registered of a host, from a report for each PortainerClient that selects it.
pub fn of_host(reports: &[EnvironmentReport]) -> Option<Verdict> {
    let verdict = |holds, reason, message| Some(Verdict::new(ConditionType::Registered, holds, reason, message));
    if let Some(report) = reports.iter().find(|report| !report.is_registered()) {
        let reason = Reason::parse(&report.reason).unwrap_or(Reason::NotRegistered);
        let message = if report.message.is_empty() { "it has not been checked yet" } else { &report.message };
        return verdict(false, reason, format!("PortainerClient {}: {message}", report.portainer_client));
    }
    let number = |report: &EnvironmentReport| report.id.unwrap_or_default();
    let environments: Vec<String> =
        reports.iter().map(|report| format!("{} as environment {}", report.portainer_client, number(report))).collect();
    (!environments.is_empty()).then(|| {
        verdict(true, Reason::Registered, format!("Portainer reaches the host: {}", environments.join(", ")))
    })?
}

/// What is known of the hosts of a PortainerClient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationCounts {
    /// How many hosts it selects.
    pub selected: usize,
    /// How many of them are registered.
    pub registered: usize,
    /// Name and message of one that is not.
    pub missing: Option<(String, String)>,
    /// Their companions register them, and call Portainer from the hosts.
    pub by_companions: bool,
}

/// The condition Registered of a PortainerClient.
pub fn of_client(
    last_refresh: Option<&Result<(), RegistrationProblem>>,
    counts: &RegistrationCounts,
    version: Option<&str>,
) -> Verdict {
    let verdict = |holds, reason, message: String| Verdict::new(ConditionType::Registered, holds, reason, message);
    // Companions may register because the controller does not reach the server.
    let only_companions_reach =
        |problem: &RegistrationProblem| counts.by_companions && problem.reason == Reason::PortainerUnreachable;
    let counted = format!("{} of {} hosts are registered", counts.registered, counts.selected);
    match (last_refresh, &counts.missing) {
        (None, _) => verdict(false, Reason::NotRegistered, "Portainer has not been asked yet".to_owned()),
        (Some(Err(problem)), _) if !only_companions_reach(problem) => {
            verdict(false, problem.reason, problem.message.clone())
        }
        (Some(_), Some((host, message))) => {
            verdict(false, Reason::NotRegistered, format!("{counted}; {host}: {message}"))
        }
        (Some(Err(problem)), None) if counts.selected == 0 => verdict(false, problem.reason, problem.message.clone()),
        (Some(Err(problem)), None) => {
            let message = format!("{counted}, as their companions say; from the controller {}", problem.message);
            verdict(true, Reason::Registered, message)
        }
        (Some(Ok(())), None) => {
            let version = version.unwrap_or_default();
            verdict(true, Reason::Registered, format!("{counted} in Portainer {version}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docs/portainer-elsewhere.md has it: the nodes reach Portainer, the controller does not.
    #[test]
    fn what_companions_registered_counts_where_the_controller_reaches_nothing() {
        let all = RegistrationCounts { selected: 2, registered: 2, missing: None, by_companions: true };
        let one = RegistrationCounts { registered: 1, missing: Some(("attic".into(), "no".into())), ..all.clone() };
        let none = RegistrationCounts { selected: 0, registered: 0, ..all.clone() };
        let own = RegistrationCounts { by_companions: false, ..all.clone() };
        let of = |reason, counts: &RegistrationCounts| {
            let verdict = of_client(Some(&Err(RegistrationProblem::new(reason, "it is far"))), counts, None);
            (verdict.holds, verdict.reason)
        };
        assert_eq!(of(Reason::PortainerUnreachable, &all), (true, Reason::Registered));
        assert_eq!(of(Reason::PortainerUnreachable, &one), (false, Reason::NotRegistered));
        for (reason, counts) in [
            (Reason::CredentialsRefused, &one),
            (Reason::PortainerUnreachable, &none),
            (Reason::PortainerUnreachable, &own),
            (Reason::CredentialsRefused, &all),
            (Reason::PortainerNotTrusted, &all),
        ] {
            assert_eq!(of(reason, counts), (false, reason), "{counts:?}");
        }
    }
}
