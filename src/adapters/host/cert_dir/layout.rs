//! Names and modes of all that is delivered: an object's name in, file names out. It opens nothing.

use super::error::DeliveryError;

/// The directory that holds the generations and all else but the public names.
pub(super) const STATE_DIR: &str = ".dockseal";
/// The link to the generation that the public names show.
pub(super) const CURRENT: &str = "current";
/// The marker: which object the directory is delivered for.
pub(super) const OWNER: &str = "owner";
/// The file that a writer holds a lock on.
pub(super) const LOCK: &str = "lock";
/// The file that a process which delivers there again and again holds a lock on, for as long as it runs.
pub(super) const RUNNING: &str = "running";
/// How the names of unfinished writes and removals begin.
pub(super) const STAGING_PREFIX: &str = ".aside-";
/// The client certificate by which delivery itself proves that dockerd loaded a generation. No object's name begins
/// with a dot.
pub(super) const PROBE_CERT: &str = ".probe.pem";
pub(super) const PROBE_KEY: &str = ".probe.key";

const MAX_NAME_BYTES: usize = 255 - ".pem".len();

/// The three public names of one object.
pub(super) struct FileNames([String; 3]);

impl FileNames {
    pub(super) fn of(name: &str) -> Result<FileNames, DeliveryError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let valid =
            name.bytes().all(allowed) && !name.starts_with(['.', '-']) && (1..=MAX_NAME_BYTES).contains(&name.len());
        match valid && name != "ca" {
            true => Ok(FileNames(["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")])),
            false => Err(DeliveryError::Name(name.to_owned())),
        }
    }

    /// ca.pem, NAME.pem and NAME.key.
    pub(super) fn public(&self) -> [&str; 3] {
        let [ca, cert, key] = &self.0;
        [ca, cert, key]
    }
}

/// Permissions of a file of that name: only its owner reads a key, and no file is written in place.
pub(super) fn mode(name: &str) -> u32 {
    if name.ends_with(".key") { 0o400 } else { 0o444 }
}

/// What a public name links to.
pub(super) fn public_target(name: &str) -> String {
    format!("{STATE_DIR}/{CURRENT}/{name}")
}
