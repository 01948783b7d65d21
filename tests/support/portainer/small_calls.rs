//! The smaller calls: snapshots, uploads, removals, settings, tags and groups.

use super::account::missing;
use super::answer::{Answer, Reply};
use super::change::no_environment;
use super::request::{ApiRequest, invalid};
use super::state::Environment;
use super::{Shared, locked};
use serde_json::json;

impl Shared {
    /// `POST /endpoints/{id}/snapshot`: 204, whatever the host says; only the status tells.
    pub async fn snapshot(&self, id: u64) -> Reply {
        let environment = locked(&self.state).environments.get(&id).cloned().ok_or_else(|| no_environment(id))?;
        if environment.kind > 2 {
            return Err(Answer::plain_refusal(400, "Snapshots not supported for this environment"));
        }
        self.take_snapshot(&environment).await?;
        Ok(Answer::empty(204))
    }

    /// `POST /endpoints/snapshot`: one after the other.
    pub async fn snapshot_all(&self) -> Reply {
        let environments: Vec<Environment> = locked(&self.state).environments.values().cloned().collect();
        for environment in environments.iter().filter(|environment| environment.kind <= 2) {
            let _ = self.take_snapshot(environment).await;
        }
        Ok(Answer::empty(204))
    }

    async fn take_snapshot(&self, environment: &Environment) -> Result<(), Answer> {
        let found = self.look(environment).await;
        let mut state = locked(&self.state);
        let latest = state.environments.get_mut(&environment.id).ok_or_else(|| no_environment(environment.id))?;
        latest.status = if found.is_ok() { 1 } else { 2 };
        if let Ok(snapshot) = found {
            latest.snapshot = Some(snapshot);
        }
        Ok(())
    }

    /// `POST /upload/tls/{ca|cert|key}`: any bytes into any folder, and no look at the proxy.
    pub fn upload(&self, kind: &str, asked: &ApiRequest) -> Reply {
        let form = asked.form();
        let dir = form.iter().find(|part| part.name == "folder" && !part.is_file);
        let dir = dir.map(|part| String::from_utf8_lossy(&part.bytes).into_owned());
        let dir = dir.or_else(|| asked.parameter("folder")).filter(|dir| !dir.is_empty());
        let dir =
            dir.ok_or_else(|| Answer::refusal(400, "Invalid query parameter: folder", "Missing form data value"))?;
        let file = form.iter().find(|part| part.name == "file" && part.is_file).ok_or_else(|| {
            let why = if form.is_empty() { NO_FORM } else { "http: no such file" };
            Answer::refusal(
                400,
                "Invalid certificate file. Ensure that the certificate file is uploaded correctly",
                why,
            )
        })?;
        self.disk.write(&dir, kind, &file.bytes)?;
        Ok(Answer::empty(204))
    }

    /// `DELETE /endpoints/{id}`, also of a host that is down.
    pub fn remove(&self, id: u64) -> Reply {
        let mut state = locked(&self.state);
        let environment = state.environments.remove(&id).ok_or_else(|| no_environment(id))?;
        if environment.tls.on {
            self.disk.delete_all(&id.to_string());
        }
        self.proxies.forget(id);
        for tag in &environment.tags {
            state.tags.get_mut(tag).map(|tag| tag.environments.remove(&id));
        }
        Ok(Answer::empty(204))
    }

    /// `DELETE /endpoints` with a list.
    pub fn remove_several(&self, asked: &ApiRequest) -> Reply {
        let fields = asked.json()?;
        let listed = fields.get("endpoints").and_then(|list| list.as_array()).filter(|list| !list.is_empty());
        let listed = listed
            .ok_or_else(|| invalid("invalid request payload. You must provide a list of environments to delete"))?;
        let ids = listed.iter().map(|item| item["id"].as_u64().unwrap_or_default());
        let (deleted, errors): (Vec<u64>, Vec<u64>) = ids.partition(|id| self.remove(*id).is_ok());
        if errors.is_empty() {
            return Ok(Answer::empty(204));
        }
        Ok(Answer::json(206, &json!({ "deleted": deleted, "errors": errors })))
    }

    /// `PUT /endpoints/{id}/settings`
    pub fn settle(&self, id: u64, asked: &ApiRequest) -> Reply {
        let fields = asked.json()?;
        let mut state = locked(&self.state);
        let environment = state.environments.get_mut(&id).ok_or_else(|| no_environment(id))?;
        let names: Vec<String> =
            environment.settings.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(truth) = fields.truth(&name)? {
                environment.settings[name] = truth.into();
            }
        }
        Ok(Answer::json(200, &environment.json(false)))
    }

    /// `POST /tags`
    pub fn add_tag(&self, asked: &ApiRequest) -> Reply {
        let name = asked.json()?.text("Name")?.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| invalid("invalid tag name"))?;
        let mut state = locked(&self.state);
        if state.tags.values().any(|tag| tag.name == name) {
            let why = "a tag already exists with this name";
            return Err(Answer::refusal(409, "This name is already associated to a tag", why));
        }
        let id = state.add_tag(&name);
        Ok(Answer::json(200, &state.tags[&id].json(id)))
    }

    /// `DELETE /tags/{id}`, and off its environments.
    pub fn remove_tag(&self, id: u64) -> Reply {
        let mut state = locked(&self.state);
        let tag = state.tags.remove(&id);
        tag.ok_or_else(|| {
            missing("Unable to find a tag with the specified identifier inside the database", "tags", id)
        })?;
        for environment in state.environments.values_mut() {
            environment.tags.retain(|tag| *tag != id);
        }
        Ok(Answer::empty(204))
    }

    /// `POST /endpoint_groups`: names may repeat.
    pub fn add_group(&self, asked: &ApiRequest) -> Reply {
        let fields = asked.json()?;
        let name = fields.text("Name")?.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| invalid("invalid environment group name"))?;
        let (description, tags) = (fields.text("Description")?, fields.numbers("TagIDs")?);
        let associated = fields.numbers("AssociatedEndpoints")?.unwrap_or_default();
        let mut state = locked(&self.state);
        let id = state.add_group(&name, &description.unwrap_or_default(), tags.unwrap_or_default());
        for environment in state.environments.values_mut().filter(|one| associated.contains(&one.id)) {
            environment.group = id;
        }
        Ok(Answer::json(200, &state.groups[&id].json(id)))
    }

    /// `GET /endpoint_groups/{id}`
    pub fn group(&self, id: u64) -> Reply {
        let state = locked(&self.state);
        Ok(Answer::json(200, &state.groups.get(&id).ok_or_else(|| no_group(id))?.json(id)))
    }

    /// `DELETE /endpoint_groups/{id}`: its environments go back to the first group, which cannot go.
    pub fn remove_group(&self, id: u64) -> Reply {
        if id == 1 {
            let why = "Cannot remove the default environment group";
            return Err(Answer::refusal(403, "Unable to remove the default 'Unassigned' group", why));
        }
        let mut state = locked(&self.state);
        state.groups.remove(&id).ok_or_else(|| no_group(id))?;
        for environment in state.environments.values_mut().filter(|one| one.group == id) {
            environment.group = 1;
        }
        Ok(Answer::empty(204))
    }
}

fn no_group(id: u64) -> Answer {
    missing(
        "Unable to find an environment group with the specified identifier inside the database",
        "endpoint_groups",
        id,
    )
}

const NO_FORM: &str = "request Content-Type isn't multipart/form-data";
