//! One run over all objects: each is reconciled, delivered to this machine and registered; its row of the table shows the result.

use super::manifests::{Loaded, LoadedObject, display_name};
use super::registration::{Inventory, PendingSyncs};
use super::state::{LocalState, RunResult};
use super::status_table::{Row, StatusTable};
use super::this_host::delivery_to;
use crate::adapters::fair::{FairSemaphore, Share};
use crate::adapters::{Clock, DiskStore, StoreError};
use crate::api::status::CompanionStatus;
use crate::api::{AUTHORITY_ANNOTATION, IDENTITY_ANNOTATION, Kind, NamespacedName, Object, ObjectRef, Spec};
use crate::decide::delivery::Deliverer;
use crate::reconcile::{Context, Permit, Reconciled, RelatedState, reconcile};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Reconciles at a time: more than there are cores, since their writes are synced together.
const MAX_CONCURRENT: usize = 16;
/// The table is not drawn more often.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Runs over all objects, as often as it is told to.
pub struct Runner {
    state: LocalState,
    pending_syncs: PendingSyncs,
    /// What was last printed about an object that is not Ready.
    last_messages: HashMap<ObjectRef, String>,
}

/// One object that is to be reconciled.
struct WorkItem {
    index: usize,
    object: Object,
    related: RelatedState,
}

type ReconcileResult = (usize, Result<Reconciled, StoreError>);

impl Runner {
    pub fn new(
        store: DiskStore,
        clock: Clock,
        table: Arc<Mutex<StatusTable>>,
        host: Option<String>,
        loaded: Loaded,
    ) -> Runner {
        let ctx = Arc::new(Context::new(store, clock));
        let state = LocalState { ctx, objects: Vec::new(), table, host, registrations: Arc::default(), held: None };
        let mut runner = Runner { state, pending_syncs: PendingSyncs::default(), last_messages: HashMap::new() };
        runner.take(loaded);
        runner
    }

    /// The objects, the store, the clock and the table.
    pub fn state(&self) -> &LocalState {
        &self.state
    }

    /// Takes what the files hold now. Objects that are gone from them are no longer reconciled; what is stored stays.
    pub fn take(&mut self, loaded: Loaded) {
        let present: HashSet<&ObjectRef> = loaded.objects.iter().map(|found| &found.object.at).collect();
        for gone in self.state.objects.iter().filter(|found| !present.contains(&found.object.at)) {
            self.last_messages.remove(&gone.object.at);
            self.state.registrations.forget(&gone.object.at);
            self.state.ctx.authorities.forget(&own_name(&gone.object));
        }
        self.state.objects = loaded.objects;
        for client in self.state.objects.iter().filter(|found| found.object.has_server()) {
            self.state.registrations.schedule_refresh(&client.object.at, None); // a Secret may hold another credential now
        }
        for found in &mut self.state.objects {
            leave_delivery_out(&mut found.object, self.state.host.as_deref());
            (found.object.previous, found.object.companion) = self.state.ctx.store.status(&found.object.at);
        }
        self.state.ctx.store.set_inputs(loaded.inputs);
        if let Err(error) = self.state.ctx.store.note_objects(self.state.objects.iter().map(|found| &found.object)) {
            self.state.print_event(&error.to_string());
        }
        let blank = |found: &LoadedObject| Row::new(&found.object.at, self.namespaced(), &Default::default());
        let rows = self.state.objects.iter().map(blank).collect();
        self.state.table.lock().reset(rows);
    }

    fn namespaced(&self) -> bool {
        self.state.objects.iter().any(|found| &*found.object.at.namespace != "default")
    }

    /// Reconciles every object once, delivers to this machine, and registers in Portainer.
    pub async fn run_once(&mut self) -> RunResult {
        let mut result = self.reconcile_all().await;
        if self.state.deliver(&mut result).await {
            result = self.reconcile_again(&result).await;
        }
        if self.register(&mut result).await {
            result = self.reconcile_again(&result).await;
        }
        result
    }

    /// Registers in Portainer alone; true where a status changed.
    pub async fn register(&mut self, result: &mut RunResult) -> bool {
        self.pending_syncs.register(&self.state, result).await
    }

