//! The assignments of companions: the hosts of an account come in; which of them it is assigned, each with its turn to
//! restart dockerd, and the problems of the others go out. Nothing is written here.

use super::host_lookup::HostLookup;
use super::observed::ObservedAccounts;
use crate::api::assignment::{AssignedHost, Assignment};
use crate::api::condition::Reason;
use crate::api::{NamespacedName, Object, ObjectName, ObjectRef};
use crate::decide::Problem;
use crate::decide::delays::{HANDOVER_DELAY, TURN_CHECK_INTERVAL};
use crate::decide::delivery::assignment::entry;
use crate::decide::delivery::conflict::contest;
use crate::decide::delivery::rolling_restart::{self, Waiting};
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(super) struct Assignments {
    pub observed: ObservedAccounts,
    /// The assignments as they were decided last. They count before the stored ones, which others may have edited.
    decided: HashMap<String, Assignment>,
    /// Hosts that left an assignment, which may not be written yet.
    leaving: HashMap<String, Vec<AssignedHost>>,
    /// The hosts that were not assigned last, and why.
    losers: HashMap<String, BTreeMap<ObjectRef, Problem>>,
    /// What accounts lack, by the namespace in which it is missing.
    faults: HashMap<String, BTreeMap<ObjectName, Problem>>,
    /// When each host last had a turn.
    turns: HashMap<ObjectRef, Timestamp>,
}

pub(super) struct Decided {
    pub assignment: Assignment,
    pub requeue_at: Option<Timestamp>,
    /// Hosts that are assigned now and were not, or the other way round, or are not for another reason.
    pub changed: BTreeSet<ObjectRef>,
}

impl Assignments {
    pub fn over(observed: ObservedAccounts) -> Assignments {
        let (decided, leaving, losers, faults, turns) = Default::default();
        Assignments { observed, decided, leaving, losers, faults, turns }
    }

    /// The assignment as it was decided last; after a restart, as it is stored.
    pub fn before(&self, account: &str) -> Assignment {
        self.known(account).cloned().unwrap_or_default()
    }

    fn known(&self, account: &str) -> Option<&Assignment> {
        self.decided.get(account).or_else(|| self.observed.assignment(account))
    }

    /// Decides which hosts an account is assigned.
    pub fn decide<C: HostLookup>(&mut self, account: &str, hosts: &[&Object], lookup: &C, now: Timestamp) -> Decided {
        let before = self.before(account);
        let losers = contest(hosts, &before);
        let (mut entries, mut requeue_times) = (Vec::new(), Vec::new());
        for host in hosts.iter().filter(|host| !losers.contains_key(&host.at)) {
            let known = before.find(&host.at);
            if known.is_none() && self.is_held_elsewhere(account, &host.at) {
                requeue_times.push(saturating(now, HANDOVER_DELAY)); // the other account loses its rights first
                continue;
            }
            let turn = self.turn(host, known.and_then(|known| known.turn), lookup, now);
            let recheck_at = rolling_restart::waits_since(host).map(|_| saturating(now, TURN_CHECK_INTERVAL));
            requeue_times.extend(turn.map(rolling_restart::over).or(recheck_at));
            let before = known.map(|known| known.portainers.as_slice()).unwrap_or_default();
            let portainers = lookup.portainers(host, before);
            let entry = entry(host, turn).map(|entry| AssignedHost { portainers, ..entry });
            entries.extend(entry.map(|entry| claimed(entry, host, lookup)));
        }
        entries.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        let assignment = Assignment { hosts: entries };
        let left: Vec<_> = before.hosts.into_iter().filter(|host| assignment.find(&host.object()).is_none()).collect();
        for host in &left {
            self.turns.remove(&host.object());
        }
        self.leaving.entry(account.to_owned()).or_default().extend(left);
        self.decided.insert(account.to_owned(), assignment.clone());
        // Their own reconciles see these losers from now on, and saw the ones from before until now.
        let now = contest(hosts, &assignment);
        let last = self.losers.insert(account.to_owned(), now.clone()).unwrap_or_default();
        let known = now.keys().chain(losers.keys()).chain(last.keys());
        let changed = known.filter(|at| now.get(at) != losers.get(at) || now.get(at) != last.get(at));
        let changed = changed.cloned().collect();
        Decided { assignment, requeue_at: requeue_times.into_iter().min(), changed }
    }

