//! Changes to a Docker host: files in an order in which dockerd can start at any moment and never opens, then a restart
//! where the plan says so. What was there is in the journal first; `rollback.rs` puts it back.

use super::docker_host::{DockerHost, PROBE_INTERVAL};
use super::error::{RollbackCause, StepError};
use crate::adapters::host::system_files::PathEntry;
use crate::adapters::host::systemd::Verb;
use crate::adapters::host::{DeliveryDirectory, Host};
use crate::api::condition::Reason;
use crate::decide::host::daemon_config::DaemonFiles;
use crate::decide::host::daemon_state::Stage;
use crate::decide::host::observed::ObservedDaemon;
use crate::decide::host::report::serving;
use crate::docker::daemon_json::DaemonJson;
use crate::docker::unit;
use std::path::PathBuf;
use std::time::Duration;

/// dockerd reads live-restore at once after SIGHUP.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);

impl<H: Host> DockerHost<'_, H> {
    /// Writes files that dockerd reads on its next start.
    pub async fn write(&self, observed: &ObservedDaemon, files: &DaemonFiles) -> Result<(), StepError> {
        self.begin(observed, Stage::Writing)?;
        self.put_all(observed, files).await?;
        self.set_current(observed)
    }

    /// Closes listeners that answer without a certificate: files, then dockerd with all its sockets.
    pub async fn close(&self, observed: &ObservedDaemon, files: &DaemonFiles) -> Result<(), StepError> {
        self.begin(observed, Stage::Closing)?;
        self.put_all(observed, files).await?;
        self.restart(true).await?;
        Ok(self.end_change()?) // a rollback would open them again
    }

    /// Has dockerd serve, and proves it.
    pub async fn serve(
        &self,
        observed: &ObservedDaemon,
        files: &DaemonFiles,
        sockets: bool,
    ) -> Result<ObservedDaemon, RollbackCause> {
        self.begin(observed, Stage::Writing)?;
        let kept = self.keep_containers(observed, files).await?;
        self.put_all(observed, files).await?;
        self.set_current(observed)?;
        // The units of sockets may have been written long ago, when dockerd could not be restarted.
        let sockets = self.sockets_changed()? || sockets;
        self.advance(Stage::Restarting)?;
        self.restart(sockets).await?;
        self.prove(observed.engine.filter(|_| kept)).await
    }

    /// Takes our files away, the listener first.
    pub async fn remove(&self, observed: &ObservedDaemon, files: &DaemonFiles, restart: bool) -> Result<(), StepError> {
        self.begin(observed, Stage::Writing)?;
        self.host.put(unit::SOCKET_WANT.as_ref(), &PathEntry::Absent)?;
        if self.host.unit(unit::SOCKET_NAME).await?.loaded {
            self.host.run(Verb::Stop, unit::SOCKET_NAME).await?;
        }
        self.put_text(unit::DROP_IN, files.drop_in.as_deref())?;
        self.host.reload().await?;
        self.put_text(unit::SOCKET_UNIT, None)?;
        self.put_text(unit::DOCKER_SOCKET_DROP_IN, files.docker_socket.as_deref())?;
        self.put_daemon_json(files.daemon_json.as_deref())?;
        self.host.reload().await?;
        // The journal stays until dockerd was restarted: a step that is killed before that has the next one restart it.
        if restart && let Err(error) = self.restart(false).await {
            if self.host.unit(unit::SERVICE).await?.active != "active" {
                self.end_change()?; // a rollback would have dockerd serve what is removed
            }
            return Err(error);
        }
        Ok(self.end_change()?)
    }

    /// TLS before the listener. `hosts` goes before the flags come, and others' flags go before our TLS keys come, for
    /// systemd too: dockerd refuses to start with both, and may be started at any moment.
    async fn put_all(&self, observed: &ObservedDaemon, files: &DaemonFiles) -> Result<(), StepError> {
        self.put_text(unit::SOCKET_UNIT, files.socket.as_deref())?;
        let json = observed.found.daemon_json.as_deref().and_then(|text| DaemonJson::parse(text).ok());
        if json.is_some_and(|json| json.hosts().is_some()) {
            self.put_daemon_json(files.daemon_json.as_deref())?;
            self.put_text(unit::DROP_IN, files.drop_in.as_deref())?;
        } else {
            self.put_text(unit::DROP_IN, files.drop_in.as_deref())?;
            self.host.reload().await?;
            self.put_daemon_json(files.daemon_json.as_deref())?;
        }
        self.put_text(unit::DOCKER_SOCKET_DROP_IN, files.docker_socket.as_deref())?;
        let link = PathEntry::Link(PathBuf::from(unit::SOCKET_UNIT));
        self.host.put(unit::SOCKET_WANT.as_ref(), if files.wanted { &link } else { &PathEntry::Absent })?;
        Ok(self.host.reload().await?)
    }

    fn set_current(&self, observed: &ObservedDaemon) -> Result<(), StepError> {
        match (&observed.files, &self.directory) {
            (Some(files), Some(directory)) if observed.current != Some(files.generation) => {
                Ok(directory.set_current(files.generation)?)
            }
            _ => Ok(()),
        }
    }

    /// Turns live-restore on in the dockerd that runs, where it is wanted and off. Whether containers outlive it.
    async fn keep_containers(&self, observed: &ObservedDaemon, files: &DaemonFiles) -> Result<bool, StepError> {
        let parsed = |text: &[u8]| DaemonJson::parse(text).ok();
        let wanted = files.daemon_json.as_deref().and_then(parsed).and_then(|json| json.live_restore()) == Some(true);
        let off = observed.engine.is_some_and(|engine| !engine.live_restore);
        if !off || !wanted {
            return Ok(observed.engine.is_some_and(|engine| engine.live_restore));
        }
        if let Some(json) = parsed(observed.found.daemon_json.as_deref().unwrap_or_default()) {
            self.put_daemon_json(Some(&json.with_live_restore().render()))?;
        }
        self.host.hang_up(unit::SERVICE).await?;
        let deadline = self.host.uptime() + RELOAD_TIMEOUT;
        while self.host.uptime() < deadline {
            if self.observe().await?.engine.is_some_and(|engine| engine.live_restore) {
                return Ok(true);
            }
            self.host.sleep(PROBE_INTERVAL).await;
        }
        let message = "dockerd does not turn live-restore on, and containers would stop";
        Err(StepError::Refused(serving(Reason::RestartPending, message)))
    }
}
