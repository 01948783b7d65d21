//! Who asks: users, passwords, JWT and API keys; and the limiter that bans who logs in too often.

use super::answer::{Answer, Reply};
use super::request::{ApiRequest, invalid};
use super::state::State;
use super::{Shared, locked, random};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What dies with the process: who is logged in, who is banned.
#[derive(Default)]
pub struct Sessions {
    tokens: HashMap<String, u64>,
    attempts: HashMap<IpAddr, Attempts>,
}

#[derive(Default)]
struct Attempts {
    recent: Vec<Instant>,
    banned: bool,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user: u64,
    pub role: u64,
    /// By JWT, as bearer or cookie; not by an API key.
    pub by_token: bool,
}

impl Caller {
    /// Administrators only.
    pub fn admin(self) -> Result<Caller, Answer> {
        if self.role == 1 { Ok(self) } else { Err(denied("Access denied")) }
    }
}

/// 403.
pub fn denied(message: &str) -> Answer {
    Answer::refusal(403, message, "Unauthorized")
}

/// A raw key as Portainer makes them.
pub fn fresh_key() -> String {
    format!("ptr_{}", STANDARD.encode([random(), random()].concat()))
}

impl Shared {
    /// What the CSRF check says, before anything else.
    pub fn guard(&self, asked: &ApiRequest) -> Result<(), Answer> {
        if cookie(asked).is_some() {
            let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].contains(&asked.method.as_str());
            return if safe { Ok(()) } else { Err(Answer::text(403, "Forbidden - CSRF token not found in request\n")) };
        }
        if asked.header("x-api-key").is_some() && asked.header("authorization").is_some() {
            let why = "api key and auth header are not allowed at the same time";
            return Err(Answer::refusal(403, why, why));
        }
        Ok(())
    }

    /// The caller: by API key, then cookie, then bearer token. The first that is there decides.
    pub fn caller(&self, asked: &ApiRequest) -> Result<Caller, Answer> {
        let wrong = || Answer::refusal(401, "Invalid JWT token", "Unauthorized");
        let state = locked(&self.state);
        let caller = |user: u64, by_token| {
            let role = state.users.get(&user).map(|user| user.role).ok_or_else(wrong)?;
            Ok(Caller { user, role, by_token })
        };
        let key = asked.header("x-api-key").map(str::to_owned).or_else(|| asked.parameter("X-API-KEY"));
        if let Some(raw) = key {
            let user = state.keys.values().find(|key| key.raw == raw).map(|key| key.user).ok_or_else(wrong)?;
            return caller(user, false);
        }
        let bearer = asked.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        let token = cookie(asked).or(bearer.map(str::to_owned)).or_else(|| asked.parameter("token"));
        let missing = || Answer::refusal(401, "A valid authorization token is missing", "Unauthorized");
        let user = locked(&self.sessions).tokens.get(&token.ok_or_else(missing)?).copied().ok_or_else(wrong)?;
        caller(user, true)
    }

    /// Counts an attempt; who comes too often is banned until a restart.
    pub fn limit(&self, from: IpAddr) -> Result<(), Answer> {
        let mut sessions = locked(&self.sessions);
        let attempts = sessions.attempts.entry(from).or_default();
        let now = Instant::now();
        attempts.recent.retain(|then| now.duration_since(*then) < Duration::from_secs(1));
        attempts.recent.push(now);
        attempts.banned |= attempts.recent.len() > 10;
        if attempts.banned { Err(Answer::refusal(403, "Access denied", "Access denied to resource")) } else { Ok(()) }
    }

    /// `POST /auth`
    pub fn log_in(&self, asked: &ApiRequest) -> Reply {
        self.limit(asked.from)?;
        let fields = asked.json()?;
        let name =
            fields.text("Username")?.filter(|name| !name.is_empty()).ok_or_else(|| invalid("Invalid username"))?;
        let password = fields.text("Password")?.filter(|text| !text.is_empty());
        let password = password.ok_or_else(|| invalid("Invalid password"))?;
        let state = locked(&self.state);
        let user = state.users.iter().find(|(_, user)| user.name.eq_ignore_ascii_case(&name));
        let user = user.filter(|(_, user)| user.password == password).map(|(id, _)| *id);
        let user = user.ok_or_else(|| Answer::refusal(422, "Invalid credentials", "Unauthorized"))?;
        let [head, body, seal] =
            [random(), random(), random()].map(|part| URL_SAFE_NO_PAD.encode([part, random()].concat()));
        let token = format!("{head}.{body}.{seal}");
        locked(&self.sessions).tokens.insert(token.clone(), user);
        let crumb = format!("portainer_api_key={token}; Path=/; HttpOnly; SameSite=Strict");
        Ok(Answer::json(200, &json!({ "jwt": token })).with("set-cookie", crumb))
    }

    /// `POST /users/admin/init`
    pub fn first_admin(&self, asked: &ApiRequest) -> Reply {
        let fields = asked.json()?;
        let name = fields.text("Username")?.filter(|name| !name.is_empty() && !name.contains(' '));
        let name = name.ok_or_else(|| invalid("Invalid username. Must not contain any whitespace"))?;
        let password = fields.text("Password")?.unwrap_or_default();
        let mut state = locked(&self.state);
        if state.is_initialised() {
            let why = "an administrator user already exists";
            return Err(Answer::refusal(409, "Unable to create administrator user", why));
        }
        strong(&password)?;
        let id = state.add_user(&name, &password, 1);
        Ok(Answer::json(200, &state.users[&id].json(id)))
    }

    /// `POST /users`
    pub fn add_user(&self, asked: &ApiRequest) -> Reply {
        let fields = asked.json()?;
        let name = fields.text("Username")?.filter(|name| !name.is_empty() && !name.contains(' '));
        let name = name.ok_or_else(|| invalid("Invalid username. Must not contain any whitespace"))?;
        let role = fields.number("Role")?.filter(|role| [1, 2].contains(role));
        let role = role.ok_or_else(|| {
            invalid("Invalid role value. Value must be one of: 1 (administrator) or 2 (regular user)")
        })?;
        let mut state = locked(&self.state);
        if state.users.values().any(|user| user.name.eq_ignore_ascii_case(&name)) {
            let why = "Another user with the same username already exists";
            return Err(Answer::refusal(409, why, "User already exists"));
        }
        let password = fields.text("Password")?.unwrap_or_default();
        strong(&password)?;
        let id = state.add_user(&name, &password, role);
        Ok(Answer::json(200, &state.users[&id].json(id)))
    }

    /// `GET /users/me`
    pub fn me(&self, caller: Caller) -> Reply {
        Ok(Answer::json(200, &locked(&self.state).users[&caller.user].json(caller.user)))
    }

    /// `DELETE /users/{id}`
    pub fn remove_user(&self, caller: Caller, id: u64) -> Reply {
        if id == 1 || id == caller.user {
            return Err(Answer::refusal(403, "Cannot remove the initial admin account", "Cannot remove admin user"));
        }
        let mut state = locked(&self.state);
        state
            .users
            .remove(&id)
            .ok_or_else(|| missing("Unable to find a user with the specified identifier", "users", id))?;
        state.keys.retain(|_, key| key.user != id);
        Ok(Answer::empty(204))
    }

    /// `POST /users/{id}/tokens`, which no API key may ask for.
    pub fn add_key(&self, caller: Caller, id: u64, asked: &ApiRequest) -> Reply {
        self.limit(asked.from)?;
        if !caller.by_token {
            return Err(Answer::refusal(401, "Auth not supported", "Authentication required"));
        }
        let fields = asked.json()?;
        let description = fields.text("description")?.unwrap_or_default();
        if description.trim().is_empty() || description.len() > 128 {
            return Err(invalid("invalid description: cannot be empty"));
        }
        if caller.user != id {
            return Err(denied("Permission denied to create user access token"));
        }
        let password = fields.text("password")?.filter(|text| !text.is_empty());
        let password = password.ok_or_else(|| invalid("invalid password: cannot be empty"))?;
        let mut state = locked(&self.state);
        if state.users[&id].password != password {
            let why = "Current password does not match the password provided. Please try again";
            return Err(Answer::refusal(403, "Current password doesn't match", why));
        }
        let raw = fresh_key();
        let number = state.add_key(id, &description, &raw);
        Ok(Answer::json(201, &json!({ "rawAPIKey": raw, "apiKey": key_json(&state, number) })))
    }

    /// `GET /users/{id}/tokens`
    pub fn keys(&self, caller: Caller, id: u64) -> Reply {
        own(caller, id)?;
        let state = locked(&self.state);
        let own = state.keys.iter().filter(|(_, key)| key.user == id);
        Ok(Answer::json(200, &own.map(|(number, _)| key_json(&state, *number)).collect()))
    }

    /// `DELETE /users/{id}/tokens/{key}`
    pub fn remove_key(&self, caller: Caller, id: u64, key: u64) -> Reply {
        own(caller, id)?;
        let mut state = locked(&self.state);
        let theirs = state.keys.get(&key).is_some_and(|key| key.user == id);
        theirs.then(|| state.keys.remove(&key)).ok_or_else(|| missing("Unable to find an API key", "api_key", key))?;
        Ok(Answer::empty(204))
    }

    /// Nobody is logged in or banned any more.
    pub fn forget_sessions(&self) {
        *locked(&self.sessions) = Sessions::default();
    }
}

