//! One round over all objects: what stands around each, its walk, and where it stands after it.

use super::manifests::{Loaded, LoadedObject, named};
use super::registration::{Inventory, PendingSyncs};
use super::status_table::{Row, StatusTable};
use super::this_host::wishes;
use crate::adapters::{Clock, DiskStore, StoreError};
use crate::api::status::CompanionStatus;
use crate::api::{AUTHORITY_ANNOTATION, Kind, NamespacedName, Object, ObjectRef, Spec};
use crate::decide::delivery::Deliverer;
use crate::reconcile::registration::Registrations;
use crate::reconcile::{Context, Permit, Reconciled, RelatedState, reconcile};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Walks at a time; their writes are synced together, so more than there are cores.
const MAX_CONCURRENT: usize = 16;
/// The table is not drawn more often.
const FRAME: Duration = Duration::from_millis(100);

/// What came of a round.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunResult {
    /// When time alone changes something.
    pub requeue_at: Option<Timestamp>,
    /// Some walk could not be ended, and is to be tried again.
    pub failed: bool,
    pub ready: bool,
}

/// All objects, and the house that they are walked through.
pub struct Runner {
    pub(super) ctx: Arc<Context<DiskStore>>,
    pub(super) objects: Vec<LoadedObject>,
    pub(super) board: Arc<Mutex<StatusTable>>,
    pub(super) host: Option<String>,
    said: HashMap<ObjectRef, String>,
    pub(super) registrations: Arc<Registrations>,
    pub(super) visits: PendingSyncs,
}

/// One object on its way.
struct Errand {
    index: usize,
    object: Object,
    related: RelatedState,
}

type ReconcileResult = (usize, Result<Reconciled, StoreError>);

impl Runner {
    /// A door over that store.
    pub fn new(
        store: DiskStore,
        clock: Clock,
        board: Arc<Mutex<StatusTable>>,
        host: Option<String>,
        loaded: Loaded,
    ) -> Runner {
        let ctx = Arc::new(Context::new(store, clock));
        let mut door = Runner {
            ctx,
            objects: Vec::new(),
            board,
            host,
            said: HashMap::new(),
            registrations: Arc::default(),
            visits: PendingSyncs::default(),
        };
        door.take(loaded);
        door
    }

    pub fn store(&self) -> &DiskStore {
        &self.ctx.store
    }

    pub fn clock(&self) -> &Clock {
        &self.ctx.clock
    }

    /// Takes what the files hold now. Objects that left are no longer looked after; what is stored stays.
    pub fn take(&mut self, loaded: Loaded) {
        let present: HashSet<&ObjectRef> = loaded.objects.iter().map(|found| &found.object.at).collect();
        for gone in self.objects.iter().filter(|found| !present.contains(&found.object.at)) {
            self.said.remove(&gone.object.at);
            self.registrations.forget(&gone.object.at);
            self.ctx.authorities.forget(&own_place(&gone.object));
        }
        self.objects = loaded.objects;
        for client in self.objects.iter().filter(|found| found.object.has_server()) {
            self.registrations.schedule_refresh(&client.object.at, None); // a Secret may hold another credential now
        }
        for found in &mut self.objects {
            leave_delivery_out(&mut found.object, self.host.as_deref());
            (found.object.previous, found.object.companion) = self.ctx.store.status(&found.object.at);
        }
        self.ctx.store.set_inputs(loaded.inputs);
        if let Err(error) = self.ctx.store.note_objects(self.objects.iter().map(|found| &found.object)) {
            self.board.lock().say(&error.to_string());
        }
        let blank = |found: &LoadedObject| Row::new(&found.object.at, self.namespaced(), &Default::default());
        let rows = self.objects.iter().map(blank).collect();
        self.board.lock().reset(rows);
    }

    fn namespaced(&self) -> bool {
        self.objects.iter().any(|found| &*found.object.at.namespace != "default")
    }

    /// Walks every object once, delivers to this machine, and registers in Portainer.
    pub async fn round(&mut self) -> RunResult {
        let mut round = self.walk_all().await;
        if self.deliver(&mut round).await {
            round = self.walk_again(&round).await;
        }
        if self.register(&mut round).await {
            round = self.walk_again(&round).await;
        }
        round
    }

    async fn walk_again(&mut self, before: &RunResult) -> RunResult {
        let round = self.walk_all().await;
        RunResult { requeue_at: [round.requeue_at, before.requeue_at].into_iter().flatten().min(), ..round }
    }

    async fn walk_all(&mut self) -> RunResult {
        let mut round = RunResult { ready: true, ..RunResult::default() };
        let mut walks = self.set_out();
        let mut drawn = Instant::now();
        while let Some(done) = walks.join_next().await {
            let (index, reconciled) = done.expect("a walk does not panic");
            self.note(&mut round, index, reconciled);
            if drawn.elapsed() >= FRAME {
                self.board.lock().draw();
                drawn = Instant::now();
            }
        }
        self.board.lock().draw();
        round
    }

    /// Starts every walk; a leaf's waits for its authority's, and for no other.
    fn set_out(&mut self) -> JoinSet<ReconcileResult> {
        let places = Arc::new(Semaphore::new(MAX_CONCURRENT));
        let mut walks = JoinSet::new();
        let mut gates = HashMap::new();
        let (authorities, leaves): (Vec<_>, Vec<_>) =
            self.errands().into_iter().partition(|errand| errand.object.at.kind == Kind::DockerCA);
        for errand in authorities {
            let (open, gate) = watch::channel(());
            gates.insert(own_place(&errand.object), gate);
            let (ctx, places) = (Arc::clone(&self.ctx), Arc::clone(&places));
            walks.spawn(async move {
                let done = go(&ctx, errand, &places).await;
                drop(open);
                done
            });
        }
        for errand in leaves {
            let gate = errand.object.authority().and_then(|at| gates.get(&at).cloned());
            let (ctx, places) = (Arc::clone(&self.ctx), Arc::clone(&places));
            walks.spawn(async move {
                if let Some(mut gate) = gate {
                    while gate.changed().await.is_ok() {}
                }
                go(&ctx, errand, &places).await
            });
        }
        walks
    }

