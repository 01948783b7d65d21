//! The objects of companions' accounts, as the watches have shown them or as they were written since. No request is made
//! here.

use crate::api::account::{MINT, NODE_PREFIX, PartKey, PartKind, ResourceBody, SeenPart, role_name};
use crate::api::assignment::{ASSIGNMENT_KEY, AssignedHost, Assignment};
use crate::api::{Kind, ObjectRef};
use crate::decide::delivery::rbac::owner;
use k8s_openapi::api::rbac::v1::PolicyRule;
use std::collections::{HashMap, HashSet};

/// The objects of all accounts, by account.
pub(super) struct ObservedAccounts {
    companions: String,
    seen: HashMap<String, HashMap<PartKey, SeenPart>>,
    /// The assignments in them, by account.
    stored: HashMap<String, Assignment>,
    /// The DockerHostCerts that an assignment or a Role of ours names, each with the objects that name it.
    named: HashMap<ObjectRef, HashSet<PartKey>>,
    /// The objects that are being written; true where the watch has shown one meanwhile.
    writing: HashMap<PartKey, bool>,
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
    pub fn notice(&mut self, key: &PartKey, part: Option<SeenPart>) -> Option<String> {
        let account = key.account()?.to_owned();
        let same = match (self.find(key), &part) {
            (Some(known), Some(part)) => known.version == part.version,
            (known, part) => known.is_none() && part.is_none(),
        };
        if same {
            return None;
        }
        self.writing.entry(key.clone()).and_modify(|shown| *shown = true);
        self.put(&account, key, part);
        Some(account)
    }

    pub fn keys(&self, kind: PartKind) -> Vec<PartKey> {
        let keys = self.seen.values().flat_map(HashMap::keys);
        keys.filter(|key| key.kind == kind).cloned().collect()
    }

    /// An object is about to be written.
    pub fn begin(&mut self, key: &PartKey) {
        self.writing.insert(key.clone(), false);
    }

    /// An object was written, so that the watch shows no change when it shows it. Where the watch has shown it
    /// meanwhile, that is newer.
    pub fn end(&mut self, key: &PartKey, part: Option<SeenPart>) {
        let unseen = self.writing.remove(key) == Some(false);
        if let (true, Some(part), Some(account)) = (unseen, part, key.account()) {
            self.put(account, key, Some(part));
        }
    }

    /// The object of that version was deleted; a newer one is not forgotten.
    pub fn forget(&mut self, key: &PartKey, version: &str) {
        let known = self.find(key).is_some_and(|known| known.version == version);
        if let (true, Some(account)) = (known, key.account()) {
            self.put(account, key, None);
        }
    }

    fn put(&mut self, account: &str, key: &PartKey, part: Option<SeenPart>) {
        if key.kind == PartKind::ConfigMap {
            let assignment = part.as_ref().filter(|part| self.is_ours(account, part)).and_then(assignment_in);
            match assignment {
                Some(assignment) => drop(self.stored.insert(account.to_owned(), assignment)),
                None => drop(self.stored.remove(account)),
            }
        }
        let before = self.find(key).map(|part| self.names(account, key, part)).unwrap_or_default();
        let now = part.as_ref().map(|part| self.names(account, key, part)).unwrap_or_default();
        self.rename(key, before, now);
        let parts = self.seen.entry(account.to_owned()).or_default();
        match part {
            Some(part) => drop(parts.insert(key.clone(), part)),
            None => drop(parts.remove(key)),
        }
        if parts.is_empty() {
            self.seen.remove(account);
        }
    }

    /// The DockerHostCerts that an object of ours names.
    fn names(&self, account: &str, key: &PartKey, part: &SeenPart) -> Vec<ObjectRef> {
        if !self.is_ours(account, part) {
            return Vec::new();
        }
        let assigned = assignment_in(part).unwrap_or_default().hosts;
        let ruled =
            rules(part).iter().filter(|rule| is_for_hosts(rule)).flat_map(|rule| rule.resource_names.iter().flatten());
        let ruled = ruled.map(|name| ObjectRef::new(Kind::DockerHostCert, &key.at.namespace, name));
        assigned.iter().map(AssignedHost::object).chain(ruled).collect()
    }

    fn rename(&mut self, key: &PartKey, before: Vec<ObjectRef>, now: Vec<ObjectRef>) {
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

    fn find(&self, key: &PartKey) -> Option<&SeenPart> {
        self.seen.get(key.account()?)?.get(key)
    }

    fn is_ours(&self, account: &str, part: &SeenPart) -> bool {
        part.owner.as_ref() == Some(&owner(&self.companions, account))
    }

    /// The objects of an account, and those of someone else with their names.
    pub fn parts(&self, account: &str) -> Option<&HashMap<PartKey, SeenPart>> {
        self.seen.get(account)
    }

    pub fn assignment(&self, account: &str) -> Option<&Assignment> {
        self.stored.get(account)
    }

    pub fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.stored.values()
    }

    fn service_account(&self, account: &str) -> Option<&SeenPart> {
        self.find(&PartKey::new(PartKind::ServiceAccount, &self.companions, account))
    }

    /// The ServiceAccount of that name, where it is someone else's.
    pub fn conflict(&self, account: &str) -> Option<PartKey> {
        let is_other = self.service_account(account).is_some_and(|part| !self.is_ours(account, part));
        is_other.then(|| PartKey::new(PartKind::ServiceAccount, &self.companions, account))
    }

    /// Objects of someone else with the names of an account's, which no watch shows.
    pub fn hidden(&self, account: &str) -> Vec<PartKey> {
        let parts = self.seen.get(account).into_iter().flatten();
        let hidden = parts.filter(|(_, part)| !part.labelled && !self.is_ours(account, part));
        hidden.map(|(key, _)| key.clone()).collect()
    }

    /// The accounts of nodes that exist and are ours.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        let accounts = self.seen.keys().map(String::as_str).filter(|account| account.starts_with(NODE_PREFIX));
        accounts.filter(|account| self.exists(account))
    }

    fn exists(&self, account: &str) -> bool {
        self.service_account(account).is_some_and(|part| self.is_ours(account, part))
    }

    /// Whether the Role for minting tokens names a node's account if, and only if, that exists.
    pub fn is_mint_correct(&self, account: &str) -> bool {
        let mint = self.find(&PartKey::new(PartKind::Role, &self.companions, &role_name(MINT)));
        let named = mint.is_some_and(|part| rules(part).iter().any(|rule| names(rule, account)));
        !account.starts_with(NODE_PREFIX) || named == self.exists(account)
    }

    /// The entries of a host in the stored assignments.
    pub fn assigned(&self, at: &ObjectRef) -> impl Iterator<Item = &AssignedHost> {
        let keys = self.named.get(at).into_iter().flatten().filter(|key| key.kind == PartKind::ConfigMap);
        keys.filter_map(move |key| self.assignment(key.account()?)?.find(at))
    }

    /// Whether another account has rights for an object, or is assigned it.
    pub fn is_held_elsewhere(&self, account: &str, at: &ObjectRef) -> bool {
        self.named.get(at).into_iter().flatten().any(|key| key.account() != Some(account))
    }
}

fn assignment_in(part: &SeenPart) -> Option<Assignment> {
    match &part.body {
        ResourceBody::ConfigMap(data) => Assignment::parse(data.get(ASSIGNMENT_KEY)?),
        _ => None,
    }
}

fn rules(part: &SeenPart) -> &[PolicyRule] {
    match &part.body {
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
