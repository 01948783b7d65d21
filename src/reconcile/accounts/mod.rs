//! The walk of a companion's account: who is told to it, what it may do, whose turn it is; then the writes, where
//! something is to be written. What it decides from is kept in memory, which a watch feeds.

mod assignments;
mod observed;

use super::{CONFLICT_RECHECK_INTERVAL, Context};
use crate::adapters::StoreError;
use crate::adapters::account_store::AccountStore;
use crate::adapters::store::ObjectEvent;
use crate::api::account::{AccountResource, MINT, PartKey, PartKind, SeenPart};
use crate::api::assignment::AssignedPortainer;
use crate::api::condition::Reason;
use crate::api::{NamespacedName, Object, ObjectRef};
use crate::decide::Problem;
use crate::decide::delivery::assignment::assignable;
use crate::decide::delivery::conflict::contest;
use crate::decide::delivery::rbac::{AccountStep, mint_parts, owner, parts, steps};
use crate::decide::delivery::{Allowlist, Deliverer, allowlist};
use crate::pki::lifecycle::saturating;
use assignments::Assignments;
use k8s_openapi::jiff::Timestamp;
use observed::ObservedAccounts;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What is known of hosts.
pub trait HostLookup: Sync {
    /// The object, if it is there.
    fn host(&self, at: &ObjectRef) -> Option<Arc<Object>>;
    /// Those whose spec names that account.
    fn hosts_of(&self, account: &str) -> Vec<Arc<Object>>;
    /// Those that wait for a turn to restart their dockerd.
    fn waiting(&self) -> Vec<Arc<Object>>;
    /// The Portainers that a host's companion registers it in itself; `told` are those that it was told of.
    fn portainers(&self, _host: &Object, _told: &[AssignedPortainer]) -> Vec<AssignedPortainer> {
        Vec::new()
    }
}

/// What came of a walk.
#[derive(Debug, Default)]
pub struct AccountReconciled {
    /// When to walk again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// Objects for which something changed.
    pub hosts: BTreeSet<ObjectRef>,
    /// Accounts for which something changed.
    pub accounts: BTreeSet<String>,
    /// Something could not be written: to be tried again, nothing half done stands in the way.
    pub failed: Option<StoreError>,
}

/// All accounts.
pub struct Accounts {
    allowlist: Allowlist,
    companions: String,
    ledger: Mutex<Assignments>,
}

/// What a walk is to bring about.
struct AccountPlan {
    owner: String,
    parts: Vec<AccountResource>,
    /// The account's own name is somebody else's.
    usurper: Option<PartKey>,
    requeue_at: Option<Timestamp>,
    changed: BTreeSet<ObjectRef>,
}

/// What went wrong as it was written: for the hosts of which namespace, and what is to be tried again.
#[derive(Default)]
struct WriteFailures {
    faults: BTreeMap<Arc<str>, Problem>,
    failed: Option<StoreError>,
}

impl Accounts {
    /// Accounts of what that listing lets through.
    pub fn new(allowlist: Allowlist) -> Accounts {
        let companions = allowlist.companions.clone().unwrap_or_default();
        let ledger = Mutex::new(Assignments::over(ObservedAccounts::of(companions.clone())));
        Accounts { allowlist, companions, ledger }
    }

    /// Namespace of the accounts; none where no companions are served.
    pub fn namespace(&self) -> Option<&str> {
        self.allowlist.companions.as_deref()
    }

