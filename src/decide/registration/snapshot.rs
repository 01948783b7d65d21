//! What a Portainer server showed last: its identity, environments, groups and tags.

use crate::portainer::{Environment, Group, Tag};
use std::collections::BTreeMap;

/// What a server showed last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerSnapshot {
    /// InstanceID of Portainer's database.
    pub instance: String,
    /// Version of Portainer, such as 2.33.5.
    pub version: String,
    /// All environments, by id.
    pub environments: BTreeMap<i64, Environment>,
    /// All groups of environments.
    pub groups: Vec<Group>,
    /// All tags, ours and others.
    pub tags: Vec<Tag>,
}

impl ServerSnapshot {
    /// About how many bytes it takes to keep it.
    pub fn size(&self) -> usize {
        let environment = |known: &Environment| {
            size_of::<Environment>()
                + known.name.len()
                + known.url.len()
                + known.public_url.len()
                + 8 * known.tag_ids.len()
        };
        let environments: usize = self.environments.values().map(environment).sum();
        let groups: usize = self.groups.iter().map(|group| size_of::<Group>() + group.name.len()).sum();
        let tags: usize = self.tags.iter().map(|tag| size_of::<Tag>() + tag.name.len()).sum();
        environments + groups + tags
    }

    /// Id of the tag of that name.
    pub fn tag(&self, name: &str) -> Option<i64> {
        self.tags.iter().find(|tag| tag.name == name).map(|tag| tag.id)
    }

    /// An environment's tags whose names have that beginning.
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
