//! The objects of a companion's account: an assignment comes in, the objects with exactly the rights for it go out, and
//! the steps from what exists to them.

use crate::api::account::{
    AccountResource, HOST_PREFIX, MINT, NODE_PREFIX, ObservedResource, ResourceBody, ResourceKey, ResourceKind,
    role_name,
};
use crate::api::assignment::{ASSIGNMENT_KEY, AssignedHost, Assignment};
use crate::api::{GROUP, ObjectRef};
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Value of the annotation `dockseal.dev/account` on the objects of an account: NAMESPACE/NAME.
pub fn owner(companions: &str, account: &str) -> String {
    format!("{companions}/{account}")
}

/// The objects of an account, for an assignment with at least one host. `readable` are the hosts that own their Secret:
/// its name alone gives no right to read the Secret of someone else. The Secrets of a Portainer were checked before it
/// came into the assignment.
pub fn resources(
    companions: &str,
    account: &str,
    assignment: &Assignment,
    readable: &BTreeSet<ObjectRef>,
) -> Vec<AccountResource> {
    let mut rules: BTreeMap<&str, Vec<PolicyRule>> = BTreeMap::new();
    rules.insert(companions, own_rules(account));
    for (namespace, hosts) in by_namespace(assignment) {
        rules.entry(namespace).or_default().extend(host_rules(&hosts, readable));
    }
    let resource = |kind, namespace: &str, name: &str, body| AccountResource {
        key: ResourceKey::new(kind, namespace, name),
        owner: owner(companions, account),
        body,
    };
    let role = role_name(account);
    let mut resources = vec![resource(
        ResourceKind::ServiceAccount,
        companions,
        account,
        ResourceBody::ServiceAccount { automount: Some(false) },
    )];
    for (namespace, rules) in rules {
        resources.push(resource(ResourceKind::Role, namespace, &role, ResourceBody::Role(rules)));
        resources.push(resource(ResourceKind::RoleBinding, namespace, &role, binding(companions, account)));
    }
    let data = BTreeMap::from([(ASSIGNMENT_KEY.to_owned(), assignment.to_text())]);
    resources.push(resource(ResourceKind::ConfigMap, companions, account, ResourceBody::ConfigMap(data)));
    resources
}

/// The Role by which the DaemonSet's account mints tokens of the nodes' accounts; none without accounts, since a rule
/// without names would be for all of them.
pub fn mint_resources<'a>(companions: &str, accounts: impl IntoIterator<Item = &'a str>) -> Vec<AccountResource> {
    let names: BTreeSet<&str> = accounts.into_iter().filter(|account| account.starts_with(NODE_PREFIX)).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let rules = vec![rule("", "serviceaccounts/token", &["create"], names)];
    let key = ResourceKey::new(ResourceKind::Role, companions, &role_name(MINT));
    vec![AccountResource { key, owner: owner(companions, MINT), body: ResourceBody::Role(rules) }]
}

fn by_namespace(assignment: &Assignment) -> BTreeMap<&str, Vec<&AssignedHost>> {
    let mut hosts: BTreeMap<&str, Vec<&AssignedHost>> = BTreeMap::new();
    for host in &assignment.hosts {
        hosts.entry(&host.namespace).or_default().push(host);
    }
    hosts
}

/// The rights to read its assignment and, of an enrolled host, to renew its own token.
fn own_rules(account: &str) -> Vec<PolicyRule> {
    let mut rules = vec![rule("", "configmaps", &["watch"], [account])];
    if account.starts_with(HOST_PREFIX) {
        rules.push(rule("", "serviceaccounts/token", &["create"], [account]));
    }
    rules
}

fn host_rules(hosts: &[&AssignedHost], readable: &BTreeSet<ObjectRef>) -> Vec<PolicyRule> {
    let readable = hosts.iter().filter(|host| readable.contains(&host.object()));
    let mut secrets: BTreeSet<&str> = readable.map(|host| &*host.secret_name).collect();
    let portainers = hosts.iter().flat_map(|host| &host.portainers);
    secrets.extend(portainers.flat_map(|portainer| [&*portainer.client_secret, &*portainer.credentials_secret]));
    let mut rules = Vec::new();
    if !secrets.is_empty() {
        rules.push(rule("", "secrets", &["watch"], secrets));
    }
    let names: BTreeSet<&str> = hosts.iter().map(|host| &*host.name).collect();
    rules.push(rule(GROUP, "dockerhostcerts/status", &["get", "patch"], names));
    rules
}