    /// Whether a registration has not ended, or ended after its run: the statuses are older than it.
    pub fn is_syncing(&self) -> bool {
        self.pending_syncs.is_syncing()
    }

    /// Waits until a registration that its run did not wait for has ended.
    pub async fn sync_ended(&mut self) {
        self.pending_syncs.wait().await;
    }

    async fn reconcile_again(&mut self, before: &RunResult) -> RunResult {
        let mut result = self.reconcile_all().await;
        result.requeue_by(before.requeue_at);
        result.failed |= before.failed;
        result
    }

    async fn reconcile_all(&mut self) -> RunResult {
        let mut result = RunResult { ready: true, ..RunResult::default() };
        let mut tasks = self.start_all();
        let mut drawn = Instant::now();
        while let Some(done) = tasks.join_next().await {
            let (index, reconciled) = done.expect("reconciling does not panic");
            self.note(&mut result, index, reconciled);
            if drawn.elapsed() >= DRAW_INTERVAL {
                self.state.table.lock().draw();
                drawn = Instant::now();
            }
        }
        self.state.table.lock().draw();
        result
    }

    /// Reconciles each object in a task of its own; a leaf waits for its authority, and for nothing else.
    fn start_all(&mut self) -> JoinSet<ReconcileResult> {
        let permits = FairSemaphore::new(MAX_CONCURRENT, Share::All);
        let mut tasks = JoinSet::new();
        let mut ended = HashMap::new();
        let (authorities, leaves): (Vec<_>, Vec<_>) =
            self.work_items().into_iter().partition(|item| item.object.at.kind == Kind::DockerCA);
        for item in authorities {
            let (sender, receiver) = watch::channel(());
            ended.insert(own_name(&item.object), receiver);
            let (ctx, permits) = (Arc::clone(&self.state.ctx), Arc::clone(&permits));
            tasks.spawn(async move {
                let done = reconcile_item(&ctx, item, &permits).await;
                drop(sender);
                done
            });
        }
        for item in leaves {
            let authority = item.object.authority().and_then(|at| ended.get(&at).cloned());
            let (ctx, permits) = (Arc::clone(&self.state.ctx), Arc::clone(&permits));
            tasks.spawn(async move {
                if let Some(mut authority) = authority {
                    while authority.changed().await.is_ok() {} // until its sender is dropped
                }
                reconcile_item(&ctx, item, &permits).await
            });
        }
        tasks
    }

    fn work_items(&mut self) -> Vec<WorkItem> {
        let LocalState { ctx, objects, registrations, .. } = &mut self.state;
        for found in objects.iter_mut() {
            add_remembered(&ctx.store, &mut found.object);
        }
        let rivals = rivals(objects, &ctx.store);
        let authorities: HashSet<NamespacedName> = objects
            .iter()
            .filter(|found| found.object.at.kind == Kind::DockerCA)
            .map(|found| own_name(&found.object))
            .collect();
        let inventory = Inventory::of(objects);
        let item = |(index, found): (usize, &LoadedObject)| {
            let object = found.object.clone();
            let related = RelatedState {
                rival: rivals.get(&index).cloned(),
                registration: inventory.registration(registrations, &object),
                authority_exists: object.authority().is_some_and(|at| authorities.contains(&at)),
                in_use: false,
                deliverer: if object.delivery().is_some() { Deliverer::Here } else { Deliverer::Nobody },
            };
            WorkItem { index, object, related }
        };
        objects.iter().enumerate().map(item).collect()
    }

    fn note(&mut self, result: &mut RunResult, index: usize, reconciled: Result<Reconciled, StoreError>) {
        let row = self.row(result, index, reconciled);
        result.ready &= row.is_ready();
        let message = (!row.is_ready() && !row.message.is_empty()).then(|| row.message.clone());
        let LoadedObject { object, file } = &self.state.objects[index];
        let mut table = self.state.table.lock();
        table.note(index, row);
        let before = match &message {
            Some(message) => self.last_messages.insert(object.at.clone(), message.clone()),
            None => self.last_messages.remove(&object.at),
        };
        if let Some(message) = message.filter(|message| before.as_ref() != Some(message)) {
            table.print_event(&format!("{file}: {}: {message}", display_name(&object.at)));
        }
    }

