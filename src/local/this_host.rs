//! `up --host NAME`: what a companion does, for the machine that `up` itself runs on.

use super::state::{LocalState, RunResult};
use crate::adapters::StoreError;
use crate::adapters::disk::file_error::FileError;
use crate::adapters::disk::watch::FileWatch;
use crate::adapters::host::LocalHost;
use crate::adapters::host::cert_dir::{CertDir, DeliveryError, is_ignored, watch_paths};
use crate::adapters::host::system_files;
use crate::adapters::host::unit_watch::UnitWatch;
use crate::adapters::store::{Store, StoredKind};
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Delivery;
use crate::api::{Kind, Object, REPLACE_AUTHORITY_ANNOTATION, Spec};
use crate::decide::delivery::assignment::entry;
use crate::docker::unit::SERVICE;
use crate::reconcile::host::daemon::CONFIGURATION;
use crate::reconcile::host::{DeliveryResult, HostDelivery, deliver, refuse};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// `spec.delivery` of the object that is delivered to this machine; none for other objects.
pub fn delivery_to(object: &Object, host: Option<&str>) -> Option<Delivery> {
    let Spec::Host(spec) = &object.spec else { return None };
    spec.delivery.clone().filter(|_| host == Some(&*object.at.name))
}

/// How often a lost connection to systemd's D-Bus is tried again.
const BUS_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Changes that others make to what is delivered on this machine.
pub struct HostChanges {
    watch: FileWatch,
    daemon: UnitWatch,
}

impl HostChanges {
    pub fn watched() -> HostChanges {
        HostChanges { watch: FileWatch::new(is_ignored), daemon: UnitWatch::of(SERVICE, BUS_RETRY_INTERVAL) }
    }

    /// Watches that directory and dockerd's configuration. To be called after each run, which may have made them.
    pub fn keep_to(&mut self, directory: &Path) {
        self.watch.keep_to(watch_paths(directory).into_iter().chain(CONFIGURATION.map(PathBuf::from)));
    }

    /// Waits for a change.
    pub async fn changed(&self) {
        tokio::select! {
            () = self.watch.changed() => {}
            () = self.daemon.changed() => {}
        }
    }
}

impl LocalState {
    /// The directory on this machine that files are delivered to.
    pub fn directory(&self) -> Option<&Path> {
        let delivery = self.objects[self.delivered_here()?].object.delivery()?;
        Some(Path::new(&delivery.directory))
    }

    /// Delivers to this machine, where that is asked for and a certificate is stored; true where the object's status
    /// changed, so that it is to be reconciled again.
    pub async fn deliver(&mut self, result: &mut RunResult) -> bool {
        let Some(index) = self.delivered_here() else { return false };
        let object = self.objects[index].object.clone();
        let done = self.deliver_object(&object).await;
        self.print_news("delivery", done.as_ref().err().map(ToString::to_string).as_deref());
        match done {
            Ok(None) => false,
            Ok(Some(done)) => {
                result.requeue_by(Some(done.requeue_at));
                let changed = done.status != object.companion;
                if changed {
                    self.print_conditions(&object, &done);
                    let reported = self.store().report(&object.at, &done.status);
                    result.failed |= reported.is_err();
                    self.print_news("report", reported.err().map(|error| error.to_string()).as_deref());
                    self.objects[index].object.companion = done.status;
                }
                changed
            }
            Err(_) => {
                result.failed = true;
                false
            }
        }
    }

    fn delivered_here(&self) -> Option<usize> {
        let host = self.host.as_deref()?;
        let is_it = |object: &Object| object.at.kind == Kind::DockerHostCert && &*object.at.name == host;
        self.objects.iter().position(|found| is_it(&found.object) && found.object.delivery().is_some())
    }

    async fn deliver_object(&mut self, object: &Object) -> Result<Option<DeliveryResult>, StoreError> {
        let Some(stored) = self.store().read(StoredKind::Secrets, &object.secret()).await? else { return Ok(None) };
        if stored.owner.as_ref() != Some(&object.at) {
            return Ok(None); // its Issued condition says whose it is
        }
        // No other host waits for this restart.
        let Some(mut assigned) = entry(object, Some(Timestamp::MAX)) else { return Ok(None) };
        assigned.claim.writer = Some(self.store().writer().map_err(|error| unnamed(object, error))?);
        assigned.claim.replaces = self.replaced_authority(object);
        let delivery = HostDelivery {
            roots: vec![PathBuf::from(&assigned.delivery.directory)],
            host: assigned,
            secret: Some(Arc::new(stored.data)),
            previous: object.companion.clone(),
            contained: system_files::is_there("/.dockerenv"),
            address: None,
        };
        Ok(Some(self.deliver_alone(&delivery).await))
    }

    /// Delivers, where no other process holds the directory; once delivered, this one holds it as long as it runs.
    async fn deliver_alone(&mut self, delivery: &HostDelivery) -> DeliveryResult {
        let path = PathBuf::from(&delivery.host.delivery.directory);
        self.held.take_if(|(held, _)| *held != path);
        if let Err(error @ DeliveryError::Held { .. }) = self.hold(&path, false) {
            return refuse(delivery, Reason::HostConflict, error.to_string(), self.clock());
        }
        let done = deliver(&LocalHost::new(), delivery, self.clock()).await;
        let delivered = |known: &Condition| known.type_ == "Delivered" && known.status == "True";
        if done.status.conditions.iter().any(delivered) {
            let _ = self.hold(&path, true); // else the next one tries
        }
        done
    }

    fn hold(&mut self, path: &Path, make: bool) -> Result<(), DeliveryError> {
        if self.held.is_some() {
            return Ok(());
        }
        let directory = CertDir::find(&[path.to_owned()], path)?;
        let lock = directory.map_or(Ok(None), |directory| directory.hold(make))?;
        self.held = lock.map(|lock| (path.to_owned(), lock));
        Ok(())
    }

    /// The authority that the user had replaced in the object's DockerCA.
    fn replaced_authority(&self, object: &Object) -> Option<String> {
        let at = object.authority()?;
        let is_it = |found: &Object| found.at.kind == Kind::DockerCA && found.at.beside(&found.at.name) == at;
        let ca = self.objects.iter().map(|found| &found.object).find(|found| is_it(found))?;
        ca.annotation(REPLACE_AUTHORITY_ANNOTATION).map(str::to_owned)
    }

    /// Prints conditions that have become true.
    fn print_conditions(&self, object: &Object, done: &DeliveryResult) {
        for condition in &done.status.conditions {
            let known = object.companion.conditions.contains(condition);
            let line = format!("{}: {}", object.at.name, condition.message);
            match condition.status.as_str() {
                "True" if known => {}
                "True" => self.print_news(&condition.type_, Some(&line)),
                _ => self.print_news(&condition.type_, None),
            }
        }
    }
}

/// Without the directory's id nothing is delivered: another one could not tell whose it is.
fn unnamed(object: &Object, error: FileError) -> StoreError {
    StoreError::Failed { verb: "deliver", object: object.at.to_string(), source: Box::new(error), retry_after: None }
}
