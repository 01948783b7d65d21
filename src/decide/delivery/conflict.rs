//! Hosts of one account that exclude each other, since they want the same dockerd or the same directory: the hosts come
//! in; the ones that are not assigned, each with its problem, go out.

use crate::api::assignment::Assignment;
use crate::api::condition::{ConditionType, Reason};
use crate::api::docker_host_cert::{Delivery, Mode};
use crate::api::{Object, ObjectRef};
use crate::decide::Problem;
use std::collections::BTreeMap;

/// What only one object of an account can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ExclusiveResource {
    Daemon,
    Directory(String),
}

fn claims(delivery: &Delivery) -> Vec<ExclusiveResource> {
    let daemon = (delivery.mode == Mode::Daemon).then_some(ExclusiveResource::Daemon);
    daemon.into_iter().chain([ExclusiveResource::Directory(delivery.directory.clone())]).collect()
}

/// The hosts of one account that are not assigned, each with its problem. The assignment from `before` counts first, then
/// a host that is delivered already, then the older object.
pub fn contest(hosts: &[&Object], before: &Assignment) -> BTreeMap<ObjectRef, Problem> {
    let mut hosts = hosts.to_vec();
    hosts.sort_by_key(|host| (!is_delivered(host), host.created, host.at.clone()));
    let mut held = held(&hosts, before);
    loop {
        let losers = losers(&hosts, &held);
        let holders = held.len();
        held.retain(|_, holder| !losers.contains_key(holder)); // a host that loses one resource keeps none
        if held.len() == holders {
            return losers;
        }
    }
}

fn is_delivered(host: &Object) -> bool {
    let delivered = host.companion.condition(ConditionType::Delivered);
    host.companion.host.delivered_fingerprint.is_some() && delivered.is_some_and(|known| known.status == "True")
}

/// The resources that the assignment gave to hosts which still want them.
fn held(hosts: &[&Object], before: &Assignment) -> BTreeMap<ExclusiveResource, ObjectRef> {
    let mut held = BTreeMap::new();
    for host in hosts {
        let Some((delivery, entry)) = host.delivery().zip(before.find(&host.at)) else { continue };
        let known = claims(&entry.delivery);
        let kept = claims(delivery).into_iter().filter(|claim| known.contains(claim));
        held.extend(kept.map(|claim| (claim, host.at.clone())));
    }
    held
}

fn losers(hosts: &[&Object], held: &BTreeMap<ExclusiveResource, ObjectRef>) -> BTreeMap<ObjectRef, Problem> {
    let (mut taken, mut losers) = (held.clone(), BTreeMap::new());
    for host in hosts {
        let claims = host.delivery().map(claims).unwrap_or_default();
        let lost = claims.iter().find_map(|claim| {
            let holder = taken.get(claim).filter(|holder| **holder != host.at)?;
            Some((claim.clone(), holder.clone()))
        });
        match lost {
            Some((claim, holder)) => drop(losers.insert(host.at.clone(), problem(&claim, &holder))),
            None => taken.extend(claims.into_iter().map(|claim| (claim, host.at.clone()))),
        }
    }
    losers
}

fn problem(claim: &ExclusiveResource, holder: &ObjectRef) -> Problem {
    let message = match claim {
        ExclusiveResource::Daemon => {
            format!(
                "{holder} already configures dockerd on this node: set spec.delivery.mode to Files, or delete one of the two"
            )
        }
        ExclusiveResource::Directory(directory) => {
            format!(
                "{holder} already has the directory {directory} on this node: set another spec.delivery.directory, or delete one of the two"
            )
        }
    };
    Problem::delivery(Reason::HostConflict, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assignment::AssignedHost;
    use crate::api::docker_host_cert::Target;
    use crate::api::{DockerHostCert, DockerHostCertSpec, Kind, ObjectName};
    use crate::decide::delivery::assignment::entry;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use k8s_openapi::jiff::Timestamp;

    fn host(name: &str, created: i64, mode: Mode, directory: &str) -> Object {
        let delivery = Delivery {
            target: Some(Target::Node),
            node_name: Some("pandora".into()),
            mode,
            directory: directory.into(),
            ..Delivery::default()
        };
        let spec = DockerHostCertSpec { delivery: Some(delivery), ..DockerHostCertSpec::default() };
        let mut object = Object::from(DockerHostCert::new(name, spec));
        object.at = ObjectRef::new(Kind::DockerHostCert, "home", ObjectName::joined(name));
        object.created = Timestamp::from_second(created).ok();
        object
    }

    fn delivered(mut host: Object) -> Object {
        host.companion.host.delivered_fingerprint = Some("leaf".into());
        host.companion.conditions = vec![Condition {
            type_: "Delivered".into(),
            status: "True".into(),
            reason: "Delivered".into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }];
        host
    }

    fn lost(hosts: &[&Object], named: &[&Object]) -> Vec<String> {
        let hosts_named: Vec<AssignedHost> = named.iter().filter_map(|host| entry(host, None)).collect();
        let losers = contest(hosts, &Assignment { hosts: hosts_named });
        losers.keys().map(|at| at.name.to_string()).collect()
    }

    #[test]
    fn the_one_that_is_named_has_it_then_the_one_that_is_delivered_then_the_older() {
        use Mode::{Daemon, Files};
        let (old, new) = (host("old", 1, Daemon, "/a"), host("new", 2, Daemon, "/b"));
        assert_eq!(lost(&[&old, &new], &[]), ["new"]);
        assert_eq!(lost(&[&old, &new], &[&new]), ["old"]);
        assert_eq!(lost(&[&old, &delivered(new.clone())], &[]), ["old"]);
        assert_eq!(lost(&[&old, &delivered(new.clone())], &[&old]), ["new"]);
        // Directories alone.
        let (one, two, three) =
            (host("one", 1, Files, "/a"), host("two", 2, Files, "/a"), host("three", 3, Files, "/b"));
        assert_eq!(lost(&[&one, &two, &three], &[]), ["two"]);
        assert_eq!(lost(&[&two, &three], &[]), [] as [&str; 0]);
        // Equal ages: by name.
        let (a, b) = (host("a", 1, Files, "/a"), host("b", 1, Files, "/a"));
        assert_eq!(lost(&[&b, &a], &[]), ["b"]);
    }

    #[test]
    fn whoever_loses_one_thing_holds_no_other() {
        use Mode::{Daemon, Files};
        let (first, both, third) =
            (host("first", 1, Files, "/a"), host("both", 2, Daemon, "/a"), host("third", 3, Daemon, "/c"));
        assert_eq!(lost(&[&first, &both, &third], &[]), ["both"]);
        // It was named for its directory, and now wants the daemon that another has.
        let (was, is) = (host("mover", 1, Files, "/m"), host("mover", 1, Daemon, "/m"));
        let (holder, waits) = (host("holder", 2, Daemon, "/h"), host("waits", 3, Files, "/m"));
        assert_eq!(lost(&[&is, &holder, &waits], &[&was, &holder]), ["mover"]);
        assert_eq!(lost(&[&was, &holder, &waits], &[&was, &holder]), ["waits"]);
        // It moved to another's directory.
        let moved = host("mover", 1, Files, "/h");
        assert_eq!(lost(&[&moved, &holder], &[&was, &holder]), ["mover"]);
    }
}
