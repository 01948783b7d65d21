//! The runner: it reconciles what is due or affected, authorities first, and their leaves when an authority changed.

use super::store::{Interruption, MemoryStore};
use dockseal::adapters::store::{StoredItem, StoredKind};
use dockseal::adapters::{Clock, StoreError};
use dockseal::api::account::{ObservedResource, ResourceBody, ResourceKey, ResourceKind};
use dockseal::api::assignment::{ASSIGNMENT_KEY, Assignment};
use dockseal::api::condition::{ConditionType, Reason};
use dockseal::api::docker_host_cert::Mode;
use dockseal::api::{Kind, NamespacedName, Object, ObjectName, ObjectRef};
use dockseal::decide::delivery::Allowlist;
use dockseal::decide::registration::RegistrationStatus;
use dockseal::decide::status::Verdict;
use dockseal::pki::material::{StoredAuthority, bundle_digest, read_authority};
use dockseal::pki::{Certificate, KeyAlgorithm, PrivateKey, TrustBundle, hex};
use dockseal::reconcile::accounts::{Accounts, HostLookup};
use dockseal::reconcile::{self, Context, Permit, RelatedState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Namespace of the companions' accounts.
pub const COMPANIONS: &str = "companions";

fn allowlist() -> Allowlist {
    Allowlist {
        companions: Some(COMPANIONS.into()),
        sources: vec!["home".into(), "lab".into()],
        directories: vec!["/etc/docker/certs".into()],
        portainer: false,
    }
}

/// A condition as a companion writes it.
fn report(object: &Object, said: &Verdict, now: Timestamp) -> Condition {
    let status = if said.holds { "True" } else { "False" };
    let before = object.companion.condition(said.condition).filter(|known| known.status == status);
    Condition {
        type_: said.condition.as_str().into(),
        status: status.into(),
        reason: said.reason.as_str().into(),
        message: said.message.clone(),
        observed_generation: Some(object.generation),
        last_transition_time: before.map_or(Time(now), |known| known.last_transition_time.clone()),
    }
}

/// A context with its store and its clock, reconciled until nothing is left to do.
pub struct Simulation {
    /// The store behind the context.
    pub store: MemoryStore,
    /// When each object is to be reconciled again.
    pub wakes: BTreeMap<ObjectRef, Option<Timestamp>>,
    /// When each account is.
    pub account_wakes: BTreeMap<String, Option<Timestamp>>,
    ctx: Context<MemoryStore>,
    accounts: Accounts,
    now: Arc<Mutex<Timestamp>>,
    due: BTreeSet<ObjectRef>,
    due_accounts: BTreeSet<String>,
    failures: BTreeMap<String, u32>,
    runtime: tokio::runtime::Runtime,
}

impl Simulation {
    /// A simulation of those objects in which nothing was reconciled yet.
    pub fn of(objects: impl IntoIterator<Item = Object>) -> Simulation {
        let start: Timestamp = super::START.parse().expect("an instant");
        let now = Arc::new(Mutex::new(start));
        let (store, shown) = (MemoryStore::default(), Arc::clone(&now));
        let ctx = Context::new(store.clone(), Clock::showing(move || *shown.lock().expect("nothing panics here")));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (wakes, account_wakes, due, due_accounts, failures) = Default::default();
        let accounts = Accounts::new(allowlist());
        let mut sim =
            Simulation { store, wakes, account_wakes, ctx, accounts, now, due, due_accounts, failures, runtime };
        objects.into_iter().for_each(|object| sim.apply(object));
        sim
    }

    /// The same store after a restart: nothing is known but what was stored.
    pub fn restarted(self) -> Simulation {
        let now = self.now();
        let mut sim = Simulation::of([]);
        sim.store = self.store.clone();
        let shown = Arc::clone(&sim.now);
        sim.ctx = Context::new(self.store, Clock::showing(move || *shown.lock().expect("nothing panics here")));
        sim.jump(now);
        sim.watch();
        sim.touch_all();
        sim
    }

    /// The instant.
    pub fn now(&self) -> Timestamp {
        *self.now.lock().expect("nothing panics here")
    }

    /// Moves the clock; what is due by then is reconciled at the next settling.
    pub fn jump(&mut self, now: Timestamp) {
        *self.now.lock().expect("nothing panics here") = now;
        let due = self
            .wakes
            .iter()
            .filter(|(_, requeue_at)| requeue_at.is_some_and(|requeue_at| requeue_at <= now))
            .map(|(at, _)| at.clone());
        self.due.extend(due);
        let accounts =
            self.account_wakes.iter().filter(|(_, requeue_at)| requeue_at.is_some_and(|requeue_at| requeue_at <= now));
        self.due_accounts.extend(accounts.map(|(account, _)| account.clone()));
    }

    /// Moves the clock by a span.
    pub fn pass(&mut self, span: SignedDuration) {
        let then = self.now().saturating_add(span).expect("an instant");
        self.jump(then);
    }

    /// Moves the clock to the next wake, if there is one.
    pub fn jump_to_wake(&mut self) -> Option<Timestamp> {
        let next = self.wakes.values().chain(self.account_wakes.values()).flatten().min().copied()?;
        assert!(next > self.now(), "a wake in the past is a busy loop: {next} at {}, {:?}", self.now(), self.wakes);
        self.jump(next);
        Some(next)
    }

    /// Creates or changes an object, as its user does.
    pub fn apply(&mut self, object: Object) {
        let at = object.at.clone();
        self.touch(&at);
        self.store.open().objects.insert(at.clone(), object);
        self.touch(&at);
    }

    /// The object, those of its account, and the account are reconciled at the next settling.
    fn touch(&mut self, at: &ObjectRef) {
        self.due.insert(at.clone());
        let Some(account) = self.store.host(at).and_then(|object| object.account()) else { return };
        self.due.extend(self.store.hosts_of(&account).iter().map(|host| host.at.clone()));
        self.due_accounts.insert(account);
    }

    /// Deletes an object, as its user does: with a finalizer it waits.
    pub fn delete(&mut self, at: &ObjectRef) {
        self.touch(at);
        let now = self.now();
        let mut tables = self.store.open();
        let object = tables.objects.get_mut(at).expect("an object of this world");
        (object.deleted, object.generation) = (Some(now), object.generation + 1);
        if object.finalizers.is_empty() {
            tables.objects.remove(at);
        }
    }

    /// Changes one of an account's objects, as another client does; the watch reports it.
    pub fn edit_part(
        &mut self,
        key: &ResourceKey,
        change: impl FnOnce(Option<ObservedResource>) -> Option<ObservedResource>,
    ) {
        self.store.meddle_part(key, change);
        let seen = self.store.open().parts.get(key).filter(|part| part.labelled).cloned();
        self.due_accounts.extend(self.accounts.notice(key, seen));
    }

    /// What a companion is told.
    pub fn assignment(&self, account: &str) -> Option<Assignment> {
        let key = ResourceKey::new(ResourceKind::ConfigMap, COMPANIONS, account);
        let part = self.store.open().parts.get(&key).cloned()?;
        let ResourceBody::ConfigMap(data) = part.body else { panic!("a ConfigMap") };
        Some(Assignment::parse(&data[ASSIGNMENT_KEY]).expect("an assignment"))
    }

    /// Changes an object in place.
    pub fn edit(&mut self, at: &ObjectRef, change: impl FnOnce(&mut Object)) {
        self.touch(at);
        change(self.store.open().objects.get_mut(at).expect("an object of this world"));
        self.touch(at);
    }

    /// Everything is reconciled at the next settling.
    pub fn touch_all(&mut self) {
        self.due.extend(self.store.open().objects.keys().cloned());
        let accounts: Vec<String> = self.store.open().objects.values().filter_map(Object::account).collect();
        self.due_accounts.extend(accounts);
    }

    /// The companion of a host delivers what is stored, and has it served where that is asked for.
    pub fn deliver(&mut self, at: &ObjectRef) {
        let fingerprint = self.certificate(at).fingerprint();
        let data = self.secret(&self.object(at).secret()).expect("a Secret").data;
        let bundle = hex(&bundle_digest(data.get("ca.crt").expect("a bundle")));
        let now = self.now();
        self.edit(at, |object| {
            let daemon = object.delivery().is_some_and(|delivery| delivery.mode == Mode::Daemon);
            let host = &mut object.companion.host;
            (host.delivered_fingerprint, host.delivered_bundle) = (Some(fingerprint.clone()), Some(bundle));
            host.served_fingerprint = daemon.then_some(fingerprint);
            let said = [(ConditionType::Delivered, Reason::Delivered), (ConditionType::Serving, Reason::Serving)];
            let said = said.map(|(type_, reason)| Verdict::new(type_, true, reason, "it is there"));
            let said = said.iter().filter(|verdict| daemon || verdict.condition == ConditionType::Delivered);
            object.companion.conditions = said.map(|verdict| report(object, verdict, now)).collect();
        });
    }

    /// The companion of a host says something of it.
    pub fn report(&mut self, at: &ObjectRef, type_: ConditionType, holds: bool, reason: Reason) {
        let now = self.now();
        self.edit(at, |object| {
            let said = report(object, &Verdict::new(type_, holds, reason, "so says the companion"), now);
            object.companion.conditions.retain(|known| known.type_ != type_.as_str());
            object.companion.conditions.push(said);
        });
    }

    /// Walks until nothing is due.
    pub fn settle(&mut self) {
        let most = 40 * (self.store.open().objects.len() + 2);
        for _ in 0..most {
            if let Some(at) = self.due.pop_first() {
                self.walk(&at);
            } else if let Some(account) = self.due_accounts.pop_first() {
                self.walk_account(&account);
            } else {
                return;
            }
        }
        panic!("the door never comes to rest: {:?}", self.store.open().log);
    }

    /// How a reconcile that cannot succeed ends.
    pub fn failure(&self, at: &ObjectRef) -> Option<StoreError> {
        let object = self.store.open().objects.get(at).cloned()?;
        let related = self.related(&object);
        self.runtime.block_on(reconcile::reconcile(&self.ctx, &object, &related, &Permit::unlimited())).err()
    }

    fn walk(&mut self, at: &ObjectRef) {
        let Some(object) = self.store.open().objects.get(at).cloned() else { return };
        let related = self.related(&object);
        let permit = Permit::unlimited();
        match self.runtime.block_on(reconcile::reconcile(&self.ctx, &object, &related, &permit)) {
            Err(_) => drop(self.due.insert(at.clone())),
            Ok(walk) => {
                self.wakes.insert(at.clone(), walk.requeue_at);
                self.due_accounts.extend(object.account());
                if walk.authority_changed {
                    let leaves: Vec<_> = self.leaves().into_iter().map(|leaf| leaf.at).collect();
                    self.due.extend(leaves);
                }
            }
        }
    }

    fn walk_account(&mut self, account: &str) {
        let telling = self.failures.get(account).is_some_and(|failures| *failures >= 2);
        let walk = self.runtime.block_on(self.accounts.reconcile(&self.ctx, &self.store, account, telling));
        self.due.extend(walk.hosts);
        self.due_accounts.extend(walk.accounts);
        self.account_wakes.insert(account.to_owned(), walk.requeue_at);
        match walk.failed {
            None => drop(self.failures.remove(account)),
            Some(_) => {
                *self.failures.entry(account.to_owned()).or_default() += 1;
                self.watch();
                let again = self.now().saturating_add(SignedDuration::from_secs(1)).expect("an instant");
                match self.failures[account] {
                    1..5 => drop(self.due_accounts.insert(account.to_owned())),
                    _ => drop(self.account_wakes.insert(account.to_owned(), Some(again))),
                }
            }
        }
    }

    /// The watch tells of all that is there of accounts.
    fn watch(&mut self) {
        let parts = self.store.open().parts.clone();
        let kinds =
            [ResourceKind::ServiceAccount, ResourceKind::ConfigMap, ResourceKind::Role, ResourceKind::RoleBinding];
        for kind in kinds {
            let there = |at: &NamespacedName| parts.contains_key(&ResourceKey { kind, at: at.clone() });
            self.due_accounts.extend(self.accounts.keep_only(kind, there));
        }
        for (key, part) in parts.iter().filter(|(_, part)| part.labelled) {
            self.due_accounts.extend(self.accounts.notice(key, Some(part.clone())));
        }
    }

    fn related(&self, object: &Object) -> RelatedState {
        let hosts = object.account().map(|account| self.store.hosts_of(&account)).unwrap_or_default();
        let deliverer = self.accounts.deliverer(object, &hosts);
        let tables = self.store.open();
        let authority = object.authority().map(|at| ObjectRef::new(Kind::DockerCA, &at.namespace, &at.name));
        let wanting = || tables.objects.values().filter(|other| other.secret() == object.secret());
        let named = tables.things.get(&(StoredKind::Secrets, object.secret())).and_then(|stored| stored.owner.clone());
        let named = named.filter(|owner| wanting().any(|other| other.at == *owner));
        let oldest = wanting().min_by_key(|other| (other.created, other.at.clone())).map(|other| other.at.clone());
        RelatedState {
            rival: named.or(oldest).filter(|holder| *holder != object.at),
            registration: RegistrationStatus::default(),
            authority_exists: authority.is_some_and(|at| tables.objects.contains_key(&at)),
            in_use: false,
            deliverer,
        }
    }

    /// Every object that is not an authority.
    pub fn leaves(&self) -> Vec<Object> {
        self.store.open().objects.values().filter(|object| object.at.kind != Kind::DockerCA).cloned().collect()
    }

    /// An object as it is stored.
    pub fn object(&self, at: &ObjectRef) -> Object {
        self.store.open().objects[at].clone()
    }

    /// Reason of a condition, with a minus where it is false.
    pub fn says(&self, at: &ObjectRef, condition: ConditionType) -> String {
        let object = self.object(at);
        let found = object.previous.conditions.iter().find(|known| known.type_ == condition.as_str());
        found.map_or("nothing".into(), |found| {
            format!("{}{}", if found.status == "True" { "" } else { "-" }, found.reason)
        })
    }

    /// Whether the object is Ready.
    pub fn is_ready(&self, at: &ObjectRef) -> bool {
        self.says(at, ConditionType::Ready) == Reason::Ready.as_str()
    }

    /// A Secret.
    pub fn secret(&self, at: &NamespacedName) -> Option<StoredItem> {
        self.store.open().things.get(&(StoredKind::Secrets, at.clone())).cloned()
    }

    /// The certificate in an object's Secret.
    pub fn certificate(&self, at: &ObjectRef) -> Certificate {
        let stored = self.secret(&self.object(at).secret()).expect("a Secret");
        Certificate::from_pem(stored.data.get("tls.crt").expect("tls.crt")).expect("a certificate")
    }

    /// The authority in its Secret.
    pub fn authority(&self, at: &ObjectRef) -> StoredAuthority {
        let stored = self.secret(&self.object(at).secret()).expect("an authority's Secret");
        read_authority(&stored.data, None).expect("a sound authority")
    }

    /// A new private key.
    pub fn key(&self, algorithm: KeyAlgorithm) -> PrivateKey {
        dockseal::adapters::random::make_key(algorithm)
    }

    /// How many certificates were stored for an object.
    pub fn issuances(&self, at: &ObjectRef) -> usize {
        let place = self.object(at).secret();
        self.store.open().issued.values().filter(|(stored, _)| *stored == place).count()
    }

    /// Law: an applied plan is a fixed point.
    pub fn assert_rests(&mut self) {
        let (writes, events) = {
            let tables = self.store.open();
            (tables.log.len(), tables.events.len())
        };
        self.touch_all();
        self.settle();
        let tables = self.store.open();
        assert_eq!(tables.log[writes..], [] as [String; 0], "a second walk at the same instant writes");
        assert_eq!(tables.events[events..], [], "a second walk at the same instant tells something");
    }

    /// Laws of what is live: chains, bundles, pairs, dates and wakes.
    pub fn assert_sound(&self, at: &ObjectRef) {
        let ca = self.authority(at);
        let own: Vec<_> = std::iter::once(&ca.authority.certificate).chain(&ca.former).collect();
        let newest = own[0];
        assert!(newest.is_valid_at(self.now()), "the authority is not valid at {}", self.now());
        let config_map = self.store.open().things
            [&(StoredKind::ConfigMaps, at.beside(ObjectName::joined(&format!("{}-ca-bundle", at.name))))]
            .clone();
        assert_eq!(config_map.data.get("ca.crt"), Some(ca.bundle.as_slice()), "the public bundle is another");
        for leaf in self.leaves().iter().filter(|leaf| self.is_ready(&leaf.at)) {
            let data = self.secret(&leaf.secret()).expect("a ready leaf has a Secret").data;
            let certificate = self.certificate(&leaf.at);
            let key = PrivateKey::from_pem(data.get("tls.key").expect("tls.key"), None).expect("a key");
            assert_eq!(key.public_der(), certificate.public_key, "key and certificate are no pair");
            assert!(own.iter().all(|issuer| certificate.is_issued_by(issuer)), "{} does not verify", leaf.at);
            assert!(certificate.is_valid_at(self.now()), "{} is not valid at {}", leaf.at, self.now());
            assert!(certificate.not_after <= newest.not_after, "{} outlives its issuer", leaf.at);
            for bundle in [data.get("ca.crt"), data.get("ca.pem"), Some(&ca.bundle)] {
                let bundle = TrustBundle::from_pem(bundle.expect("a bundle")).expect("certificates");
                let live = own.iter().filter(|issuer| self.now() < issuer.not_after);
                assert!(live.clone().count() > 0, "no live issuer");
                assert!(live.into_iter().all(|issuer| bundle.certificates().contains(issuer)), "an issuer is missing");
            }
            let requeue_at = self.wakes[&leaf.at].expect("a live leaf has a wake");
            assert!(self.now() < requeue_at && requeue_at < certificate.not_after, "{} wakes at {requeue_at}", leaf.at);
        }
        let requeue_at = self.wakes[at].expect("a live authority has a wake");
        assert!(self.now() < requeue_at && requeue_at < newest.not_after, "the authority wakes at {requeue_at}");
    }

    /// Cuts off the write that comes so many after the present one.
    pub fn cut_off(&self, nth: usize, cut: Interruption) {
        let mut tables = self.store.open();
        tables.fault = Some((tables.log.len() + nth, cut));
    }
}
