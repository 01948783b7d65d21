//! The hosts of an assignment, and the one loop that works on them: news, changes on this host and the clock in,
//! deliveries and reports out. Nothing that the API server is slow with holds a delivery up.

use super::account::Account;
use super::door::Door;
use super::errand::{News, forward, recall, tell};
use super::host::Host;
use super::portainer::Portainers;
use super::{Ended, Settings};
use crate::api::account::of_host;
use crate::api::docker_host_cert::Mode;
use crate::api::{AssignedHost, Assignment, ObjectRef, Place};
use crate::hallway::daemon::{CONFIGURATION, SERVICE};
use crate::hallway::delivery::{Delivery, deliver, refuse};
use crate::world::Clock;
use crate::world::companion_api::ApiError;
use crate::world::host_files::{SILENT, watch_paths};
use crate::world::unit_news::UnitNews;
use crate::world::watch::Watch;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Editors and package managers write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// So many looks at changes, and there is somebody who changes files here all the time: looked at less often, until
/// that long nothing changed.
const MANY_LOOKS: u32 = 20;
const LONG_DEBOUNCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_secs(60);
/// The longest nap: a clock that was set, or a machine that slept, shows after it.
const LONGEST_NAP: Duration = Duration::from_secs(60);
/// With `once`: as long as the API server may take to show everything.
const ONCE_PATIENCE: Duration = Duration::from_mins(2);
/// A system bus that is not there, or went, is looked for so often.
const BUS_AGAIN: Duration = Duration::from_mins(5);

/// All hosts.
pub struct Desk {
    settings: Settings,
    clock: Clock,
    door: Door,
    sender: Sender<News>,
    news: Receiver<News>,
    hosts: BTreeMap<ObjectRef, Host>,
    portainers: Portainers,
    assigned: bool,
    changes: Changes,
    daemon: Option<UnitNews>,
    complaints: BTreeMap<String, String>,
}

impl Desk {
    /// An empty one.
    pub fn new(settings: Settings, clock: Clock) -> Desk {
        let (sender, news) = channel(16);
        Desk {
            door: Door::new(settings.account.clone(), clock.clone(), sender.clone()),
            portainers: Portainers::new(clock.clone(), sender.clone()),
            settings,
            clock,
            sender,
            news,
            hosts: BTreeMap::new(),
            assigned: false,
            changes: Changes::new(),
            daemon: None,
            complaints: BTreeMap::new(),
        }
    }

    /// Works on; with `once`, until everything was tried.
    pub async fn run(&mut self) -> Ended {
        let end = Instant::now() + ONCE_PATIENCE;
        loop {
            self.door.knock();
            self.ask();
            self.work().await;
            self.register();
            self.report();
            if self.settings.once
                && let Some(ended) = self.ended(Instant::now() >= end)
            {
                return ended;
            }
            let wake = if self.settings.once { self.wake().min(end) } else { self.wake() };
            self.wait(wake).await;
        }
    }

    /// With `once`: how it ended, if it did.
    fn ended(&self, late: bool) -> Option<Ended> {
        let shut = self.door.api().is_none() && self.complaints.contains_key("token");
        let done = self.assigned && self.hosts.values().all(Host::is_done);
        if !(late || shut || done) {
            return None;
        }
        if self.hosts.is_empty() && !shut {
            tracing::error!(
                "there is nothing to deliver: no DockerHostCert is assigned to {}",
                self.settings.account.name()
            );
        }
        if late && !done {
            tracing::error!("not everything was delivered and reported within {} seconds", ONCE_PATIENCE.as_secs());
        }
        let whole = done && !self.hosts.is_empty() && self.hosts.values().all(Host::is_delivered);
        Some(if whole { Ended::Delivered } else { Ended::NotDelivered })
    }

    /// Has the API server asked for what is not known.
    fn ask(&mut self) {
        let Some(api) = self.door.api() else { return };
        for (at, host) in &mut self.hosts {
            let (secret, about) = (at.beside(&host.assigned.secret_name), at.clone());
            if host.watch.is_none() {
                let news = move |news| News::Secret(about.clone(), news);
                host.watch = self.door.spawn(forward(api.secrets(&secret), self.sender.clone(), news));
            }
            if host.published.is_none() && host.asking.begin() {
                let uid = host.assigned.uid.clone();
                self.door.spawn(recall(api.clone(), at.clone(), uid, self.sender.clone()));
            }
        }
    }

    /// Delivers wherever something changed or is due.
    async fn work(&mut self) {
        let now = self.clock.now();
        for (at, host) in self.hosts.iter_mut().filter(|(_, host)| host.is_ripe(now)) {
            let previous = host.status.clone().unwrap_or_default();
            let delivery = Delivery {
                host: host.assigned.clone(),
                secret: host.secret.clone().flatten(),
                roots: self.settings.directories.clone(),
                previous: previous.clone(),
                contained: self.settings.contained,
                address: self.settings.address,
            };
            let done = match self.settings.unlisted(&host.assigned) {
                Some(why) => refuse(&delivery, why, &self.clock),
                None => deliver(&delivery, &self.clock).await,
            };
            host.due = false;
            host.wake = Some(done.wake);
            let before = |condition| previous.conditions.contains(condition);
            for condition in done.status.conditions.iter().filter(|condition| !before(condition)) {
                tracing::info!(object = %at, condition = condition.type_, status = condition.status, reason = condition.reason, "{}", condition.message);
            }
            host.status = Some(done.status);
        }
        self.changes.keep_to(self.watched());
        self.listen_to_daemon();
    }

