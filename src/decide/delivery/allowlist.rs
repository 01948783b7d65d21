//! What the administrator allows companions to deliver: a host comes in; its deliverer, or the reason why nobody may
//! deliver it, goes out.

use super::Deliverer;
use crate::api::Object;
use crate::api::account::role_name;
use crate::api::assignment::ENROLLED_ANNOTATION;
use crate::api::condition::Reason;
use crate::decide::Problem;

/// What companions may deliver, from the settings of the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist {
    /// Namespace that holds the companions' accounts and nothing else; none where no companions are served.
    pub companions: Option<String>,
    /// Namespaces whose DockerHostCerts may be delivered to Nodes.
    pub sources: Vec<String>,
    /// Absolute paths of the directories on Nodes that may be written to, or below.
    pub directories: Vec<String>,
    /// Companions on Nodes may register their own host in Portainer.
    pub portainer: bool,
}

/// The deliverer of a host, other hosts of the same account left aside.
pub fn deliverer(object: &Object, allowlist: &Allowlist) -> Deliverer {
    let asked = Deliverer::asked(object);
    let problem = match &asked {
        Deliverer::Node(_) => served(allowlist).and_then(|()| to_node(object, allowlist)),
        Deliverer::Enrolled => served(allowlist).and_then(|()| enrolled(object)),
        _ => Ok(()),
    };
    let problem = problem.and_then(|()| object.account().map_or(Ok(()), |account| short_enough(&account)));
    problem.map_or_else(Deliverer::Refused, |()| asked)
}

fn served(allowlist: &Allowlist) -> Result<(), Problem> {
    if allowlist.companions.is_some() {
        return Ok(());
    }
    let message = "this controller serves no companions: an administrator must set companion.namespace in the chart \
                   (--companion-namespace)";
    Err(Problem::delivery(Reason::NotListed, message))
}

fn to_node(object: &Object, allowlist: &Allowlist) -> Result<(), Problem> {
    let namespace = &*object.at.namespace;
    if !allowlist.sources.iter().any(|listed| listed == namespace) {
        let message = format!(
            "nothing is delivered to nodes from the namespace {namespace}: an administrator must add it \
             to companion.namespaces of the chart (--companion-source-namespace)"
        );
        return Err(Problem::delivery(Reason::NotListed, message));
    }
    let directory = object.delivery().map(|delivery| delivery.directory.as_str()).unwrap_or_default();
    if !allowlist.directories.iter().any(|root| is_below(directory, root)) {
        let message = format!(
            "nothing is delivered to nodes into {directory}, which is not below one of {}: an administrator must add \
             it to companion.directories of the chart (--companion-directory)",
            allowlist.directories.join(", ")
        );
        return Err(Problem::delivery(Reason::NotListed, message));
    }
    Ok(())
}

