//! A Portainer server as it was last seen: who it is, and its environments, groups and tags.

use crate::portainer::{Environment, Group, Tag};
use std::collections::BTreeMap;

/// A server as it was last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerSnapshot {
    /// Its InstanceID.
    pub instance: String,
    /// Its version.
    pub version: String,
    /// Its environments, by number.
    pub environments: BTreeMap<i64, Environment>,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

impl ServerSnapshot {
    /// Number of the tag of that name.
    pub fn tag(&self, name: &str) -> Option<i64> {
        self.tags.iter().find(|tag| tag.name == name).map(|tag| tag.id)
    }

    /// Names of an environment's tags that begin so.
    pub fn tags_beginning<'a>(
        &'a self,
        environment: &'a Environment,
        beginning: &'a str,
    ) -> impl Iterator<Item = &'a Tag> + 'a {
        self.tags.iter().filter(move |tag| tag.name.starts_with(beginning) && environment.tag_ids.contains(&tag.id))
    }

    /// Takes an environment as the server shows it now.
    pub fn put(&mut self, environment: Environment) {
        self.environments.insert(environment.id, environment);
    }

    /// Takes all environments of a name as the server shows them now.
    pub fn put_named(&mut self, name: &str, found: Vec<Environment>) {
        self.environments.retain(|_, known| known.name != name);
        found.into_iter().for_each(|environment| self.put(environment));
    }
}
