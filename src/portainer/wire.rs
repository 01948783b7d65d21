//! The JSON bodies and form fields of Portainer's API, by Portainer's own names: a field that Portainer renames is
//! changed here and nowhere else. Source: docs.portainer.io/api/docs and Portainer's `api/http/handler`.

use super::environment::{File, NewEnvironment, NewTls, tcp_url};
use super::prune::Shape;
use super::sanitize;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

/// An environment as Portainer describes it (`GET /api/endpoints/{id}`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Portainer's number for it; never used again.
    #[serde(rename = "Id", alias = "ID", deserialize_with = "or_default")]
    pub id: i64,
    /// The name that users see; Portainer means it to be unique.
    #[serde(rename = "Name", deserialize_with = "short")]
    pub name: String,
    /// Portainer's Type: 1 is Docker's API over TCP or a socket.
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub kind: i64,
    /// Address of the host as it was entered, with or without a scheme.
    #[serde(rename = "URL", deserialize_with = "short")]
    pub url: String,
    /// Address at which published ports are shown.
    #[serde(rename = "PublicURL", deserialize_with = "short")]
    pub public_url: String,
    /// Number of its group; 1 is Portainer's "Unassigned".
    #[serde(rename = "GroupId", alias = "GroupID", deserialize_with = "or_default")]
    pub group_id: i64,
    /// Numbers of its tags.
    #[serde(rename = "TagIds", alias = "TagIDs", deserialize_with = "ids")]
    pub tag_ids: Vec<i64>,
    /// How the last snapshot went: 1 up, 2 down.
    #[serde(rename = "Status", deserialize_with = "or_default")]
    pub status: i64,
    /// How Portainer reaches it by TLS, and which files it has for that.
    #[serde(rename = "TLSConfig", deserialize_with = "or_default")]
    pub tls: EnvironmentTls,
}

/// How Portainer reaches a host by TLS (`TLSConfig`). The API never gives the files themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "TlsConfig")]
pub struct EnvironmentTls {
    /// Portainer uses TLS for this host.
    pub on: bool,
    /// Portainer does not verify the host's certificate.
    pub skip_verify: bool,
    /// Portainer has a file of CA certificates for it.
    pub has_ca: bool,
    /// Portainer has a client certificate for it.
    pub has_cert: bool,
    /// Portainer has the key of that certificate.
    pub has_key: bool,
}

/// What to change in an environment (`PUT /api/endpoints/{id}`); a field that is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "ChangeBody")]
pub struct EnvironmentChange {
    /// The new name. An empty one is not sent.
    pub name: Option<String>,
    /// Address of the host; sent as `tcp://HOST:PORT`.
    pub url: Option<String>,
    /// Address at which published ports are shown.
    pub public_url: Option<String>,
    /// Number of the new group.
    pub group_id: Option<i64>,
    /// Numbers of all its tags; those left out are removed.
    pub tag_ids: Option<Vec<i64>>,
    /// TLS settings; sending them makes Portainer read the uploaded files again.
    pub tls: Option<NewTls>,
}

/// Portainer's own status (`GET /api/system/status`), which needs no login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SystemStatus {
    /// Version of Portainer, such as 2.33.5.
    #[serde(rename = "Version", deserialize_with = "short")]
    pub version: String,
    /// Identity of Portainer's database: the same after a restart and an update.
    #[serde(rename = "InstanceID", deserialize_with = "short")]
    pub instance_id: String,
}

/// The user that sends the request (`GET /api/users/me`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// Portainer's number for the user.
    #[serde(rename = "Id", alias = "ID", deserialize_with = "or_default")]
    pub id: i64,
    /// The name that the user logs in by.
    #[serde(rename = "Username", deserialize_with = "short")]
    pub username: String,
    /// 1 is an administrator, 2 a standard user.
    #[serde(rename = "Role", deserialize_with = "or_default")]
    pub role: i64,
}

impl User {
    /// Whether the user may do everything in Portainer.
    pub fn is_administrator(&self) -> bool {
        self.role == 1
    }
}

/// A tag (`GET /api/tags`); names are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// Portainer's number for the tag.
    #[serde(rename = "ID", alias = "Id", deserialize_with = "or_default")]
    pub id: i64,
    /// The name that users see.
    #[serde(rename = "Name", deserialize_with = "short")]
    pub name: String,
}

