//! The hosts of an assignment, and the one loop that works on them: news, changes on this host and the clock in,
//! deliveries and reports out. Nothing that the API server is slow with holds a delivery up.

mod events;

use super::api_session::ApiSession;
use super::assigned_host::AssignedHostState;
use super::credentials::Account;
use super::host_watch::HostWatcher;
use super::registration::Portainers;
use super::requests::{CompanionEvent, forward, recall, tell};
use super::{CompanionResult, CompanionSettings};
use crate::adapters::Clock;
use crate::adapters::host::LocalHost;
use crate::adapters::host::cert_dir::watch_paths;
use crate::api::account::of_host;
use crate::api::docker_host_cert::Mode;
use crate::api::{AssignedHost, ObjectRef};
use crate::decide::delays::{MAX_SLEEP, ONCE_TIMEOUT};
use crate::reconcile::host::daemon::CONFIGURATION;
use crate::reconcile::host::{HostDelivery, deliver, refuse};
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

/// All hosts.
pub struct Reconciler {
    settings: CompanionSettings,
    clock: Clock,
    door: ApiSession,
    sender: Sender<CompanionEvent>,
    news: Receiver<CompanionEvent>,
    hosts: BTreeMap<ObjectRef, AssignedHostState>,
    portainers: Portainers,
    assigned: bool,
    changes: HostWatcher,
    complaints: BTreeMap<String, String>,
}

impl Reconciler {
    /// An empty one.
    pub fn new(settings: CompanionSettings, clock: Clock) -> Reconciler {
        let (sender, news) = channel(16);
        Reconciler {
            door: ApiSession::new(settings.account.clone(), clock.clone(), sender.clone()),
            portainers: Portainers::new(clock.clone(), sender.clone()),
            settings,
            clock,
            sender,
            news,
            hosts: BTreeMap::new(),
            assigned: false,
            changes: HostWatcher::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// Works on; with `once`, until everything was tried.
    pub async fn run(&mut self) -> CompanionResult {
        let end = Instant::now() + ONCE_TIMEOUT;
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
            let requeue_at = if self.settings.once { self.requeue_at().min(end) } else { self.requeue_at() };
            self.wait(requeue_at).await;
        }
    }

    /// With `once`: how it ended, if it did.
    fn ended(&self, late: bool) -> Option<CompanionResult> {
        let shut = self.door.api().is_none() && self.complaints.contains_key("token");
        let done = self.assigned && self.hosts.values().all(AssignedHostState::is_done);
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
            tracing::error!("not everything was delivered and reported within {} seconds", ONCE_TIMEOUT.as_secs());
        }
        let whole = done && !self.hosts.is_empty() && self.hosts.values().all(AssignedHostState::is_delivered);
        Some(if whole { CompanionResult::Delivered } else { CompanionResult::NotDelivered })
    }

    /// Has the API server asked for what is not known.
    fn ask(&mut self) {
        let Some(api) = self.door.api() else { return };
        for (at, host) in &mut self.hosts {
            let (secret, about) = (at.beside(&host.assigned.secret_name), at.clone());
            if host.watch.is_none() {
                let news = move |news| CompanionEvent::Secret(about.clone(), news);
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
            let delivery = HostDelivery {
                host: host.assigned.clone(),
                secret: host.secret.clone().flatten(),
                roots: self.settings.directories.clone(),
                previous: previous.clone(),
                contained: self.settings.contained,
                address: self.settings.address,
            };
            let done = match self.settings.unlisted(&host.assigned) {
                Some(why) => refuse(&delivery, why, &self.clock),
                None => deliver(&LocalHost::new(), &delivery, &self.clock).await,
            };
            host.due = false;
            host.requeue_at = Some(done.requeue_at);
            let before = |condition| previous.conditions.contains(condition);
            for condition in done.status.conditions.iter().filter(|condition| !before(condition)) {
                tracing::info!(object = %at, condition = condition.type_, status = condition.status, reason = condition.reason, "{}", condition.message);
            }
            host.status = Some(done.status);
        }
        self.changes.keep_to(self.watched(), !self.hosts.is_empty());
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
    fn requeue_at(&self) -> Instant {
        let asked = self.hosts.values().filter(|host| host.published.is_none()).filter_map(|host| host.asking.next());
        let told = self.hosts.values().filter(|host| host.is_untold()).filter_map(|host| host.telling.next());
        let api = self.door.api().is_some();
        let tries = asked.chain(told).filter(|_| api).chain(self.door.next());
        let looks = tries.chain(self.changes.look()).min();
        let nap = Instant::now() + self.nap();
        looks.map_or(nap, |look| look.min(nap))
    }

    /// By the clock.
    fn nap(&self) -> Duration {
        let now = self.clock.now();
        let ripe = self.hosts.values().filter(|host| host.secret.is_some()).filter_map(|host| host.requeue_at);
        let next = ripe.chain(self.door.until().filter(|until| *until > now)).chain(self.portainers.next()).min();
        let nap = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        next.map_or(MAX_SLEEP, nap).min(MAX_SLEEP)
    }

    async fn wait(&mut self, requeue_at: Instant) {
        tokio::select! {
            news = self.news.recv() => {
                news.into_iter().for_each(|news| self.take(news));
                while let Ok(news) = self.news.try_recv() {
                    self.take(news);
                }
            }
            () = self.changes.next() => {}
            () = sleep_until(requeue_at) => {}
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
}

impl CompanionSettings {
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
