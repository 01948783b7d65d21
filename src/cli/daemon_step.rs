//! Commands that systemd runs on a Docker host: the guard before each start of dockerd, and the daemon step.

use crate::adapters::Clock;
use crate::adapters::host::LocalHost;
use crate::reconcile::host::daemon;
use std::process::ExitCode;

/// `dockseal guard`: succeeds only where dockerd will demand client certificates.
pub fn guard() -> anyhow::Result<ExitCode> {
    match daemon::guard(&LocalHost::new()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(why) => {
            eprintln!("dockseal: dockerd starts without its TCP listener: {why}");
            Ok(ExitCode::FAILURE)
        }
    }
}

pub fn run() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(daemon::step(&LocalHost::new(), &Clock::system()))?;
    Ok(ExitCode::SUCCESS)
}
