//! The objects of companions' accounts, as the watches have shown them or as they were written since. No request is made
//! here.

use crate::api::account::{MINT, NODE_PREFIX, ObservedResource, ResourceBody, ResourceKey, ResourceKind, role_name};
use crate::api::assignment::{ASSIGNMENT_KEY, AssignedHost, Assignment};
use crate::api::{Kind, ObjectName, ObjectRef};
use crate::decide::delivery::rbac::owner;
use k8s_openapi::api::rbac::v1::PolicyRule;
use std::collections::{HashMap, HashSet};

/// The objects of all accounts, by account.
pub(super) struct ObservedAccounts {
    companions: String,
    seen: HashMap<String, HashMap<ResourceKey, ObservedResource>>,
    /// The assignments in them, by account.
    stored: HashMap<String, Assignment>,
    /// The DockerHostCerts that an assignment or a Role of ours names, each with the objects that name it.
    named: HashMap<ObjectRef, HashSet<ResourceKey>>,
    /// The objects that are being written; true where the watch has shown one meanwhile.
    writing: HashMap<ResourceKey, bool>,
}

impl ObservedAccounts {
    pub fn of(companions: String) -> ObservedAccounts {
        let (seen, stored, named, writing) = Default::default();
        ObservedAccounts { companions, seen, stored, named, writing }
    }

    /// Namespace of the accounts.
    pub fn companions(&self) -> &str {
        &self.companions
    }

    /// The watch shows an object, or that it is gone; returns its account if that changes anything.
    pub fn notice(&mut self, key: &ResourceKey, resource: Option<ObservedResource>) -> Option<String> {
        let account = key.account()?.to_owned();
        let same = match (self.find(key), &resource) {
            (Some(known), Some(resource)) => known.version == resource.version,
            (known, resource) => known.is_none() && resource.is_none(),
        };
        if same {
            return None;
        }
        self.writing.entry(key.clone()).and_modify(|shown| *shown = true);
        self.put(&account, key, resource);
        Some(account)
    }

    pub fn keys(&self, kind: ResourceKind) -> Vec<ResourceKey> {
        let keys = self.seen.values().flat_map(HashMap::keys);
        keys.filter(|key| key.kind == kind).cloned().collect()
    }

    /// An object is about to be written.
    pub fn begin(&mut self, key: &ResourceKey) {
        self.writing.insert(key.clone(), false);
    }

    /// An object was written, so that the watch shows no change when it shows it. Where the watch has shown it
    /// meanwhile, that is newer.
    pub fn end(&mut self, key: &ResourceKey, resource: Option<ObservedResource>) {
        let unseen = self.writing.remove(key) == Some(false);
        if let (true, Some(resource), Some(account)) = (unseen, resource, key.account()) {
            self.put(account, key, Some(resource));
        }
    }

    /// The object of that version was deleted; a newer one is not forgotten.
    pub fn forget(&mut self, key: &ResourceKey, version: &str) {
        let known = self.find(key).is_some_and(|known| known.version == version);
        if let (true, Some(account)) = (known, key.account()) {
            self.put(account, key, None);
        }
    }

    fn put(&mut self, account: &str, key: &ResourceKey, resource: Option<ObservedResource>) {
        if key.kind == ResourceKind::ConfigMap {
            let assignment =
                resource.as_ref().filter(|resource| self.is_ours(account, resource)).and_then(assignment_in);
            match assignment {
                Some(assignment) => drop(self.stored.insert(account.to_owned(), assignment)),
                None => drop(self.stored.remove(account)),
            }
        }
        let before = self.find(key).map(|resource| self.names(account, key, resource)).unwrap_or_default();
        let now = resource.as_ref().map(|resource| self.names(account, key, resource)).unwrap_or_default();
        self.rename(key, before, now);
        let resources = self.seen.entry(account.to_owned()).or_default();
        match resource {
            Some(resource) => drop(resources.insert(key.clone(), resource)),
            None => drop(resources.remove(key)),
        }
        if resources.is_empty() {
            self.seen.remove(account);
        }
    }

    /// The DockerHostCerts that an object of ours names.
    fn names(&self, account: &str, key: &ResourceKey, resource: &ObservedResource) -> Vec<ObjectRef> {
        if !self.is_ours(account, resource) {
            return Vec::new();
        }
        let assigned = assignment_in(resource).unwrap_or_default().hosts;
        let ruled = rules(resource)
            .iter()
            .filter(|rule| is_for_hosts(rule))
            .flat_map(|rule| rule.resource_names.iter().flatten());
        let ruled = ruled.filter_map(|name| ObjectName::parse(name).ok());
        let ruled = ruled.map(|name| ObjectRef::new(Kind::DockerHostCert, &key.at.namespace, name));
        assigned.iter().map(AssignedHost::object).chain(ruled).collect()
    }

