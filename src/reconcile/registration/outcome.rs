//! What a registration returns, as values.

use crate::api::status::EnvironmentReport;
use crate::decide::registration::RegistrationProblem;
use k8s_openapi::jiff::Timestamp;

/// The result of registering one host in one Portainer.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistrationOutcome {
    /// What is known of its environment now.
    Reported(EnvironmentReport),
    /// The server has to be refreshed before anything is written there.
    RefreshFirst,
    /// The server is at fault, not the host.
    Server(RegistrationProblem),
}

/// The result of refreshing a server or syncing a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncOutcome {
    /// When to do it again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// Statuses have to be published again.
    pub changed: bool,
    /// The server has to be refreshed.
    pub refresh: bool,
}

impl SyncOutcome {
    pub(super) fn changed(changed: bool) -> SyncOutcome {
        SyncOutcome { changed, ..SyncOutcome::default() }
    }

    pub(super) fn requeue_at(at: Timestamp) -> SyncOutcome {
        SyncOutcome { requeue_at: Some(at), ..SyncOutcome::default() }
    }

    pub(super) fn refresh() -> SyncOutcome {
        SyncOutcome { refresh: true, ..SyncOutcome::default() }
    }
}
