//! The companion's loop: events of the API server, changes on this host and the clock come in; deliveries, registrations
//! and published statuses go out. It never waits for the API server.

mod events;

use super::api_session::ApiSession;
use super::assigned_host::AssignedHostState;
use super::credentials::Account;
use super::host_watch::HostWatcher;
use super::registration::Portainers;
use super::requests::{CompanionEvent, forward, publish_status, read_status};
use super::settings::{CompanionResult, CompanionSettings};
use crate::adapters::Clock;
use crate::adapters::host::LocalHost;
use crate::adapters::host::cert_dir::watch_paths;
use crate::api::ObjectRef;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Mode;
use crate::decide::delays::{MAX_SLEEP, ONCE_TIMEOUT};
use crate::reconcile::host::daemon::CONFIGURATION;
use crate::reconcile::host::{HostDelivery, deliver, refuse};
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

pub struct Reconciler {
    settings: CompanionSettings,
    clock: Clock,
    session: ApiSession,
    sender: Sender<CompanionEvent>,
    events: Receiver<CompanionEvent>,
    hosts: BTreeMap<ObjectRef, AssignedHostState>,
    portainers: Portainers,
    /// The assignment was read.
    assigned: bool,
    watcher: HostWatcher,
    /// The last error that was logged of each request.
    reported_errors: BTreeMap<String, String>,
}

impl Reconciler {
    pub fn new(settings: CompanionSettings, clock: Clock) -> Reconciler {
        let (sender, events) = channel(16);
        Reconciler {
            session: ApiSession::new(settings.account.clone(), clock.clone(), sender.clone()),
            portainers: Portainers::new(clock.clone(), sender.clone()),
            settings,
            clock,
            sender,
            events,
            hosts: BTreeMap::new(),
            assigned: false,
            watcher: HostWatcher::new(),
            reported_errors: BTreeMap::new(),
        }
    }

    /// Runs for ever; with `once`, until everything was tried.
    pub async fn run(&mut self) -> CompanionResult {
        let end = Instant::now() + ONCE_TIMEOUT;
        loop {
            self.session.fetch_token();
            self.send_requests();
            self.deliver_due().await;
            self.register();
            self.publish();
            if self.settings.once
                && let Some(ended) = self.ended(Instant::now() >= end)
            {
                return ended;
            }
            let requeue_at = if self.settings.once { self.requeue_at().min(end) } else { self.requeue_at() };
            self.wait(requeue_at).await;
        }
    }

    /// With `once`: the result, if it is known.
    fn ended(&self, late: bool) -> Option<CompanionResult> {
        let no_token = self.session.api().is_none() && self.reported_errors.contains_key("token");
        let done = self.assigned && self.hosts.values().all(AssignedHostState::is_done);
        if !(late || no_token || done) {
            return None;
        }
        if self.hosts.is_empty() && !no_token {
            tracing::error!("nothing to deliver: no DockerHostCert is assigned to {}", self.settings.account.name());
        }
        if late && !done {
            tracing::error!("not everything was delivered and published within {} seconds", ONCE_TIMEOUT.as_secs());
        }
        let delivered = done && !self.hosts.is_empty() && self.hosts.values().all(AssignedHostState::is_delivered);
        Some(if delivered { CompanionResult::Delivered } else { CompanionResult::NotDelivered })
    }

    /// Starts the watches and requests for what is not known.
    fn send_requests(&mut self) {
        let Some(api) = self.session.api() else { return };
        for (at, host) in &mut self.hosts {
            let (secret, about) = (at.beside(&host.assigned.secret_name), at.clone());
            if host.watch.is_none() {
                let event = move |data| CompanionEvent::Secret(about.clone(), data);
                host.watch = self.session.spawn(forward(api.secrets(&secret), self.sender.clone(), event));
            }
            if host.published.is_none() && host.status_request.begin() {
                let uid = host.assigned.uid.clone();
                self.session.spawn(read_status(api.clone(), at.clone(), uid, self.sender.clone()));
            }
        }
    }

    /// Delivers the hosts of which something changed or that are due.
    async fn deliver_due(&mut self) {
        let now = self.clock.now();
        for (at, host) in self.hosts.iter_mut().filter(|(_, host)| host.is_deliverable(now)) {
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
                Some(why) => refuse(&delivery, Reason::NotListed, why, &self.clock),
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
        self.watcher.keep_to(self.watched(), !self.hosts.is_empty());
    }

    /// Starts the registrations that are due; they run in the background.
    fn register(&mut self) {
        let nodes = matches!(self.settings.account, Account::Node { .. }) && !self.settings.once;
        for host in self.hosts.values_mut() {
            host.registers = nodes && self.settings.unlisted(&host.assigned).is_none();
        }
        let api = self.session.api();
        self.portainers.follow(&self.hosts, api.as_ref(), |watch| self.session.spawn(watch));
        self.portainers.begin(&self.hosts);
        for (at, host) in &mut self.hosts {
            let before = host.status.as_ref().map(|status| status.environments.clone()).unwrap_or_default();
            let reports = self.portainers.reports(at, host, &before);
            host.status.iter_mut().for_each(|status| status.environments.clone_from(&reports));
        }
    }

    /// Publishes the statuses that differ from the published ones.
    fn publish(&mut self) {
        let Some(api) = self.session.api() else { return };
        for (at, host) in self.hosts.iter_mut().filter(|(_, host)| host.is_unpublished()) {
            let Some(status) = host.status.clone().filter(|_| host.publish_request.begin()) else { continue };
            let uid = host.assigned.uid.clone();
            self.session.spawn(publish_status(api.clone(), at.clone(), uid, status, self.sender.clone()));
        }
    }

    /// When to go on, if no event comes.
    fn requeue_at(&self) -> Instant {
        let status_requests =
            self.hosts.values().filter(|host| host.published.is_none()).filter_map(|host| host.status_request.next());
        let publish_requests =
            self.hosts.values().filter(|host| host.is_unpublished()).filter_map(|host| host.publish_request.next());
        let api = self.session.api().is_some();
        let requests = status_requests.chain(publish_requests).filter(|_| api).chain(self.session.next());
        let next = requests.chain(self.watcher.check_at()).min();
        let longest = Instant::now() + self.sleep_time();
        next.map_or(longest, |instant| instant.min(longest))
    }

    /// How long to sleep by the clock, which may be set meanwhile.
    fn sleep_time(&self) -> Duration {
        let now = self.clock.now();
        let due = self.hosts.values().filter(|host| host.secret.is_some()).filter_map(|host| host.requeue_at);
        let next =
            due.chain(self.session.renew_at().filter(|renew_at| *renew_at > now)).chain(self.portainers.next()).min();
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        next.map_or(MAX_SLEEP, until).min(MAX_SLEEP)
    }

    async fn wait(&mut self, requeue_at: Instant) {
        tokio::select! {
            event = self.events.recv() => {
                event.into_iter().for_each(|event| self.handle(event));
                while let Ok(event) = self.events.try_recv() {
                    self.handle(event);
                }
            }
            () = self.watcher.next() => {}
            () = sleep_until(requeue_at) => {}
        }
        if self.watcher.take_check() {
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
