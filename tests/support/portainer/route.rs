//! Routes a request: method and path in, an answer out, in Portainer's order.

use super::account::Caller;
use super::answer::{Answer, Reply};
use super::change::no_environment;
use super::request::ApiRequest;
use super::state::Environment;
use super::{Shared, locked};
use serde_json::json;

/// Methods of a path; none for a path that there is not.
fn methods(path: &[&str]) -> &'static [&'static str] {
    match path {
        ["status"] | ["system", "status" | "version" | "info"] => &["GET"],
        ["auth"] | ["users", "admin", "init"] | ["upload", "tls", "ca" | "cert" | "key"] => &["POST"],
        ["users", "admin", "check"] | ["users", "me"] => &["GET"],
        ["users"] => &["POST"],
        ["users", _] | ["users", _, "tokens", _] | ["tags", _] => &["DELETE"],
        ["users", _, "tokens"] | ["endpoint_groups"] | ["tags"] => &["GET", "POST"],
        ["endpoints"] => &["GET", "POST", "DELETE"],
        ["endpoints", "snapshot"] | ["endpoints", _, "snapshot"] => &["POST"],
        ["endpoints", _, "settings"] => &["PUT"],
        ["endpoints", _] => &["GET", "PUT", "DELETE"],
        ["endpoint_groups", _] => &["GET", "DELETE"],
        _ => &[],
    }
}

/// Does it go to a Docker host? Such a request ends when its client goes; any other is carried out.
pub fn is_passed_on(path: &str) -> bool {
    matches!(steps(path)[..], ["endpoints", _, "docker", _, ..])
}

impl Shared {
    /// Answers.
    pub async fn route(&self, asked: &ApiRequest) -> Answer {
        self.attend(asked).await.unwrap_or_else(|refusal| refusal)
    }

    async fn attend(&self, asked: &ApiRequest) -> Reply {
        self.guard(asked)?;
        if !asked.path.starts_with("/api/") {
            return Err(Answer::text(404, "404 page not found\n"));
        }
        if self.is_timed_out() && asked.path != "/api/status" {
            let late = Answer::plain_refusal(303, "Administrator initialization timeout");
            return Err(late.with("redirect-reason", "AdminInitTimeout"));
        }
        let path = steps(&asked.path);
        if let ["endpoints", id, "docker", _, ..] = path[..] {
            return self.pass_on(id, asked).await;
        }
        let allowed = methods(&path);
        if allowed.is_empty() {
            return Err(Answer::text(404, "404 page not found\n"));
        }
        if !allowed.contains(&asked.method.as_str()) {
            return Err(Answer::empty(405));
        }
        match (asked.method.as_str(), &path[..]) {
            (_, ["status"] | ["system", "status"]) => {
                let instance = locked(&self.state).instance.clone();
                Ok(Answer::json(200, &json!({ "Version": *locked(&self.version), "InstanceID": instance })))
            }
            (_, ["users", "admin", "check"]) => match locked(&self.state).is_initialised() {
                true => Ok(Answer::empty(204)),
                false => Err(Answer::refusal(404, "No administrator account found inside the database", "not found")),
            },
            (_, ["users", "admin", "init"]) => self.first_admin(asked),
            (_, ["auth"]) => self.log_in(asked),
            _ => self.attend_user(self.caller(asked)?, &path, asked).await,
        }
    }

