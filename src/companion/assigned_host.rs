//! One host of the assignment: what is wished for, what its Secret holds, what is here, and what was reported of it.

use super::requests::Retry;
use crate::api::AssignedHost;
use crate::api::assignment::AssignedPortainer;
use crate::api::status::CompanionStatus;
use crate::decide::delays::MAX_DELIVERY_DELAY;
use crate::pki::material::Data;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// A host.
pub struct AssignedHostState {
    /// The wishes.
    pub assigned: AssignedHost,
    /// None: not seen yet.
    pub secret: Option<Option<Arc<Data>>>,
    /// As it is here; none until something was done or recalled.
    pub status: Option<CompanionStatus>,
    /// As the API server has it; none where that is not known.
    pub published: Option<CompanionStatus>,
    /// What was reported before could not be read when `status` was made: its instants may be older.
    pub blind: bool,
    /// Something changed.
    pub due: bool,
    /// It may be registered from here.
    pub registers: bool,
    /// When to look again though nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// The watch over its Secret.
    pub watch: Option<AbortHandle>,
    /// Asking what was reported.
    pub asking: Retry,
    /// Reporting.
    pub telling: Retry,
}

impl AssignedHostState {
    /// One that nothing is known of.
    pub fn new(assigned: AssignedHost) -> AssignedHostState {
        AssignedHostState {
            assigned,
            secret: None,
            status: None,
            published: None,
            blind: false,
            due: true,
            registers: false,
            requeue_at: None,
            watch: None,
            asking: Retry::default(),
            telling: Retry::default(),
        }
    }

    /// By another token everything is asked anew.
    pub fn begin_term(&mut self) {
        self.watch = None;
        self.published = None;
        self.asking = Retry::default();
        self.telling = Retry::default();
    }

    /// It is to be worked on, and all that is needed for it is known.
    pub fn is_ripe(&self, now: Timestamp) -> bool {
        let requeue_at =
            |requeue_at: Timestamp| requeue_at <= now || requeue_at.duration_since(now) > MAX_DELIVERY_DELAY;
        (self.due || self.requeue_at.is_some_and(requeue_at))
            && self.secret.is_some()
            && (self.status.is_some() || self.blind)
    }

    /// The Portainers that it is registered in from here.
    pub fn portainers(&self) -> impl Iterator<Item = &AssignedPortainer> {
        self.assigned.portainers.iter().filter(|_| self.registers && !self.assigned.removing)
    }

    /// There is something to report.
    pub fn is_untold(&self) -> bool {
        self.status.is_some() && self.published.is_some() && self.status != self.published
    }

    /// Everything was tried and reported.
    pub fn is_done(&self) -> bool {
        !self.due && self.status.is_some() && self.status == self.published
    }

    /// Everything is as it should be.
    pub fn is_delivered(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        conditions.clone().count() > 0 && conditions.into_iter().all(|condition| condition.status == "True")
    }

    /// What the API server has of it.
    pub fn recalled(&mut self, status: CompanionStatus) {
        self.asking.done();
        let blind = std::mem::take(&mut self.blind);
        if self.status.is_none() || blind {
            self.status = Some(status.clone());
            self.due = true;
        }
        self.published = Some(status);
    }

    /// Its wishes are these now. True where it begins anew: another object, or another Secret.
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
