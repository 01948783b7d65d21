//! What the API server told, and what becomes of it; where it told nothing, that is said once.

use super::Reconciler;
use crate::adapters::kube::companion_api::{ApiError, CompanionApi};
use crate::api::status::CompanionStatus;
use crate::api::{AssignedHost, Assignment, NamespacedName, ObjectRef};
use crate::companion::assigned_host::AssignedHostState;
use crate::companion::requests::{CompanionEvent, forward};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::task::AbortHandle;

impl Reconciler {
    /// Takes in what was told.
    pub(super) fn take(&mut self, news: CompanionEvent) {
        match news {
            CompanionEvent::Entered(entered) => self.enter(entered),
            CompanionEvent::Assignment(told) => {
                if let Some(assignment) = self.answered("the assignment", told) {
                    self.assign(assignment);
                }
            }
            CompanionEvent::Secret(at, told) => {
                let found = self.answered(&format!("the Secret of {at}"), told);
                if let Some((data, host)) = found.zip(self.hosts.get_mut(&at))
                    && host.secret.as_ref().map(Option::as_deref) != Some(data.as_ref())
                {
                    host.secret = Some(data.map(Into::into));
                    host.due = true;
                }
            }
            CompanionEvent::Kept(at, told) => {
                if let Some(data) = self.answered(&format!("the Secret {at} of a Portainer"), told) {
                    self.portainers.keep(&at, data);
                }
            }
            CompanionEvent::Registered(host, client, report, requeue_at) => {
                self.portainers.registered(host, client, *report, requeue_at)
            }
            CompanionEvent::Recalled(at, uid, told) => self.recalled(&at, &uid, told),
            CompanionEvent::Told(at, uid, status, told) => {
                let done = self.answered(&format!("the report on {at}"), told).is_some();
                let Some(host) = self.hosts.get_mut(&at).filter(|host| host.assigned.uid == uid) else { return };
                match done {
                    true => {
                        host.telling.done();
                        host.published = Some(status);
                    }
                    false => host.telling.failed(),
                }
            }
        }
    }

    fn recalled(&mut self, at: &ObjectRef, uid: &str, told: Result<CompanionStatus, ApiError>) {
        let found = self.answered(&format!("the status of {at}"), told);
        let Some(host) = self.hosts.get_mut(at).filter(|host| host.assigned.uid == uid) else { return };
        match found {
            Some(status) => host.recalled(status),
            None => {
                host.asking.failed();
                host.blind |= host.status.is_none();
            }
        }
    }

    fn enter(&mut self, entered: Result<(CompanionApi, Timestamp), String>) {
        match self.door.entered(entered) {
            Err(error) => {
                self.complain("token", &format!("{error}; what is delivered stays"));
            }
            Ok(()) => {
                self.complaints.remove("token");
                self.begin_term();
                let account = &self.settings.account;
                let at = NamespacedName::new(account.namespace(), &account.name());
                if let Some(api) = self.door.api() {
                    self.door.spawn(forward(api.assignments(&at), self.sender.clone(), CompanionEvent::Assignment));
                }
            }
        }
    }

    fn begin_term(&mut self) {
        self.hosts.values_mut().for_each(AssignedHostState::begin_term);
        self.portainers.begin_term();
    }

    /// What the API server said; where it did not, why is logged once.
    fn answered<T>(&mut self, about: &str, told: Result<T, ApiError>) -> Option<T> {
        match told {
            Ok(value) => {
                self.door.welcome();
                if self.complaints.remove(about).is_some() {
                    tracing::info!(about, "the API server answers again");
                }
                Some(value)
            }
            Err(error) => {
                self.complain(about, &error.to_string());
                if error.refused {
                    self.door.refuse();
                    self.begin_term();
                }
                None
            }
        }
    }

    /// Says what is wrong, unless it was the last thing that was said of it.
    fn complain(&mut self, about: &str, error: &str) {
        if self.complaints.insert(about.to_owned(), error.to_owned()).as_deref() != Some(error) {
            tracing::warn!(about, "{error}"); // it is tried again
        }
    }

    fn assign(&mut self, assignment: Option<Assignment>) {
        self.assigned = true;
        if assignment.is_none() && !self.hosts.is_empty() {
            tracing::warn!("the assignment is gone: nothing is assigned to {} now", self.settings.account.name());
            self.door.doubt();
        }
        let hosts = assignment.unwrap_or_default().hosts;
        let wanted: BTreeMap<ObjectRef, AssignedHost> = hosts.into_iter().map(|host| (host.object(), host)).collect();
        self.hosts.retain(|at, host| {
            let stays = wanted.contains_key(at);
            if !stays {
                tracing::info!(object = %at, directory = host.assigned.delivery.directory, "it is no longer delivered here; what is there stays");
                host.watch.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for (at, assigned) in wanted {
            match self.hosts.get_mut(&at) {
                Some(host) => _ = host.assign(assigned),
                None => _ = self.hosts.insert(at, AssignedHostState::new(assigned)),
            }
        }
        let of_hosts =
            |about: &String| !about.contains(' ') || self.hosts.keys().any(|at| about.ends_with(&at.to_string()));
        self.complaints.retain(|about, _| about == "the assignment" || of_hosts(about));
    }
}