    fn errands(&mut self) -> Vec<Errand> {
        let store = &self.ctx.store;
        for found in &mut self.objects {
            recall(store, &mut found.object);
        }
        let rivals = rivals(&self.objects, store);
        let authorities: HashSet<NamespacedName> = self
            .objects
            .iter()
            .filter(|found| found.object.at.kind == Kind::DockerCA)
            .map(|found| own_place(&found.object))
            .collect();
        let everything = Inventory::of(&self.objects);
        let errand = |(index, found): (usize, &LoadedObject)| {
            let object = found.object.clone();
            let related = RelatedState {
                rival: rivals.get(&index).cloned(),
                registration: everything.registration(&self.registrations, &object),
                authority_exists: object.authority().is_some_and(|at| authorities.contains(&at)),
                in_use: false,
                deliverer: if object.delivery().is_some() { Deliverer::Here } else { Deliverer::Nobody },
            };
            Errand { index, object, related }
        };
        self.objects.iter().enumerate().map(errand).collect()
    }

    fn note(&mut self, round: &mut RunResult, index: usize, reconciled: Result<Reconciled, StoreError>) {
        let namespaced = self.namespaced();
        let LoadedObject { object, file } = &mut self.objects[index];
        let mut row = Row::new(&object.at, namespaced, &object.previous);
        match reconciled {
            Ok(reconciled) => {
                round.requeue_at = [round.requeue_at, reconciled.requeue_at].into_iter().flatten().min();
                if let Some(status) = reconciled.status {
                    row = Row::new(&object.at, namespaced, &status);
                    object.previous = status;
                }
                if object.companion != CompanionStatus::default() {
                    object.companion = self.ctx.store.status(&object.at).1; // the walk may have pruned it
                }
            }
            Err(error) => {
                round.failed = true;
                row = Row { ready: "False".into(), reason: "Failed".into(), message: error.to_string(), ..row };
            }
        }
        round.ready &= row.is_ready();
        let fault = (!row.is_ready() && !row.message.is_empty()).then(|| row.message.clone());
        let mut board = self.board.lock();
        board.note(index, row);
        let before = match &fault {
            Some(message) => self.said.insert(object.at.clone(), message.clone()),
            None => self.said.remove(&object.at),
        };
        if let Some(message) = fault.filter(|message| before.as_ref() != Some(message)) {
            board.say(&format!("{file}: {}: {message}", named(&object.at)));
        }
    }
}

async fn go(ctx: &Context<DiskStore>, errand: Errand, places: &Arc<Semaphore>) -> ReconcileResult {
    let permit = Permit::take(places).await;
    let done = match memory_is_sound(&ctx.store, &errand.object) {
        Ok(()) => reconcile(ctx, &errand.object, &errand.related, &permit).await,
        Err(error) => Err(error),
    };
    (errand.index, done)
}

/// An authority whose memory cannot be read would be taken for one that never was, and made again.
fn memory_is_sound(store: &DiskStore, object: &Object) -> Result<(), StoreError> {
    if object.at.kind != Kind::DockerCA {
        return Ok(());
    }
    let failed = |error| StoreError::Failed {
        verb: "recall",
        object: object.at.to_string(),
        source: Box::new(error),
        retry_after: None,
    };
    store.remembered(&object.at).map(|_| ()).map_err(failed)
}

fn own_place(object: &Object) -> NamespacedName {
    object.at.beside(&object.at.name)
}

/// Deliveries to other machines do not count in Ready.
fn leave_delivery_out(object: &mut Object, host: Option<&str>) {
    let wishes = wishes(object, host);
    if let Spec::Host(spec) = &mut object.spec {
        spec.delivery = wishes;
    }
}

/// What the state directory knows of a DockerCA goes before what its YAML says. Where it cannot be read, there is no
/// walk.
fn recall(store: &DiskStore, object: &mut Object) {
    if object.at.kind != Kind::DockerCA {
        return;
    }
    if let Ok(Some(fingerprint)) = store.remembered(&object.at) {
        object.annotations.insert(AUTHORITY_ANNOTATION.to_owned(), fingerprint);
    }
}

/// The objects that have no right to the Secret they want: by index, with the one that has it. Whoever is named in the
/// Secret has it, else the first in the files.
fn rivals(objects: &[LoadedObject], store: &DiskStore) -> HashMap<usize, ObjectRef> {
    let mut wanted: HashMap<NamespacedName, Vec<usize>> = HashMap::new();
    for (index, found) in objects.iter().enumerate() {
        wanted.entry(found.object.secret()).or_default().push(index);
    }
    let mut rivals = HashMap::new();
    for (place, claimants) in wanted.into_iter().filter(|(_, claimants)| claimants.len() > 1) {
        let named = store.owner(&place);
        let holder = claimants.iter().find(|index| Some(&objects[**index].object.at) == named.as_ref());
        let holder = *holder.unwrap_or(&claimants[0]);
        let others = claimants.into_iter().filter(|index| *index != holder);
        rivals.extend(others.map(|index| (index, objects[holder].object.at.clone())));
    }
    rivals
}
