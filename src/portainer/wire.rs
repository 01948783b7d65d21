//! Portainer's API word for word: paths, JSON and form fields. Nowhere else is an environment an "endpoint".

use super::environment::{EnvironmentChange, EnvironmentTls, File, NewEnvironment};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

/// What it says of itself (`GET /api/system/status`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SystemStatus {
    /// Its version, such as 2.33.5.
    #[serde(rename = "Version", deserialize_with = "or_default")]
    pub version: String,
    /// The identity of its database, which outlives restarts.
    #[serde(rename = "InstanceID", deserialize_with = "or_default")]
    pub instance_id: String,
}

/// A user of it (`GET /api/users/me`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// Its id.
    #[serde(rename = "Id", alias = "ID", deserialize_with = "or_default")]
    pub id: i64,
    /// Its name.
    #[serde(rename = "Username", deserialize_with = "or_default")]
    pub username: String,
    /// 1 is an administrator, 2 a standard user.
    #[serde(rename = "Role", deserialize_with = "or_default")]
    pub role: i64,
}

impl User {
    /// It may do everything.
    pub fn is_administrator(&self) -> bool {
        self.role == 1
    }
}

/// A tag (`GET /api/tags`); names are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// Its id.
    #[serde(rename = "ID", alias = "Id", deserialize_with = "or_default")]
    pub id: i64,
    /// Its name.
    #[serde(rename = "Name", deserialize_with = "or_default")]
    pub name: String,
}

/// A group of environments (`GET /api/endpoint_groups`); names are not unique.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its id.
    #[serde(rename = "Id", alias = "ID", deserialize_with = "or_default")]
    pub id: i64,
    /// Its name.
    #[serde(rename = "Name", deserialize_with = "or_default")]
    pub name: String,
}

/// Why something was not done, in Portainer's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// What failed.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    /// Why.
    #[serde(deserialize_with = "or_default")]
    pub details: String,
}

/// The answer to a login.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Login {
    /// The token of a session.
    #[serde(deserialize_with = "or_default")]
    pub jwt: String,
}

/// The body of a login, and of the first administrator. Its memory is zeroed.
pub fn credentials(username: &str, password: &str) -> Zeroizing<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Credentials<'a> {
        username: &'a str,
        password: &'a str,
    }
    // Room for the longest escapes: what a vector grows out of is not zeroed.
    let mut body = Zeroizing::new(Vec::with_capacity(64 + 6 * (username.len() + password.len())));
    serde_json::to_writer(&mut *body, &Credentials { username, password }).expect("text is JSON");
    body
}

/// The body of a new tag.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NewTag<'a> {
    /// Its name.
    #[serde(rename = "Name")]
    pub name: &'a str,
}

/// Portainer's TLSConfig: paths on its own disk and what is done with them.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TlsConfig {
    #[serde(rename = "TLS", deserialize_with = "or_default")]
    on: bool,
    #[serde(rename = "TLSSkipVerify", deserialize_with = "or_default")]
    skip_verify: bool,
    #[serde(rename = "TLSCACert", deserialize_with = "or_default")]
    ca: String,
    #[serde(rename = "TLSCert", deserialize_with = "or_default")]
    cert: String,
    #[serde(rename = "TLSKey", deserialize_with = "or_default")]
    key: String,
}

impl From<TlsConfig> for EnvironmentTls {
    fn from(said: TlsConfig) -> EnvironmentTls {
        EnvironmentTls {
            on: said.on,
            skip_verify: said.skip_verify,
            has_ca: !said.ca.is_empty(),
            has_cert: !said.cert.is_empty(),
            has_key: !said.key.is_empty(),
        }
    }
}

/// Go writes null for what is empty.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The body of `PUT /api/endpoints/{id}`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "URL", skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(rename = "PublicURL", skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    #[serde(rename = "GroupID", skip_serializing_if = "Option::is_none")]
    group_id: Option<i64>,
    #[serde(rename = "TagIDs", skip_serializing_if = "Option::is_none")]
    tag_ids: Option<Vec<i64>>,
    #[serde(rename = "TLS", skip_serializing_if = "Option::is_none")]
    tls: Option<bool>,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "Option::is_none")]
    skip_verify: Option<bool>,
    #[serde(rename = "TLSSkipClientVerify", skip_serializing_if = "Option::is_none")]
    skip_client_verify: Option<bool>,
}

