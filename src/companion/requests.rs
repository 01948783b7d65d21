//! What is asked of the API server beside the desk's own work, so that a slow answer never holds a delivery up.

use crate::adapters::kube::companion_api::{ApiError, CompanionApi};
use crate::api::status::{CompanionStatus, EnvironmentReport};
use crate::api::{Assignment, NamespacedName, ObjectRef};
use crate::decide::delays::REQUEST_BACKOFF;
use crate::pki::material::Data;
use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// What comes back.
pub enum CompanionEvent {
    /// A token was found, or why not; good to work by until then.
    Entered(Result<(CompanionApi, Timestamp), String>),
    /// The assignment is this now.
    Assignment(Result<Option<Assignment>, ApiError>),
    /// An object's Secret holds this now.
    Secret(ObjectRef, Result<Option<Data>, ApiError>),
    /// What an object of that UID was last reported to be.
    Recalled(ObjectRef, String, Result<CompanionStatus, ApiError>),
    /// That was reported of an object of that UID, or why not.
    Told(ObjectRef, String, CompanionStatus, Result<(), ApiError>),
    /// A Secret of a Portainer's holds this now.
    Kept(NamespacedName, Result<Option<Data>, ApiError>),
    /// What is known of a host in the Portainer of a PortainerClient, and when to ask again.
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

/// Brings a stream's items as news.
pub async fn forward<T>(
    stream: impl Stream<Item = T> + Send,
    sender: Sender<CompanionEvent>,
    news: impl Fn(T) -> CompanionEvent,
) {
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        if sender.send(news(item)).await.is_err() {
            return;
        }
    }
}

/// Brings what was last reported of an object.
pub async fn recall(api: CompanionApi, at: ObjectRef, uid: String, sender: Sender<CompanionEvent>) {
    let found = api.status(&at, &uid).await;
    let _ = sender.send(CompanionEvent::Recalled(at, uid, found)).await;
}

/// Reports, and brings what came of it.
pub async fn tell(
    api: CompanionApi,
    at: ObjectRef,
    uid: String,
    status: CompanionStatus,
    sender: Sender<CompanionEvent>,
) {
    let done = api.publish(&at, &uid, &status).await;
    let _ = sender.send(CompanionEvent::Told(at, uid, status, done)).await;
}
