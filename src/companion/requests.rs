//! Requests to the API server: each runs as a task of its own and its answer comes back as an event, so that a slow
//! answer never delays a delivery.

use crate::adapters::kube::companion_api::{ApiError, CompanionApi};
use crate::api::status::{CompanionStatus, EnvironmentReport};
use crate::api::{Assignment, NamespacedName, ObjectRef};
use crate::decide::delays::REQUEST_BACKOFF;
use crate::pki::material::Data;
use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// What comes back to the reconciler.
pub enum CompanionEvent {
    /// A token, and when to renew it.
    Token(Result<(CompanionApi, Timestamp), String>),
    /// The assignment is there, changed or gone.
    Assignment(Result<Option<Assignment>, ApiError>),
    /// The Secret of a host is there, changed or gone.
    Secret(ObjectRef, Result<Option<Data>, ApiError>),
    /// The status that was last published of an object of that UID.
    PublishedStatus(ObjectRef, String, Result<CompanionStatus, ApiError>),
    /// A status of an object of that UID was published, or was not.
    Published(ObjectRef, String, CompanionStatus, Result<(), ApiError>),
    /// A Secret of a Portainer is there, changed or gone.
    PortainerSecret(NamespacedName, Result<Option<Data>, ApiError>),
    /// How far a host is in the Portainer of a PortainerClient, and when to register it again.
    Registered(ObjectRef, ObjectRef, Box<EnvironmentReport>, Timestamp),
}

/// One request, and when it is sent again.
#[derive(Debug, Default)]
pub struct Retry {
    under_way: bool,
    not_before: Option<Instant>,
    failures: u32,
}

impl Retry {
    /// True where the request is to be sent now; it is under way then.
    pub fn begin(&mut self) -> bool {
        let now = !self.under_way && self.not_before.is_none_or(|instant| instant <= Instant::now());
        self.under_way |= now;
        now
    }

    /// The request succeeded.
    pub fn done(&mut self) {
        *self = Retry::default();
    }

    /// Forgets the failures, not that a request is under way.
    pub fn forget_failures(&mut self) {
        (self.not_before, self.failures) = (None, 0);
    }

    /// The request failed.
    pub fn failed(&mut self) {
        self.under_way = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + REQUEST_BACKOFF.delay(self.failures));
    }

    /// The request was answered, which does not mean yet that the answer is of use: the failures still count.
    pub fn answered(&mut self) {
        self.under_way = false;
    }

    /// When the request is sent next; none while it is under way.
    pub fn next(&self) -> Option<Instant> {
        (!self.under_way).then(|| self.not_before.unwrap_or_else(Instant::now))
    }
}

/// Sends the items of a stream as events.
pub async fn forward<T>(
    stream: impl Stream<Item = T> + Send,
    sender: Sender<CompanionEvent>,
    event: impl Fn(T) -> CompanionEvent,
) {
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        if sender.send(event(item)).await.is_err() {
            return;
        }
    }
}

/// Reads the published status of an object.
pub async fn read_status(api: CompanionApi, at: ObjectRef, uid: String, sender: Sender<CompanionEvent>) {
    let found = api.status(&at, &uid).await;
    let _ = sender.send(CompanionEvent::PublishedStatus(at, uid, found)).await;
}

/// Publishes a status.
pub async fn publish_status(
    api: CompanionApi,
    at: ObjectRef,
    uid: String,
    status: CompanionStatus,
    sender: Sender<CompanionEvent>,
) {
    let done = api.publish(&at, &uid, &status).await;
    let _ = sender.send(CompanionEvent::Published(at, uid, status, done)).await;
}
