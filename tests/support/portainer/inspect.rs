//! What tests see and do without the API: look at the database and the disk, edit by hand, order faults, read the log.

use super::call::{Call, LogPosition, most_in_flight};
use super::fault::{Fault, Rule};
use super::state::{ApiKey, Environment, Group, State, Tag, Tls, User, default_settings};
use super::{Portainer, account, locked};
use anyhow::Context as _;
use http::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

impl Portainer {
    /// Every environment, by its number.
    pub fn environments(&self) -> Vec<Environment> {
        locked(&self.shared.state).environments.values().cloned().collect()
    }

    /// One environment.
    pub fn environment(&self, id: u64) -> Option<Environment> {
        locked(&self.shared.state).environments.get(&id).cloned()
    }

    /// The environments of that name.
    pub fn named(&self, name: &str) -> Vec<Environment> {
        self.environments().into_iter().filter(|environment| environment.name == name).collect()
    }

    /// Makes an environment without dialling anybody.
    pub fn add_environment(&self, name: &str, url: &str) -> u64 {
        let mut state = locked(&self.shared.state);
        state.last.environment += 1;
        let id = state.last.environment;
        let environment = Environment {
            id,
            name: name.to_owned(),
            kind: 1,
            url: url.to_owned(),
            public_url: String::new(),
            group: 1,
            tags: vec![],
            tls: Tls::default(),
            status: 1,
            engine: "docker".into(),
            gpus: serde_json::json!([]),
            users: BTreeSet::new(),
            settings: default_settings(),
            snapshot: None,
        };
        state.environments.insert(id, environment);
        id
    }

    /// Gives an environment its three files, and TLS with them.
    pub fn equip(&self, id: u64, ca: &str, cert: &str, key: &str) {
        let dir = id.to_string();
        let write = |kind: &str, pem: &str| self.shared.disk.write(&dir, kind, pem.as_bytes()).expect("a free disk");
        let tls = Tls {
            on: true,
            skip_verify: false,
            ca: write("ca", ca),
            cert: write("cert", cert),
            key: write("key", key),
        };
        self.edit(id, |environment| environment.tls = tls);
    }

    /// Edits an environment directly in the database; the proxy does not notice.
    pub fn edit(&self, id: u64, change: impl FnOnce(&mut Environment)) {
        let mut state = locked(&self.shared.state);
        let environment = state.environments.get_mut(&id).expect("the test knows the environment");
        let old = environment.tags.clone();
        change(environment);
        let new = environment.tags.clone();
        for tag in old {
            state.tags.get_mut(&tag).map(|tag| tag.environments.remove(&id));
        }
        for tag in new {
            state.tags.get_mut(&tag).map(|tag| tag.environments.insert(id));
        }
    }

    /// Removes an environment, its files and its proxy.
    pub fn remove_environment(&self, id: u64) {
        let _ = self.shared.remove(id);
    }

    /// Makes a tag.
    pub fn add_tag(&self, name: &str) -> u64 {
        locked(&self.shared.state).add_tag(name)
    }

    /// The tags.
    pub fn tags(&self) -> BTreeMap<u64, Tag> {
        locked(&self.shared.state).tags.clone()
    }

    /// Makes a group, of whatever name.
    pub fn add_group(&self, name: &str) -> u64 {
        locked(&self.shared.state).add_group(name, "", vec![])
    }

    /// The groups.
    pub fn groups(&self) -> BTreeMap<u64, Group> {
        locked(&self.shared.state).groups.clone()
    }

    /// Makes a user, 1 administrator or 2 standard, and gives a key of theirs.
    pub fn add_user(&self, name: &str, role: u64) -> String {
        let raw = account::fresh_key();
        let mut state = locked(&self.shared.state);
        let user = state.add_user(name, super::ADMIN.1, role);
        state.add_key(user, "of the test", &raw);
        raw
    }

    /// Changes the role of a key's user.
    pub fn set_role(&self, key: &str, role: u64) {
        self.with_user(key, |user| user.role = role);
    }

    /// Lets a key's user see an environment.
    pub fn grant(&self, key: &str, id: u64) {
        let user = locked(&self.shared.state).keys.values().find(|known| known.raw == key).map(|known| known.user);
        self.edit(id, |environment| environment.users.extend(user));
    }

    /// Makes another key for the user of this one.
    pub fn add_key(&self, of: &str) -> String {
        let raw = account::fresh_key();
        let mut state = locked(&self.shared.state);
        let user = key_of(&state, of).user;
        state.add_key(user, "another", &raw);
        raw
    }

