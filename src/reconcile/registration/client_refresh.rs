//! The refresh of one PortainerClient: connects to its server as its spec and Secrets say, refreshes what is known of it,
//! and notes when to do it again. It writes nothing in Portainer but a first administrator.

use super::connect::{Connection, connection};
use super::outcome::SyncOutcome;
use super::registrations::Registrations;
use super::server::RegistrationServer;
use crate::adapters::{Clock, Store};
use crate::api::condition::Reason;
use crate::api::{Object, ObjectRef};
use crate::decide::registration::RegistrationProblem;
use crate::pki::sha256_hex;
use crate::reconcile::Context;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

/// Bytes that are kept of the servers of one namespace: some 50,000 environments.
const MAX_KEPT_IN_NAMESPACE: usize = 16 << 20;

impl Registrations {
    /// Refreshes what is known of the server of a PortainerClient.
    pub async fn refresh<S: Store>(&self, ctx: &Context<S>, client: &Object) -> SyncOutcome {
        let connection = match connection(ctx, client).await {
            // Its Secrets may be deleted with it: its hosts are deregistered by what is still known of them.
            Err(_) if client.deleted.is_some() && self.cache().server(&client.at).is_some() => {
                return self.refresh_over(&client.at, None, input(client), &ctx.clock).await;
            }
            connection => connection,
        };
        let access_changed = self.note_access(&client.at, &connection);
        let mut outcome = self.refresh_over(&client.at, Some(connection), input(client), &ctx.clock).await;
        outcome.changed |= access_changed || self.is_version_new(client);
        outcome
    }

    /// Refreshes over that connection, or over the last one; `input` is a digest of what the result depends on.
    pub(super) async fn refresh_over(
        &self,
        client: &ObjectRef,
        connection: Option<Result<Connection, RegistrationProblem>>,
        input: String,
        clock: &Clock,
    ) -> SyncOutcome {
        let now = clock.now();
        let before = self.cache().last_refresh(client);
        let result = match self.connect(client, connection, now) {
            Ok(server) => {
                self.cache().set_server(client, &server);
                server.refresh(clock).await.and_then(|()| self.keep_within_share(client, &server))
            }
            Err(problem) => Err(problem),
        };
        let changed = before.as_ref() != Some(&result);
        let requeue_at = self.cache().note_refresh(client, result, input, (now, clock.now()));
        SyncOutcome { requeue_at: Some(requeue_at), changed, refresh: false }
    }

    /// Servers of one namespace may not take the memory of all others.
    fn keep_within_share(&self, client: &ObjectRef, server: &RegistrationServer) -> Result<(), RegistrationProblem> {
        if self.cache().size_beside(client) + server.snapshot().size() <= MAX_KEPT_IN_NAMESPACE {
            return Ok(());
        }
        server.clear();
        let message = format!(
            "the Portainers of namespace {} list more than {} MiB of environments, groups and tags together: nothing is \
             registered by this PortainerClient until there is less",
            client.namespace,
            MAX_KEPT_IN_NAMESPACE >> 20
        );
        Err(RegistrationProblem::new(Reason::PortainerFailed, message))
    }

    /// The known server, if it is reached in the same way, else a new one. A new one also logs in anew.
    fn connect(
        &self,
        client: &ObjectRef,
        connection: Option<Result<Connection, RegistrationProblem>>,
        now: Timestamp,
    ) -> Result<Arc<RegistrationServer>, RegistrationProblem> {
        let retry_login = self.cache().with_schedule(client, |schedule| schedule.may_retry_login(now));
        let known = self.cache().server(client).filter(|_| !retry_login);
        let connection = match (connection, known) {
            (Some(Ok(connection)), Some(known)) if known.is_reached_by(&connection) => {
                known.set_client_pair(connection.client_pair);
                return Ok(known);
            }
            (Some(connection), _) => connection?,
            (None, Some(known)) => return Ok(known),
            (None, None) => {
                let message = "the server of the PortainerClient is not known any longer";
                return Err(RegistrationProblem::new(Reason::NotRegistered, message));
            }
        };
        let names = Arc::clone(self.names());
        let server = RegistrationServer::new(self.network(), connection, names, self.request_metrics(client));
        server.map(Arc::new).map_err(|error| RegistrationProblem::new(Reason::InvalidSpec, error.to_string()))
    }

    /// It was never refreshed, or depends on something else now.
    pub fn needs_refresh(&self, client: &Object) -> bool {
        let input_changed = self.cache().with_schedule(&client.at, |schedule| !schedule.has_input(&input(client)));
        input_changed || self.last_refresh(&client.at).is_none()
    }

    /// The same, or its time has come.
    pub fn is_refresh_due(&self, client: &Object, now: Timestamp) -> bool {
        self.is_due_for(&client.at, &input(client), now)
    }

    pub(super) fn is_due_for(&self, client: &ObjectRef, input: &str, now: Timestamp) -> bool {
        self.cache().with_schedule(client, |schedule| schedule.is_due(input, now))
    }

    /// When its server is refreshed next; `None` for at once.
    pub fn next_refresh(&self, client: &ObjectRef) -> Option<Timestamp> {
        self.cache().with_schedule(client, |schedule| schedule.next())
    }

    /// Sets when its server is refreshed next; `None` for at once.
    pub fn schedule_refresh(&self, client: &ObjectRef, at: Option<Timestamp>) {
        self.cache().with_schedule(client, |schedule| schedule.set_next(at));
    }

    fn is_version_new(&self, client: &Object) -> bool {
        let version = self.cache().server(&client.at).map(|server| server.snapshot().version.clone());
        version.is_some() && version != client.previous.server.version
    }
}

/// Digest of what a refresh depends on.
fn input(client: &Object) -> String {
    sha256_hex(format!("{:?} {:?} {:?}", client.spec, client.previous.fingerprint, client.deleted).as_bytes())
}
