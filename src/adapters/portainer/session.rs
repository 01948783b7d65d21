//! The session with a server: an API key, or a user who logs in as seldom as possible, because Portainer bans an address
//! for an hour after ten logins in a second. Copies of a client share one session.

use super::access::ServerCredential;
use super::auth_header::AuthHeader;
use super::call::Call;
use super::connection::ServerAddress;
use super::error::{AccessError, PortainerError};
use crate::adapters::keyed_locks::KeyedLocks;
use crate::portainer::wire;
use hyper::header::{AUTHORIZATION, HeaderName};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// The header of an API key. Never sent together with a session's token: Portainer then refuses both.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A server that is known by two addresses, as with and without TLS, sees twice as many.
const MIN_LOGIN_INTERVAL: Duration = Duration::from_millis(250);

/// Locks that are held during each login of this process, one for each server: Portainer counts logins by the address
/// that they come from, and one that hangs must delay no other.
static LOGINS: LazyLock<KeyedLocks> = LazyLock::new(KeyedLocks::default);

pub(super) enum Session {
    Key(AuthHeader),
    User(UserSession),
}

pub(super) struct UserSession {
    username: String,
    password: Zeroizing<String>,
    state: Mutex<SessionState>,
}

struct SessionState {
    header: Option<AuthHeader>,
    /// When the last login reached the server.
    last: Option<Instant>,
    /// Why there is no header since then.
    failed: PortainerError,
    logins: u64,
    /// The server refuses this user, or a session that it has just made: no more logins.
    refused: bool,
}

impl Session {
    pub(super) fn new(credential: ServerCredential) -> Result<Session, AccessError> {
        match credential {
            ServerCredential::ApiKey(key) => {
                AuthHeader::new(API_KEY, key, 0).map(Session::Key).ok_or(AccessError::Credential)
            }
            ServerCredential::Password { username, password } => {
                let failed = PortainerError::TimedOut;
                let state = SessionState { header: None, last: None, failed, logins: 0, refused: false };
                Ok(Session::User(UserSession { username, password, state: Mutex::new(state) }))
            }
        }
    }

    /// The header to send; logs in if there is none.
    pub(super) async fn auth_header(&self, server: &ServerAddress) -> Result<AuthHeader, PortainerError> {
        let user = match self {
            Session::Key(header) => return Ok(header.clone()),
            Session::User(user) => user,
        };
        let mut state = user.state.lock().await;
        match &state.header {
            _ if state.refused => Err(PortainerError::CredentialsRefused),
            Some(header) => Ok(header.clone()),
            None => user.login(server, &mut state).await,
        }
    }

    /// Another header than `old`, which the server refused: that of a login since then, or of a new one.
    pub(super) async fn renew(&self, server: &ServerAddress, old: &AuthHeader) -> Result<AuthHeader, PortainerError> {
        let user = match self {
            Session::Key(_) => return Err(PortainerError::CredentialsRefused),
            Session::User(user) => user,
        };
        let mut state = user.state.lock().await;
        match &state.header {
            _ if state.refused => return Err(PortainerError::CredentialsRefused),
            Some(header) if header.login != old.login => return Ok(header.clone()),
            _ => {}
        }
        if state.header.take().is_some() {
            let message = "the session ended soon after the login; the next login waits for a minute".to_owned();
            state.failed = PortainerError::Refused { status: 401, message };
        }
        user.login(server, &mut state).await
    }

    /// The server refused a session that it has just made: no more logins.
    pub(super) async fn mark_refused(&self, header: &AuthHeader) {
        let Session::User(user) = self else { return };
        let mut state = user.state.lock().await;
        if state.header.as_ref().is_some_and(|known| known.login == header.login) {
            state.header = None;
            state.refused = true;
        }
    }

    /// The user's name and password, for the first administrator.
    pub(super) fn login_body(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Session::Key(_) => None,
            Session::User(user) => Some(wire::credentials(&user.username, &user.password)),
        }
    }

    /// Whether a text holds the secret.
    pub(super) fn appears_in(&self, text: &str) -> bool {
        let secret = match self {
            Session::Key(header) => header.value.as_bytes(),
            Session::User(user) => user.password.as_bytes(),
        };
        !secret.is_empty() && text.as_bytes().windows(secret.len()).any(|window| window == secret)
    }
}

impl UserSession {
    async fn login(&self, server: &ServerAddress, state: &mut SessionState) -> Result<AuthHeader, PortainerError> {
        if state.last.is_some_and(|last| last.elapsed() < server.timeouts.login) {
            return Err(state.failed.clone());
        }
        // Set before the request: it counts even if this future is dropped.
        state.last = Some(Instant::now());
        state.failed = PortainerError::TimedOut;
        let error = match self.send_login(server, state.logins + 1).await {
            Ok(header) => {
                state.logins += 1;
                state.header = Some(header.clone());
                return Ok(header);
            }
            Err(error) => error,
        };
        match error {
            PortainerError::Unreachable(_) | PortainerError::NotAllowed | PortainerError::Untrusted(_) => {
                state.last = None;
            }
            PortainerError::CredentialsRefused => state.refused = true,
            _ => {}
        }
        state.failed = error.clone();
        Err(error)
    }

    async fn send_login(&self, server: &ServerAddress, number: u64) -> Result<AuthHeader, PortainerError> {
        let call = Call::login(wire::credentials(&self.username, &self.password));
        let reply = {
            let lock = LOGINS.of(server.host_and_port());
            let _held = lock.lock().await;
            let reply = call.send(server, None).await;
            tokio::time::sleep(MIN_LOGIN_INTERVAL).await;
            reply?
        };
        match reply.status.as_u16() {
            200..=299 => {}
            401 | 422 => return Err(PortainerError::CredentialsRefused),
            403 => return Err(PortainerError::Banned),
            _ => return Err(reply.error(|text| text.contains(self.password.as_str()))),
        }
        let login: wire::Login = serde_json::from_slice(&reply.body).unwrap_or_default();
        let token = Zeroizing::new(login.jwt);
        let unreadable = || PortainerError::Unreadable("the answer to the login has no token".into());
        if token.is_empty() {
            return Err(unreadable());
        }
        AuthHeader::new(AUTHORIZATION, Zeroizing::new(format!("Bearer {}", &*token)), number).ok_or_else(unreadable)
    }
}
