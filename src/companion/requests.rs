//! What is asked of the API server beside the desk's own work, so that a slow answer never holds a delivery up.

use crate::adapters::kube::companion_api::{ApiError, CompanionApi};
use crate::api::status::{CompanionStatus, EnvironmentReport};
use crate::api::{Assignment, NamespacedName, ObjectRef};
use crate::pki::material::Data;
use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// What could not be asked or told is tried again after this at first, then after twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);

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

/// When something is tried, and tried again.
#[derive(Debug)]
pub struct Backoff {
    under_way: bool,
    again: Option<Instant>,
    wait: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { under_way: false, again: None, wait: FIRST_WAIT }
    }
}

impl Backoff {
    /// It may be tried now; it counts as being tried then.
    pub fn begin(&mut self) -> bool {
        let now = !self.under_way && self.again.is_none_or(|again| again <= Instant::now());
        self.under_way |= now;
        now
    }

    /// It worked.
    pub fn done(&mut self) {
        *self = Backoff::default();
    }

    /// How often it did not work is forgotten; what is being tried still is.
    pub fn forget(&mut self) {
        (self.again, self.wait) = (None, FIRST_WAIT);
    }

    /// It did not.
    pub fn failed(&mut self) {
        self.under_way = false;
        self.again = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(MAX_WAIT);
    }

    /// It worked, but not for long enough to forget how often it did not.
    pub fn ended(&mut self) {
        self.under_way = false;
    }

    /// When it is tried next; none while it is being tried.
    pub fn next(&self) -> Option<Instant> {
        (!self.under_way).then(|| self.again.unwrap_or_else(Instant::now))
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
