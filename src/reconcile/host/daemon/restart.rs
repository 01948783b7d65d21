//! Restarts of dockerd and its sockets, and the proof that it then serves as wanted. It writes no file.

use super::docker_host::{DockerHost, PROBE_INTERVAL, START_TIMEOUT};
use super::error::{RollbackCause, StepError};
use crate::adapters::host::Host;
use crate::adapters::host::systemd::{SystemdError, Unit, Verb};
use crate::decide::host::daemon_plan::unserved;
use crate::decide::host::observed::ObservedDaemon;
use crate::decide::host::report::authority_refused;
use crate::docker::engine::Engine;
use crate::docker::unit;
use std::time::Duration;

/// How long dockerd may take to serve after systemd says that it runs.
const PROOF_TIMEOUT: Duration = Duration::from_secs(20);
/// How often systemd is asked during a restart whether dockerd still starts.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How often systemd is asked before a step whether dockerd still starts.
const SETTLE_INTERVAL: Duration = Duration::from_millis(200);

impl<H: Host> DockerHost<'_, H> {
    /// docker.service, once it runs or does not: one that does not start is tried a few times by systemd.
    pub async fn settled_service(&self) -> Result<Unit, StepError> {
        let deadline = self.host.uptime() + START_TIMEOUT;
        loop {
            let service = self.host.unit(unit::SERVICE).await?;
            if service.active != "activating" || self.host.uptime() > deadline {
                return Ok(service);
            }
            self.host.sleep(SETTLE_INTERVAL).await;
        }
    }

    /// Restarts dockerd; with its sockets where they changed, since systemd opens none while it runs.
    pub async fn restart(&self, sockets: bool) -> Result<(), StepError> {
        for unit in [unit::SERVICE, unit::SOCKET, unit::SOCKET_NAME] {
            let _ = self.host.reset_failed(unit).await; // one that never ran has nothing to reset
        }
        let restarted = async {
            match sockets {
                true => self.restart_with_sockets().await,
                false => self.host.run(Verb::Restart, unit::SERVICE).await,
            }
        };
        tokio::select! {
            biased;
            restarted = restarted => Ok(restarted?),
            () = self.hangs() => Err(StepError::Hangs(START_TIMEOUT.as_secs())),
        }
    }

    /// Sockets first, else a client starts dockerd between the two; each by name, since a unit that someone edited may
    /// not be bound to the others.
    async fn restart_with_sockets(&self) -> Result<(), SystemdError> {
        for unit in [unit::SOCKET_NAME, unit::SOCKET, unit::SERVICE] {
            if self.host.unit(unit).await?.loaded {
                self.host.run(Verb::Stop, unit).await?;
            }
        }
        self.host.run(Verb::Start, unit::SOCKET).await?;
        self.host.run(Verb::Start, unit::SERVICE).await
    }

    /// Ends when dockerd has been starting for too long.
    async fn hangs(&self) {
        let mut since = self.host.uptime();
        while self.host.uptime() - since < START_TIMEOUT {
            self.host.sleep(CHECK_INTERVAL).await;
            if self.host.unit(unit::SERVICE).await.is_ok_and(|unit| unit.active != "activating") {
                since = self.host.uptime();
            }
        }
    }

    /// Asks until dockerd serves as wanted and answers nobody without a certificate.
    pub async fn prove(&self, before: Option<Engine>) -> Result<ObservedDaemon, RollbackCause> {
        let deadline = self.host.uptime() + PROOF_TIMEOUT;
        loop {
            let now = self.observe().await?;
            if let Some(open) = now.exposed.first() {
                let fault = format!("dockerd answered {open} without a client certificate");
                return Err(RollbackCause::Failed(fault));
            }
            if let Some((address, why)) = &now.refused_authority {
                return Err(RollbackCause::Failed(authority_refused(*address, why).message)); // no waiting helps
            }
            let Some(fault) = self.fault(&now, before) else { return Ok(now) };
            // systemd could not open it: another listens there. It does not try again by itself.
            let closed = self.host.unit(unit::SOCKET_NAME).await?.active == "failed";
            if closed || self.host.uptime() > deadline {
                return Err(RollbackCause::Failed(fault));
            }
            self.host.sleep(PROBE_INTERVAL).await;
        }
    }

    /// What is wrong with a dockerd that was restarted; None where it serves as wanted and no container was lost.
    fn fault(&self, now: &ObservedDaemon, before: Option<Engine>) -> Option<String> {
        let Some(engine) = now.engine else { return Some("dockerd does not answer on its unix socket".to_owned()) };
        let absent = now.listeners.iter().all(|listener| listener.absent);
        let lost = before.filter(|before| engine.running < before.running);
        let lost = lost.map(|before| format!("{} of {} containers run", engine.running, before.running));
        let uncertain = now.uncertain.first().map(|(address, why)| {
            format!("whether dockerd refuses clients without a certificate on {address} is not certain ({why})")
        });
        unserved(now, self.clock.now()).filter(|_| !absent).or(lost).or(uncertain)
    }

    /// Whether dockerd answers on its unix socket, soon.
    pub async fn answers(&self) -> bool {
        let deadline = self.host.uptime() + PROOF_TIMEOUT;
        loop {
            if self.observe().await.is_ok_and(|now| now.engine.is_some()) {
                return true;
            }
            if self.host.uptime() > deadline {
                return false;
            }
            self.host.sleep(PROBE_INTERVAL).await;
        }
    }
}