fn rule<'a>(group: &str, resource: &str, verbs: &[&str], names: impl IntoIterator<Item = &'a str>) -> PolicyRule {
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    assert!(!names.is_empty(), "a rule without names is for all of them");
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resource_names: Some(names),
        non_resource_urls: None,
    }
}

fn binding(companions: &str, account: &str) -> ResourceBody {
    let role_ref = RoleRef { api_group: RBAC.into(), kind: "Role".into(), name: role_name(account) };
    let subject = Subject {
        kind: "ServiceAccount".into(),
        name: account.to_owned(),
        namespace: Some(companions.to_owned()),
        api_group: None,
    };
    ResourceBody::RoleBinding(role_ref, vec![subject])
}

/// One write of an account's object.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountStep {
    /// An object of that name belongs to someone else; nothing is written.
    Conflict(ResourceKey),
    /// Create the object.
    Create(AccountResource),
    /// Replace the object of that version.
    Replace(AccountResource, String),
    /// Delete the object of that version and create it again.
    Recreate(AccountResource, String),
    /// Delete the object of that version.
    Delete(ResourceKey, String),
}

impl AccountStep {
    /// Kind, namespace and name of the object.
    pub fn key(&self) -> &ResourceKey {
        match self {
            AccountStep::Conflict(key) | AccountStep::Delete(key, _) => key,
            AccountStep::Create(part) | AccountStep::Replace(part, _) | AccountStep::Recreate(part, _) => &part.key,
        }
    }
}

/// The steps from the objects that exist to the wanted ones; none where nothing differs. Rights are removed before others
/// are given, and an assignment is written once its rights exist.
pub fn steps(
    owner: &str,
    wanted: &[AccountResource],
    seen: &HashMap<ResourceKey, ObservedResource>,
) -> Vec<AccountStep> {
    let mut unwanted: Vec<(&ResourceKey, &ObservedResource)> = seen
        .iter()
        .filter(|(key, part)| part.owner.as_deref() == Some(owner) && !wanted.iter().any(|wish| wish.key == **key))
        .collect();
    unwanted.sort_by(|one, other| other.0.kind.cmp(&one.0.kind).then_with(|| one.0.cmp(other.0)));
    let drops = |kinds: [ResourceKind; 2]| {
        let unwanted = unwanted.iter().filter(move |(key, _)| kinds.contains(&key.kind));
        unwanted.map(|(key, part)| AccountStep::Delete((*key).clone(), part.version.clone()))
    };
    let rights = drops([ResourceKind::RoleBinding, ResourceKind::Role]);
    let rest = drops([ResourceKind::ConfigMap, ResourceKind::ServiceAccount]);
    let writes = wanted.iter().filter_map(|wanted| write(wanted, seen.get(&wanted.key)));
    rights.chain(writes).chain(rest).collect()
}

