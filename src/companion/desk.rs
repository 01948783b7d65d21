//! The hosts of an assignment: what is wished for each, what its Secret holds, and what was reported.

use super::Settings;
use crate::api::status::CompanionStatus;
use crate::api::{AssignedHost, Assignment, ObjectRef, Place};
use crate::hallway::delivery::{Delivery, deliver};
use crate::pki::material::Data;
use crate::world::Clock;
use crate::world::companion_api::CompanionApi;
use crate::world::entropy::KeyForge;
use crate::world::systemd::Systemd;
use crate::world::watch::Watch;
use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// Editors and package managers write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// The longest nap: a clock that was set shows after it.
const LONGEST_NAP: Duration = Duration::from_mins(5);
/// What could not be reported is reported again.
const REPORT_AGAIN: Duration = Duration::from_secs(5);
/// With `once`: as long as the API server may take to show everything.
const ONCE_PATIENCE: Duration = Duration::from_mins(2);
/// Files that a delivery itself touches all the time.
const SILENT: &[&str] = &["lock"];
/// Where dockerd's configuration is.
const CONFIGURATION: [&str; 5] = [
    "/etc/docker",
    "/etc/systemd/system",
    "/etc/systemd/system/docker.service.d",
    "/etc/systemd/system/docker.socket.d",
    "/etc/default",
];

enum News {
    Assignment(Result<Option<Assignment>, String>),
    Secret(ObjectRef, Result<Option<Data>, String>),
}

struct Host {
    assigned: AssignedHost,
    /// None: not seen yet.
    secret: Option<Option<Arc<Data>>>,
    /// None: what was published before was not read yet.
    previous: Option<CompanionStatus>,
    /// What is to be published.
    unpublished: bool,
    due: bool,
    wake: Option<Timestamp>,
    watch: Option<AbortHandle>,
}

impl Host {
    fn new(assigned: AssignedHost) -> Host {
        Host { assigned, secret: None, previous: None, unpublished: false, due: true, wake: None, watch: None }
    }
}

/// All hosts.
pub struct Desk {
    settings: Settings,
    clock: Clock,
    forge: KeyForge,
    hosts: BTreeMap<ObjectRef, Host>,
    assigned: bool,
}

impl Desk {
    /// An empty one.
    pub fn new(settings: Settings, clock: Clock) -> Desk {
        Desk { settings, clock, forge: KeyForge::new(), hosts: BTreeMap::new(), assigned: false }
    }