/// Compares whole names of directories; a path with `..` is never below another.
fn is_below(directory: &str, root: &str) -> bool {
    let plain = !directory.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
    let root = root.trim_end_matches('/');
    let rest = directory.strip_prefix(root);
    plain && directory.starts_with('/') && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn enrolled(object: &Object) -> Result<(), Problem> {
    if object.annotation(ENROLLED_ANNOTATION).is_some_and(|text| !text.is_empty()) {
        return Ok(());
    }
    let at = &object.at;
    let message = format!(
        "no host is enrolled for this object: run dockseal enroll {} -n {} --server URL, then on the host the line that \
         it prints",
        at.name, at.namespace
    );
    Err(Problem::delivery(Reason::NotEnrolled, message))
}

/// A name in Kubernetes has at most 253 bytes.
fn short_enough(account: &str) -> Result<(), Problem> {
    let name = role_name(account);
    if name.len() <= 253 {
        return Ok(());
    }
    let message = format!(
        "the name of the companion's Role would be {name}, which is longer than 253 bytes: choose a shorter name"
    );
    Err(Problem::delivery(Reason::InvalidSpec, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::docker_host_cert::{Delivery, Target};
    use crate::api::{DockerHostCert, DockerHostCertSpec, ObjectName, Spec};

    fn allowlist() -> Allowlist {
        Allowlist {
            companions: Some("companions".into()),
            sources: vec!["home".into()],
            directories: vec!["/etc/docker/certs".into(), "/srv/".into()],
            portainer: false,
        }
    }

    fn node() -> Object {
        let delivery = Delivery {
            target: Some(Target::Node),
            node_name: Some("pandora".into()),
            directory: "/etc/docker/certs".into(),
            ..Delivery::default()
        };
        let spec = DockerHostCertSpec { delivery: Some(delivery), ..DockerHostCertSpec::default() };
        let mut host = DockerHostCert::new("pandora", spec);
        host.metadata.namespace = Some("home".into());
        Object::from(host)
    }

    fn delivery(object: &mut Object) -> &mut Delivery {
        let Spec::Host(spec) = &mut object.spec else { unreachable!("it is a host") };
        spec.delivery.as_mut().expect("a delivery")
    }

    fn refused(change: impl FnOnce(&mut Object, &mut Allowlist)) -> Option<Reason> {
        let (mut object, mut allowlist) = (node(), allowlist());
        change(&mut object, &mut allowlist);
        match deliverer(&object, &allowlist) {
            Deliverer::Refused(refusal) => Some(refusal.reason),
            _ => None,
        }
    }

    fn name(length: usize) -> ObjectName {
        ObjectName::joined(&"n".repeat(length))
    }

    #[test]
    fn what_is_not_listed_is_not_delivered() {
        use Reason::{InvalidSpec, NotEnrolled, NotListed};
        type Change = fn(&mut Object, &mut Allowlist);
        let enrol = |object: &mut Object| {
            (delivery(object).target, delivery(object).node_name) = (Some(Target::Enrolled), None);
        };
        let table: [(Option<Reason>, Change); 8] = [
            (None, |_, _| {}),
            (Some(NotListed), |_, allowlist| allowlist.companions = None),
            (Some(NotListed), |_, allowlist| allowlist.sources = vec!["homes".into()]),
            (Some(NotListed), |_, allowlist| allowlist.sources.clear()),
            (Some(NotListed), |_, allowlist| allowlist.directories.clear()),
            (None, |object, _| object.at = crate::api::ObjectRef::new(object.at.kind, "home", name(253))),
            (Some(InvalidSpec), |object, _| delivery(object).node_name = Some(name(240))),
            (None, |object, _| delivery(object).node_name = Some(name(239))),
        ];
        for (number, (expected, change)) in table.into_iter().enumerate() {
            assert_eq!(refused(change), expected, "{number}");
        }
        let anywhere = |object: &mut Object| {
            enrol(object);
            object.at = crate::api::ObjectRef::new(object.at.kind, "elsewhere", "pandora");
            delivery(object).directory = "/opt/certs".into();
        };
        assert_eq!(refused(|object, _| anywhere(object)), Some(NotEnrolled));
        let annotate = |object: &mut Object, text: &str| {
            anywhere(object);
            object.annotations.insert(ENROLLED_ANNOTATION.into(), text.into());
        };
        assert_eq!(refused(|object, _| annotate(object, "")), Some(NotEnrolled));
        assert_eq!(refused(|object, _| annotate(object, "2026-11-22T10:00:00Z")), None, "the host itself says where");
        assert_eq!(
            refused(|object, _| {
                annotate(object, "yes");
                object.at = crate::api::ObjectRef::new(object.at.kind, "elsewhere", name(253));
            }),
            Some(InvalidSpec)
        );
    }

    #[test]
    fn a_directory_is_below_another_at_the_boundary_of_a_name() {
        for (directory, root, expected) in [
            ("/etc/docker/certs", "/etc/docker/certs", true),
            ("/etc/docker/certs/a", "/etc/docker/certs", true),
            ("/etc/docker/certs-b", "/etc/docker/certs", false),
            ("/etc/docker", "/etc/docker/certs", false),
            ("/etc/docker/certs/../../x", "/etc/docker/certs", false),
            ("/etc/docker/certs/./x", "/etc/docker/certs", false),
            ("/etc/docker/certs//x", "/etc/docker/certs", false),
            ("/srv/a", "/srv/", true),
            ("/srv", "/srv/", true),
            ("/", "/", false),
            ("/a", "/", true),
            ("etc", "/", false),
            ("etc/docker", "etc", false),
        ] {
            assert_eq!(is_below(directory, root), expected, "{directory} below {root}");
        }
    }
}
