//! The session with the API server: a token is fetched, replaced in time, and replaced where the server refuses it. What
//! runs with a token ends with it. Nothing is delivered here.

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

/// A token, and what runs with it.
struct TokenTasks {
    api: CompanionApi,
    renew_at: Timestamp,
    tasks: JoinSet<()>,
}

pub struct ApiSession {
    account: Account,
    clock: Clock,
    sender: Sender<CompanionEvent>,
    current: Option<TokenTasks>,
    request: Retry,
    /// The server refused the last token.
    refused: bool,
}

impl ApiSession {
    /// A session without a token.
    pub fn new(account: Account, clock: Clock, sender: Sender<CompanionEvent>) -> ApiSession {
        ApiSession { account, clock, sender, current: None, request: Retry::default(), refused: false }
    }

    /// The API server, while there is a token.
    pub fn api(&self) -> Option<CompanionApi> {
        self.current.as_ref().map(|current| current.api.clone())
    }

    /// Runs a task for as long as the token is used.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        self.current.as_mut().map(|current| {
            while current.tasks.try_join_next().is_some() {} // drops what ended
            current.tasks.spawn(task)
        })
    }

    /// Requests a token where one is needed. It comes as an event.
    pub fn fetch_token(&mut self) {
        if !self.needs_token() || !self.request.begin() {
            return;
        }
        let (account, clock, sender, refused) =
            (self.account.clone(), self.clock.clone(), self.sender.clone(), self.refused);
        tokio::spawn(async move {
            let token = connect(&account, refused, &clock).await;
            let _ = sender.send(CompanionEvent::Token(token)).await;
        });
    }

    fn needs_token(&self) -> bool {
        let due = |current: &TokenTasks| self.clock.now() >= current.renew_at;
        self.refused || self.current.as_ref().is_none_or(due)
    }

    /// When to request a token again after a failure.
    pub fn next(&self) -> Option<Instant> {
        self.needs_token().then(|| self.request.next()).flatten()
    }

    /// When the next token is due by the clock.
    pub fn renew_at(&self) -> Option<Timestamp> {
        self.current.as_ref().map(|current| current.renew_at)
    }

    /// A token came, and replaces the one before; or it did not, and the one before is kept.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub fn token(&mut self, token: Result<(CompanionApi, Timestamp), String>) -> Result<(), String> {
        match token {
            Ok((api, renew_at)) => {
                self.request.answered();
                self.refused = false;
                let renew_at = renew_at.max(saturating(self.clock.now(), MIN_TOKEN_AGE));
                self.current = Some(TokenTasks { api, renew_at, tasks: JoinSet::new() });
                Ok(())
            }
            Err(error) => {
                self.request.failed();
                Err(error)
            }
        }
    }

    /// The server answered a request that bore the token.
    pub fn token_accepted(&mut self) {
        if !self.refused {
            self.request.forget_failures();
        }
    }

    /// The server refused the token: another one is fetched, after a delay.
    pub fn token_refused(&mut self) {
        if self.current.take().is_some() {
            self.refused = true;
            self.request.failed();
        }
    }

    /// Fetches another token at once, since the account may be gone; until it comes this one is used.
    pub fn recheck_token(&mut self) {
        self.refused = true;
    }
}

async fn connect(account: &Account, refused: bool, clock: &Clock) -> Result<(CompanionApi, Timestamp), String> {
    let token = account.token(refused, clock).await?;
    let client = client(account.config().clone(), &token.text);
    let client = client.map_err(|error| format!("failed to make a client: {error}"))?;
    Ok((CompanionApi::new(client), token.renew_at))
}
