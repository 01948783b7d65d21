//! What Portainer keeps in its database: environments, tags, groups, users and keys. Pure data; files are elsewhere.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The database.
#[derive(Clone, Debug)]
pub struct State {
    pub instance: String,
    pub environments: BTreeMap<u64, Environment>,
    pub tags: BTreeMap<u64, Tag>,
    pub groups: BTreeMap<u64, Group>,
    pub users: BTreeMap<u64, User>,
    pub keys: BTreeMap<u64, ApiKey>,
    /// Identifiers are given once, even those of environments that came to nothing.
    pub last: LastIds,
}

/// The identifiers given last.
#[derive(Clone, Debug, Default)]
pub struct LastIds {
    pub environment: u64,
    pub tag: u64,
    pub group: u64,
    pub user: u64,
    pub key: u64,
}

/// What Portainer calls an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    pub id: u64,
    pub name: String,
    /// 1 Docker, 2 agent, 4 edge agent.
    pub kind: u64,
    pub url: String,
    pub public_url: String,
    pub group: u64,
    pub tags: Vec<u64>,
    pub tls: Tls,
    /// 1 up, 2 down: what the last snapshot found, or what a client wrote there.
    pub status: u64,
    pub engine: String,
    pub gpus: Value,
    pub users: BTreeSet<u64>,
    pub settings: Value,
    pub snapshot: Option<Value>,
}

/// How an environment is dialled; the paths are of files on the server's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub on: bool,
    pub skip_verify: bool,
    pub ca: String,
    pub cert: String,
    pub key: String,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub name: String,
    pub environments: BTreeSet<u64>,
}

/// A group; several may have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub description: String,
    pub tags: Vec<u64>,
}

/// A user who may log in.
#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub password: String,
    /// 1 administrator, 2 standard.
    pub role: u64,
}

/// A key of a user.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub user: u64,
    pub description: String,
    pub raw: String,
}

impl State {
    /// A fresh data directory.
    pub fn new(instance: String) -> State {
        let unassigned =
            Group { name: "Unassigned".into(), description: "Unassigned environments".into(), tags: vec![] };
        State {
            instance,
            environments: BTreeMap::new(),
            tags: BTreeMap::new(),
            groups: BTreeMap::from([(1, unassigned)]),
            users: BTreeMap::new(),
            keys: BTreeMap::new(),
            last: LastIds { group: 1, ..LastIds::default() },
        }
    }

    /// Nobody else has the name.
    pub fn is_free(&self, name: &str, but: Option<u64>) -> bool {
        !self.environments.values().any(|other| other.name == name && Some(other.id) != but)
    }

    /// Is there anybody to administrate?
    pub fn is_initialised(&self) -> bool {
        self.users.values().any(|user| user.role == 1)
    }

    /// Adds a user.
    pub fn add_user(&mut self, name: &str, password: &str, role: u64) -> u64 {
        self.last.user += 1;
        let user = User { name: name.to_owned(), password: password.to_owned(), role };
        self.users.insert(self.last.user, user);
        self.last.user
    }

    /// Adds a key.
    pub fn add_key(&mut self, user: u64, description: &str, raw: &str) -> u64 {
        self.last.key += 1;
        let key = ApiKey { user, description: description.to_owned(), raw: raw.to_owned() };
        self.keys.insert(self.last.key, key);
        self.last.key
    }

    /// Adds a tag.
    pub fn add_tag(&mut self, name: &str) -> u64 {
        self.last.tag += 1;
        self.tags.insert(self.last.tag, Tag { name: name.to_owned(), environments: BTreeSet::new() });
        self.last.tag
    }

    /// Adds a group.
    pub fn add_group(&mut self, name: &str, description: &str, tags: Vec<u64>) -> u64 {
        self.last.group += 1;
        let group = Group { name: name.to_owned(), description: description.to_owned(), tags };
        self.groups.insert(self.last.group, group);
        self.last.group
    }
}

impl Environment {
    /// As the API shows it.
    pub fn json(&self, with_snapshot: bool) -> Value {
        let policies: serde_json::Map<String, Value> =
            self.users.iter().map(|user| (user.to_string(), json!({ "RoleId": 0 }))).collect();
        let snapshots: Vec<&Value> = self.snapshot.iter().filter(|_| with_snapshot).collect();
        json!({
            "Id": self.id, "Name": self.name, "Type": self.kind, "ContainerEngine": self.engine, "URL": self.url,
            "GroupId": self.group, "PublicURL": self.public_url, "Gpus": self.gpus, "TLSConfig": self.tls.json(),
            "AzureCredentials": { "ApplicationID": "", "TenantID": "", "AuthenticationKey": "" },
            "TagIds": self.tags, "Status": self.status, "Snapshots": snapshots,
            "UserAccessPolicies": policies, "TeamAccessPolicies": {}, "EdgeKey": "", "EdgeCheckinInterval": 5,
            "Kubernetes": { "Snapshots": [], "Configuration": {}, "Flags": {} },
            "ComposeSyntaxMaxVersion": "3.9", "SecuritySettings": self.settings,
            "LastCheckInDate": 0, "QueryDate": 0, "Heartbeat": false, "PostInitMigrations": {}, "Edge": {},
            "Agent": { "Version": "" }, "AuthorizedUsers": null, "AuthorizedTeams": null, "Tags": null,
        })
    }
}

impl Tls {
    fn json(&self) -> Value {
        let mut json = json!({ "TLS": self.on, "TLSSkipVerify": self.skip_verify });
        for (name, path) in [("TLSCACert", &self.ca), ("TLSCert", &self.cert), ("TLSKey", &self.key)] {
            if !path.is_empty() {
                json[name] = path.as_str().into();
            }
        }
        json
    }
}

impl Tag {
    /// As the API shows it; its key is `ID`, that of everything else is `Id`.
    pub fn json(&self, id: u64) -> Value {
        let environments: serde_json::Map<String, Value> =
            self.environments.iter().map(|id| (id.to_string(), Value::Bool(true))).collect();
        json!({ "ID": id, "Name": self.name, "Endpoints": environments, "EndpointGroups": {} })
    }
}

impl Group {
    /// As the API shows it.
    pub fn json(&self, id: u64) -> Value {
        json!({
            "Id": id, "Name": self.name, "Description": self.description, "UserAccessPolicies": {},
            "TeamAccessPolicies": {}, "TagIds": self.tags, "Labels": null, "AuthorizedUsers": null,
            "AuthorizedTeams": null,
        })
    }
}

impl User {
    /// As the API shows it: never with the password.
    pub fn json(&self, id: u64) -> Value {
        json!({ "Id": id, "Username": self.name, "Role": self.role, "ThemeSettings": {}, "UseCache": false,
            "EndpointAuthorizations": null, "PortainerAuthorizations": null, "TokenIssueAt": 0 })
    }
}

/// What a new environment allows to whom.
pub fn default_settings() -> Value {
    json!({
        "allowBindMountsForRegularUsers": true, "allowPrivilegedModeForRegularUsers": true,
        "allowVolumeBrowserForRegularUsers": false, "allowHostNamespaceForRegularUsers": true,
        "allowDeviceMappingForRegularUsers": true, "allowStackManagementForRegularUsers": true,
        "allowContainerCapabilitiesForRegularUsers": true, "allowSysctlSettingForRegularUsers": true,
        "enableHostManagementFeatures": false,
    })
}
