//! The host's front end. The assignment of this host and its Secrets come in from the API server; files, dockerd's
//! configuration and a status go out. While the API server is away, what is delivered stays and is kept correct. It
//! never delivers what this host does not allow, whatever the assignment says.
//!
//! ```text
//!   credentials --token--> api_session --> requests (watches, reads, publishing) --events--> reconciler
//!                                                                  reconcile::host <-- deliver --'  |
//!                                             reconcile::registration <-- registration (background) '
//! ```

mod api_session;
mod assigned_host;
pub mod credentials;
mod host_watch;
pub mod install;
mod reconciler;
mod registration;
mod requests;

use crate::adapters::Clock;
use credentials::Account;
use reconciler::Reconciler;
use std::net::IpAddr;
use std::path::PathBuf;

/// How a companion is started.
#[derive(Clone, Debug)]
pub struct CompanionSettings {
    pub account: Account,
    /// Namespaces whose objects may be delivered here; ignored on a host that was enrolled for one object.
    pub sources: Vec<String>,
    /// Directories that may be delivered to.
    pub directories: Vec<PathBuf>,
    /// It runs in a container of the dockerd that it configures.
    pub contained: bool,
    /// Address of this host, if dockerd is not reached on loopback.
    pub address: Option<IpAddr>,
    /// Deliver once, then end.
    pub once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompanionResult {
    /// With `once`: everything is delivered.
    Delivered,
    /// With `once`: something is not; the reason was logged.
    NotDelivered,
    /// It was asked to stop.
    Stopped,
}

/// Runs until `stop` is ready, or everything was tried once.
pub async fn run(settings: CompanionSettings, clock: Clock, stop: impl Future<Output = ()>) -> CompanionResult {
    let mut reconciler = Reconciler::new(settings, clock);
    tokio::select! {
        ended = reconciler.run() => ended,
        () = stop => CompanionResult::Stopped,
    }
}
