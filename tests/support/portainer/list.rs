//! `GET /endpoints`: a query in, a page of environments out.

use super::account::Caller;
use super::answer::{Answer, Reply};
use super::request::ApiRequest;
use super::state::{Environment, State};
use super::{Shared, locked};
use serde_json::Value;

impl Shared {
    /// A user who is not an administrator sees what was granted, which is mostly nothing; that is not an error.
    pub fn list(&self, caller: Caller, asked: &ApiRequest) -> Reply {
        let state = locked(&self.state);
        let visible = |environment: &&Environment| caller.role == 1 || environment.users.contains(&caller.user);
        let mut found: Vec<&Environment> = state.environments.values().filter(visible).collect();
        let available = found.len();
        let filter = Filter::read(asked)?;
        found.retain(|environment| filter.fits(environment, &state));
        if asked.parameter("sort").as_deref() == Some("Name") {
            found.sort_by_key(|environment| environment.name.to_lowercase());
        }
        if asked.parameter("sort").is_some() && asked.parameter("order").as_deref() == Some("desc") {
            found.reverse();
        }
        let number = |name: &str| asked.parameter(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        let (start, limit) = (number("start").saturating_sub(1), number("limit"));
        let (start, limit) = if limit == 0 { (0, usize::MAX) } else { (start, limit) };
        let with_snapshots = asked.parameter("excludeSnapshots").as_deref() != Some("true");
        let page: Vec<Value> = found.iter().skip(start).take(limit).map(|one| one.json(with_snapshots)).collect();
        let answer = Answer::json(200, &Value::Array(page));
        Ok(answer.with("x-total-count", found.len()).with("x-total-available", available))
    }
}

/// Arrays need brackets in their names; without them they are not seen.
struct Filter {
    name: Option<String>,
    search: Option<String>,
    kinds: Vec<u64>,
    tags: Vec<u64>,
    any_tag: bool,
    groups: Vec<u64>,
    status: Vec<u64>,
    ids: Vec<u64>,
    but: Vec<u64>,
}

impl Filter {
    fn read(asked: &ApiRequest) -> Result<Filter, Answer> {
        let numbers = |name: &str| {
            let texts = asked.parameters(&format!("{name}[]"));
            let wrong =
                |_| Answer::refusal(400, "Invalid query parameters", &format!("unable to parse parameter {name}"));
            texts.iter().map(|text| text.parse().map_err(|_| wrong(text))).collect::<Result<Vec<u64>, Answer>>()
        };
        Ok(Filter {
            name: asked.parameter("name"),
            search: asked.parameter("search").map(|text| text.to_lowercase()),
            kinds: numbers("types")?,
            tags: numbers("tagIds")?,
            any_tag: asked.parameter("tagsPartialMatch").as_deref() == Some("true"),
            groups: numbers("groupIds")?,
            status: numbers("status")?,
            ids: numbers("endpointIds")?,
            but: numbers("excludeIds")?,
        })
    }

    fn fits(&self, environment: &Environment, state: &State) -> bool {
        let within = |wanted: &[u64], value: u64| wanted.is_empty() || wanted.contains(&value);
        within(&self.kinds, environment.kind)
            && within(&self.groups, environment.group)
            && within(&self.status, environment.status)
            && within(&self.ids, environment.id)
            && !self.but.contains(&environment.id)
            && self.name.as_ref().is_none_or(|name| *name == environment.name)
            && self.search.as_ref().is_none_or(|text| searched(text, environment, state))
            && self.tagged(environment, state)
    }

    /// A group's tags count as its environments' own.
    fn tagged(&self, environment: &Environment, state: &State) -> bool {
        let group = state.groups.get(&environment.group).map_or(&[][..], |group| &group.tags);
        let has = |tag: &u64| environment.tags.contains(tag) || group.contains(tag);
        if self.any_tag { self.tags.is_empty() || self.tags.iter().any(has) } else { self.tags.iter().all(has) }
    }
}

fn searched(text: &str, environment: &Environment, state: &State) -> bool {
    let group = state.groups.get(&environment.group).map(|group| group.name.as_str());
    let tags = environment.tags.iter().filter_map(|tag| Some(state.tags.get(tag)?.name.as_str()));
    let words = [environment.name.as_str(), environment.url.as_str()].into_iter().chain(group).chain(tags);
    let status = if environment.status == 1 { "up" } else { "down" };
    words.into_iter().any(|word| word.to_lowercase().contains(text)) || text == status
}
