//! Who we are to a server: an API key, or a user who logs in as seldom as can be, since Portainer bans an address for an
//! hour after ten logins in a second. Copies of a client share one session.

use super::call::Call;
use super::connection::ServerAddress;
use super::error::{AccessError, PortainerError};
use super::{ServerCredential, judged};
use crate::portainer::wire;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Where Portainer looks for an API key. Never sent together with a session's token: it refuses both then.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The header that says who asks.
#[derive(Clone)]
pub(super) struct AuthHeader {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    /// Which login it comes from.
    number: u64,
}

impl AuthHeader {
    /// Its Debug is redacted, its memory is zeroed.
    fn new(name: HeaderName, text: Zeroizing<String>, number: u64) -> Option<AuthHeader> {
        let bytes = Bytes::from_owner(Zeroizing::new(text.as_bytes().to_vec()));
        let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
        value.set_sensitive(true);
        Some(AuthHeader { name, value, number })
    }
}

/// Logins of this process, whoever for: Portainer counts them by the address that they come from.
static LOGINS: Mutex<()> = Mutex::const_new(());
const BETWEEN_LOGINS: Duration = Duration::from_millis(150);

/// Who we are to a server.
pub(super) enum Session {
    Key(AuthHeader),
    User(LoginBody),
}

/// A user, and the session that it has.
pub(super) struct LoginBody {
    username: String,
    password: Zeroizing<String>,
    state: Mutex<SessionState>,
}

struct SessionState {
    pass: Option<AuthHeader>,
    /// The last login that reached the server.
    last: Option<Instant>,
    /// Why there is no pass since then.
    failed: PortainerError,
    logins: u64,
    /// The server does not know this user, or not this session: it is not asked again.
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
                let state = SessionState { pass: None, last: None, failed, logins: 0, refused: false };
                Ok(Session::User(LoginBody { username, password, state: Mutex::new(state) }))
            }
        }
    }

    /// The header to ask with; logs in where there is none.
    pub(super) async fn pass(&self, server: &ServerAddress) -> Result<AuthHeader, PortainerError> {
        let user = match self {
            Session::Key(pass) => return Ok(pass.clone()),
            Session::User(user) => user,
        };
        let mut state = user.state.lock().await;
        match &state.pass {
            _ if state.refused => Err(PortainerError::CredentialsRefused),
            Some(pass) => Ok(pass.clone()),
            None => user.login(server, &mut state).await,
        }
    }

    /// Another header than `old`, which the server refused: what somebody else got meanwhile, or a new login's.
    pub(super) async fn renewed(&self, server: &ServerAddress, old: &AuthHeader) -> Result<AuthHeader, PortainerError> {
        let user = match self {
            Session::Key(_) => return Err(PortainerError::CredentialsRefused),
            Session::User(user) => user,
        };
        let mut state = user.state.lock().await;
        match &state.pass {
            _ if state.refused => return Err(PortainerError::CredentialsRefused),
            Some(pass) if pass.number != old.number => return Ok(pass.clone()),
            _ => {}
        }
        if state.pass.take().is_some() {
            let words = "the session ended soon after the login; the next login waits for a minute".to_owned();
            state.failed = PortainerError::Refused { status: 401, words };
        }
        user.login(server, &mut state).await
    }

    /// The server refused a session as soon as it was made: no more logins.
    pub(super) async fn refuse(&self, pass: &AuthHeader) {
        let Session::User(user) = self else { return };
        let mut state = user.state.lock().await;
        if state.pass.as_ref().is_some_and(|known| known.number == pass.number) {
            state.pass = None;
            state.refused = true;
        }
    }

    /// The user's name and password, for the first administrator.
    pub(super) fn user(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Session::Key(_) => None,
            Session::User(user) => Some(wire::credentials(&user.username, &user.password)),
        }
    }

    /// Whether a text shows the secret.
    pub(super) fn is_shown_in(&self, text: &str) -> bool {
        let secret = match self {
            Session::Key(pass) => pass.value.as_bytes(),
            Session::User(user) => user.password.as_bytes(),
        };
        !secret.is_empty() && text.as_bytes().windows(secret.len()).any(|window| window == secret)
    }
}

impl LoginBody {
    async fn login(&self, server: &ServerAddress, state: &mut SessionState) -> Result<AuthHeader, PortainerError> {
        if state.last.is_some_and(|last| last.elapsed() < server.patience.login) {
            return Err(state.failed.clone());
        }
        // Should nobody wait for the end of it, it counts all the same.
        state.last = Some(Instant::now());
        state.failed = PortainerError::TimedOut;
        let error = match self.ask(server, state.logins + 1).await {
            Ok(pass) => {
                state.logins += 1;
                state.pass = Some(pass.clone());
                return Ok(pass);
            }
            Err(error) => error,
        };
        match error {
            PortainerError::Unreachable(_) | PortainerError::Untrusted(_) => state.last = None,
            PortainerError::CredentialsRefused => state.refused = true,
            _ => {}
        }
        state.failed = error.clone();
        Err(error)
    }

    async fn ask(&self, server: &ServerAddress, number: u64) -> Result<AuthHeader, PortainerError> {
        let call = Call::login(wire::credentials(&self.username, &self.password));
        let reply = {
            let _alone = LOGINS.lock().await;
            let reply = call.send(server, None).await;
            tokio::time::sleep(BETWEEN_LOGINS).await;
            reply?
        };
        match reply.status.as_u16() {
            200..=299 => {}
            401 | 422 => return Err(PortainerError::CredentialsRefused),
            403 => return Err(PortainerError::Banned),
            _ => return Err(judged(&reply, |text| text.contains(self.password.as_str()))),
        }
        let login: wire::Login = serde_json::from_slice(&reply.body).unwrap_or_default();
        let token = Zeroizing::new(login.jwt);
        let unreadable = || PortainerError::Unreadable("the login gave no session".into());
        if token.is_empty() {
            return Err(unreadable());
        }
        AuthHeader::new(AUTHORIZATION, Zeroizing::new(format!("Bearer {}", &*token)), number).ok_or_else(unreadable)
    }
}