    /// Revokes a key.
    pub fn revoke(&self, key: &str) {
        locked(&self.shared.state).keys.retain(|_, known| known.raw != key);
    }

    /// What identifies the server.
    pub fn instance(&self) -> String {
        locked(&self.shared.state).instance.clone()
    }

    /// Another version from now on.
    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut locked(&self.shared.version));
    }

    /// How long it waits for a host that says nothing.
    pub fn set_patience(&self, patience: Duration) {
        *locked(&self.shared.patience) = patience;
    }

    /// Five minutes have passed without an administrator: every call answers 303 until a restart.
    pub fn time_out(&self) {
        *locked(&self.shared.timed_out) = true;
    }

    /// Where the files are: `tls/<id>/{ca,cert,key}.pem` below.
    pub fn tls_directory(&self) -> std::path::PathBuf {
        self.shared.disk.root()
    }

    /// Every file below `tls/`, as `<id>/ca.pem`.
    pub fn tls_files(&self) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
        self.shared.disk.files()
    }

    /// A file of an environment.
    pub fn tls_file(&self, id: u64, kind: &str) -> Option<String> {
        let bytes = self.tls_files().remove(&Path::new(&id.to_string()).join(format!("{kind}.pem")))?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The folders with a private key that belong to no environment: keys that were leaked.
    pub fn tls_key_dirs(&self) -> Vec<String> {
        let state = locked(&self.shared.state);
        let known = |dir: &String| dir.parse().is_ok_and(|id: u64| state.environments.contains_key(&id));
        self.shared.disk.folders_with("key").into_iter().filter(|dir| !known(dir)).collect()
    }

    /// Orders a fault for the next such request; of several that fit, the oldest goes first. In the pattern `*` stands
    /// for one step of the path, `**` at its end for any further ones: `("POST", "/api/upload/tls/*")`.
    pub fn inject(&self, method: &str, pattern: &str, fault: Fault) {
        self.inject_times(1, method, pattern, fault);
    }

    /// Orders a fault for so many requests, `usize::MAX` for all.
    pub fn inject_times(&self, times: usize, method: &str, pattern: &str, fault: Fault) {
        let method = Some(Method::from_bytes(method.as_bytes()).expect("a method's name"));
        locked(&self.shared.rules).push(Rule { method, pattern: pattern.to_owned(), fault, passing: 0, left: times });
    }

    /// Orders a fault for one request, whatever it is: `number` others come before it.
    pub fn inject_at(&self, number: usize, fault: Fault) {
        locked(&self.shared.rules).push(Rule {
            method: None,
            pattern: "/**".to_owned(),
            fault,
            passing: number,
            left: 1,
        });
    }

    /// Forgets every fault.
    pub fn heal(&self) {
        locked(&self.shared.rules).clear();
    }

    /// How many rules still wait for a request.
    pub fn faults_left(&self) -> usize {
        locked(&self.shared.rules).len()
    }

    /// Now, in the log.
    pub fn mark(&self) -> LogPosition {
        LogPosition(locked(&self.shared.calls).len())
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls_since(LogPosition(0))
    }

    /// The calls since then.
    pub fn calls_since(&self, mark: LogPosition) -> Vec<Call> {
        locked(&self.shared.calls)[mark.0..].to_vec()
    }

    /// How many calls since then were this one; `*` and `**` as in faults.
    pub fn count_since(&self, mark: LogPosition, method: &str, pattern: &str) -> usize {
        self.calls_since(mark).iter().filter(|call| call.is(method, pattern)).count()
    }

    /// The most calls since then that were under way at one moment.
    pub fn most_in_flight_since(&self, mark: LogPosition) -> usize {
        most_in_flight(&self.calls_since(mark))
    }

    /// Waits until that is so; the runtime goes on with other things, such as closing a connection.
    pub async fn wait(&self, what: &str, within: Duration, so: impl Fn(&Portainer) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while !so(self) {
            (Instant::now() < deadline).then_some(()).with_context(|| format!("not within {within:?}: {what}"))?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn with_user(&self, key: &str, change: impl FnOnce(&mut User)) {
        let mut state = locked(&self.shared.state);
        let user = key_of(&state, key).user;
        change(state.users.get_mut(&user).expect("the user of a key"));
    }
}

fn key_of<'s>(state: &'s State, raw: &str) -> &'s ApiKey {
    state.keys.values().find(|key| key.raw == raw).expect("the test knows the key")
}
