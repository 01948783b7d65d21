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
mod settings;

pub use settings::{CompanionResult, CompanionSettings};

use crate::adapters::Clock;
use reconciler::Reconciler;

/// Runs until `stop` is ready, or everything was tried once.
pub async fn run(settings: CompanionSettings, clock: Clock, stop: impl Future<Output = ()>) -> CompanionResult {
    let mut reconciler = Reconciler::new(settings, clock);
    tokio::select! {
        ended = reconciler.run() => ended,
        () = stop => CompanionResult::Stopped,
    }
}
