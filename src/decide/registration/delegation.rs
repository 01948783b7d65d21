//! Registration by the host's own companion: whether it is allowed, and whether the server confirms its report.

use super::problem::RegistrationProblem;
use super::{DesiredEnvironment, ServerSnapshot};
use crate::api::Object;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Target;
use crate::api::status::EnvironmentReport;
use crate::portainer::{DOCKER_API, same_address};

/// Why no companion registers that host. `allowed` says whether the administrator lets companions register hosts.
pub fn refusal(host: &Object, allowed: bool) -> Option<RegistrationProblem> {
    let on_node = host.delivery().is_some_and(|delivery| delivery.target == Some(Target::Node));
    let message = match (on_node, allowed) {
        (true, true) => return None,
        (false, _) => {
            "registrar: Companion works only for hosts with spec.delivery.target: Node, and this host has another target: \
             set registrar: Controller, or select only hosts with that target"
        }
        (true, false) => {
            "companions are not allowed to register hosts here: set registrar: Controller, or set \
             companion.portainer.enabled in the chart (--companion-portainer)"
        }
    };
    Some(RegistrationProblem::new(Reason::RegistrarNotAllowed, message))
}

/// Compares a companion's report with the server's snapshot, which has to show an environment of that id, with our tag,
/// and with that name or address.
///
/// # Errors
/// [`Reason::NotRegistered`], with what the server shows instead.
pub fn confirm(
    desired: &DesiredEnvironment,
    namespace: &str,
    snapshot: &ServerSnapshot,
    report: &EnvironmentReport,
) -> Result<(), RegistrationProblem> {
    let differs = |message: String| Err(RegistrationProblem::new(Reason::NotRegistered, message));
    let id = report.id.unwrap_or_default();
    if report.instance_id.as_ref() != Some(&snapshot.instance) {
        return differs(format!(
            "the companion reports environment {id} of another Portainer than the one at server.url"
        ));
    }
    let Some(environment) = snapshot.environments.get(&id).filter(|found| found.kind == DOCKER_API) else {
        return differs(format!("the companion reports environment {id}, which Portainer does not show"));
    };
    let family = desired.family(namespace);
    if snapshot.tags_beginning(environment, &family).next().is_none() {
        return differs(format!("the companion reports environment {id}, which does not carry our tag in Portainer"));
    }
    if environment.name != desired.name && !same_address(&environment.url, &desired.url()) {
        return differs(format!(
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
        let message = |delivery, allowed| refusal(&host(delivery), allowed).map(|problem| problem.message);
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

    fn problem_of(change: impl FnOnce(&mut Environment, &mut EnvironmentReport)) -> Option<String> {
        let desired = DesiredEnvironment {
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
        change(snapshot.environments.get_mut(&9).expect("it exists"), &mut report);
        confirm(&desired, "home", &snapshot, &report).err().map(|problem| problem.message)
    }

    #[test]
    fn a_report_counts_as_far_as_the_server_shows_the_same() {
        assert_eq!(problem_of(|_, _| {}), None);
        assert_eq!(problem_of(|found, _| found.name = "adopted under its own name".into()), None);
        assert_eq!(
            problem_of(|found, _| found.url = "tcp://elsewhere:2376".into()),
            None,
            "its registrar corrects that"
        );
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
            let message = problem_of(change).unwrap_or_default();
            assert!(message.contains(words), "{words}: {message}");
        }
    }
}
