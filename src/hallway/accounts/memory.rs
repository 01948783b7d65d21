//! What is there of companions' accounts, as the watch showed it and as it was written. No request is made here.

use crate::api::account::{Body, MINT, NODE_PREFIX, PartKey, PartKind, SeenPart, role_name};
use crate::api::assignment::{ASSIGNMENT_KEY, Assignment};
use crate::api::{ObjectRef, Place};
use crate::decide::delivery::rights::owner;
use k8s_openapi::api::rbac::v1::PolicyRule;
use std::collections::HashMap;

/// The objects of all accounts, by account.
pub(super) struct Memory {
    companions: String,
    seen: HashMap<String, HashMap<PartKey, SeenPart>>,
    /// The assignments in them.
    stored: HashMap<String, Assignment>,
    /// What is being written; true where the watch has told of it meanwhile.
    writing: HashMap<PartKey, bool>,
}

impl Memory {
    /// Of the accounts in that namespace.
    pub fn of(companions: String) -> Memory {
        Memory { companions, seen: HashMap::new(), stored: HashMap::new(), writing: HashMap::new() }
    }

    /// Takes one from the watch, or its end; the account, where that is news.
    pub fn notice(&mut self, key: &PartKey, part: Option<SeenPart>) -> Option<String> {
        let account = key.account()?.to_owned();
        let same = match (self.find(key), &part) {
            (Some(known), Some(part)) => known.version == part.version,
            (known, part) => known.is_none() && part.is_none(),
        };
        if same {
            return None;
        }
        self.writing.entry(key.clone()).and_modify(|told| *told = true);
        self.put(&account, key, part);
        Some(account)
    }

    /// Every object of a kind.
    pub fn keys(&self, kind: PartKind) -> Vec<PartKey> {
        let keys = self.seen.values().flat_map(HashMap::keys);
        keys.filter(|key| key.kind == kind).cloned().collect()
    }

    /// One of them is being written.
    pub fn begin(&mut self, key: &PartKey) {
        self.writing.insert(key.clone(), false);
    }

    /// It was written, so that its echo in the watch is no news. Where the watch has told of it meanwhile, it knows
    /// better.
    pub fn end(&mut self, key: &PartKey, part: Option<SeenPart>) {
        let untold = self.writing.remove(key) == Some(false);
        if let (true, Some(part), Some(account)) = (untold, part, key.account()) {
            self.put(account, key, Some(part));
        }
    }

    /// What had that version is gone; nothing newer is forgotten.
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
        let parts = self.seen.entry(account.to_owned()).or_default();
        match part {
            Some(part) => drop(parts.insert(key.clone(), part)),
            None => drop(parts.remove(key)),
        }
        if parts.is_empty() {
            self.seen.remove(account);
        }
    }

    fn find(&self, key: &PartKey) -> Option<&SeenPart> {
        self.seen.get(key.account()?)?.get(key)
    }

    fn is_ours(&self, account: &str, part: &SeenPart) -> bool {
        part.owner.as_ref() == Some(&owner(&self.companions, account))
    }

    /// The objects of an account, and others of their names.
    pub fn parts(&self, account: &str) -> Option<&HashMap<PartKey, SeenPart>> {
        self.seen.get(account)
    }

    /// The assignment that is stored.
    pub fn assignment(&self, account: &str) -> Option<&Assignment> {
        self.stored.get(account)
    }

    /// Every assignment that is stored.
    pub fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.stored.values()
    }

    /// The ServiceAccount of that name.
    fn service_account(&self, account: &str) -> Option<&SeenPart> {
        self.find(&PartKey::new(PartKind::ServiceAccount, &self.companions, account))
    }

    /// The ServiceAccount of that name, where it is somebody else's.
    pub fn usurper(&self, account: &str) -> Option<PartKey> {
        let foreign = self.service_account(account).is_some_and(|part| !self.is_ours(account, part));
        foreign.then(|| PartKey::new(PartKind::ServiceAccount, &self.companions, account))
    }

    /// Nodes' accounts that are there and ours.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        let accounts = self.seen.keys().map(String::as_str).filter(|account| account.starts_with(NODE_PREFIX));
        accounts.filter(|account| self.is_there(account))
    }

    fn is_there(&self, account: &str) -> bool {
        self.service_account(account).is_some_and(|part| self.is_ours(account, part))
    }

    /// Whether the mint names a node's account if, and only if, it is there.
    pub fn is_minted_rightly(&self, account: &str) -> bool {
        let mint = self.find(&PartKey::new(PartKind::Role, &self.companions, &role_name(MINT)));
        let named = mint.is_some_and(|part| rules(part).iter().any(|rule| names(rule, account)));
        !account.starts_with(NODE_PREFIX) || named == self.is_there(account)
    }

    /// Whether another account has rights for an object, or is told of it.
    pub fn is_held_elsewhere(&self, account: &str, at: &ObjectRef) -> bool {
        let told = self.stored.iter().any(|(other, assignment)| other != account && assignment.find(at).is_some());
        told || self.seen.iter().filter(|(other, _)| *other != account).any(|(other, _)| {
            let key = PartKey { kind: PartKind::Role, at: Place::new(&at.namespace, &role_name(other)) };
            let role = self.find(&key).filter(|part| self.is_ours(other, part));
            role.is_some_and(|part| rules(part).iter().any(|rule| is_for_hosts(rule) && names(rule, &at.name)))
        })
    }
}

fn assignment_in(part: &SeenPart) -> Option<Assignment> {
    match &part.body {
        Body::ConfigMap(data) => Assignment::parse(data.get(ASSIGNMENT_KEY)?),
        _ => None,
    }
}

fn rules(part: &SeenPart) -> &[PolicyRule] {
    match &part.body {
        Body::Role(rules) => rules,
        _ => &[],
    }
}

fn names(rule: &PolicyRule, name: &str) -> bool {
    rule.resource_names.iter().flatten().any(|known| known == name)
}

fn is_for_hosts(rule: &PolicyRule) -> bool {
    rule.resources.iter().flatten().any(|resource| resource.starts_with("dockerhostcerts"))
}
