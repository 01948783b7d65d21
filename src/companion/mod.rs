//! The host's door: an assignment and Secrets in, files and dockerd's configuration out, and a report. While the API
//! server is away, what is there stays, and is kept right.

pub mod account;
mod desk;
pub mod install;

use crate::world::companion_api::CompanionApi;
use crate::world::{Clock, companion_api};
use account::Account;
use desk::Desk;
use k8s_openapi::jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;

/// The first wait for an API server that does not let us in; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a companion is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By which account it works.
    pub account: Account,
    /// Namespaces whose objects may be delivered here; none for all, on a host that was enrolled for one object.
    pub sources: Vec<String>,
    /// Directories that may be delivered to.
    pub directories: Vec<PathBuf>,
    /// It runs in a container of this host's dockerd.
    pub contained: bool,
    /// Deliver once and end.
    pub once: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With `once`: everything is delivered.
    Delivered,
    /// With `once`: not everything is, and why was said.
    NotDelivered,
    /// Somebody asked it to stop.
    Stopped,
}

/// Runs until `stop` is ready, or everything was tried once.
pub async fn run(settings: Settings, clock: Clock, stop: impl Future<Output = ()>) -> Ended {
    tokio::select! {
        ended = terms(settings, clock) => ended,
        () = stop => Ended::Stopped,
    }
}

/// One token's life after the other.
async fn terms(settings: Settings, clock: Clock) -> Ended {
    let mut account = settings.account.clone();
    let once = settings.once;
    let mut desk = Desk::new(settings, clock.clone());
    let mut wait = FIRST_WAIT;
    loop {
        let (api, until) = match enter(&mut account, &clock).await {
            Ok(entered) => entered,
            Err(error) => {
                tracing::error!(error, "the API server does not let this companion in; what is delivered stays");
                if once {
                    return Ended::NotDelivered;
                }
                desk.serve(None, wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
                continue;
            }
        };
        wait = FIRST_WAIT;
        let span = Duration::try_from(until.duration_since(clock.now())).unwrap_or_default().max(FIRST_WAIT);
        if let Some(delivered) = desk.serve(Some(api), span).await {
            return if delivered { Ended::Delivered } else { Ended::NotDelivered };
        }
    }
}

async fn enter(account: &mut Account, clock: &Clock) -> Result<(CompanionApi, Timestamp), String> {
    let token = account.token(clock).await?;
    let client = companion_api::client(account.config().clone(), &token.text);
    let client = client.map_err(|error| format!("failed to make a client: {error}"))?;
    Ok((CompanionApi::new(client), token.renew_at))
}
