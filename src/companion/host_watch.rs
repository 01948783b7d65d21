//! Watches this host: changes of delivered files, of dockerd's configuration and restarts of dockerd come in; when to
//! check them goes out. It reads and writes none of them.

use crate::adapters::disk::watch::FileWatch;
use crate::adapters::host::cert_dir::is_ignored;
use crate::adapters::host::unit_watch::UnitWatch;
use crate::decide::delays::{BUS_RETRY_INTERVAL, DEBOUNCE, LONG_DEBOUNCE, QUIET_PERIOD};
use crate::docker::unit::SERVICE;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::time::Instant;

/// After so many checks files count as changing all the time.
const MANY_CHECKS: u32 = 20;

pub struct HostWatcher {
    watch: FileWatch,
    daemon: Option<UnitWatch>,
    check_at: Option<Instant>,
    last: Option<Instant>,
    checks: u32,
}

impl HostWatcher {
    pub fn new() -> HostWatcher {
        HostWatcher { watch: FileWatch::new(is_ignored), daemon: None, check_at: None, last: None, checks: 0 }
    }

    /// Watches those directories and files from now on and, with `hosts`, restarts of dockerd: it may serve something
    /// else then.
    pub fn keep_to(&mut self, directories: BTreeSet<PathBuf>, hosts: bool) {
        self.watch.keep_to(directories);
        if self.daemon.is_none() && hosts {
            self.daemon = Some(UnitWatch::of(SERVICE, BUS_RETRY_INTERVAL));
        }
    }

    /// Waits for the next change, and schedules a check.
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
        self.schedule_check();
    }

    /// When to check, if something changed.
    pub fn check_at(&self) -> Option<Instant> {
        self.check_at
    }

    /// The check is soon, unless files change all the time.
    fn schedule_check(&mut self) {
        let now = Instant::now();
        if self.check_at.is_some() {
            return;
        }
        if self.last.is_none_or(|last| now.duration_since(last) > QUIET_PERIOD) {
            self.checks = 0;
        }
        self.checks = self.checks.saturating_add(1);
        self.check_at = Some(now + if self.checks > MANY_CHECKS { LONG_DEBOUNCE } else { DEBOUNCE });
    }

    /// True where a check is due; it no longer is then.
    pub fn take_check(&mut self) -> bool {
        let now = self.check_at.is_some_and(|check_at| check_at <= Instant::now());
        if now {
            (self.check_at, self.last) = (None, Some(Instant::now()));
        }
        now
    }
}
