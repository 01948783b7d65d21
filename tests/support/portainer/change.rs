//! `PUT /endpoints/{id}`: fields in, a changed environment out. It pings nobody, and reloads the proxy by its own rule.

use super::account::{missing, not_found};
use super::answer::{Answer, Reply};
use super::request::{ApiRequest, Fields};
use super::state::{Environment, State};
use super::{Shared, locked};
use serde_json::Value;
use std::collections::BTreeSet;

/// The fields that are there.
struct Change {
    name: Option<String>,
    url: Option<String>,
    public_url: Option<String>,
    group: Option<u64>,
    tags: Option<Vec<u64>>,
    tls: Option<bool>,
    skip_verify: Option<bool>,
    skip_client: Option<bool>,
    status: Option<u64>,
    gpus: Option<Value>,
    users: Option<BTreeSet<u64>>,
}

impl Shared {
    /// What fails half-way is not written back, but its files and tags stay changed.
    pub fn change(&self, id: u64, asked: &ApiRequest) -> Reply {
        let mut change = Change::read(&asked.json()?)?;
        let mut state = locked(&self.state);
        let mut environment = state.environments.get(&id).cloned().ok_or_else(|| no_environment(id))?;
        let mut reload = change.reloads(&environment);
        if change.name.as_ref().is_some_and(|name| !state.is_free(name, Some(id))) {
            return Err(Answer::plain_refusal(409, "Name is not unique"));
        }
        if change.url.as_ref().is_some_and(|url| *url != environment.url) {
            reload = true;
        }
        if let Some(tags) = &change.tags {
            match state.retag(id, &environment.tags, tags) {
                // 2.21 forgets to return this error, and the tags with it.
                Err(_) if self.is_before(22) => change.tags = None,
                done => done?,
            }
        }
        change.apply(&mut environment);
        self.refile(&change, &mut environment);
        if reload {
            self.proxies.forget(id);
            let failed = |why: String| Answer::refusal(500, "Unable to register HTTP proxy for the environment", &why);
            self.proxies.register(&environment).map_err(failed)?;
        }
        let shown = environment.json(true);
        state.environments.insert(id, environment);
        Ok(Answer::json(200, &shown))
    }

    /// Paths by the flags, and files away that the flags no longer want.
    fn refile(&self, change: &Change, environment: &mut Environment) {
        let dir = environment.id.to_string();
        let tls = &mut environment.tls;
        match change.tls {
            None => return,
            Some(false) => {
                *tls = super::state::Tls::default();
                self.disk.delete_all(&dir);
                return;
            }
            Some(true) => tls.on = true,
        }
        let path = |kind: &str, skip: bool| {
            if !skip {
                return self.disk.path(&dir, kind);
            }
            self.disk.delete(&dir, kind);
            String::new()
        };
        if let Some(skip) = change.skip_verify {
            tls.skip_verify = skip;
            tls.ca = path("ca", skip);
        }
        if let Some(skip) = change.skip_client {
            tls.cert = path("cert", skip);
            tls.key = path("key", skip);
        }
    }
}

/// 404 for an environment.
pub fn no_environment(id: u64) -> Answer {
    missing("Unable to find an environment with the specified identifier inside the database", "endpoints", id)
}

impl State {
    /// Moves an environment from tags to tags, all or none.
    pub fn retag(&mut self, id: u64, old: &[u64], new: &[u64]) -> Result<(), Answer> {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
        let mut tags = self.tags.clone();
        for changed in old.symmetric_difference(&new) {
            let tag = tags.get_mut(changed).ok_or_else(|| {
                let why = format!("Unable to find a tag inside the database: {}", not_found("tags", **changed));
                Answer::refusal(500, "Unable to update environment tags", &why)
            })?;
            if new.contains(*changed) {
                tag.environments.insert(id)
            } else {
                tag.environments.remove(&id)
            };
        }
        self.tags = tags;
        Ok(())
    }
}

impl Change {
    fn read(fields: &Fields) -> Result<Change, Answer> {
        let policies = fields.get("UserAccessPolicies").and_then(Value::as_object);
        Ok(Change {
            name: fields.text("Name")?,
            url: fields.text("URL")?,
            public_url: fields.text("PublicURL")?,
            group: fields.number("GroupID")?,
            tags: fields.numbers("TagIDs")?,
            tls: fields.truth("TLS")?,
            skip_verify: fields.truth("TLSSkipVerify")?,
            skip_client: fields.truth("TLSSkipClientVerify")?,
            status: fields.number("Status")?,
            gpus: fields.get("Gpus").cloned(),
            users: policies.map(|users| users.keys().filter_map(|id| id.parse().ok()).collect()),
        })
    }

    /// Files may be new when TLS is on and one of the flags is sent as false; an address of another scheme spoils it.
    fn reloads(&self, environment: &Environment) -> bool {
        if self.tls.is_some_and(|on| on != environment.tls.on) {
            return true;
        }
        let foreign = self.url.as_ref().is_some_and(|url| !url.starts_with("tcp://"));
        if environment.kind != 1 || foreign || self.tls != Some(true) {
            return false;
        }
        self.skip_verify == Some(false) || self.skip_client == Some(false)
    }

    fn apply(&self, environment: &mut Environment) {
        fn set<T: Clone>(field: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        set(&mut environment.name, self.name.as_ref());
        set(&mut environment.url, self.url.as_ref());
        set(&mut environment.public_url, self.public_url.as_ref());
        set(&mut environment.group, self.group.as_ref());
        set(&mut environment.tags, self.tags.as_ref());
        set(&mut environment.gpus, self.gpus.as_ref());
        set(&mut environment.users, self.users.as_ref());
        set(&mut environment.status, self.status.filter(|status| [1, 2].contains(status)).as_ref());
    }
}
