//! A look at the server of a PortainerClient: how it is spoken to, what came of it, and when the next one is.

use super::RegistrationServer;
use super::connect::{Connection, way};
use super::state::{Registrations, SyncOutcome};
use crate::adapters::portainer::RequestMetrics;
use crate::adapters::{Clock, Store};
use crate::api::condition::Reason;
use crate::api::{Object, ObjectRef};
use crate::decide::registration::RegistrationProblem;
use crate::decide::registration::backoff::{INTERVAL, LOGIN_RETRY_INTERVAL, retry_delay};
use crate::pki::lifecycle::saturating;
use crate::pki::sha256_hex;
use crate::reconcile::Context;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

impl Registrations {
    /// Looks at the server of a PortainerClient.
    pub async fn look<S: Store>(&self, ctx: &Context<S>, client: &Object) -> SyncOutcome {
        let way = match way(ctx, client).await {
            // What goes together with its Secrets is taken leave of by what is still known of them.
            Err(_) if client.deleted.is_some() && self.known(&client.at, |known| known.server.is_some()) => {
                return self.look_by(&client.at, None, wishes(client), &ctx.clock).await;
            }
            way => way,
        };
        let told = self.note_access(&client.at, &way);
        let mut came = self.look_by(&client.at, Some(way), wishes(client), &ctx.clock).await;
        came.news |= told || self.version_is_news(client);
        came
    }

    /// Looks at a server that is spoken to in that way, or as before; `about` is what the look depends on.
    pub(super) async fn look_by(
        &self,
        client: &ObjectRef,
        way: Option<Result<Connection, RegistrationProblem>>,
        about: String,
        clock: &Clock,
    ) -> SyncOutcome {
        let now = clock.now();
        let (before, kept, tally) = self.known(client, |known| {
            let forgiven = known.refused.is_some_and(|refused| now >= saturating(refused, LOGIN_RETRY_INTERVAL));
            (known.looked.clone(), known.server.clone().filter(|_| !forgiven), Arc::clone(&known.tally))
        });
        let looked = match self.server_by(way, kept, tally) {
            Ok(server) => {
                self.known(client, |known| known.server = Some(Arc::clone(&server)));
                server.look(clock).await
            }
            Err(fault) => Err(fault),
        };
        let news = before.as_ref() != Some(&looked);
        let requeue_at = self.known(client, |known| {
            known.about = about;
            let refused = matches!(&looked, Err(fault) if fault.reason == Reason::CredentialsRefused);
            known.refused = refused
                .then(|| known.refused.filter(|since| now < saturating(*since, LOGIN_RETRY_INTERVAL)).unwrap_or(now));
            known.failures = if looked.is_ok() { 0 } else { known.failures + 1 };
            known.looked = Some(looked.clone());
            known.seen = if looked.is_ok() { Some(clock.now()) } else { known.seen };
            let wait = looked.as_ref().err().map_or(INTERVAL, |fault| retry_delay(fault.reason, known.failures));
            known.again = Some(saturating(now, wait));
            known.again
        });
        SyncOutcome { requeue_at, news, look: false }
    }

    fn server_by(
        &self,
        way: Option<Result<Connection, RegistrationProblem>>,
        kept: Option<Arc<RegistrationServer>>,
        tally: Arc<RequestMetrics>,
    ) -> Result<Arc<RegistrationServer>, RegistrationProblem> {
        match (way, kept) {
            (Some(way), kept) => way?.server(kept, &self.names, tally),
            (None, Some(kept)) => Ok(kept),
            (None, None) => {
                Err(RegistrationProblem::new(Reason::NotRegistered, "nothing is known of its server any more"))
            }
        }
    }

    /// The server of a PortainerClient is to be looked at now: it never was, or something else is wished for.
    pub fn wants_look(&self, client: &Object) -> bool {
        self.known(&client.at, |known| known.looked.is_none() || known.about != wishes(client))
    }

    /// The same, or its time has come.
    pub fn is_look_due(&self, client: &Object, now: Timestamp) -> bool {
        self.is_due_for(&client.at, &wishes(client), now)
    }

    pub(super) fn is_due_for(&self, client: &ObjectRef, about: &str, now: Timestamp) -> bool {
        self.known(client, |known| known.about != about || known.again.is_none_or(|again| now >= again))
    }

    /// When its server is to be looked at again; none where that is at once.
    pub fn next_look(&self, client: &ObjectRef) -> Option<Timestamp> {
        self.known(client, |known| known.again)
    }

    /// Has a server looked at no sooner and no later; at once where no instant is given.
    pub fn look_again(&self, client: &ObjectRef, at: Option<Timestamp>) {
        self.known(client, |known| known.again = at);
    }

    fn version_is_news(&self, client: &Object) -> bool {
        let version =
            self.known(&client.at, |known| known.server.as_ref().map(|server| server.snapshot().version.clone()));
        version.is_some() && version != client.previous.server.version
    }
}

/// What a look depends on.
fn wishes(client: &Object) -> String {
    sha256_hex(format!("{:?} {:?} {:?}", client.spec, client.previous.fingerprint, client.deleted).as_bytes())
}