fn write(wanted: &AccountResource, seen: Option<&ObservedResource>) -> Option<AccountStep> {
    let Some(seen) = seen else { return Some(AccountStep::Create(wanted.clone())) };
    if seen.owner.as_ref() != Some(&wanted.owner) {
        return Some(AccountStep::Conflict(wanted.key.clone()));
    }
    match (&wanted.body, &seen.body) {
        (body, stored) if body == stored && seen.labelled => None,
        // The Role of a RoleBinding cannot be changed.
        (ResourceBody::RoleBinding(role, _), ResourceBody::RoleBinding(stored, _)) if role != stored => {
            Some(AccountStep::Recreate(wanted.clone(), seen.version.clone()))
        }
        _ => Some(AccountStep::Replace(wanted.clone(), seen.version.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assignment::{AssignedPortainer, DesiredEnvironment};
    use crate::api::docker_host_cert::Delivery;
    use crate::api::{HostClaim, Kind, ObjectName};

    fn host(namespace: &'static str, name: &'static str) -> AssignedHost {
        AssignedHost {
            namespace: namespace.into(),
            name: name.into(),
            uid: String::new(),
            generation: 1,
            secret_name: ObjectName::joined(&format!("{name}-docker-host")),
            delivery: Delivery::default(),
            port: 2376,
            turn: None,
            restart_requested_at: None,
            removing: false,
            portainers: Vec::new(),
            claim: HostClaim::default(),
        }
    }

    fn assignment() -> Assignment {
        Assignment { hosts: vec![host("home", "one"), host("home", "two"), host("lab", "three")] }
    }

    fn all() -> BTreeSet<ObjectRef> {
        assignment().hosts.iter().map(AssignedHost::object).collect()
    }

    fn told(parts: &[AccountResource]) -> Vec<String> {
        let mut told = Vec::new();
        for part in parts {
            let ResourceBody::Role(rules) = &part.body else { continue };
            for rule in rules {
                let [group] = rule.api_groups.as_deref().expect("groups") else { panic!("one group") };
                let [resource] = rule.resources.as_deref().expect("resources") else { panic!("one resource") };
                let names = rule.resource_names.as_deref().expect("names").join(",");
                let namespace = &part.key.at.namespace;
                told.push(format!("{namespace}: {} {group}/{resource} {names}", rule.verbs.join(",")));
            }
        }
        told
    }

    #[test]
    fn an_account_reads_its_assignment_and_its_hosts_and_nothing_else() {
        let parts = resources("companions", "node-pandora", &assignment(), &all());
        assert_eq!(
            told(&parts),
            [
                "companions: watch /configmaps node-pandora",
                "home: watch /secrets one-docker-host,two-docker-host",
                "home: get,patch dockseal.dev/dockerhostcerts/status one,two",
                "lab: watch /secrets three-docker-host",
                "lab: get,patch dockseal.dev/dockerhostcerts/status three",
            ]
        );
        assert_eq!(parts.len(), 1 + 2 * 3 + 1);
        for part in &parts {
            assert_eq!(part.owner, "companions/node-pandora");
            assert_eq!(part.key.account(), Some("node-pandora"));
            if let ResourceBody::RoleBinding(role, subjects) = &part.body {
                assert_eq!((role.kind.as_str(), role.name.as_str()), ("Role", "dockseal-node-pandora"));
                let [subject] = subjects.as_slice() else { panic!("one subject") };
                assert_eq!((subject.name.as_str(), subject.namespace.as_deref()), ("node-pandora", Some("companions")));
            }
        }
        let ResourceBody::ConfigMap(data) = &parts.last().expect("parts").body else {
            panic!("the assignment comes last")
        };
        assert_eq!(Assignment::parse(&data[ASSIGNMENT_KEY]), Some(assignment()));
    }

    #[test]
    fn an_enrolled_host_mints_for_itself_alone() {
        let only = Assignment { hosts: vec![host("home", "one")] };
        let told = told(&resources("companions", "host-home.one", &only, &BTreeSet::new()));
        assert_eq!(
            told,
            [
                "companions: watch /configmaps host-home.one",
                "companions: create /serviceaccounts/token host-home.one",
                "home: get,patch dockseal.dev/dockerhostcerts/status one",
            ],
            "and reads no Secret that is not its own"
        );
    }

    #[test]
    fn a_portainer_in_the_assignment_adds_its_two_secrets_and_goes_with_them() {
        let mut only = Assignment { hosts: vec![host("home", "one")] };
        let order = DesiredEnvironment {
            client: "portainer".into(),
            marker: "dockseal/home/portainer/0123abcd".into(),
            name: "one".into(),
            host: "one.example".into(),
            port: 2376,
            public_url: None,
            group: None,
            tags: Vec::new(),
            verify_server: true,
            adopt: false,
        };
        only.hosts[0].portainers = vec![AssignedPortainer {
            order,
            url: "https://portainer.example".into(),
            server_name: None,
            ca: None,
            client_secret: "portainer-portainer-client".into(),
            credentials_secret: "portainer-admin".into(),
            initialize_admin: false,
        }];
        let secrets = |assignment: &Assignment| told(&resources("companions", "node-a", assignment, &all()))[1].clone();
        let three = "home: watch /secrets one-docker-host,portainer-admin,portainer-portainer-client";
        assert_eq!(secrets(&only), three);
        assert_eq!(Assignment::parse(&only.to_text()), Some(only.clone()));
        only.hosts[0].portainers.clear();
        assert_eq!(secrets(&only), "home: watch /secrets one-docker-host");
    }

    #[test]
    fn objects_beside_their_accounts_share_a_role_with_them() {
        let beside = Assignment { hosts: vec![host("companions", "one")] };
        let parts = resources("companions", "node-pandora", &beside, &BTreeSet::new());
        assert_eq!(parts.iter().filter(|part| part.key.kind == ResourceKind::Role).count(), 1);
        assert_eq!(told(&parts).len(), 2);
    }

    #[test]
    fn the_mint_names_nodes_accounts_and_is_gone_without_any() {
        let mint = mint_resources("companions", ["node-b", "host-home.one", "node-a"]);
        assert_eq!(told(&mint), ["companions: create /serviceaccounts/token node-a,node-b"]);
        assert_eq!(mint_resources("companions", ["host-home.one"]), []);
    }

    fn seen(parts: &[AccountResource]) -> HashMap<ResourceKey, ObservedResource> {
        let seen = |part: &AccountResource| ObservedResource {
            version: "7".into(),
            owner: Some(part.owner.clone()),
            labelled: true,
            body: part.body.clone(),
        };
        parts.iter().map(|part| (part.key.clone(), seen(part))).collect()
    }

    fn words(steps: &[AccountStep]) -> Vec<String> {
        let words = |step: &AccountStep| match step {
            AccountStep::Conflict(key) => format!("conflict {key}"),
            AccountStep::Create(part) => format!("make {}", part.key),
            AccountStep::Replace(part, _) => format!("amend {}", part.key),
            AccountStep::Recreate(part, _) => format!("remake {}", part.key),
            AccountStep::Delete(key, _) => format!("drop {key}"),
        };
        steps.iter().map(words).collect()
    }

    #[test]
    fn rights_go_first_and_the_assignment_comes_after_them() {
        let owner = "companions/node-pandora";
        let wanted = resources("companions", "node-pandora", &assignment(), &all());
        let made = words(&steps(owner, &wanted, &HashMap::new()));
        assert_eq!(made.first().map(String::as_str), Some("make ServiceAccount companions/node-pandora"));
        assert_eq!(made.last().map(String::as_str), Some("make ConfigMap companions/node-pandora"));
        assert_eq!(steps(owner, &wanted, &seen(&wanted)), [], "an applied plan is a fixed point");
        let gone = words(&steps(owner, &[], &seen(&wanted)));
        let place = |word: &str| gone.iter().position(|step| step.contains(word)).expect(word);
        assert!(place("RoleBinding lab") < place("Role companions"));
        assert!(place("Role lab") < place("ConfigMap") && place("ConfigMap") < place("ServiceAccount"));
        assert_eq!(gone.len(), wanted.len());
        let fewer = Assignment { hosts: vec![host("home", "one")] };
        let less = words(&steps(owner, &resources("companions", "node-pandora", &fewer, &all()), &seen(&wanted)));
        assert_eq!(
            less,
            [
                "drop RoleBinding lab/dockseal-node-pandora",
                "drop Role lab/dockseal-node-pandora",
                "amend Role home/dockseal-node-pandora",
                "amend ConfigMap companions/node-pandora",
            ]
        );
    }

    #[test]
    fn what_is_not_ours_stays_and_what_is_edited_is_put_right() {
        let owner = "companions/node-pandora";
        let wanted = resources("companions", "node-pandora", &assignment(), &all());
        let role = ResourceKey::new(ResourceKind::Role, "home", "dockseal-node-pandora");
        let binding = ResourceKey::new(ResourceKind::RoleBinding, "home", "dockseal-node-pandora");
        let with = |change: &dyn Fn(&mut HashMap<ResourceKey, ObservedResource>)| {
            let mut there = seen(&wanted);
            change(&mut there);
            words(&steps(owner, &wanted, &there))
        };
        let part = |there: &mut HashMap<ResourceKey, ObservedResource>,
                    key: &ResourceKey,
                    change: fn(&mut ObservedResource)| {
            change(there.get_mut(key).expect("a part"));
        };
        assert_eq!(with(&|there| part(there, &role, |seen| seen.owner = None)), [format!("conflict {role}")]);
        assert_eq!(
            with(&|there| part(there, &role, |seen| seen.owner = Some("elsewhere/node-pandora".into()))),
            [format!("conflict {role}")]
        );
        assert_eq!(with(&|there| part(there, &role, |seen| seen.labelled = false)), [format!("amend {role}")]);
        assert_eq!(
            with(&|there| part(there, &role, |seen| seen.body = ResourceBody::Role(vec![]))),
            [format!("amend {role}")]
        );
        let other = |seen: &mut ObservedResource| {
            let ResourceBody::RoleBinding(role, _) = &mut seen.body else { panic!("a binding") };
            role.name = "cluster-admin".into();
        };
        assert_eq!(with(&|there| part(there, &binding, other)), [format!("remake {binding}")], "roleRef is immutable");
        let stranger = ResourceKey::new(ResourceKind::Role, "attic", "dockseal-node-pandora");
        assert_eq!(
            with(&|there| {
                let foreign = ObservedResource { owner: None, ..there[&role].clone() };
                there.insert(stranger.clone(), foreign);
            }),
            [] as [&str; 0]
        );
        assert_eq!(ObjectRef::new(Kind::DockerHostCert, "home", "one"), host("home", "one").object());
    }
}
