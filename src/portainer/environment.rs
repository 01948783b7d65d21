//! Environments in our own words: what Portainer is asked to make, its files, and when two addresses are the same. The
//! names on the wire are in wire.rs.

use zeroize::Zeroizing;

/// Portainer's Type of Docker's own API.
pub const DOCKER_API: i64 = 1;
/// Portainer's Status of an environment whose last snapshot was taken.
pub const UP: i64 = 1;

/// An environment to be made: Docker's API over TCP, with a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEnvironment {
    /// The name that users see.
    pub name: String,
    /// Address of the host; sent as `tcp://HOST:PORT`.
    pub url: String,
    /// Address at which published ports are shown.
    pub public_url: Option<String>,
    /// Number of its group; `None` is Portainer's "Unassigned".
    pub group_id: Option<i64>,
    /// Numbers of its tags.
    pub tag_ids: Vec<i64>,
    /// Whether Portainer verifies the host's certificate.
    pub verify_server: bool,
}

/// TLS settings of an environment: TLS with a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTls {
    /// Whether Portainer verifies the host's certificate. If not, Portainer deletes its file of CA certificates.
    pub verify_server: bool,
}

/// A PEM file that Portainer keeps for an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// CA certificates that verify the host.
    Ca,
    /// Portainer's client certificate.
    Cert,
    /// The key of that certificate.
    Key,
}

/// The three files of an environment, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// CA certificates that verify the host; not sent if Portainer does not verify it.
    pub ca: Vec<u8>,
    /// Portainer's client certificate.
    pub cert: Vec<u8>,
    /// The key of that certificate.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsFiles(redacted)")
    }
}

/// Whether two URLs are the same address to Portainer. The scheme (`tcp://`, `https://`, `http://` or none), upper and
/// lower case, and a slash at the end make no difference.
pub fn same_address(a: &str, b: &str) -> bool {
    tcp_url(a) == tcp_url(b)
}

/// An address as `tcp://HOST:PORT`, lower case, without a slash at the end. With `https://`, Portainer would not read the
/// uploaded files again.
pub fn tcp_url(url: &str) -> String {
    let url = url.trim().trim_end_matches('/').to_ascii_lowercase();
    let address = ["tcp://", "https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    format!("tcp://{}", address.unwrap_or(&url))
}
