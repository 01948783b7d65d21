//! Registration by the host's own companion: whether it may, and whether what it reports is so.

use super::problem::RegistrationProblem;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::Object;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Target;
use crate::api::status::EnvironmentReport;
use crate::portainer::environment::{DOCKER_API, same_address};

/// Why no companion registers that host. `allowed` is what the administrator says of companions and Portainer.
pub fn refusal(host: &Object, allowed: bool) -> Option<RegistrationProblem> {
    let on_node = host.delivery().is_some_and(|delivery| delivery.target == Some(Target::Node));
    let message = match (on_node, allowed) {
        (true, true) => return None,
        (false, _) => {
            "registrar: Companion is for hosts that the companion on a cluster node delivers to (spec.delivery.target: \
             Node), which this one is not: set registrar: Controller, or select such hosts only"
        }
        (true, false) => {
            "companions may not register hosts here: set registrar: Controller, or an administrator allows it by \
             companion.portainer.enabled in the chart (--companion-portainer)"
        }
    };
    Some(RegistrationProblem::new(Reason::RegistrarNotAllowed, message))
}

/// What a companion reports, held against what the server itself shows: an environment of that number, marked as
/// ours, under that name or address.
///
/// # Errors
/// [`Reason::NotRegistered`], with what is shown instead.
pub fn confirm(
    order: &DesiredEnvironment,
    namespace: &str,
    snapshot: &ServerSnapshot,
    report: &EnvironmentReport,
) -> Result<(), RegistrationProblem> {
    let unlike = |why: String| Err(RegistrationProblem::new(Reason::NotRegistered, why));
    let id = report.id.unwrap_or_default();
    if report.instance_id.as_ref() != Some(&snapshot.instance) {
        return unlike(format!(
            "the companion reports environment {id} of another Portainer than the one at server.url"
        ));
    }
    let Some(environment) = snapshot.environments.get(&id).filter(|found| found.kind == DOCKER_API) else {
        return unlike(format!("the companion reports environment {id}, which Portainer does not show"));
    };
    let family = order.family(namespace);
    if snapshot.tags_beginning(environment, &family).next().is_none() {
        return unlike(format!("the companion reports environment {id}, which does not carry our tag in Portainer"));
    }
    if environment.name != order.name && !same_address(&environment.url, &order.url()) {
        return unlike(format!(
            "the companion reports environment {id}, which in Portainer is {} at {}: another host's",
            environment.name, environment.url
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::docker_host_cert::Delivery;
    use crate::api::{DockerHostCert, DockerHostCertSpec};
    use crate::portainer::{Environment, EnvironmentTls, Tag};

    fn host(delivery: Option<Target>) -> Object {
        let delivery = delivery.map(|target| Delivery { target: Some(target), ..Delivery::default() });
        Object::from(DockerHostCert::new("pandora", DockerHostCertSpec { delivery, ..DockerHostCertSpec::default() }))
    }

    #[test]
    fn only_hosts_on_nodes_are_registered_by_companions_and_only_where_that_is_allowed() {
        let message = |delivery, allowed| refusal(&host(delivery), allowed).map(|fault| fault.message);
        assert_eq!(message(Some(Target::Node), true), None);
        for (delivery, allowed, words) in [
            (Some(Target::Node), false, "companion.portainer.enabled"),
            (Some(Target::Enrolled), true, "set registrar: Controller"),
            (None, true, "set registrar: Controller"),
            (None, false, "spec.delivery.target"),
        ] {
            let message = message(delivery, allowed).expect("a refusal");
            assert!(message.contains(words), "{delivery:?}: {message}");
        }
    }

    fn snapshot() -> ServerSnapshot {
        let mut snapshot = ServerSnapshot { instance: "server".into(), ..ServerSnapshot::default() };
        snapshot.tags = vec![
            Tag { id: 3, name: "dockseal/home/portainer/01234567".into() },
            Tag { id: 4, name: "dockseal/home/portainer-2/01234567".into() },
        ];
        snapshot.put(Environment {
            id: 9,
            name: "pandora".into(),
            kind: DOCKER_API,
            url: "tcp://pandora.bodkys.house:2376".into(),
            public_url: String::new(),
            group_id: 1,
            tag_ids: vec![3],
            status: 1,
            tls: EnvironmentTls::default(),
        });
        snapshot
    }

    fn judged(change: impl FnOnce(&mut Environment, &mut EnvironmentReport)) -> Option<String> {
        let order = DesiredEnvironment {
            client: "portainer".into(),
            marker: String::new(),
            name: "pandora".into(),
            host: "pandora.bodkys.house".into(),
            port: 2376,
            public_url: None,
            group: None,
            tags: Vec::new(),
            verify_server: true,
            adopt: false,
        };
        let (mut snapshot, instance_id) = (snapshot(), Some("server".into()));
        let mut report = EnvironmentReport { id: Some(9), instance_id, ..EnvironmentReport::default() };
        change(snapshot.environments.get_mut(&9).expect("it is there"), &mut report);
        confirm(&order, "home", &snapshot, &report).err().map(|fault| fault.message)
    }

    #[test]
    fn a_report_counts_as_far_as_the_server_shows_the_same() {
        assert_eq!(judged(|_, _| {}), None);
        assert_eq!(judged(|found, _| found.name = "adopted under its own name".into()), None);
        assert_eq!(judged(|found, _| found.url = "tcp://elsewhere:2376".into()), None, "its registrar puts that right");
        type Change = fn(&mut Environment, &mut EnvironmentReport);
        let table: [(&str, Change); 7] = [
            ("does not show", |_, report| report.id = Some(10)),
            ("does not show", |_, report| report.id = None),
            ("another Portainer", |_, report| report.instance_id = Some("another".into())),
            ("another Portainer", |_, report| report.instance_id = None),
            ("our tag", |found, _| found.tag_ids = vec![4]),
            ("does not show", |found, _| found.kind = 4),
            ("another host's", |found, _| {
                (found.name, found.url) = ("attic".into(), "tcp://attic.bodkys.house:2376".into());
            }),
        ];
        for (words, change) in table {
            let message = judged(change).unwrap_or_default();
            assert!(message.contains(words), "{words}: {message}");
        }
    }
}