    /// Works for that long, with an API server or without. With `once`: true where everything is delivered, false
    /// where not; else none.
    pub async fn serve(&mut self, api: Option<CompanionApi>, span: Duration) -> Option<bool> {
        let end = Instant::now() + if self.settings.once { span.min(ONCE_PATIENCE) } else { span };
        let (sender, mut news) = channel(16);
        let mut watches = JoinSet::new();
        if let Some(api) = &api {
            let at = Place::new(self.settings.account.namespace(), &self.settings.account.name());
            watches.spawn(forward(api.assignments(&at), sender.clone(), News::Assignment));
        }
        self.hosts.values_mut().for_each(|host| host.watch = None);
        loop {
            if let Some(api) = &api {
                self.watch_secrets(api, &sender, &mut watches);
                self.recall(api).await;
            }
            self.work().await;
            let reported = self.report(api.as_ref()).await;
            if self.settings.once && self.is_done() && reported {
                return Some(self.all_delivered());
            }
            if !self.wait(&mut news, end, reported).await {
                return self.settings.once.then_some(false);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.assigned && self.hosts.values().all(|host| host.secret.is_some() && !host.due)
    }

    fn all_delivered(&self) -> bool {
        let holds = |host: &Host| {
            let conditions = host.previous.iter().flat_map(|status| &status.conditions);
            conditions.filter(|condition| condition.status != "True").count() == 0
        };
        !self.hosts.is_empty() && self.hosts.values().all(holds)
    }

    fn watch_secrets(&mut self, api: &CompanionApi, sender: &Sender<News>, watches: &mut JoinSet<()>) {
        for (at, host) in self.hosts.iter_mut().filter(|(_, host)| host.watch.is_none()) {
            let secret = at.beside(&host.assigned.secret_name);
            let about = at.clone();
            let stream = api.secrets(&secret);
            let handle = watches.spawn(forward(stream, sender.clone(), move |news| News::Secret(about.clone(), news)));
            host.watch = Some(handle);
        }
    }

    /// What was reported before this process began is read once, so that instants stay.
    async fn recall(&mut self, api: &CompanionApi) {
        for (at, host) in self.hosts.iter_mut().filter(|(_, host)| host.previous.is_none()) {
            match api.status(at).await {
                Ok(status) => host.previous = Some(status),
                Err(error) => tracing::warn!(object = %at, error, "failed to read its status"),
            }
        }
    }

    /// Delivers wherever something changed or is due.
    async fn work(&mut self) {
        let now = self.clock.now();
        for (at, host) in &mut self.hosts {
            let due = host.due || host.wake.is_some_and(|wake| wake <= now);
            let (Some(secret), Some(previous), true) = (&host.secret, &host.previous, due) else { continue };
            let delivery = Delivery {
                host: host.assigned.clone(),
                secret: secret.clone(),
                roots: self.settings.directories.clone(),
                previous: previous.clone(),
                contained: self.settings.contained,
            };
            let done = deliver(&delivery, &self.clock, &self.forge).await;
            host.due = false;
            host.wake = Some(done.wake);
            if done.status != *previous {
                for condition in &done.status.conditions {
                    tracing::info!(object = %at, condition = condition.type_, status = condition.status, reason = condition.reason, "{}", condition.message);
                }
                host.previous = Some(done.status);
                host.unpublished = true;
            }
        }
    }

    /// True where nothing is left to report.
    async fn report(&mut self, api: Option<&CompanionApi>) -> bool {
        let Some(api) = api else { return true };
        let mut whole = true;
        for (at, host) in self.hosts.iter_mut().filter(|(_, host)| host.unpublished) {
            let Some(status) = &host.previous else { continue };
            match api.publish(at, &host.assigned.uid, status).await {
                Ok(()) => host.unpublished = false,
                Err(error) => {
                    whole = false;
                    tracing::warn!(object = %at, error, "failed to report");
                }
            }
        }
        whole
    }

    /// Waits for something to do; false at the end.
    async fn wait(&mut self, news: &mut Receiver<News>, end: Instant, reported: bool) -> bool {
        let watch = Watch::within(&self.watched(), SILENT);
        let again = if reported { LONGEST_NAP } else { REPORT_AGAIN };
        let nap = Instant::now() + self.nap().min(again);
        tokio::select! {
            told = news.recv() => {
                told.into_iter().for_each(|news| self.take(news));
                while let Ok(news) = news.try_recv() {
                    self.take(news);
                }
            }
            () = hint(&watch, !self.hosts.is_empty()) => {
                sleep(DEBOUNCE).await;
                self.hosts.values_mut().for_each(|host| host.due = true);
            }
            () = sleep_until(nap.min(end)) => {}
        }
        Instant::now() < end
    }

    fn nap(&self) -> Duration {
        let now = self.clock.now();
        let next = self.hosts.values().filter_map(|host| host.wake).min();
        next.map_or(LONGEST_NAP, |wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default())
    }

    fn watched(&self) -> Vec<PathBuf> {
        let directories = self.hosts.values().map(|host| PathBuf::from(&host.assigned.delivery.directory));
        let ours = directories.flat_map(|directory| [directory.clone(), directory.join(".dockseal")]);
        ours.chain(CONFIGURATION.map(PathBuf::from)).collect()
    }

    fn take(&mut self, news: News) {
        match news {
            News::Assignment(Ok(assignment)) => self.assign(assignment.unwrap_or_default()),
            News::Assignment(Err(error)) => tracing::warn!(error, "failed to watch the assignment"),
            News::Secret(at, Ok(data)) => {
                if let Some(host) = self.hosts.get_mut(&at) {
                    host.secret = Some(data.map(Arc::new));
                    host.due = true;
                }
            }
            News::Secret(at, Err(error)) => tracing::warn!(object = %at, error, "failed to watch its Secret"),
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        self.assigned = true;
        let listed =
            |host: &AssignedHost| self.settings.sources.is_empty() || self.settings.sources.contains(&host.namespace);
        let (hosts, others): (Vec<_>, Vec<_>) = assignment.hosts.into_iter().partition(listed);
        for host in others {
            tracing::error!(object = %host.object(), "its namespace is not listed for this companion: it is not delivered");
        }
        let wanted: BTreeMap<ObjectRef, AssignedHost> = hosts.into_iter().map(|host| (host.object(), host)).collect();
        self.hosts.retain(|at, host| {
            let stays = wanted.contains_key(at);
            if !stays {
                tracing::info!(object = %at, directory = host.assigned.delivery.directory, "it is no longer delivered here; what is there stays");
                host.watch.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for (at, assigned) in wanted {
            let host = self.hosts.entry(at).or_insert_with(|| Host::new(assigned.clone()));
            if host.assigned == assigned {
                continue;
            }
            if host.assigned.secret_name != assigned.secret_name || host.assigned.uid != assigned.uid {
                host.watch.iter().for_each(AbortHandle::abort);
                *host = Host::new(assigned);
            } else {
                host.assigned = assigned;
                host.due = true;
            }
        }
    }
}

/// Somebody changed files here, or dockerd was started or stopped.
async fn hint(watch: &Watch, looking: bool) {
    if !looking {
        return std::future::pending().await;
    }
    let daemon = async {
        match Systemd::reach().await {
            Ok(systemd) => systemd.changed("docker.service").await.is_ok(),
            Err(_) => false,
        }
    };
    tokio::pin!(daemon);
    tokio::select! {
        () = watch.changed() => {}
        told = &mut daemon => if !told { watch.changed().await },
    }
}

async fn forward<T>(stream: impl Stream<Item = T> + Send, sender: Sender<News>, news: impl Fn(T) -> News) {
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        if sender.send(news(item)).await.is_err() {
            return;
        }
    }
}