    fn open(&self) -> MutexGuard<'_, Assignments> {
        self.ledger.lock()
    }

    /// Takes one of an account's objects from the watch, or its end; the account, where that is news.
    pub fn notice(&self, key: &PartKey, part: Option<SeenPart>) -> Option<String> {
        self.open().memory.notice(key, part)
    }

    /// Forgets every object of that kind that a new watch has not shown; the accounts of those.
    pub fn keep_only(&self, kind: PartKind, there: impl Fn(&NamespacedName) -> bool) -> Vec<String> {
        let mut ledger = self.open();
        let gone: Vec<PartKey> = ledger.memory.keys(kind).into_iter().filter(|key| !there(&key.at)).collect();
        gone.iter().filter_map(|key| ledger.memory.notice(key, None)).collect()
    }

    /// Who brings a host's certificate there; `hosts` are those of its account.
    pub fn deliverer(&self, object: &Object, hosts: &[Arc<Object>]) -> Deliverer {
        let asked = allowlist::deliverer(object, &self.allowlist);
        let (Deliverer::Node(_) | Deliverer::Enrolled, Some(account)) = (&asked, object.account()) else {
            return asked;
        };
        let ledger = self.open();
        let mut losers = contest(&self.applicants(hosts), &ledger.before(&account));
        let refusal = losers.remove(&object.at).or_else(|| ledger.fault(&account, &object.at.namespace).cloned());
        refusal.map_or(asked, Deliverer::Refused)
    }

    /// A companion is told to register that host for that PortainerClient.
    pub fn is_lent(&self, host: &ObjectRef, client: &str) -> bool {
        self.open().memory.assigned(host).any(|known| known.portainers.iter().any(|told| told.order.client == client))
    }

    fn applicants<'a>(&self, hosts: &'a [Arc<Object>]) -> Vec<&'a Object> {
        hosts.iter().map(Arc::as_ref).filter(|host| assignable(host, &self.allowlist)).collect()
    }

    /// Walks an account, or [`MINT`]. What fails is told to the hosts that it is needed for where `telling` says so.
    pub async fn walk<S: AccountStore, C: HostLookup>(
        &self,
        ctx: &Context<S>,
        census: &C,
        account: &str,
        telling: bool,
    ) -> AccountReconciled {
        if self.namespace().is_none() {
            return AccountReconciled::default();
        }
        let (now, hosts) = (ctx.clock.now(), census.hosts_of(account));
        let readable = match self.observe(ctx, account, &hosts).await {
            Ok(readable) => readable,
            Err(error) => return AccountReconciled { failed: Some(error), ..AccountReconciled::default() },
        };
        let (plan, failures) = self
            .bring_about(ctx, account, || match account {
                MINT => self.plan_mint(),
                _ => self.plan(account, &hosts, &readable, census, now),
            })
            .await;
        let written = failures.failed.is_none();
        let mut walk = self.settle(account, &hosts, plan, failures, telling, now);
        if written {
            self.say_who_left(ctx, census, account, &mut walk).await;
        }
        walk.accounts.extend(self.next_in_line(census));
        walk
    }

    /// What memory does not hold: what is somebody else's without our label, which no watch shows, and the hosts whose
    /// Secret is their own.
    async fn observe<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        account: &str,
        hosts: &[Arc<Object>],
    ) -> Result<BTreeSet<ObjectRef>, StoreError> {
        let hidden = self.open().memory.hidden(account);
        for key in hidden {
            let found = ctx.store.find(&key).await?;
            self.open().memory.notice(&key, found);
        }
        let mut readable = BTreeSet::new();
        for host in hosts {
            let stored = ctx.store.leaf(&host.secret()).await?;
            readable.extend(stored.and_then(|stored| stored.owner).filter(|owner| *owner == host.at));
        }
        Ok(readable)
    }

    /// Plans and applies; again where it came out only as it was to be made that the account is a stranger's.
    async fn bring_about<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        account: &str,
        plan: impl Fn() -> AccountPlan,
    ) -> (AccountPlan, WriteFailures) {
        let (mut planned, mut failures) = (plan(), WriteFailures::default());
        self.apply(ctx, account, &planned, &mut failures).await;
        if planned.usurper.is_none() && self.open().memory.usurper(account).is_some() {
            let changed = std::mem::replace(&mut planned, plan()).changed;
            planned.changed.extend(changed);
            self.apply(ctx, account, &planned, &mut failures).await;
        }
        (planned, failures)
    }

    fn plan_mint(&self) -> AccountPlan {
        let parts = mint_parts(&self.companions, self.open().memory.nodes());
        AccountPlan {
            owner: owner(&self.companions, MINT),
            parts,
            usurper: None,
            requeue_at: None,
            changed: BTreeSet::new(),
        }
    }

    fn plan<C: HostLookup>(
        &self,
        account: &str,
        hosts: &[Arc<Object>],
        readable: &BTreeSet<ObjectRef>,
        census: &C,
        now: Timestamp,
    ) -> AccountPlan {
        let mut ledger = self.open();
        let decided = ledger.decide(account, &self.applicants(hosts), census, now);
        let wanted = !decided.assignment.hosts.is_empty();
        let usurper = ledger.memory.usurper(account).filter(|_| wanted);
        let parts = match wanted && usurper.is_none() {
            true => parts(&self.companions, account, &decided.assignment, readable),
            false => Vec::new(),
        };
        let owner = owner(&self.companions, account);
        AccountPlan { owner, parts, usurper, requeue_at: decided.requeue_at, changed: decided.changed }
    }

    /// Writes what differs, as far as it can be written: a namespace that is going must not keep the hosts of others
    /// waiting.
    async fn apply<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        account: &str,
        plan: &AccountPlan,
        failures: &mut WriteFailures,
    ) {
        let steps = match self.open().memory.parts(account) {
            Some(seen) => steps(&plan.owner, &plan.parts, seen),
            None => steps(&plan.owner, &plan.parts, &HashMap::new()),
        };
        failures.foreign(plan.usurper.as_ref());
        for step in steps {
            let (kind, namespace) = (step.key().kind, Arc::clone(&step.key().at.namespace));
            match self.perform(ctx, step).await {
                Ok(Some(foreign)) => {
                    failures.foreign(Some(&foreign));
                    if kind == PartKind::ServiceAccount {
                        return; // a stranger's account must not get rights by bearing a name
                    }
                }
                Ok(None) => {}
                Err(error) => failures.failed(namespace, error),
            }
        }
    }

    /// Does one step; what is somebody else's, where that is in the way.
    async fn perform<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        step: AccountStep,
    ) -> Result<Option<PartKey>, StoreError> {
        match step {
            AccountStep::Foreign(key) => Ok(Some(key)),
            AccountStep::Make(part) => self.make(ctx, &part).await,
            AccountStep::Amend(part, version) => {
                self.noting(&part, ctx.store.amend(&part, &version)).await?;
                Ok(None)
            }
            AccountStep::Remake(part, version) => {
                ctx.store.discard(&part.key, &version).await?;
                self.open().memory.forget(&part.key, &version);
                self.make(ctx, &part).await
            }
            AccountStep::Drop(key, version) => {
                ctx.store.discard(&key, &version).await?;
                self.open().memory.forget(&key, &version);
                Ok(None)
            }
        }
    }

    /// Makes it, or takes back what is ours without its label; else says what is in the way.
    async fn make<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        part: &AccountResource,
    ) -> Result<Option<PartKey>, StoreError> {
        match self.noting(part, ctx.store.make(part)).await {
            Err(StoreError::Exists(at)) => {
                let Some(found) = ctx.store.find(&part.key).await? else { return Err(StoreError::Changed(at)) };
                if found.owner.as_ref() != Some(&part.owner) {
                    self.open().memory.notice(&part.key, Some(found));
                    return Ok(Some(part.key.clone()));
                }
                self.noting(part, ctx.store.amend(part, &found.version)).await.map(|()| None)
            }
            done => done.map(|()| None),
        }
    }

    async fn noting(
        &self,
        part: &AccountResource,
        write: impl Future<Output = Result<String, StoreError>>,
    ) -> Result<(), StoreError> {
        self.open().memory.begin(&part.key);
        let written = write.await;
        let seen = |version: &String| SeenPart {
            version: version.clone(),
            owner: Some(part.owner.clone()),
            labelled: true,
            body: part.body.clone(),
        };
        self.open().memory.end(&part.key, written.as_ref().ok().map(seen));
        written.map(|_| ())
    }

    /// What follows from what was written.
    fn settle(
        &self,
        account: &str,
        hosts: &[Arc<Object>],
        plan: AccountPlan,
        failures: WriteFailures,
        telling: bool,
        now: Timestamp,
    ) -> AccountReconciled {
        let foreign = failures.faults.values().any(|fault| fault.reason == Reason::AccountConflict);
        let patience = foreign.then(|| saturating(now, CONFLICT_RECHECK_INTERVAL)); // nothing watches what is not ours
        let requeue_at = plan.requeue_at.into_iter().chain(patience).min();
        let mut walk = AccountReconciled {
            requeue_at,
            hosts: plan.changed,
            failed: failures.failed,
            ..AccountReconciled::default()
        };
        let mut ledger = self.open();
        if ledger.set_faults(account, failures.faults, telling) {
            walk.hosts.extend(hosts.iter().map(|host| host.at.clone()));
        }
        ledger.tidy(account);
        if !ledger.memory.is_minted_rightly(account) {
            walk.accounts.insert(MINT.to_owned());
        }
        walk
    }

    /// Hosts that left the assignment: another account may have them now, and their users hear that what is there
    /// stays.
    async fn say_who_left<S: AccountStore, C: HostLookup>(
        &self,
        ctx: &Context<S>,
        census: &C,
        account: &str,
        walk: &mut AccountReconciled,
    ) {
        let left = self.open().take_leaving(account);
        for host in left {
            let object = census.host(&host.object()).filter(|object| object.uid == host.uid);
            walk.accounts.extend(object.as_ref().and_then(|object| object.account()).filter(|other| other != account));
            let nothing = object.is_some_and(|object| object.companion.host.delivered_fingerprint.is_none());
            if host.removing || nothing {
                continue;
            }
            let (who, directory) = (Deliverer::of(&host.delivery).words(), &host.delivery.directory);
            let message = format!("{who} delivers it no more: what it delivered into {directory} stays there");
            let what = ObjectEvent { warning: false, reason: Reason::Retained.as_str(), message };
            ctx.store.announce_left(&host, &what).await;
        }
    }

    /// The accounts whose hosts can have a turn now.
    fn next_in_line<C: HostLookup>(&self, census: &C) -> Vec<String> {
        let authorities: BTreeSet<NamespacedName> =
            census.waiting().iter().filter_map(|host| host.authority()).collect();
        let ledger = self.open();
        let next = authorities.iter().filter_map(|authority| ledger.next(authority, census));
        next.filter_map(|host| host.account()).collect()
    }
}

impl WriteFailures {
    fn foreign(&mut self, key: Option<&PartKey>) {
        self.faults.extend(key.map(|key| (Arc::clone(&key.at.namespace), in_the_way(key))));
    }

    fn failed(&mut self, namespace: Arc<str>, error: StoreError) {
        let message = format!("{error}; it is tried again and again");
        self.faults.entry(namespace).or_insert_with(|| Problem::delivery(Reason::StoreFailed, message));
        self.failed.get_or_insert(error);
    }
}

fn in_the_way(key: &PartKey) -> Problem {
    let message = format!(
        "{key} belongs to somebody else and stays untouched: delete it, or move it to another name, and the companion \
         gets its account"
    );
    Problem::delivery(Reason::AccountConflict, message)
}
