//! How far registration is, for the status: what was found out about each environment in, the condition out.

use super::problem::RegistrationProblem;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::{EnvironmentReport, ServerReport};
use crate::decide::status::Verdict;

/// How far an object's registration is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegistrationStatus {
    /// The condition Registered; none where nothing is to be registered.
    pub verdict: Option<Verdict>,
    /// Of a host: the environments that the controller registers, and those that it has still to part from.
    pub environments: Vec<EnvironmentReport>,
    /// Of a PortainerClient: its server.
    pub server: ServerReport,
    /// Environments are removed with the object.
    pub deletes: bool,
    /// Some of them are still there.
    pub left: bool,
    /// Of a host: the PortainerClients that its companion registers it for.
    pub lent: Vec<String>,
}

/// The condition Registered of a host, from a report for each PortainerClient that selects it.
pub fn of_host(reports: &[EnvironmentReport]) -> Option<Verdict> {
    let verdict = |holds, reason, message| Some(Verdict::new(ConditionType::Registered, holds, reason, message));
    if let Some(report) = reports.iter().find(|report| !report.is_registered()) {
        let reason = Reason::parse(&report.reason).unwrap_or(Reason::NotRegistered);
        let words = if report.message.is_empty() { "nobody has looked at it yet" } else { &report.message };
        return verdict(false, reason, format!("PortainerClient {}: {words}", report.portainer_client));
    }
    let number = |report: &EnvironmentReport| report.id.unwrap_or_default();
    let places: Vec<String> =
        reports.iter().map(|report| format!("{} as environment {}", report.portainer_client, number(report))).collect();
    (!places.is_empty())
        .then(|| verdict(true, Reason::Registered, format!("Portainer reaches the host: {}", places.join(", "))))?
}

/// What is known of the hosts of a PortainerClient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationCounts {
    /// How many it selects.
    pub selected: usize,
    /// How many of them are registered.
    pub registered: usize,
    /// One that is not, with its words.
    pub missing: Option<(String, String)>,
    /// Their companions register them, and call Portainer from where they are.
    pub by_companions: bool,
}

/// The condition Registered of a PortainerClient.
pub fn of_client(
    looked: Option<&Result<(), RegistrationProblem>>,
    tally: &RegistrationCounts,
    version: Option<&str>,
) -> Verdict {
    let verdict = |holds, reason, message: String| Verdict::new(ConditionType::Registered, holds, reason, message);
    // A server that companions reach and the controller does not is a reason to let companions register.
    let far = |fault: &RegistrationProblem| tally.by_companions && fault.reason == Reason::PortainerUnreachable;
    let counted = format!("{} of {} hosts are registered", tally.registered, tally.selected);
    match (looked, &tally.missing) {
        (None, _) => verdict(false, Reason::NotRegistered, "Portainer has not been asked yet".to_owned()),
        (Some(Err(fault)), _) if !far(fault) => verdict(false, fault.reason, fault.message.clone()),
        (Some(_), Some((host, words))) => verdict(false, Reason::NotRegistered, format!("{counted}; {host}: {words}")),
        (Some(Err(fault)), None) if tally.selected == 0 => verdict(false, fault.reason, fault.message.clone()),
        (Some(Err(fault)), None) => {
            let message = format!("{counted}, as their companions say; from the controller {}", fault.message);
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
        let of = |reason, tally: &RegistrationCounts| {
            let verdict = of_client(Some(&Err(RegistrationProblem::new(reason, "it is far"))), tally, None);
            (verdict.holds, verdict.reason)
        };
        assert_eq!(of(Reason::PortainerUnreachable, &all), (true, Reason::Registered));
        assert_eq!(of(Reason::PortainerUnreachable, &one), (false, Reason::NotRegistered));
        for (reason, tally) in [
            (Reason::CredentialsRefused, &one),
            (Reason::PortainerUnreachable, &none),
            (Reason::PortainerUnreachable, &own),
            (Reason::CredentialsRefused, &all),
            (Reason::PortainerNotTrusted, &all),
        ] {
            assert_eq!(of(reason, tally), (false, reason), "{tally:?}");
        }
    }
}