    /// Has hosts registered where that is due, in the background.
    fn register(&mut self) {
        let nodes = matches!(self.settings.account, Account::Node { .. }) && !self.settings.once;
        for host in self.hosts.values_mut() {
            host.registers = nodes && self.settings.unlisted(&host.assigned).is_none();
        }
        let api = self.door.api();
        self.portainers.follow(&self.hosts, api.as_ref(), |watch| self.door.spawn(watch));
        self.portainers.begin(&self.hosts);
        for (at, host) in &mut self.hosts {
            let before = host.status.as_ref().map(|status| status.environments.clone()).unwrap_or_default();
            let reports = self.portainers.reports(at, host, &before);
            host.status.iter_mut().for_each(|status| status.environments.clone_from(&reports));
        }
    }

    /// Has told what is not told yet.
    fn report(&mut self) {
        let Some(api) = self.door.api() else { return };
        for (at, host) in self.hosts.iter_mut().filter(|(_, host)| host.is_untold()) {
            let Some(status) = host.status.clone().filter(|_| host.telling.begin()) else { continue };
            let uid = host.assigned.uid.clone();
            self.door.spawn(tell(api.clone(), at.clone(), uid, status, self.sender.clone()));
        }
    }

    /// When there is something to do though nothing is told.
    fn wake(&self) -> Instant {
        let asked = self.hosts.values().filter(|host| host.published.is_none()).filter_map(|host| host.asking.next());
        let told = self.hosts.values().filter(|host| host.is_untold()).filter_map(|host| host.telling.next());
        let api = self.door.api().is_some();
        let tries = asked.chain(told).filter(|_| api).chain(self.door.next());
        let looks = tries.chain(self.changes.look).min();
        let nap = Instant::now() + self.nap();
        looks.map_or(nap, |look| look.min(nap))
    }

    /// By the clock.
    fn nap(&self) -> Duration {
        let now = self.clock.now();
        let ripe = self.hosts.values().filter(|host| host.secret.is_some()).filter_map(|host| host.wake);
        let next = ripe.chain(self.door.until().filter(|until| *until > now)).chain(self.portainers.next()).min();
        let nap = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        next.map_or(LONGEST_NAP, nap).min(LONGEST_NAP)
    }

    async fn wait(&mut self, wake: Instant) {
        tokio::select! {
            news = self.news.recv() => {
                news.into_iter().for_each(|news| self.take(news));
                while let Ok(news) = self.news.try_recv() {
                    self.take(news);
                }
            }
            () = self.changes.watch.changed() => self.changes.hint(),
            () = restarted(self.daemon.as_ref()) => self.changes.hint(),
            () = sleep_until(wake) => {}
        }
        if self.changes.take_look() {
            self.hosts.values_mut().for_each(|host| host.due = true);
        }
    }

    fn watched(&self) -> BTreeSet<PathBuf> {
        let directories = self.hosts.values().map(|host| PathBuf::from(&host.assigned.delivery.directory));
        let below = |root: &PathBuf| self.settings.directories.iter().any(|allowed| root.starts_with(allowed));
        let ours = directories.filter(below).flat_map(|directory| watch_paths(&directory));
        let daemon = self.hosts.values().any(|host| host.assigned.delivery.mode == Mode::Daemon);
        ours.chain(CONFIGURATION.iter().filter(|_| daemon).map(PathBuf::from)).collect()
    }

    /// From the first host on: a dockerd that was restarted serves something else, or somebody else's.
    fn listen_to_daemon(&mut self) {
        if self.daemon.is_none() && !self.hosts.is_empty() {
            self.daemon = Some(UnitNews::of(SERVICE, BUS_AGAIN));
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Entered(entered) => self.enter(entered),
            News::Assignment(told) => {
                if let Some(assignment) = self.answered("the assignment", told) {
                    self.assign(assignment);
                }
            }
            News::Secret(at, told) => {
                let found = self.answered(&format!("the Secret of {at}"), told);
                if let Some((data, host)) = found.zip(self.hosts.get_mut(&at))
                    && host.secret.as_ref().map(Option::as_deref) != Some(data.as_ref())
                {
                    host.secret = Some(data.map(Into::into));
                    host.due = true;
                }
            }
            News::Kept(at, told) => {
                if let Some(data) = self.answered(&format!("the Secret {at} of a Portainer"), told) {
                    self.portainers.keep(&at, data);
                }
            }
            News::Registered(host, client, report, wake) => self.portainers.registered(host, client, *report, wake),
            News::Recalled(at, uid, told) => self.recalled(&at, &uid, told),
            News::Told(at, uid, status, told) => {
                let done = self.answered(&format!("the report on {at}"), told).is_some();
                let Some(host) = self.hosts.get_mut(&at).filter(|host| host.assigned.uid == uid) else { return };
                match done {
                    true => {
                        host.telling.done();
                        host.published = Some(status);
                    }
                    false => host.telling.failed(),
                }
            }
        }
    }

