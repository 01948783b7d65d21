//! Reconciles the account of a companion: the hosts whose spec names it come in; its ServiceAccount, its rights and its
//! assignment go out, with each host's turn to restart dockerd. What there is of accounts is kept in memory, as the
//! watches have shown it: where nothing is to be written, nothing is asked. An object of someone else is never written.

mod apply;
mod assignments;
mod host_lookup;
mod observed;
mod write_failures;

pub use host_lookup::HostLookup;

use super::Context;
use crate::adapters::StoreError;
use crate::adapters::account_store::AccountStore;
use crate::api::account::{AccountResource, MINT, ObservedResource, ResourceKey, ResourceKind};
use crate::api::condition::Reason;
use crate::api::{NamespacedName, Object, ObjectEvent, ObjectRef};
use crate::decide::delays::CONFLICT_RECHECK_INTERVAL;
use crate::decide::delivery::assignment::assignable;
use crate::decide::delivery::conflict::contest;
use crate::decide::delivery::rbac::{mint_resources, owner, resources};
use crate::decide::delivery::{Allowlist, Deliverer, allowlist};
use crate::pki::lifecycle::saturating;
use assignments::Assignments;
use k8s_openapi::jiff::Timestamp;
use observed::ObservedAccounts;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::sync::Arc;
use write_failures::WriteFailures;

/// What came of a reconcile.
#[derive(Debug, Default)]
pub struct AccountReconciled {
    /// When to reconcile again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// Objects for which something changed.
    pub hosts: BTreeSet<ObjectRef>,
    /// Accounts for which something changed.
    pub accounts: BTreeSet<String>,
    /// Something could not be written. Try again: what is half done is completed then.
    pub failed: Option<StoreError>,
}

/// The accounts of all companions.
pub struct Accounts {
    allowlist: Allowlist,
    companions: String,
    assignments: Mutex<Assignments>,
}

struct AccountPlan {
    owner: String,
    resources: Vec<AccountResource>,
    /// A ServiceAccount of the account's name that is someone else's.
    conflict: Option<ResourceKey>,
    requeue_at: Option<Timestamp>,
    changed: BTreeSet<ObjectRef>,
}

impl Accounts {
    pub fn new(allowlist: Allowlist) -> Accounts {
        let companions = allowlist.companions.clone().unwrap_or_default();
        let assignments = Mutex::new(Assignments::over(ObservedAccounts::of(companions.clone())));
        Accounts { allowlist, companions, assignments }
    }

    /// Namespace of the accounts; none where no companions are served.
    pub fn namespace(&self) -> Option<&str> {
        self.allowlist.companions.as_deref()
    }

