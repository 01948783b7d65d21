//! What one `up` works on: the objects of the files, the store, the clock and the table. It decides nothing.

use super::manifests::LoadedObject;
use super::status_table::StatusTable;
use crate::adapters::host::cert_dir::RunningLock;
use crate::adapters::{Clock, DiskStore};
use crate::reconcile::Context;
use crate::reconcile::registration::Registrations;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// What one run over all objects came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunResult {
    /// When the next run is due, though nothing else changes.
    pub requeue_at: Option<Timestamp>,
    /// Something failed, and is to be tried again.
    pub failed: bool,
    pub ready: bool,
}

impl RunResult {
    /// The next run is due at that instant at the latest.
    pub fn requeue_by(&mut self, at: Option<Timestamp>) {
        self.requeue_at = self.requeue_at.into_iter().chain(at).min();
    }
}

/// Shared by reconciling, by the delivery to this machine and by registration in Portainer.
pub struct LocalState {
    pub ctx: Arc<Context<DiskStore>>,
    pub objects: Vec<LoadedObject>,
    pub table: Arc<Mutex<StatusTable>>,
    /// Name of the DockerHostCert that is delivered to this machine.
    pub host: Option<String>,
    pub registrations: Arc<Registrations>,
    /// The directory that this process delivers to.
    pub held: Option<(PathBuf, RunningLock)>,
}

impl LocalState {
    pub fn store(&self) -> &DiskStore {
        &self.ctx.store
    }

    pub fn clock(&self) -> &Clock {
        &self.ctx.clock
    }

    pub fn print_event(&self, line: &str) {
        self.table.lock().print_event(line);
    }
    /// Prints what there is to say `about` something, once until it changes.
    pub fn print_news(&self, about: &str, line: Option<&str>) {
        self.table.lock().print_news(about, line);
    }
}
