//! Handles the events of the API server: each changes the state of the reconciler. An error is logged once.

use super::Reconciler;
use crate::adapters::kube::companion_api::{ApiError, CompanionApi};
use crate::api::status::CompanionStatus;
use crate::api::{AssignedHost, Assignment, NamespacedName, ObjectName, ObjectRef};
use crate::companion::assigned_host::AssignedHostState;
use crate::companion::requests::{CompanionEvent, forward};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::task::AbortHandle;

impl Reconciler {
    pub(super) fn handle(&mut self, event: CompanionEvent) {
        match event {
            CompanionEvent::Token(token) => self.handle_token(token),
            CompanionEvent::Assignment(answer) => {
                if let Some(assignment) = self.value_of("the assignment", answer) {
                    self.assign(assignment);
                }
            }
            CompanionEvent::Secret(at, answer) => {
                let found = self.value_of(&format!("the Secret of {at}"), answer);
                if let Some((data, host)) = found.zip(self.hosts.get_mut(&at))
                    && host.secret.as_ref().map(Option::as_deref) != Some(data.as_ref())
                {
                    host.secret = Some(data.map(Into::into));
                    host.due = true;
                }
            }
            CompanionEvent::PortainerSecret(at, answer) => {
                if let Some(data) = self.value_of(&format!("the Secret {at} of a Portainer"), answer) {
                    self.portainers.keep(&at, data);
                }
            }
            CompanionEvent::Registered(host, client, report, requeue_at) => {
                self.portainers.registered(host, client, *report, requeue_at)
            }
            CompanionEvent::PublishedStatus(at, uid, answer) => self.handle_status(&at, &uid, answer),
            CompanionEvent::Published(at, uid, status, answer) => {
                let done = self.value_of(&format!("the report on {at}"), answer).is_some();
                let Some(host) = self.hosts.get_mut(&at).filter(|host| host.assigned.uid == uid) else { return };
                match done {
                    true => {
                        host.publish_request.done();
                        host.published = Some(status);
                    }
                    false => host.publish_request.failed(),
                }
            }
        }
    }

    fn handle_status(&mut self, at: &ObjectRef, uid: &str, answer: Result<CompanionStatus, ApiError>) {
        let found = self.value_of(&format!("the status of {at}"), answer);
        let Some(host) = self.hosts.get_mut(at).filter(|host| host.assigned.uid == uid) else { return };
        match found {
            Some(status) => host.set_published(status),
            None => {
                host.status_request.failed();
                host.unknown_before |= host.status.is_none();
            }
        }
    }

    fn handle_token(&mut self, token: Result<(CompanionApi, Timestamp), String>) {
        match self.session.token(token) {
            Err(error) => {
                self.report_error("token", &format!("{error}; what is delivered stays"));
            }
            Ok(()) => {
                self.reported_errors.remove("token");
                self.reset_requests();
                let account = &self.settings.account;
                let at =
                    NamespacedName::new(ObjectName::joined(account.namespace()), ObjectName::joined(&account.name()));
                if let Some(api) = self.session.api() {
                    self.session.spawn(forward(api.assignments(&at), self.sender.clone(), CompanionEvent::Assignment));
                }
            }
        }
    }

    fn reset_requests(&mut self) {
        self.hosts.values_mut().for_each(AssignedHostState::reset_requests);
        self.portainers.reset_requests();
    }

    /// The value in an answer; an error is logged once, and a refused token replaced.
    fn value_of<T>(&mut self, about: &str, answer: Result<T, ApiError>) -> Option<T> {
        match answer {
            Ok(value) => {
                self.session.token_accepted();
                if self.reported_errors.remove(about).is_some() {
                    tracing::info!(about, "the API server answers again");
                }
                Some(value)
            }
            Err(error) => {
                self.report_error(about, &error.to_string());
                if error.refused {
                    self.session.token_refused();
                    self.reset_requests();
                }
                None
            }
        }
    }

    /// Logs an error, unless it is the last one that was logged of the same request.
    fn report_error(&mut self, about: &str, error: &str) {
        if self.reported_errors.insert(about.to_owned(), error.to_owned()).as_deref() != Some(error) {
            tracing::warn!(about, "{error}"); // the request is sent again
        }
    }

    fn assign(&mut self, assignment: Option<Assignment>) {
        self.assigned = true;
        if assignment.is_none() && !self.hosts.is_empty() {
            tracing::warn!("the assignment is gone: nothing is assigned to {} now", self.settings.account.name());
            self.session.recheck_token();
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
        self.reported_errors.retain(|about, _| about == "the assignment" || of_hosts(about));
    }
}