    fn open(&self) -> MutexGuard<'_, Assignments> {
        self.assignments.lock()
    }

    /// The watch shows an object of an account, or that it is gone; returns the account if that changes anything.
    pub fn notice(&self, key: &ResourceKey, resource: Option<ObservedResource>) -> Option<String> {
        self.open().observed.notice(key, resource)
    }

    /// Forgets the objects of a kind that are not `there`; returns their accounts.
    pub fn keep_only(&self, kind: ResourceKind, there: impl Fn(&NamespacedName) -> bool) -> Vec<String> {
        let mut assignments = self.open();
        let gone: Vec<ResourceKey> =
            assignments.observed.keys(kind).into_iter().filter(|key| !there(&key.at)).collect();
        gone.iter().filter_map(|key| assignments.observed.notice(key, None)).collect()
    }

    /// Who delivers a host's certificate; `hosts` are all those of its account.
    pub fn deliverer(&self, object: &Object, hosts: &[Arc<Object>]) -> Deliverer {
        let asked = allowlist::deliverer(object, &self.allowlist);
        let (Deliverer::Node(_) | Deliverer::Enrolled, Some(account)) = (&asked, object.account()) else {
            return asked;
        };
        let assignments = self.open();
        let mut losers = contest(&self.assignable_hosts(hosts), &assignments.before(&account));
        let problem = losers.remove(&object.at).or_else(|| assignments.fault(&account, &object.at.namespace).cloned());
        problem.map_or(asked, Deliverer::Refused)
    }

    /// Whether an assignment has a companion register that host for that PortainerClient.
    pub fn is_lent(&self, host: &ObjectRef, client: &str) -> bool {
        self.open()
            .observed
            .assigned(host)
            .any(|known| known.portainers.iter().any(|portainer| *portainer.order.client == *client))
    }

    fn assignable_hosts<'a>(&self, hosts: &'a [Arc<Object>]) -> Vec<&'a Object> {
        hosts.iter().map(Arc::as_ref).filter(|host| assignable(host, &self.allowlist)).collect()
    }

    /// Reconciles an account, or [`MINT`]. With `repeated`, what fails is reported to the hosts that need it.
    pub async fn reconcile<S: AccountStore, C: HostLookup>(
        &self,
        ctx: &Context<S>,
        lookup: &C,
        account: &str,
        repeated: bool,
    ) -> AccountReconciled {
        if self.namespace().is_none() {
            return AccountReconciled::default();
        }
        let (now, hosts) = (ctx.clock.now(), lookup.hosts_of(account));
        let readable = match self.observe(ctx, account, &hosts).await {
            Ok(readable) => readable,
            Err(error) => return AccountReconciled { failed: Some(error), ..AccountReconciled::default() },
        };
        let (plan, failures) = self
            .plan_and_apply(ctx, account, || match account {
                MINT => self.plan_mint(),
                _ => self.plan(account, &hosts, &readable, lookup, now),
            })
            .await;
        let written = failures.failed.is_none();
        let mut result = self.finish(account, &hosts, plan, failures, repeated, now);
        if written {
            self.report_retained(ctx, lookup, account, &mut result).await;
        }
        result.accounts.extend(self.accounts_next_in_turn(lookup));
        result
    }

    /// Reads what no watch shows: objects of someone else without our label, and the hosts that own their Secret, which
    /// a companion may read.
    async fn observe<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        account: &str,
        hosts: &[Arc<Object>],
    ) -> Result<BTreeSet<ObjectRef>, StoreError> {
        let hidden = self.open().observed.hidden(account);
        for key in hidden {
            let found = ctx.store.read_resource(&key).await?;
            self.open().observed.notice(&key, found);
        }
        let mut readable = BTreeSet::new();
        for host in hosts {
            let stored = ctx.store.leaf(&host.secret()).await?;
            readable.extend(stored.and_then(|stored| stored.owner).filter(|owner| *owner == host.at));
        }
        Ok(readable)
    }

    /// Plans and applies; again where only creating the account showed that its name belongs to someone else.
    async fn plan_and_apply<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        account: &str,
        plan: impl Fn() -> AccountPlan,
    ) -> (AccountPlan, WriteFailures) {
        let (mut planned, mut failures) = (plan(), WriteFailures::default());
        self.apply(ctx, account, &planned, &mut failures).await;
        if planned.conflict.is_none() && self.open().observed.conflict(account).is_some() {
            let changed = std::mem::replace(&mut planned, plan()).changed;
            planned.changed.extend(changed);
            self.apply(ctx, account, &planned, &mut failures).await;
        }
        (planned, failures)
    }

    fn plan_mint(&self) -> AccountPlan {
        let resources = mint_resources(&self.companions, self.open().observed.nodes());
        AccountPlan {
            owner: owner(&self.companions, MINT),
            resources,
            conflict: None,
            requeue_at: None,
            changed: BTreeSet::new(),
        }
    }

    fn plan<C: HostLookup>(
        &self,
        account: &str,
        hosts: &[Arc<Object>],
        readable: &BTreeSet<ObjectRef>,
        lookup: &C,
        now: Timestamp,
    ) -> AccountPlan {
        let mut assignments = self.open();
        let decided = assignments.decide(account, &self.assignable_hosts(hosts), lookup, now);
        let wanted = !decided.assignment.hosts.is_empty();
        let conflict = assignments.observed.conflict(account).filter(|_| wanted);
        let resources = match wanted && conflict.is_none() {
            true => resources(&self.companions, account, &decided.assignment, readable),
            false => Vec::new(),
        };
        let owner = owner(&self.companions, account);
        AccountPlan { owner, resources, conflict, requeue_at: decided.requeue_at, changed: decided.changed }
    }

    /// What follows from what was written, or was not.
    fn finish(
        &self,
        account: &str,
        hosts: &[Arc<Object>],
        plan: AccountPlan,
        failures: WriteFailures,
        repeated: bool,
        now: Timestamp,
    ) -> AccountReconciled {
        let conflict = failures.faults.values().any(|fault| fault.reason == Reason::AccountConflict);
        let recheck_at = conflict.then(|| saturating(now, CONFLICT_RECHECK_INTERVAL));
        let requeue_at = plan.requeue_at.into_iter().chain(recheck_at).min();
        let mut result = AccountReconciled {
            requeue_at,
            hosts: plan.changed,
            failed: failures.failed,
            ..AccountReconciled::default()
        };
        let mut assignments = self.open();
        if assignments.set_faults(account, failures.faults, repeated) {
            result.hosts.extend(hosts.iter().map(|host| host.at.clone()));
        }
        assignments.forget_empty(account);
        if !assignments.observed.is_mint_correct(account) {
            result.accounts.insert(MINT.to_owned());
        }
        result
    }

    /// Hosts that left the assignment: another account may have them now, and an event tells their users that the
    /// delivered files stay.
    async fn report_retained<S: AccountStore, C: HostLookup>(
        &self,
        ctx: &Context<S>,
        lookup: &C,
        account: &str,
        result: &mut AccountReconciled,
    ) {
        let left = self.open().take_leaving(account);
        for host in left {
            let object = lookup.host(&host.object()).filter(|object| object.uid == host.uid);
            result
                .accounts
                .extend(object.as_ref().and_then(|object| object.account()).filter(|other| other != account));
            let nothing = object.is_some_and(|object| object.companion.host.delivered_fingerprint.is_none());
            if host.removing || nothing {
                continue;
            }
            let (who, directory) = (Deliverer::of(&host.delivery).name(), &host.delivery.directory);
            let message = format!("{who} no longer delivers it: the files in {directory} stay there");
            let what = ObjectEvent { warning: false, reason: Reason::Retained, message };
            ctx.store.announce_left(&host, &what).await;
        }
    }

    /// The accounts whose hosts can have a turn to restart dockerd now.
    fn accounts_next_in_turn<C: HostLookup>(&self, lookup: &C) -> Vec<String> {
        let authorities: BTreeSet<NamespacedName> =
            lookup.waiting().iter().filter_map(|host| host.authority()).collect();
        let assignments = self.open();
        let next = authorities.iter().filter_map(|authority| assignments.next(authority, lookup));
        next.filter_map(|host| host.account()).collect()
    }
}
