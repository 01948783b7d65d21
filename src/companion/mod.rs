//! The host's door: an assignment and Secrets in, files and dockerd's configuration out, and a report. While the API
//! server is away, what is there stays, and is kept right.
//!
//! ```text
//!   account --token--> door --term--> errands (watches, questions, reports) --news--> desk --> hallway::delivery
//!                                                                                    portainer --> hallway::registration
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

/// What a companion is told.
#[derive(Clone, Debug)]
pub struct CompanionSettings {
    /// By which account it works.
    pub account: Account,
    /// Namespaces whose objects may be delivered here. Not asked on a host that was enrolled for one object.
    pub sources: Vec<String>,
    /// Directories that may be delivered to.
    pub directories: Vec<PathBuf>,
    /// It runs in a container of this host's dockerd.
    pub contained: bool,
    /// Where it reaches this host, if not on loopback.
    pub address: Option<IpAddr>,
    /// Deliver once and end.
    pub once: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompanionResult {
    /// With `once`: everything is delivered.
    Delivered,
    /// With `once`: not everything is, and why was said.
    NotDelivered,
    /// Somebody asked it to stop.
    Stopped,
}

/// Runs until `stop` is ready, or everything was tried once.
pub async fn run(settings: CompanionSettings, clock: Clock, stop: impl Future<Output = ()>) -> CompanionResult {
    let mut desk = Reconciler::new(settings, clock);
    tokio::select! {
        ended = desk.run() => ended,
        () = stop => CompanionResult::Stopped,
    }
}