    /// The object's row after it was reconciled; its status is noted.
    fn row(&mut self, result: &mut RunResult, index: usize, reconciled: Result<Reconciled, StoreError>) -> Row {
        let namespaced = self.namespaced();
        let LocalState { ctx, objects, .. } = &mut self.state;
        let object = &mut objects[index].object;
        let mut row = Row::new(&object.at, namespaced, &object.previous);
        match reconciled {
            Ok(reconciled) => {
                result.requeue_by(reconciled.requeue_at);
                if let Some(status) = reconciled.status {
                    row = Row::new(&object.at, namespaced, &status);
                    object.previous = status;
                }
                if object.companion != CompanionStatus::default() {
                    object.companion = ctx.store.status(&object.at).1; // it may have been pruned
                }
            }
            Err(error) => {
                result.failed = true;
                row = Row { ready: "False".into(), reason: "Failed".into(), message: error.to_string(), ..row };
            }
        }
        row
    }
}

async fn reconcile_item(ctx: &Context<DiskStore>, item: WorkItem, permits: &Arc<FairSemaphore>) -> ReconcileResult {
    let permit = Permit::take(permits, item.object.at.namespace.shared()).await;
    let done = match check_remembered(&ctx.store, &item.object) {
        Ok(()) => reconcile(ctx, &item.object, &item.related, &permit).await,
        Err(error) => Err(error),
    };
    (item.index, done)
}

/// Fails where the remembered fingerprint of an authority cannot be read, or its identity: without them, a new one would
/// be made.
fn check_remembered(store: &DiskStore, object: &Object) -> Result<(), StoreError> {
    if object.at.kind != Kind::DockerCA {
        return Ok(());
    }
    let failed = |error| StoreError::Failed {
        verb: "recall",
        object: object.at.to_string(),
        source: Box::new(error),
        retry_after: None,
    };
    store.remembered(&object.at).and_then(|_| store.identity(&object.at)).map(|_| ()).map_err(failed)
}

fn own_name(object: &Object) -> NamespacedName {
    object.at.beside(&object.at.name)
}

/// Deliveries to other machines do not count in Ready.
fn leave_delivery_out(object: &mut Object, host: Option<&str>) {
    let delivery = delivery_to(object, host);
    if let Spec::Host(spec) = &mut object.spec {
        spec.delivery = delivery;
    }
}

/// The authority's fingerprint and identity that the state directory remembers replace the annotations in the YAML.
fn add_remembered(store: &DiskStore, object: &mut Object) {
    if object.at.kind != Kind::DockerCA {
        return;
    }
    if let Ok(Some(fingerprint)) = store.remembered(&object.at) {
        object.annotations.insert(AUTHORITY_ANNOTATION.to_owned(), fingerprint);
    }
    if let Ok(Some(identity)) = store.identity(&object.at) {
        object.annotations.insert(IDENTITY_ANNOTATION.to_owned(), identity);
    }
}

/// Objects whose Secret another object of the files has: by index, with that object. The owner that the Secret names
/// has it, else the first object in the files.
fn rivals(objects: &[LoadedObject], store: &DiskStore) -> HashMap<usize, ObjectRef> {
    let mut wanted: HashMap<NamespacedName, Vec<usize>> = HashMap::new();
    for (index, found) in objects.iter().enumerate() {
        wanted.entry(found.object.secret()).or_default().push(index);
    }
    let mut rivals = HashMap::new();
    for (at, claimants) in wanted.into_iter().filter(|(_, claimants)| claimants.len() > 1) {
        let owner = store.owner(&at);
        let holder = claimants.iter().find(|index| Some(&objects[**index].object.at) == owner.as_ref());
        let holder = *holder.unwrap_or(&claimants[0]);
        let others = claimants.into_iter().filter(|index| *index != holder);
        rivals.extend(others.map(|index| (index, objects[holder].object.at.clone())));
    }
    rivals
}