    fn is_held_elsewhere(&self, account: &str, at: &ObjectRef) -> bool {
        let mut decided = self.decided.iter().filter(|(other, _)| *other != account);
        decided.any(|(_, assignment)| assignment.find(at).is_some()) || self.observed.is_held_elsewhere(account, at)
    }

    /// The hosts that left, once the assignment is written; each is returned once.
    pub fn take_leaving(&mut self, account: &str) -> Vec<AssignedHost> {
        self.leaving.remove(account).unwrap_or_default()
    }

    /// Forgets an account without hosts and without objects.
    pub fn forget_empty(&mut self, account: &str) {
        let empty = self.decided.get(account).is_none_or(|assignment| assignment.hosts.is_empty());
        if empty && self.observed.resources(account).is_none() {
            self.decided.remove(account);
            self.losers.remove(account);
        }
    }

    /// What an account lacks for the hosts of that namespace.
    pub fn fault(&self, account: &str, namespace: &str) -> Option<&Problem> {
        let faults = self.faults.get(account)?;
        faults.get(self.observed.companions()).or_else(|| faults.get(namespace))
    }

    /// Sets what an account lacks; true where that changes anything. A failure that is not `repeated` is left out, unless
    /// it was reported before.
    pub fn set_faults(&mut self, account: &str, mut faults: BTreeMap<ObjectName, Problem>, repeated: bool) -> bool {
        let before = self.faults.remove(account).unwrap_or_default();
        faults.retain(|namespace, fault| {
            let reported = before.get(namespace).is_some_and(|known| known.reason == fault.reason);
            reported || repeated || fault.reason != Reason::StoreFailed
        });
        let changed = before != faults;
        if !faults.is_empty() {
            self.faults.insert(account.to_owned(), faults);
        }
        changed
    }

    /// The turn of a host: the one that it had, or a new one where it is the next.
    fn turn<C: HostLookup>(
        &mut self,
        host: &Object,
        had: Option<Timestamp>,
        lookup: &C,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if let Some(turn) = had {
            let kept = rolling_restart::keeps(host, turn, now);
            self.turns.insert(host.at.clone(), now); // if it was not used, others come first
            return Some(turn).filter(|_| kept);
        }
        rolling_restart::waits_since(host)?;
        if self.next(&host.authority()?, lookup)?.at != host.at {
            return None;
        }
        self.turns.insert(host.at.clone(), now);
        Some(rolling_restart::end(now))
    }

    /// The host of an authority that can have the turn now.
    pub fn next<C: HostLookup>(&self, authority: &NamespacedName, lookup: &C) -> Option<Arc<Object>> {
        let first = self.first(authority, lookup)?;
        if self.is_busy(authority, lookup) { None } else { lookup.host(&first) }
    }

    /// A host of the authority has the turn, in a decided or in a stored assignment.
    fn is_busy<C: HostLookup>(&self, authority: &NamespacedName, lookup: &C) -> bool {
        let assignments = self.decided.values().chain(self.observed.assignments());
        let mut with_turn = assignments.flat_map(|assignment| &assignment.hosts).filter(|host| host.turn.is_some());
        with_turn.any(|host| match lookup.host(&host.object()).and_then(|object| object.authority()) {
            Some(of) => of == *authority,
            None => *host.namespace == *authority.namespace, // the object is gone, and with it the name of its authority
        })
    }

    /// The host that waits longest, among those that are assigned.
    fn first<C: HostLookup>(&self, authority: &NamespacedName, lookup: &C) -> Option<ObjectRef> {
        let hosts = lookup.waiting();
        let waiting = hosts.iter().filter(|host| host.authority().as_ref() == Some(authority)).filter_map(|host| {
            let since = rolling_restart::waits_since(host)?;
            let account = host.account()?;
            let assigned = self.known(&account).and_then(|known| known.find(&host.at));
            let able = assigned.is_some_and(|entry| entry.turn.is_none())
                && self.fault(&account, &host.at.namespace).is_none();
            able.then(|| Waiting { at: host.at.clone(), since, last: self.turns.get(&host.at).copied() })
        });
        rolling_restart::first(waiting.collect::<Vec<_>>())
    }
}

/// The entry with what the cluster and the host's DockerCA add to its claim.
fn claimed<C: HostLookup>(mut entry: AssignedHost, host: &Object, lookup: &C) -> AssignedHost {
    entry.claim.writer = lookup.writer();
    entry.claim.replaces = host.authority().and_then(|ca| lookup.replaced_authority(&ca));
    entry
}
