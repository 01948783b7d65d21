//! The way in to the API server: a token, the next one in time, and another one where it is refused. What runs by a
//! token ends with it.

use super::credentials::Account;
use super::requests::{CompanionEvent, Retry};
use crate::adapters::Clock;
use crate::adapters::kube::companion_api::{CompanionApi, client};
use crate::decide::delays::MIN_TOKEN_AGE;
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc::Sender;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// What is done by one token.
struct Term {
    api: CompanionApi,
    until: Timestamp,
    tasks: JoinSet<()>,
}

/// The door.
pub struct ApiSession {
    account: Account,
    clock: Clock,
    sender: Sender<CompanionEvent>,
    term: Option<Term>,
    tries: Retry,
    refused: bool,
}

impl ApiSession {
    /// Of that account; nobody knocked yet.
    pub fn new(account: Account, clock: Clock, sender: Sender<CompanionEvent>) -> ApiSession {
        ApiSession { account, clock, sender, term: None, tries: Retry::default(), refused: false }
    }

    /// The API server, while there is a token.
    pub fn api(&self) -> Option<CompanionApi> {
        self.term.as_ref().map(|term| term.api.clone())
    }

    /// Runs something for as long as the token is used.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        self.term.as_mut().map(|term| {
            while term.tasks.try_join_next().is_some() {} // what ended is forgotten
            term.tasks.spawn(task)
        })
    }

    /// Fetches a token where one is needed. It comes as news.
    pub fn knock(&mut self) {
        if !self.is_wanted() || !self.tries.begin() {
            return;
        }
        let (account, clock, sender, refused) =
            (self.account.clone(), self.clock.clone(), self.sender.clone(), self.refused);
        tokio::spawn(async move {
            let entered = enter(&account, refused, &clock).await;
            let _ = sender.send(CompanionEvent::Entered(entered)).await;
        });
    }

    fn is_wanted(&self) -> bool {
        let due = |term: &Term| self.clock.now() >= term.until;
        self.refused || self.term.as_ref().is_none_or(due)
    }

    /// When to knock next, of what the clock does not tell.
    pub fn next(&self) -> Option<Instant> {
        self.is_wanted().then(|| self.tries.next()).flatten()
    }

    /// When the next token is due.
    pub fn until(&self) -> Option<Timestamp> {
        self.term.as_ref().map(|term| term.until)
    }

    /// A token came: true where there is something new to work by.
    ///
    /// # Errors
    /// What is wrong and what to do; what was there is still there.
    pub fn entered(&mut self, entered: Result<(CompanionApi, Timestamp), String>) -> Result<(), String> {
        match entered {
            Ok((api, until)) => {
                self.tries.answered();
                self.refused = false;
                let until = until.max(saturating(self.clock.now(), MIN_TOKEN_AGE));
                self.term = Some(Term { api, until, tasks: JoinSet::new() });
                Ok(())
            }
            Err(error) => {
                self.tries.failed();
                Err(error)
            }
        }
    }

    /// The server let us in.
    pub fn welcome(&mut self) {
        if !self.refused {
            self.tries.forget_failures();
        }
    }

    /// The server does not know the token: another one is fetched, after a while.
    pub fn refuse(&mut self) {
        if self.term.take().is_some() {
            self.refused = true;
            self.tries.failed();
        }
    }

    /// Whether the token is still good is asked at once; until then it is used.
    pub fn doubt(&mut self) {
        self.refused = true;
    }
}

async fn enter(account: &Account, refused: bool, clock: &Clock) -> Result<(CompanionApi, Timestamp), String> {
    let token = account.token(refused, clock).await?;
    let client = client(account.config().clone(), &token.text);
    let client = client.map_err(|error| format!("failed to make a client: {error}"))?;
    Ok((CompanionApi::new(client), token.renew_at))
}