    fn rename(&mut self, key: &ResourceKey, before: Vec<ObjectRef>, now: Vec<ObjectRef>) {
        for at in before {
            let empty = self.named.get_mut(&at).is_some_and(|keys| keys.remove(key) && keys.is_empty());
            if empty {
                self.named.remove(&at);
            }
        }
        for at in now {
            self.named.entry(at).or_default().insert(key.clone());
        }
    }

    fn find(&self, key: &ResourceKey) -> Option<&ObservedResource> {
        self.seen.get(key.account()?)?.get(key)
    }

    fn is_ours(&self, account: &str, resource: &ObservedResource) -> bool {
        resource.owner.as_ref() == Some(&owner(&self.companions, account))
    }

    /// The objects of an account, and those of someone else with their names.
    pub fn resources(&self, account: &str) -> Option<&HashMap<ResourceKey, ObservedResource>> {
        self.seen.get(account)
    }

    pub fn assignment(&self, account: &str) -> Option<&Assignment> {
        self.stored.get(account)
    }

    pub fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.stored.values()
    }

    fn service_account(&self, account: &str) -> Option<&ObservedResource> {
        self.find(&ResourceKey::new(ResourceKind::ServiceAccount, &self.companions, account))
    }

    /// The ServiceAccount of that name, where it is someone else's.
    pub fn conflict(&self, account: &str) -> Option<ResourceKey> {
        let is_other = self.service_account(account).is_some_and(|resource| !self.is_ours(account, resource));
        is_other.then(|| ResourceKey::new(ResourceKind::ServiceAccount, &self.companions, account))
    }

    /// Objects of someone else with the names of an account's, which no watch shows.
    pub fn hidden(&self, account: &str) -> Vec<ResourceKey> {
        let resources = self.seen.get(account).into_iter().flatten();
        let hidden = resources.filter(|(_, resource)| !resource.labelled && !self.is_ours(account, resource));
        hidden.map(|(key, _)| key.clone()).collect()
    }

    /// The accounts of nodes that exist and are ours.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        let accounts = self.seen.keys().map(String::as_str).filter(|account| account.starts_with(NODE_PREFIX));
        accounts.filter(|account| self.exists(account))
    }

    fn exists(&self, account: &str) -> bool {
        self.service_account(account).is_some_and(|resource| self.is_ours(account, resource))
    }

    /// Whether the Role for minting tokens names a node's account if, and only if, that exists.
    pub fn is_mint_correct(&self, account: &str) -> bool {
        let mint = self.find(&ResourceKey::new(ResourceKind::Role, &self.companions, &role_name(MINT)));
        let named = mint.is_some_and(|resource| rules(resource).iter().any(|rule| names(rule, account)));
        !account.starts_with(NODE_PREFIX) || named == self.exists(account)
    }

    /// The entries of a host in the stored assignments.
    pub fn assigned(&self, at: &ObjectRef) -> impl Iterator<Item = &AssignedHost> {
        let keys = self.named.get(at).into_iter().flatten().filter(|key| key.kind == ResourceKind::ConfigMap);
        keys.filter_map(move |key| self.assignment(key.account()?)?.find(at))
    }

    /// Whether another account has rights for an object, or is assigned it.
    pub fn is_held_elsewhere(&self, account: &str, at: &ObjectRef) -> bool {
        self.named.get(at).into_iter().flatten().any(|key| key.account() != Some(account))
    }
}

fn assignment_in(resource: &ObservedResource) -> Option<Assignment> {
    match &resource.body {
        ResourceBody::ConfigMap(data) => Assignment::parse(data.get(ASSIGNMENT_KEY)?),
        _ => None,
    }
}

fn rules(resource: &ObservedResource) -> &[PolicyRule] {
    match &resource.body {
        ResourceBody::Role(rules) => rules,
        _ => &[],
    }
}

fn names(rule: &PolicyRule, name: &str) -> bool {
    rule.resource_names.iter().flatten().any(|known| known == name)
}

fn is_for_hosts(rule: &PolicyRule) -> bool {
    rule.resources.iter().flatten().any(|resource| resource.starts_with("dockerhostcerts"))
}
