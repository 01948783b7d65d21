//! The state of one host of the assignment: its spec, its Secret, what was delivered, and what was published of it.

use super::requests::Retry;
use crate::api::AssignedHost;
use crate::api::assignment::AssignedPortainer;
use crate::api::status::CompanionStatus;
use crate::decide::delays::MAX_DELIVERY_DELAY;
use crate::pki::material::Data;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use tokio::task::AbortHandle;

pub struct AssignedHostState {
    pub assigned: AssignedHost,
    /// None: not seen yet. Some(None): there is no Secret.
    pub secret: Option<Option<Arc<Data>>>,
    /// The result of the last delivery; before it, what was published.
    pub status: Option<CompanionStatus>,
    /// The status in the API server; none while it is not known.
    pub published: Option<CompanionStatus>,
    /// The published status could not be read before `status` was made: its instants may be older.
    pub unknown_before: bool,
    /// Something changed since the last delivery.
    pub due: bool,
    /// This companion may register it in Portainer.
    pub registers: bool,
    /// When to deliver again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// The watch of its Secret.
    pub watch: Option<AbortHandle>,
    pub status_request: Retry,
    pub publish_request: Retry,
}

impl AssignedHostState {
    pub fn new(assigned: AssignedHost) -> AssignedHostState {
        AssignedHostState {
            assigned,
            secret: None,
            status: None,
            published: None,
            unknown_before: false,
            due: true,
            registers: false,
            requeue_at: None,
            watch: None,
            status_request: Retry::default(),
            publish_request: Retry::default(),
        }
    }

    /// With another token every request and watch starts again.
    pub fn reset_requests(&mut self) {
        self.watch = None;
        self.published = None;
        self.status_request = Retry::default();
        self.publish_request = Retry::default();
    }

    /// A delivery is due, and all that it needs is known.
    pub fn is_deliverable(&self, now: Timestamp) -> bool {
        let is_due = |at: Timestamp| at <= now || at.duration_since(now) > MAX_DELIVERY_DELAY;
        (self.due || self.requeue_at.is_some_and(is_due))
            && self.secret.is_some()
            && (self.status.is_some() || self.unknown_before)
    }

    /// The Portainers that this companion registers it in.
    pub fn portainers(&self) -> impl Iterator<Item = &AssignedPortainer> {
        self.assigned.portainers.iter().filter(|_| self.registers && !self.assigned.removing)
    }

    /// The status differs from the published one.
    pub fn is_unpublished(&self) -> bool {
        self.status.is_some() && self.published.is_some() && self.status != self.published
    }

    /// It was delivered, or that failed, and the result is published.
    pub fn is_done(&self) -> bool {
        !self.due && self.status.is_some() && self.status == self.published
    }

    /// Every condition is True.
    pub fn is_delivered(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        conditions.clone().count() > 0 && conditions.into_iter().all(|condition| condition.status == "True")
    }

    /// Takes the status that the API server has.
    pub fn set_published(&mut self, status: CompanionStatus) {
        self.status_request.done();
        let unknown_before = std::mem::take(&mut self.unknown_before);
        if self.status.is_none() || unknown_before {
            self.status = Some(status.clone());
            self.due = true;
        }
        self.published = Some(status);
    }

    /// Takes its entry of the assignment. True where it starts again: another object, or another Secret.
    pub fn assign(&mut self, assigned: AssignedHost) -> bool {
        let another = self.assigned.secret_name != assigned.secret_name || self.assigned.uid != assigned.uid;
        if another {
            self.watch.iter().for_each(AbortHandle::abort);
            *self = AssignedHostState::new(assigned);
        } else if self.assigned != assigned {
            self.assigned = assigned;
            self.due = true;
        }
        another
    }
}