    fn recalled(&mut self, at: &ObjectRef, uid: &str, told: Result<crate::api::status::CompanionStatus, ApiError>) {
        let found = self.answered(&format!("the status of {at}"), told);
        let Some(host) = self.hosts.get_mut(at).filter(|host| host.assigned.uid == uid) else { return };
        match found {
            Some(status) => host.recalled(status),
            None => {
                host.asking.failed();
                host.blind |= host.status.is_none();
            }
        }
    }

    fn enter(&mut self, entered: Result<(crate::world::companion_api::CompanionApi, Timestamp), String>) {
        match self.door.entered(entered) {
            Err(error) => {
                self.complain("token", &format!("{error}; what is delivered stays"));
            }
            Ok(()) => {
                self.complaints.remove("token");
                self.begin_term();
                let account = &self.settings.account;
                let at = Place::new(account.namespace(), &account.name());
                if let Some(api) = self.door.api() {
                    self.door.spawn(forward(api.assignments(&at), self.sender.clone(), News::Assignment));
                }
            }
        }
    }

    fn begin_term(&mut self) {
        self.hosts.values_mut().for_each(Host::begin_term);
        self.portainers.begin_term();
    }

    /// What the API server said; where it did not, why is logged once.
    fn answered<T>(&mut self, about: &str, told: Result<T, ApiError>) -> Option<T> {
        match told {
            Ok(value) => {
                self.door.welcome();
                if self.complaints.remove(about).is_some() {
                    tracing::info!(about, "the API server answers again");
                }
                Some(value)
            }
            Err(error) => {
                self.complain(about, &error.to_string());
                if error.refused {
                    self.door.refuse();
                    self.begin_term();
                }
                None
            }
        }
    }

    /// Says what is wrong, unless it was the last thing that was said of it.
    fn complain(&mut self, about: &str, error: &str) {
        if self.complaints.insert(about.to_owned(), error.to_owned()).as_deref() != Some(error) {
            tracing::warn!(about, "{error}"); // it is tried again
        }
    }

    fn assign(&mut self, assignment: Option<Assignment>) {
        self.assigned = true;
        if assignment.is_none() && !self.hosts.is_empty() {
            tracing::warn!("the assignment is gone: nothing is assigned to {} now", self.settings.account.name());
            self.door.doubt();
        }
        let hosts = assignment.unwrap_or_default().hosts;
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
            match self.hosts.get_mut(&at) {
                Some(host) => _ = host.assign(assigned),
                None => _ = self.hosts.insert(at, Host::new(assigned)),
            }
        }
        let of_hosts =
            |about: &String| !about.contains(' ') || self.hosts.keys().any(|at| about.ends_with(&at.to_string()));
        self.complaints.retain(|about, _| about == "the assignment" || of_hosts(about));
    }
}

impl Settings {
    /// Why an object may not be delivered here, whatever the assignment says.
    fn unlisted(&self, host: &AssignedHost) -> Option<String> {
        match &self.account {
            Account::Node { .. } => (!self.sources.contains(&host.namespace)).then(|| {
                format!("nothing is delivered to nodes from the namespace {}: an administrator lists namespaces in companion.namespaces of the chart", host.namespace)
            }),
            Account::Host { name, .. } => (*name != of_host(&host.namespace, &host.name))
                .then(|| format!("this host was enrolled as {name}, and delivers nothing else")),
        }
    }
}

/// What changes on this host, and when it is looked at.
struct Changes {
    watch: Watch,
    /// When to look.
    look: Option<Instant>,
    last: Option<Instant>,
    looks: u32,
}

impl Changes {
    fn new() -> Changes {
        Changes { watch: Watch::new(SILENT), look: None, last: None, looks: 0 }
    }

    fn keep_to(&mut self, directories: BTreeSet<PathBuf>) {
        self.watch.keep_to(directories);
    }

    /// Something changed: it is looked at soon, unless it happens all the time.
    fn hint(&mut self) {
        let now = Instant::now();
        if self.look.is_some() {
            return;
        }
        if self.last.is_none_or(|last| now.duration_since(last) > QUIET) {
            self.looks = 0;
        }
        self.looks = self.looks.saturating_add(1);
        self.look = Some(now + if self.looks > MANY_LOOKS { LONG_DEBOUNCE } else { DEBOUNCE });
    }

    fn take_look(&mut self) -> bool {
        let now = self.look.is_some_and(|look| look <= Instant::now());
        if now {
            (self.look, self.last) = (None, Some(Instant::now()));
        }
        now
    }
}

/// Waits for dockerd to be started or stopped, where that is listened to.
async fn restarted(daemon: Option<&UnitNews>) {
    match daemon {
        Some(daemon) => daemon.changed().await,
        None => std::future::pending().await,
    }
}