impl From<EnvironmentChange> for ChangeBody {
    fn from(change: EnvironmentChange) -> ChangeBody {
        ChangeBody {
            name: change.name.filter(|name| !name.is_empty()),
            url: change.url.as_deref().map(tcp_url),
            public_url: change.public_url,
            group_id: change.group_id,
            tag_ids: change.tag_ids,
            tls: change.tls.map(|_| true),
            skip_verify: change.tls.map(|tls| !tls.verify_server),
            // One of the two flags has to be there, or the files are not read anew.
            skip_client_verify: change.tls.map(|_| false),
        }
    }
}

/// An address as `tcp://HOST:PORT`, lower case, without a slash at the end: an `https://` one that is already stored
/// would keep Portainer from reading the files anew.
pub fn tcp_url(url: &str) -> String {
    let url = url.trim().trim_end_matches('/').to_ascii_lowercase();
    let address = ["tcp://", "https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    format!("tcp://{}", address.unwrap_or(&url))
}

/// The form fields of a new environment, beside its files.
pub fn create_fields(new: &NewEnvironment) -> Vec<(&'static str, String)> {
    let ids: Vec<String> = new.tag_ids.iter().map(i64::to_string).collect();
    let mut fields = vec![
        ("Name", new.name.clone()),
        ("EndpointCreationType", "1".to_owned()),
        ("URL", tcp_url(&new.url)),
        ("TagIds", format!("[{}]", ids.join(","))),
        ("ContainerEngine", "docker".to_owned()),
        ("TLS", "true".to_owned()),
        ("TLSSkipVerify", (!new.verify_server).to_string()),
        ("TLSSkipClientVerify", "false".to_owned()),
    ];
    fields.extend(new.public_url.iter().map(|url| ("PublicURL", url.clone())));
    fields.extend(new.group_id.iter().map(|id| ("GroupID", id.to_string())));
    fields
}

/// A file's field in the form of a new environment.
pub fn create_file(file: File) -> &'static str {
    match file {
        File::Ca => "TLSCACertFile",
        File::Cert => "TLSCertFile",
        File::Key => "TLSKeyFile",
    }
}

/// A file's word in the path of an upload.
fn upload_word(file: File) -> &'static str {
    match file {
        File::Ca => "ca",
        File::Cert => "cert",
        File::Key => "key",
    }
}

/// Field of an upload that names the environment.
pub const UPLOAD_FOLDER: &str = "folder";
/// Field of an upload that holds the file.
pub const UPLOAD_FILE: &str = "file";

/// What stands behind the address of a server.
pub mod path {
    use super::{File, upload_word};

    /// What it says of itself; needs no login.
    pub const STATUS: &str = "/api/system/status";
    /// Whether there is an administrator; needs no login.
    pub const ADMIN_CHECK: &str = "/api/users/admin/check";
    /// Makes the first administrator.
    pub const ADMIN_INIT: &str = "/api/users/admin/init";
    /// The login.
    pub const AUTH: &str = "/api/auth";
    /// Who we are.
    pub const ME: &str = "/api/users/me";
    /// Groups of environments.
    pub const GROUPS: &str = "/api/endpoint_groups";
    /// Tags.
    pub const TAGS: &str = "/api/tags";
    /// A new environment.
    pub const ENVIRONMENTS: &str = "/api/endpoints";
    /// All environments, without their snapshots.
    pub const LIST: &str = "/api/endpoints?excludeSnapshots=true";

    /// The environments of a name.
    pub fn named(name: &str) -> String {
        format!("{LIST}&name={}", percent_encoded(name))
    }

    /// An environment, to change or to delete.
    pub fn environment(id: i64) -> String {
        format!("{ENVIRONMENTS}/{id}")
    }

    /// An environment, without its snapshot.
    pub fn description(id: i64) -> String {
        format!("{ENVIRONMENTS}/{id}?excludeSnapshot=true")
    }

    /// Docker's own ping, through Portainer.
    pub fn ping(id: i64) -> String {
        format!("{ENVIRONMENTS}/{id}/docker/_ping")
    }

    /// A new snapshot.
    pub fn snapshot(id: i64) -> String {
        format!("{ENVIRONMENTS}/{id}/snapshot")
    }

    /// A file of an environment, which the form names.
    pub fn upload(file: File) -> String {
        format!("/api/upload/tls/{}", upload_word(file))
    }

    /// All but the unreserved characters of RFC 3986.
    fn percent_encoded(text: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    }
}
