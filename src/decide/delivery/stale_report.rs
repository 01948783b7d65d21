//! The part of a companion's report that still applies: the controller removes the rest, since the companion may be gone.

use super::Deliverer;
use crate::api::Object;
use crate::api::condition::ConditionType;
use crate::api::docker_host_cert::Mode;
use crate::api::status::CompanionStatus;

/// The part of the report that still applies; all of it where nobody may deliver for now. `lent` are the names of the
/// PortainerClients that the companion registers the host for.
pub fn applicable(object: &Object, deliverer: &Deliverer, lent: &[String]) -> CompanionStatus {
    let mut kept = object.companion.clone();
    kept.environments.retain(|report| lent.contains(&report.portainer_client));
    match (deliverer, object.delivery()) {
        (Deliverer::Nobody, _) => return CompanionStatus::default(),
        (Deliverer::Refused(_), _) => return kept,
        (_, Some(delivery)) if delivery.mode == Mode::Daemon => return kept,
        _ => {}
    }
    // In mode Files the user configures dockerd: a report of what it serves counts only for this generation.
    let serving = kept.condition(ConditionType::Serving);
    if serving.is_none_or(|serving| serving.observed_generation != Some(object.generation)) {
        kept.conditions.retain(|condition| condition.type_ != ConditionType::Serving.as_str());
        (kept.host.served_fingerprint, kept.host.served_at) = (None, None);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::Reason;
    use crate::api::docker_host_cert::Delivery;
    use crate::api::status::EnvironmentReport;
    use crate::api::{DockerHostCert, DockerHostCertSpec};
    use crate::decide::Problem;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use k8s_openapi::jiff::Timestamp;

    fn reported(mode: Mode) -> Object {
        let spec =
            DockerHostCertSpec { delivery: Some(Delivery { mode, ..Delivery::default() }), ..Default::default() };
        let mut object = Object::from(DockerHostCert::new("pandora", spec));
        let condition = |type_: &str| Condition {
            type_: type_.into(),
            status: "True".into(),
            reason: type_.into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        object.companion.conditions = vec![condition("Delivered"), condition("Serving")];
        object.companion.host.delivered_fingerprint = Some("leaf".into());
        object.companion.host.served_fingerprint = Some("leaf".into());
        object.companion.host.served_at = Some(Time(Timestamp::UNIX_EPOCH));
        object
    }

    #[test]
    fn what_no_longer_applies_goes_and_nothing_else() {
        let node = Deliverer::Node("pandora".into());
        let daemon = reported(Mode::Daemon);
        assert_eq!(applicable(&daemon, &node, &[]), daemon.companion);
        assert_eq!(applicable(&daemon, &Deliverer::Nobody, &[]), CompanionStatus::default());
        let refused = Deliverer::Refused(Problem::delivery(Reason::NotListed, "words"));
        assert_eq!(applicable(&reported(Mode::Files), &refused, &[]), daemon.companion);
        let files = applicable(&reported(Mode::Files), &node, &[]);
        assert_eq!(files.conditions.iter().map(|known| known.type_.as_str()).collect::<Vec<_>>(), ["Delivered"]);
        assert_eq!(files.host.delivered_fingerprint.as_deref(), Some("leaf"));
        assert_eq!((files.host.served_fingerprint, files.host.served_at), (None, None));
        let mut seen = reported(Mode::Files);
        seen.companion.conditions[1].observed_generation = Some(seen.generation);
        assert_eq!(applicable(&seen, &node, &[]), seen.companion, "the proof stays");
        let mut registered = reported(Mode::Daemon);
        let of = |client: &str| EnvironmentReport { portainer_client: client.into(), ..EnvironmentReport::default() };
        registered.companion.environments = vec![of("portainer"), of("another")];
        let kept = applicable(&registered, &node, &["portainer".into()]);
        assert_eq!(kept.environments, [of("portainer")], "only what the companion still registers");
        assert_eq!(applicable(&registered, &Deliverer::Nobody, &[]), CompanionStatus::default());
    }
}
