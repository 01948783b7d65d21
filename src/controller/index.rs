//! The objects that the watches have shown, indexed by what refers to them: a change comes in, the objects that it
//! affects go out. Nothing is decided here.

use crate::api::status::ControllerStatus;
use crate::api::{Kind, NamespacedName, Object, ObjectName, ObjectRef, Spec};
use crate::decide::delivery::Deliverer;
use crate::decide::delivery::rolling_restart::waits_since;
use crate::decide::registration::RegistrationStatus;
use crate::decide::registration::selection::{names, selects};
use crate::reconcile::RelatedState;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The objects that are to be reconciled after a change.
#[derive(Debug, PartialEq, Eq)]
pub enum Affected {
    None,
    /// Only the status of that object differs: mostly it is what its own reconcile wrote.
    Status(ObjectRef),
    Objects(Vec<ObjectRef>),
}

#[derive(Default)]
pub struct Index {
    objects: HashMap<ObjectRef, Arc<Object>>,
    claims: HashMap<NamespacedName, Vec<(Option<Timestamp>, ObjectRef)>>, // sorted; nearly always one
    leaves: HashMap<NamespacedName, HashSet<ObjectRef>>,
    portainers: HashMap<ObjectName, HashSet<ObjectRef>>,
    accounts: HashMap<String, BTreeSet<ObjectRef>>,
    /// Names of Secrets that objects refer to, by namespace, each with these objects.
    references: HashMap<ObjectName, HashMap<ObjectName, BTreeSet<ObjectRef>>>,
    waiting: BTreeSet<ObjectRef>, // for a turn to restart dockerd
}