    /// What any user may ask for.
    async fn attend_user(&self, caller: Caller, path: &[&str], asked: &ApiRequest) -> Reply {
        match (asked.method.as_str(), path) {
            (_, ["system", "version"]) => Ok(Answer::json(200, &self.version_json(caller))),
            (_, ["system", "info"]) => {
                Ok(Answer::json(200, &json!({ "platform": "Docker Standalone", "edgeAgents": 0, "agents": 0 })))
            }
            ("GET", ["users", "me"]) => self.me(caller),
            ("GET", ["users", id, "tokens"]) => self.keys(caller, number(id)?),
            ("POST", ["users", id, "tokens"]) => self.add_key(caller, number(id)?, asked),
            (_, ["users", id, "tokens", key]) => self.remove_key(caller, number(id)?, number(key)?),
            ("GET", ["endpoints"]) => self.list(caller, asked),
            ("GET", ["endpoints", id]) => {
                let environment = self.visible(caller, number(id)?)?;
                let with_snapshot = asked.parameter("excludeSnapshot").as_deref() != Some("true");
                Ok(Answer::json(200, &environment.json(with_snapshot)))
            }
            ("GET", ["endpoint_groups"]) => {
                let state = locked(&self.state);
                Ok(Answer::json(200, &state.groups.iter().map(|(id, group)| group.json(*id)).collect()))
            }
            ("GET", ["tags"]) => {
                let state = locked(&self.state);
                Ok(Answer::json(200, &state.tags.iter().map(|(id, tag)| tag.json(*id)).collect()))
            }
            _ => self.attend_admin(caller.admin()?, path, asked).await,
        }
    }

    /// What only administrators may ask for: who is none hears that before anything else.
    async fn attend_admin(&self, caller: Caller, path: &[&str], asked: &ApiRequest) -> Reply {
        match (asked.method.as_str(), path) {
            ("POST", ["endpoints"]) => self.create(asked).await,
            ("PUT", ["endpoints", id]) => self.change(number(id)?, asked),
            ("DELETE", ["endpoints", id]) => self.remove(number(id)?),
            ("DELETE", ["endpoints"]) => self.remove_several(asked),
            ("POST", ["endpoints", "snapshot"]) => self.snapshot_all().await,
            ("POST", ["endpoints", id, "snapshot"]) => self.snapshot(number(id)?).await,
            ("PUT", ["endpoints", id, "settings"]) => self.settle(number(id)?, asked),
            ("POST", ["upload", "tls", kind]) => self.upload(kind, asked),
            ("POST", ["users"]) => self.add_user(asked),
            ("DELETE", ["users", id]) => self.remove_user(caller, number(id)?),
            ("POST", ["tags"]) => self.add_tag(asked),
            ("DELETE", ["tags", id]) => self.remove_tag(number(id)?),
            ("POST", ["endpoint_groups"]) => self.add_group(asked),
            ("GET", ["endpoint_groups", id]) => self.group(number(id)?),
            ("DELETE", ["endpoint_groups", id]) => self.remove_group(number(id)?),
            _ => Err(Answer::empty(405)),
        }
    }

    async fn pass_on(&self, id: &str, asked: &ApiRequest) -> Reply {
        let environment = self.visible(self.caller(asked)?, number(id)?)?;
        let (_, path) = asked.path.split_once("/docker").unwrap_or_default();
        self.proxies.pass(&environment, path, asked).await
    }

    fn visible(&self, caller: Caller, id: u64) -> Result<Environment, Answer> {
        let environment = locked(&self.state).environments.get(&id).cloned().ok_or_else(|| no_environment(id))?;
        if caller.role == 1 || environment.users.contains(&caller.user) {
            return Ok(environment);
        }
        Err(Answer::refusal(403, "Permission denied to access environment", "Access denied to environment"))
    }

    fn version_json(&self, caller: Caller) -> serde_json::Value {
        let version = locked(&self.version).clone();
        // Administrators see the whole environment of the process: a trap for a client that logs the answer.
        let build = if caller.role == 1 { json!({ "Env": ["SECRET=of-the-server"] }) } else { json!({}) };
        json!({ "ServerVersion": version, "ServerEdition": "CE", "DatabaseVersion": version,
            "LatestVersion": version, "UpdateAvailable": false, "Build": build })
    }
}

fn steps(path: &str) -> Vec<&str> {
    path.strip_prefix("/api").unwrap_or(path).trim_matches('/').split('/').collect()
}

fn number(step: &str) -> Result<u64, Answer> {
    step.parse().map_err(|_| {
        let why = format!("strconv.Atoi: parsing {step:?}: invalid syntax");
        Answer::refusal(400, "Invalid environment identifier route variable", &why)
    })
}
