//! The rollback of a change: what the journal holds is put where it was, and dockerd started as before.

use super::docker_host::DockerHost;
use super::error::StepError;
use super::journal::{JOURNAL, Journal};
use crate::adapters::disk::file_error::FileError;
use crate::adapters::host::system_files::PathEntry;
use crate::adapters::host::systemd::Verb;
use crate::adapters::host::{DeliveryDirectory, Host};
use crate::decide::host::daemon_config::DAEMON_JSON;
use crate::decide::host::daemon_state::Stage;
use crate::docker::daemon_json::DaemonJson;
use crate::docker::unit;
use std::path::Path;

impl<H: Host> DockerHost<'_, H> {
    /// Restores what was there, and says what came of it; the caller ends the change. dockerd is restarted only where
    /// it had been for the change, or does not run.
    pub async fn roll_back(&self, fault: &str) -> Result<String, StepError> {
        let Some(mut journal) = self.journal()? else { return Ok(fault.to_owned()) };
        let running = self.host.unit(unit::SERVICE).await?.active == "active";
        let untouched = journal.stage == Stage::Writing && running;
        let log = || self.host.last_error(unit::SERVICE).filter(|_| !untouched);
        let log = || log().map(|line| format!(" (dockerd: {line})")).unwrap_or_default();
        let fault = journal.fault.take().unwrap_or_else(|| format!("{fault}{}", log()));
        journal.fault = Some(fault.clone());
        if !untouched {
            journal.stage = Stage::RollingBack;
            self.host.write_note(JOURNAL, Some(&journal))?;
        }
        self.restore(&journal).await?;
        if untouched {
            return Ok(format!("{fault}; everything is as it was before"));
        }
        let started = self.restart(true).await;
        self.forget_trust()?;
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
    async fn restore(&self, journal: &Journal) -> Result<(), StepError> {
        if journal.prior(unit::SOCKET_UNIT) == Some(&PathEntry::Absent)
            && self.host.unit(unit::SOCKET_NAME).await?.loaded
        {
            let _ = self.host.run(Verb::Stop, unit::SOCKET_NAME).await; // it may have failed, which is as good
        }
        let daemon_json = self.host.resolve(DAEMON_JSON.as_ref())?;
        for (path, prior) in journal.prior.iter().rev() {
            match *path == daemon_json {
                true => self.restore_daemon_json(path, prior)?,
                false => self.host.put(path, prior)?,
            }
        }
        if let (Some(current), Some(directory)) = (journal.current, &self.directory) {
            directory.set_current(current)?;
        }
        Ok(self.host.reload().await?)
    }

    /// What others wrote into it meanwhile stays: a change may have waited for its restart for weeks.
    fn restore_daemon_json(&self, path: &Path, prior: &PathEntry) -> Result<(), FileError> {
        let there = self.host.read(path)?;
        let parsed = |entry: &PathEntry| DaemonJson::parse(entry.bytes()?).ok();
        let empty = || DaemonJson::parse(b"").ok();
        let (Some(now), Some(before)) = (parsed(&there), parsed(prior).or_else(empty)) else {
            return self.host.put(path, prior);
        };
        match now.same_but_ours(&before) {
            true => self.host.put(path, prior),
            false => self.put_daemon_json(Some(&now.reverted(&before).render())),
        }
    }
}