/// A group of environments (`GET /api/endpoint_groups`); names are not unique.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Portainer's number for the group.
    #[serde(rename = "Id", alias = "ID", deserialize_with = "or_default")]
    pub id: i64,
    /// The name that users see.
    #[serde(rename = "Name", deserialize_with = "short")]
    pub name: String,
}

/// The body of an answer that is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// What failed, in Portainer's words.
    #[serde(deserialize_with = "short")]
    pub message: String,
    /// Why it failed, in Portainer's words.
    #[serde(deserialize_with = "short")]
    pub details: String,
}

/// The answer to a login (`POST /api/auth`).
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Login {
    /// Token of the session, sent as a bearer token.
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
    // Large enough for the longest escapes: memory that a vector outgrows is not zeroed.
    let mut body = Zeroizing::new(Vec::with_capacity(64 + 6 * (username.len() + password.len())));
    serde_json::to_writer(&mut *body, &Credentials { username, password }).expect("text is JSON");
    body
}

/// The body of a new tag (`POST /api/tags`).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NewTag<'a> {
    /// The name of the new tag.
    #[serde(rename = "Name")]
    pub name: &'a str,
}

/// `TLSConfig` as Portainer sends it: paths on its own disk, empty where it has no file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TlsConfig {
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
    fn from(config: TlsConfig) -> EnvironmentTls {
        EnvironmentTls {
            on: config.on,
            skip_verify: config.skip_verify,
            has_ca: !config.ca.is_empty(),
            has_cert: !config.cert.is_empty(),
            has_key: !config.key.is_empty(),
        }
    }
}

/// An answer that is read as it comes, with the fields that are needed of it.
pub trait Answer: DeserializeOwned {
    /// Which these are, and how much of them is taken.
    const SHAPE: Shape;
}

const ENVIRONMENT: &[&str] =
    &["Id", "ID", "Name", "Type", "URL", "PublicURL", "GroupId", "GroupID", "TagIds", "TagIDs", "Status", "TLSConfig"];
const NAMED: &[&str] = &["Id", "ID", "Name"];

impl Answer for Environment {
    const SHAPE: Shape = Shape::object(ENVIRONMENT);
}

impl Answer for Vec<Environment> {
    const SHAPE: Shape = Shape::list(ENVIRONMENT);
}

impl Answer for SystemStatus {
    const SHAPE: Shape = Shape::object(&["Version", "InstanceID"]);
}

impl Answer for User {
    const SHAPE: Shape = Shape::object(&["Id", "ID", "Username", "Role"]);
}

impl Answer for Tag {
    const SHAPE: Shape = Shape::object(NAMED);
}

impl Answer for Vec<Tag> {
    const SHAPE: Shape = Shape::list(NAMED);
}

impl Answer for Vec<Group> {
    const SHAPE: Shape = Shape::list(NAMED);
}

/// Bytes of a text that a server gives; Portainer's own names have at most 255.
const MAX_TEXT: usize = 1024;
/// Tags of one environment.
const MAX_TAGS: usize = 1000;

/// A text as it may be shown.
fn short<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text: String = or_default(from)?;
    Ok(sanitize::short(&text, MAX_TEXT))
}

/// Numbers of tags. A list that is cut would remove the others when it is sent back, so one that is too long is refused.
fn ids<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i64>, D::Error> {
    let ids: Vec<i64> = or_default(from)?;
    if ids.len() > MAX_TAGS {
        return Err(D::Error::custom(format!("an environment has more than {MAX_TAGS} tags")));
    }
    Ok(ids)
}

/// Go writes `null` for an empty list or text.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The body of `PUT /api/endpoints/{id}`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeBody {
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
            // Portainer reads the files again only if one of the two flags is sent.
            skip_client_verify: change.tls.map(|_| false),
        }
    }
}

/// The text fields of the form that makes an environment (`POST /api/endpoints`).
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

/// Name of a file's field in the form that makes an environment.
pub fn create_file(file: File) -> &'static str {
    match file {
        File::Ca => "TLSCACertFile",
        File::Cert => "TLSCertFile",
        File::Key => "TLSKeyFile",
    }
}

/// Field of an upload that holds the number of the environment.
pub const UPLOAD_FOLDER: &str = "folder";
/// Field of an upload that holds the PEM file.
pub const UPLOAD_FILE: &str = "file";

#[cfg(test)]
mod tests;
