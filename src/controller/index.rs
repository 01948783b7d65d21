//! All objects that the watches have shown, and who is touched when one changes.

use crate::api::status::ControllerStatus;
use crate::api::{Kind, NamespacedName, Object, ObjectRef, Spec};
use crate::decide::delivery::Deliverer;
use crate::decide::delivery::rolling_restart::waits_since;
use crate::decide::registration::RegistrationStatus;
use crate::decide::registration::selection::{names, selects};
use crate::reconcile::RelatedState;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Who is touched by news.
#[derive(Debug, PartialEq, Eq)]
pub enum Affected {
    /// Nobody.
    Nobody,
    /// The object, whose status alone differs: mostly the echo of its own walk.
    Status(ObjectRef),
    /// Those.
    All(Vec<ObjectRef>),
}

/// The objects, by kind, namespace and name, with the indexes that neighbours are found by.
#[derive(Default)]
pub struct Index {
    objects: HashMap<ObjectRef, Arc<Object>>,
    claims: HashMap<NamespacedName, Vec<(Option<Timestamp>, ObjectRef)>>, // sorted; nearly always one
    leaves: HashMap<NamespacedName, HashSet<ObjectRef>>,
    portainers: HashMap<Arc<str>, HashSet<ObjectRef>>,
    accounts: HashMap<String, BTreeSet<ObjectRef>>,
    waiting: BTreeSet<ObjectRef>, // for a turn
}

impl Index {
    /// The object, as it was last seen.
    pub fn find(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        self.objects.get(at).cloned()
    }

    /// Every object of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
        self.objects.keys().filter(move |at| at.kind == kind)
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Takes an object; says who is touched by what is new about it, and whether only its own walk writes that.
    pub fn put(&mut self, object: Object) -> Affected {
        let at = object.at.clone();
        let before = self.objects.get(&at).cloned();
        if before.as_ref().is_some_and(|before| before.version == object.version) {
            return Affected::Nobody;
        }
        let touched = match &before {
            Some(before) if same_wishes(before, &object) => match same_marks(before, &object) {
                // What the companion says is news, and never the echo of a walk.
                true if before.companion != object.companion => Affected::All(vec![at.clone()]),
                true if before.previous == object.previous => Affected::Nobody,
                true => Affected::Status(at.clone()),
                false => Affected::All(vec![at.clone()]),
            },
            Some(before) => Affected::All([self.unlink(before), self.link(&object), vec![at.clone()]].concat()),
            None => Affected::All([self.link(&object), vec![at.clone()]].concat()),
        };
        match waits_since(&object) {
            Some(_) => self.waiting.insert(at.clone()),
            None => self.waiting.remove(&at),
        };
        self.objects.insert(at, Arc::new(object));
        touched
    }

    /// Notes the status that a walk published, so that its echo in the watch is no news. False where the watch has
    /// shown yet another one meanwhile; `before` is the one that the walk began with.
    pub fn note_status(&mut self, at: &ObjectRef, before: &ControllerStatus, status: ControllerStatus) -> bool {
        let Some(object) = self.objects.get_mut(at).filter(|object| object.previous != status) else { return true };
        let ours = object.previous == *before;
        if ours {
            Arc::make_mut(object).previous = status;
        }
        ours
    }

    /// Takes the end of an object; says who is touched by it.
    pub fn remove(&mut self, at: &ObjectRef) -> Vec<ObjectRef> {
        let Some(object) = self.objects.remove(at) else { return Vec::new() };
        self.waiting.remove(at);
        let mut touched = self.unlink(&object);
        touched.retain(|other| other != at);
        touched
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
        self.neighbours(object)
    }

    fn unlink(&mut self, object: &Object) -> Vec<ObjectRef> {
        let touched = self.neighbours(object);
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
        touched
    }

    /// Those that look at this object when they decide.
    fn neighbours(&self, object: &Object) -> Vec<ObjectRef> {
        let mut touched: Vec<ObjectRef> = self.rivals(object).cloned().collect();
        if object.at.kind == Kind::DockerCA {
            touched.extend(self.leaves_of(&object.at));
        }
        if registers(object) {
            let hosts = self.of_kind(Kind::DockerHostCert).filter(|host| host.namespace == object.at.namespace);
            touched.extend(hosts.cloned());
        }
        let beside = object.account().map(|account| self.hosts_of(&account)).unwrap_or_default();
        touched.extend(beside.iter().map(|host| host.at.clone()).filter(|at| *at != object.at));
        let authority = object.authority().map(|place| ObjectRef::new(Kind::DockerCA, &place.namespace, &place.name));
        touched.extend(authority.filter(|at| self.objects.get(at).is_some_and(|ca| ca.deleted.is_some())));
        touched
    }

    fn rivals(&self, object: &Object) -> impl Iterator<Item = &ObjectRef> {
        let claims = self.claims.get(&object.secret()).into_iter().flatten();
        let at = object.at.clone();
        claims.map(|(_, rival)| rival).filter(move |rival| **rival != at)
    }

    /// The hosts and clients of a DockerCA.
    pub fn leaves_of(&self, authority: &ObjectRef) -> Vec<ObjectRef> {
        self.leaves.get(&authority.beside(&authority.name)).into_iter().flatten().cloned().collect()
    }

    /// The hosts that an account's companion delivers.
    pub fn hosts_of(&self, account: &str) -> Vec<Arc<Object>> {
        self.accounts.get(account).into_iter().flatten().filter_map(|at| self.find(at)).collect()
    }

    /// The hosts that wait for a turn to restart their dockerd.
    pub fn waiting(&self) -> Vec<Arc<Object>> {
        self.waiting.iter().filter_map(|at| self.find(at)).collect()
    }

    /// What stands around an object; `owner` is the one that its Secret names. Who delivers it is not known here.
    pub fn surroundings(&self, object: &Object, owner: Option<&ObjectRef>) -> RelatedState {
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
        let near = self.portainers.get(&host.at.namespace).into_iter().flatten().filter_map(|at| self.find(at));
        let mut clients: Vec<Arc<Object>> = near.filter(|client| selects(client, host)).collect();
        clients.sort_by_key(|client| claim(client));
        clients
    }

    /// Those, and the ones that its status names beside them.
    pub fn clients_about(&self, host: &Object) -> Vec<Arc<Object>> {
        let mut clients = self.clients_of(host);
        let named = host
            .environments()
            .map(|report| ObjectRef::new(Kind::PortainerClient, &host.at.namespace, &report.portainer_client));
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
        let near = |host: &&ObjectRef| host.namespace == client.at.namespace;
        self.of_kind(Kind::DockerHostCert).filter(near).filter_map(|at| self.find(at))
    }
}

fn claim(object: &Object) -> (Option<Timestamp>, ObjectRef) {
    (object.created, object.at.clone())
}

/// Only status and version differ: nothing that others look at.
fn same_wishes(before: &Object, now: &Object) -> bool {
    before.spec == now.spec
        && before.labels == now.labels
        && before.created == now.created
        && before.deleted == now.deleted
        && before.uid == now.uid
}

/// Annotations and finalizers, which only the object's own walk looks at.
fn same_marks(before: &Object, now: &Object) -> bool {
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
