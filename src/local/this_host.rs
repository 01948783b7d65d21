//! `up --host NAME`: what a companion does, for the machine that `up` itself runs on.

use super::runner::{RunResult, Runner};
use crate::adapters::StoreError;
use crate::adapters::disk::watch::FileWatch;
use crate::adapters::host::LocalHost;
use crate::adapters::host::cert_dir::{IGNORED_FILES, watch_paths};
use crate::adapters::host::system_files;
use crate::adapters::host::unit_watch::UnitWatch;
use crate::adapters::store::{Store, StoredKind};
use crate::api::docker_host_cert::Delivery as Wishes;
use crate::api::{Kind, Object, Spec};
use crate::decide::delivery::assignment::entry;
use crate::docker::unit::SERVICE;
use crate::reconcile::host::daemon::CONFIGURATION;
use crate::reconcile::host::{DeliveryResult, HostDelivery, deliver};
use k8s_openapi::jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the machine's own files go, and how.
pub fn wishes(object: &Object, host: Option<&str>) -> Option<Wishes> {
    let Spec::Host(spec) = &object.spec else { return None };
    spec.delivery.clone().filter(|_| host == Some(&*object.at.name))
}

/// A bus that was not there, or went away, is tried again.
const BUS_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// What others do on this machine to what is delivered, as soon as the system tells of it.
pub struct HostChanges {
    watch: FileWatch,
    daemon: UnitWatch,
}

impl HostChanges {
    pub fn watched() -> HostChanges {
        HostChanges { watch: FileWatch::new(IGNORED_FILES), daemon: UnitWatch::of(SERVICE, BUS_RETRY_INTERVAL) }
    }

    /// Files delivered to that directory, and dockerd's configuration: to be said after each round, which may have made
    /// them.
    pub fn keep_to(&mut self, directory: &Path) {
        self.watch.keep_to(watch_paths(directory).into_iter().chain(CONFIGURATION.map(PathBuf::from)));
    }

    /// Waits until they did something.
    pub async fn noticed(&self) {
        tokio::select! {
            () = self.watch.changed() => {}
            () = self.daemon.changed() => {}
        }
    }
}

impl Runner {
    /// Where files are delivered on this machine, if they are.
    pub fn directory(&self) -> Option<&Path> {
        let delivery = self.objects[self.here()?].object.delivery()?;
        Some(Path::new(&delivery.directory))
    }

    /// Delivers to this machine, where it was asked to and a certificate is stored; true where that changed what is
    /// known of the object, so that it should be looked at again.
    pub async fn deliver(&mut self, round: &mut RunResult) -> bool {
        let Some(index) = self.here() else { return false };
        let object = self.objects[index].object.clone();
        match self.bring(&object).await {
            Ok(None) => false,
            Ok(Some(done)) => {
                round.requeue_at = [round.requeue_at, Some(done.requeue_at)].into_iter().flatten().min();
                let news = done.status != object.companion;
                if news {
                    self.say(&object, &done);
                    if let Err(error) = self.store().report(&object.at, &done.status) {
                        self.board.lock().say(&error.to_string());
                    }
                    self.objects[index].object.companion = done.status;
                }
                news
            }
            Err(error) => {
                round.failed = true;
                self.board.lock().say(&error.to_string());
                false
            }
        }
    }

    fn here(&self) -> Option<usize> {
        let host = self.host.as_deref()?;
        let is_it = |object: &Object| object.at.kind == Kind::DockerHostCert && &*object.at.name == host;
        self.objects.iter().position(|found| is_it(&found.object) && found.object.delivery().is_some())
    }

    async fn bring(&self, object: &Object) -> Result<Option<DeliveryResult>, StoreError> {
        let Some(stored) = self.store().read(StoredKind::Secrets, &object.secret()).await? else { return Ok(None) };
        if stored.owner.as_ref() != Some(&object.at) {
            return Ok(None); // its own walk says whose it is
        }
        // Nobody else's dockerd waits for this one's turn.
        let Some(assigned) = entry(object, Some(Timestamp::MAX)) else { return Ok(None) };
        let delivery = HostDelivery {
            roots: vec![PathBuf::from(&assigned.delivery.directory)],
            host: assigned,
            secret: Some(Arc::new(stored.data)),
            previous: object.companion.clone(),
            contained: system_files::is_there("/.dockerenv"),
            address: None,
        };
        Ok(Some(deliver(&LocalHost::new(), &delivery, self.clock()).await))
    }

    fn say(&self, object: &Object, done: &DeliveryResult) {
        let mut board = self.board.lock();
        for condition in &done.status.conditions {
            let known = object.companion.conditions.contains(condition);
            if !known && condition.status == "True" {
                board.say(&format!("{}: {}", object.at.name, condition.message));
            }
        }
    }
}
