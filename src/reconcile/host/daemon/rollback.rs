//! The way back from a change: what the journal notes is put where it was, and dockerd started as before.

use super::StepError;
use super::apply::{DockerHost, JOURNAL, Journal, PROBE_INTERVAL, PROOF_TIMEOUT};
use super::observe::{DAEMON_JSON, OUR_SOCKET, SERVICE, observe};
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::host::systemd::Verb;
use crate::decide::host::daemon_config::DaemonFiles;
use crate::decide::host::daemon_state::Stage;
use crate::docker::daemon_json::DaemonJson;
use crate::docker::unit;
use std::path::Path;
use tokio::time::{Instant, sleep};

impl DockerHost<'_> {
    /// Puts back what was there, and says what came of it; it is for the caller to forget the change. dockerd is
    /// restarted only where it had been for the change, or does not run.
    pub async fn roll_back(&self, fault: &str) -> Result<String, StepError> {
        let Some(mut journal) = system_files::recall::<Journal>(JOURNAL)? else { return Ok(fault.to_owned()) };
        let running = self.systemd.unit(SERVICE).await?.active == "active";
        let untouched = journal.stage == Stage::Writing && running;
        let said =
            || system_files::last_error(SERVICE).filter(|_| !untouched).map(|line| format!(" (dockerd: {line})"));
        let fault = journal.fault.take().unwrap_or_else(|| format!("{fault}{}", said().unwrap_or_default()));
        journal.fault = Some(fault.clone());
        if !untouched {
            journal.stage = Stage::RollingBack;
            system_files::keep(JOURNAL, Some(&journal))?;
        }
        self.put_back(&journal).await?;
        if untouched {
            return Ok(format!("{fault}; everything is as it was before"));
        }
        let started = self.restart(true).await;
        let answers = self.answers().await;
        Ok(match started {
            Err(error) if !answers => {
                format!("{fault}; everything is as it was before, and dockerd does not run even so: {error}")
            }
            _ => format!(
                "{fault}; everything is as it was before, and dockerd runs. It is not tried again until the certificate, \
                 the spec or dockerd's configuration changes"
            ),
        })
    }

    /// The listener goes before TLS, which it must not outlive.
    async fn put_back(&self, journal: &Journal) -> Result<(), StepError> {
        if journal.prior(unit::SOCKET_UNIT) == Some(&PathEntry::Absent) && self.systemd.unit(OUR_SOCKET).await?.loaded {
            let _ = self.systemd.run(Verb::Stop, OUR_SOCKET).await; // it may have failed, which is as good
        }
        let behind = system_files::behind_links(DAEMON_JSON.as_ref())?;
        for (path, prior) in journal.prior.iter().rev() {
            match *path == behind {
                true => self.put_back_daemon_json(path, prior)?,
                false => system_files::put(path, prior)?,
            }
        }
        if let (Some(current), Some(directory)) = (journal.current, self.directory()?) {
            directory.set_current(current)?;
        }
        Ok(self.systemd.reload().await?)
    }

    /// What others wrote into it meanwhile stays: a change may have waited for its restart for weeks.
    fn put_back_daemon_json(&self, path: &Path, prior: &PathEntry) -> Result<(), FileError> {
        let there = system_files::read(path)?;
        let parsed = |entry: &PathEntry| DaemonJson::parse(entry.bytes()?).ok();
        let nothing = || DaemonJson::parse(b"").ok();
        let (Some(now), Some(before)) = (parsed(&there), parsed(prior).or_else(nothing)) else {
            return system_files::put(path, prior);
        };
        match now.same_but_ours(&before) {
            true => system_files::put(path, prior),
            false => self.put_daemon_json(&DaemonFiles {
                daemon_json: Some(now.reverted(&before).render()),
                ..DaemonFiles::default()
            }),
        }
    }

    /// dockerd answers on its unix socket, soon.
    async fn answers(&self) -> bool {
        let deadline = Instant::now() + PROOF_TIMEOUT;
        loop {
            if observe(self.order, self.systemd).await.is_ok_and(|now| now.engine.is_some()) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            sleep(PROBE_INTERVAL).await;
        }
    }
}
