//! What changes on this host, and when it is looked at: files of ours, of dockerd, and dockerd itself.

use crate::adapters::disk::watch::FileWatch;
use crate::adapters::host::cert_dir::IGNORED_FILES;
use crate::adapters::host::unit_watch::UnitWatch;
use crate::decide::delays::{BUS_RETRY_INTERVAL, DEBOUNCE, LONG_DEBOUNCE, QUIET_PERIOD};
use crate::docker::unit::SERVICE;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::time::Instant;

/// After so many checks files count as changing all the time.
const MANY_CHECKS: u32 = 20;

/// What is watched, and when there is a look to take.
pub struct HostWatcher {
    watch: FileWatch,
    daemon: Option<UnitWatch>,
    /// When to look.
    look: Option<Instant>,
    last: Option<Instant>,
    looks: u32,
}

impl HostWatcher {
    /// Nothing is watched.
    pub fn new() -> HostWatcher {
        HostWatcher { watch: FileWatch::new(IGNORED_FILES), daemon: None, look: None, last: None, looks: 0 }
    }

    /// What is watched from now on; with hosts, whether dockerd was restarted, which then serves something else, or
    /// somebody else's.
    pub fn keep_to(&mut self, directories: BTreeSet<PathBuf>, hosts: bool) {
        self.watch.keep_to(directories);
        if self.daemon.is_none() && hosts {
            self.daemon = Some(UnitWatch::of(SERVICE, BUS_RETRY_INTERVAL));
        }
    }

    /// Waits for the next change; it is looked at soon.
    pub async fn next(&mut self) {
        let restarted = async {
            match &self.daemon {
                Some(daemon) => daemon.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.watch.changed() => {}
            () = restarted => {}
        }
        self.hint();
    }

    /// When to look, where something changed.
    pub fn look(&self) -> Option<Instant> {
        self.look
    }

    /// Something changed: it is looked at soon, unless it happens all the time.
    fn hint(&mut self) {
        let now = Instant::now();
        if self.look.is_some() {
            return;
        }
        if self.last.is_none_or(|last| now.duration_since(last) > QUIET_PERIOD) {
            self.looks = 0;
        }
        self.looks = self.looks.saturating_add(1);
        self.look = Some(now + if self.looks > MANY_CHECKS { LONG_DEBOUNCE } else { DEBOUNCE });
    }

    /// Whether it is time; if so, that look is taken.
    pub fn take_look(&mut self) -> bool {
        let now = self.look.is_some_and(|look| look <= Instant::now());
        if now {
            (self.look, self.last) = (None, Some(Instant::now()));
        }
        now
    }
}