/// 404 for an object.
pub fn missing(message: &str, bucket: &str, key: u64) -> Answer {
    Answer::refusal(404, message, &not_found(bucket, key))
}

/// What the database says of an object that it has not.
pub fn not_found(bucket: &str, key: u64) -> String {
    format!("object not found inside the database (bucket={bucket}, key={key})")
}

fn own(caller: Caller, id: u64) -> Result<(), Answer> {
    if caller.role == 1 || caller.user == id { Ok(()) } else { Err(denied("Permission denied to access user keys")) }
}

fn strong(password: &str) -> Result<(), Answer> {
    if password.is_empty() {
        return Err(invalid("Invalid password"));
    }
    if password.len() < 12 {
        return Err(Answer::plain_refusal(400, "Password does not meet the requirements"));
    }
    Ok(())
}

fn key_json(state: &State, number: u64) -> serde_json::Value {
    let key = &state.keys[&number];
    let prefix: String = key.raw.chars().take(7).collect();
    json!({ "id": number, "userId": key.user, "description": key.description, "prefix": prefix, "dateCreated": 0,
        "lastUsed": 0 })
}

fn cookie(asked: &ApiRequest) -> Option<String> {
    let cookies = asked.header("cookie")?.split(';');
    let value = cookies.filter_map(|pair| pair.trim().strip_prefix("portainer_api_key=")).next()?;
    (!value.is_empty()).then(|| value.to_owned())
}
