//! The paths of Portainer's HTTP API (docs.portainer.io/api/docs), below the address of a server.

use super::environment::File;

/// `GET`: Portainer's version and InstanceID; needs no login.
pub const STATUS: &str = "/api/system/status";
/// `GET`: 404 while there is no administrator; needs no login.
pub const ADMIN_CHECK: &str = "/api/users/admin/check";
/// `POST`: makes the first administrator; needs no login.
pub const ADMIN_INIT: &str = "/api/users/admin/init";
/// `POST`: a login by username and password.
pub const AUTH: &str = "/api/auth";
/// `GET`: the user that sends the request.
pub const ME: &str = "/api/users/me";
/// `GET`: all groups of environments.
pub const GROUPS: &str = "/api/endpoint_groups";
/// `GET` lists the tags, `POST` makes one.
pub const TAGS: &str = "/api/tags";
/// `POST`: makes an environment.
pub const ENVIRONMENTS: &str = "/api/endpoints";
/// `GET`: all environments, without their snapshots.
pub const LIST: &str = "/api/endpoints?excludeSnapshots=true";

/// `GET`: the environments of exactly that name.
pub fn named(name: &str) -> String {
    format!("{LIST}&name={}", percent_encoded(name))
}

/// `PUT` changes an environment, `DELETE` removes it.
pub fn environment(id: i64) -> String {
    format!("{ENVIRONMENTS}/{id}")
}

/// `GET`: one environment, without its snapshot.
pub fn description(id: i64) -> String {
    format!("{ENVIRONMENTS}/{id}?excludeSnapshot=true")
}

/// `GET`: Docker's own `/_ping`, through Portainer's proxy.
pub fn ping(id: i64) -> String {
    format!("{ENVIRONMENTS}/{id}/docker/_ping")
}

/// `POST`: Portainer takes a snapshot of the host.
pub fn snapshot(id: i64) -> String {
    format!("{ENVIRONMENTS}/{id}/snapshot")
}

/// `POST`: replaces a file; the form says of which environment.
pub fn upload(file: File) -> String {
    format!("/api/upload/tls/{}", upload_word(file))
}

/// Encodes all but the unreserved characters of RFC 3986, section 2.3.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A file's word in the path of an upload.
fn upload_word(file: File) -> &'static str {
    match file {
        File::Ca => "ca",
        File::Cert => "cert",
        File::Key => "key",
    }
}