impl Index {
    pub fn find(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        self.objects.get(at).cloned()
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
        self.objects.keys().filter(move |at| at.kind == kind)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Puts in an object; returns what the change affects.
    pub fn put(&mut self, object: Object) -> Affected {
        let at = object.at.clone();
        let before = self.objects.get(&at).cloned();
        if before.as_ref().is_some_and(|before| before.version == object.version) {
            return Affected::None;
        }
        let affected = match &before {
            Some(before) if same_for_others(before, &object) => match same_metadata(before, &object) {
                // No reconcile writes the companion's part of the status.
                true if before.companion != object.companion => Affected::Objects(vec![at.clone()]),
                true if before.previous == object.previous => Affected::None,
                true => Affected::Status(at.clone()),
                false => Affected::Objects(vec![at.clone()]),
            },
            Some(before) => Affected::Objects([self.unlink(before), self.link(&object), vec![at.clone()]].concat()),
            None => Affected::Objects([self.link(&object), vec![at.clone()]].concat()),
        };
        match waits_since(&object) {
            Some(_) => self.waiting.insert(at.clone()),
            None => self.waiting.remove(&at),
        };
        self.objects.insert(at, Arc::new(object));
        affected
    }

    /// Puts in the status that a reconcile published, so that the watch shows no change when it shows it. False where
    /// the watch has shown another one meanwhile; `before` is the one that the reconcile began with.
    pub fn set_status(&mut self, at: &ObjectRef, before: &ControllerStatus, status: ControllerStatus) -> bool {
        let Some(object) = self.objects.get_mut(at).filter(|object| object.previous != status) else { return true };
        let unchanged = object.previous == *before;
        if unchanged {
            Arc::make_mut(object).previous = status;
        }
        unchanged
    }

    /// Removes an object; returns the others that this affects.
    pub fn remove(&mut self, at: &ObjectRef) -> Vec<ObjectRef> {
        let Some(object) = self.objects.remove(at) else { return Vec::new() };
        self.waiting.remove(at);
        let mut affected = self.unlink(&object);
        affected.retain(|other| other != at);
        affected
    }

    fn link(&mut self, object: &Object) -> Vec<ObjectRef> {
        let claims = self.claims.entry(object.secret()).or_default();
        claims.reserve_exact(1); // room for four otherwise, of which thousands are kept
        claims.push(claim(object));
        claims.sort();
        if let Some(authority) = object.authority() {
            self.leaves.entry(authority).or_default().insert(object.at.clone());
        }
        if registers(object) {
            self.portainers.entry(object.at.namespace.clone()).or_default().insert(object.at.clone());
        }
        if let Some(account) = object.account() {
            self.accounts.entry(account).or_default().insert(object.at.clone());
        }
        for secret in object.referenced_secrets() {
            let names = self.references.entry(secret.namespace).or_default();
            names.entry(secret.name).or_default().insert(object.at.clone());
        }
        self.affected_by(object)
    }

    fn unlink(&mut self, object: &Object) -> Vec<ObjectRef> {
        let affected = self.affected_by(object);
        drop_from(&mut self.claims, &object.secret(), |claims| claims.retain(|known| *known != claim(object)));
        if let Some(authority) = object.authority() {
            drop_from(&mut self.leaves, &authority, |leaves| {
                leaves.remove(&object.at);
            });
        }
        drop_from(&mut self.portainers, &object.at.namespace, |clients| {
            clients.remove(&object.at);
        });
        if let Some(account) = object.account() {
            drop_from(&mut self.accounts, &account, |hosts| {
                hosts.remove(&object.at);
            });
        }
        for secret in object.referenced_secrets() {
            drop_from(&mut self.references, &secret.namespace, |names| {
                drop_from(names, &secret.name, |referrers| {
                    referrers.remove(&object.at);
                });
            });
        }
        affected
    }

    /// The other objects whose reconcile reads this one.
    fn affected_by(&self, object: &Object) -> Vec<ObjectRef> {
        let mut affected: Vec<ObjectRef> = self.next_in_line(object).cloned().into_iter().collect();
        if object.at.kind == Kind::DockerCA {
            affected.extend(self.leaves_of(&object.at));
        }
        if registers(object) {
            let hosts = self.of_kind(Kind::DockerHostCert).filter(|host| host.namespace == object.at.namespace);
            affected.extend(hosts.cloned());
        }
        let beside = object.account().map(|account| self.hosts_of(&account)).unwrap_or_default();
        affected.extend(beside.iter().map(|host| host.at.clone()).filter(|at| *at != object.at));
        let authority = object.authority().map(|place| ObjectRef::new(Kind::DockerCA, &place.namespace, &place.name));
        affected.extend(authority.filter(|at| self.objects.get(at).is_some_and(|ca| ca.deleted.is_some())));
        affected
    }

    /// The first other object that wants the same Secret. The rest of the line waits for that one, whatever this one does.
    fn next_in_line(&self, object: &Object) -> Option<&ObjectRef> {
        let claims = self.claims.get(&object.secret())?;
        claims.iter().map(|(_, rival)| rival).find(|rival| **rival != object.at)
    }

    /// The objects that refer to a Secret by name.
    pub fn referring(&self, secret: &NamespacedName) -> Vec<ObjectRef> {
        let names = self.references.get(&secret.namespace);
        names.and_then(|names| names.get(&secret.name)).into_iter().flatten().cloned().collect()
    }

    /// The names of the Secrets that objects of a namespace refer to.
    pub fn referenced_in(&self, namespace: &ObjectName) -> Vec<NamespacedName> {
        let names = self.references.get(namespace).into_iter().flat_map(HashMap::keys);
        names.map(|name| NamespacedName::new(namespace, name)).collect()
    }

    /// The namespaces whose objects refer to Secrets by name.
    pub fn referring_namespaces(&self) -> HashSet<ObjectName> {
        self.references.keys().cloned().collect()
    }

    /// The hosts and clients of a DockerCA.
    pub fn leaves_of(&self, authority: &ObjectRef) -> Vec<ObjectRef> {
        self.leaves.get(&authority.beside(&authority.name)).into_iter().flatten().cloned().collect()
    }

    /// The hosts whose spec names an account.
    pub fn hosts_of(&self, account: &str) -> Vec<Arc<Object>> {
        self.accounts.get(account).into_iter().flatten().filter_map(|at| self.find(at)).collect()
    }

    /// The hosts that wait for a turn to restart their dockerd.
    pub fn waiting(&self) -> Vec<Arc<Object>> {
        self.waiting.iter().filter_map(|at| self.find(at)).collect()
    }

    /// The state of the objects that an object depends on; `owner` is the one that its Secret names. The deliverer and
    /// the registration are not known here.
    pub fn related(&self, object: &Object, owner: Option<&ObjectRef>) -> RelatedState {
        RelatedState {
            rival: self.rival(object, owner),
            registration: RegistrationStatus::default(),
            authority_exists: object.authority().is_some_and(|place| {
                self.objects.contains_key(&ObjectRef::new(Kind::DockerCA, &place.namespace, &place.name))
            }),
            in_use: object.at.kind == Kind::DockerCA && !self.leaves_of(&object.at).is_empty(),
            deliverer: Deliverer::Nobody,
        }
    }

    /// The object that has the Secret: the one that is named in it, else the older.
    fn rival(&self, object: &Object, owner: Option<&ObjectRef>) -> Option<ObjectRef> {
        let claims = self.claims.get(&object.secret())?;
        let named = claims.iter().find(|(_, at)| Some(at) == owner);
        let (_, first) = named.or_else(|| claims.first())?;
        (*first != object.at).then(|| first.clone())
    }

    /// The PortainerClients with a server that select a host, the oldest first.
    pub fn clients_of(&self, host: &Object) -> Vec<Arc<Object>> {
        if host.at.kind != Kind::DockerHostCert {
            return Vec::new();
        }
        let beside = self.portainers.get(&host.at.namespace).into_iter().flatten().filter_map(|at| self.find(at));
        let mut clients: Vec<Arc<Object>> = beside.filter(|client| selects(client, host)).collect();
        clients.sort_by_key(|client| claim(client));
        clients
    }

    /// Those, and the ones that its status names.
    pub fn clients_about(&self, host: &Object) -> Vec<Arc<Object>> {
        let mut clients = self.clients_of(host);
        let named =
            host.environments().filter_map(|report| host.at.named(Kind::PortainerClient, &report.portainer_client));
        for client in named.filter_map(|at| self.find(&at)) {
            if !clients.iter().any(|known| known.at == client.at) {
                clients.push(client);
            }
        }
        clients
    }

    /// The hosts that a PortainerClient selects.
    pub fn hosts_of_client(&self, client: &Object) -> Vec<Arc<Object>> {
        self.hosts_beside(client).filter(|host| selects(client, host)).collect()
    }

    /// Those, and the ones whose status names it.
    pub fn hosts_about(&self, client: &Object) -> Vec<Arc<Object>> {
        self.hosts_beside(client).filter(|host| selects(client, host) || names(host, client)).collect()
    }

    fn hosts_beside(&self, client: &Object) -> impl Iterator<Item = Arc<Object>> {
        let beside = |host: &&ObjectRef| host.namespace == client.at.namespace;
        self.of_kind(Kind::DockerHostCert).filter(beside).filter_map(|at| self.find(at))
    }
}

fn claim(object: &Object) -> (Option<Timestamp>, ObjectRef) {
    (object.created, object.at.clone())
}

/// Only what no other object's reconcile reads differs: status, annotations, finalizers.
fn same_for_others(before: &Object, now: &Object) -> bool {
    before.spec == now.spec
        && before.labels == now.labels
        && before.created == now.created
        && before.deleted == now.deleted
        && before.uid == now.uid
}

/// Annotations and finalizers are the same, which only the object's own reconcile reads.
fn same_metadata(before: &Object, now: &Object) -> bool {
    before.annotations == now.annotations && before.finalizers == now.finalizers
}

fn registers(object: &Object) -> bool {
    matches!(&object.spec, Spec::Portainer(spec) if spec.server.is_some() && spec.host_selector.is_some())
}

fn drop_from<K, V>(map: &mut HashMap<K, V>, key: &K, remove: impl FnOnce(&mut V))
where
    K: Eq + std::hash::Hash,
    V: Default + PartialEq,
{
    if let Some(set) = map.get_mut(key) {
        remove(set);
        if *set == V::default() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wants(name: &str, second: i64, secret: &str) -> Object {
        let created = Timestamp::from_second(second).expect("an instant").to_string();
        let manifest = json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerClientCert",
            "metadata": {"namespace": "home", "name": name, "resourceVersion": "1", "creationTimestamp": created},
            "spec": {"caRef": {"name": "homelab"}, "commonName": name, "secretName": secret}});
        Object::from_manifest(manifest).expect("it is a DockerClientCert")
    }

    fn names(affected: &[ObjectRef]) -> Vec<&str> {
        affected.iter().map(|at| &*at.name).collect()
    }

    /// Each of many objects that want one Secret woke all the others, whatever it did.
    #[test]
    fn of_many_that_want_one_secret_a_change_wakes_the_next_in_line_alone() {
        let mut index = Index::default();
        for number in 0..100 {
            let name = format!("{number:03}");
            let put = index.put(wants(&name, number, "foreign"));
            let Affected::Objects(affected) = put else { panic!("a new object affects itself") };
            assert_eq!(names(&affected), if number == 0 { vec!["000"] } else { vec!["000", &name] });
        }
        let first = ObjectRef::new(Kind::DockerClientCert, "home", "000");
        assert_eq!(names(&index.remove(&first)), ["001"], "the next one has it now");
        let last = ObjectRef::new(Kind::DockerClientCert, "home", "099");
        assert_eq!(names(&index.remove(&last)), ["001"]);
        let older = index.put(wants("older", -1, "foreign"));
        assert_eq!(older, Affected::Objects(["001", "older"].map(|name| wants(name, 0, "foreign").at).to_vec()));
    }
}
