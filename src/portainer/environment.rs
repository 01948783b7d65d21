//! An environment of Portainer's: what it is, what is made of one, what is changed in one. Reads only what we decide by.

use super::wire::{or_default, tcp_url};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// An environment as Portainer describes it (`GET /api/endpoints/{id}`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Its id; ids are not used again.
    #[serde(rename = "Id", alias = "ID", deserialize_with = "or_default")]
    pub id: i64,
    /// Its name.
    #[serde(rename = "Name", deserialize_with = "or_default")]
    pub name: String,
    /// Portainer's Type: 1 is Docker's API over TCP or a socket.
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub kind: i64,
    /// Address of the host, as it was written.
    #[serde(rename = "URL", deserialize_with = "or_default")]
    pub url: String,
    /// Address at which published ports are shown.
    #[serde(rename = "PublicURL", deserialize_with = "or_default")]
    pub public_url: String,
    /// Its group; 1 is Portainer's "Unassigned".
    #[serde(rename = "GroupId", alias = "GroupID", deserialize_with = "or_default")]
    pub group_id: i64,
    /// Its tags.
    #[serde(rename = "TagIds", alias = "TagIDs", deserialize_with = "or_default")]
    pub tag_ids: Vec<i64>,
    /// How the last snapshot went: 1 up, 2 down.
    #[serde(rename = "Status", deserialize_with = "or_default")]
    pub status: i64,
    /// What Portainer holds to reach it by TLS.
    #[serde(rename = "TLSConfig", deserialize_with = "or_default")]
    pub tls: EnvironmentTls,
}

/// Portainer's Type of Docker's own API.
pub const DOCKER_API: i64 = 1;
/// Portainer's Status of an environment whose last snapshot was taken.
pub const UP: i64 = 1;

/// What Portainer holds to reach a host by TLS. It never gives the files themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "super::wire::TlsConfig")]
pub struct EnvironmentTls {
    /// TLS is spoken.
    pub on: bool,
    /// The host's certificate is not verified.
    pub skip_verify: bool,
    /// There is a file of authorities.
    pub has_ca: bool,
    /// There is a client certificate.
    pub has_cert: bool,
    /// There is a client key.
    pub has_key: bool,
}

/// An environment to be made: Docker's API over TCP, with a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEnvironment {
    /// Its name.
    pub name: String,
    /// Address of the host; sent as `tcp://HOST:PORT`.
    pub url: String,
    /// Address at which published ports are shown.
    pub public_url: Option<String>,
    /// Its group; none is Portainer's "Unassigned".
    pub group_id: Option<i64>,
    /// Its tags.
    pub tag_ids: Vec<i64>,
    /// Portainer verifies the host's certificate.
    pub verify_server: bool,
}

/// What is changed in an environment; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "super::wire::ChangeBody")]
pub struct EnvironmentChange {
    /// Its name. An empty one is not sent.
    pub name: Option<String>,
    /// Address of the host; sent as `tcp://HOST:PORT`.
    pub url: Option<String>,
    /// Address at which published ports are shown.
    pub public_url: Option<String>,
    /// Its group.
    pub group_id: Option<i64>,
    /// All of its tags.
    pub tag_ids: Option<Vec<i64>>,
    /// How the host is spoken to, which reads the uploaded files anew.
    pub tls: Option<NewTls>,
}

/// How a host is spoken to: by TLS, with a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTls {
    /// Portainer verifies the host's certificate. Where it does not, it throws its file of authorities away.
    pub verify_server: bool,
}

/// A file that Portainer keeps for an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// The authorities that the host is verified by.
    Ca,
    /// The client certificate.
    Cert,
    /// Its key.
    Key,
}

/// The three of them, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that the host is verified by; not sent where it is not verified.
    pub ca: Vec<u8>,
    /// The client certificate.
    pub cert: Vec<u8>,
    /// Its key.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files(redacted)")
    }
}

/// Whether two URLs are one address to Portainer: `tcp://`, `https://`, `http://` or no scheme at all, the host in any
/// case, with or without a slash at the end.
pub fn same_address(a: &str, b: &str) -> bool {
    tcp_url(a) == tcp_url(b)
}

#[cfg(test)]
mod tests;
