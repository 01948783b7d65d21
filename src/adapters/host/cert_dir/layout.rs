//! Names and modes of everything that is ours in a host's directory.

use super::dir_handle::{DirHandle, Guard};
use super::error::DeliveryError;
use std::ffi::OsString;

/// Where everything of ours is.
pub(super) const KEEP: &str = ".dockseal";
/// The link to the generation that the public names show.
pub(super) const CURRENT: &str = "current";
/// Whose the directory is.
pub(super) const OWNER: &str = "owner";
/// Held by the one that writes.
pub(super) const LOCK: &str = "lock";
/// What every name begins with that is not in its place yet, or no longer.
pub(super) const ASIDE: &str = ".aside-";
/// The probe's files begin with a dot, as no object's name does.
pub(super) const PROBE_CERT: &str = ".probe.pem";
/// Its key.
pub(super) const PROBE_KEY: &str = ".probe.key";

const MAX_NAME_BYTES: usize = 255 - ".pem".len();

/// The file names of one object.
pub(super) struct FileNames([String; 3]);

impl FileNames {
    /// Those of the object `name`.
    pub(super) fn of(name: &str) -> Result<FileNames, DeliveryError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let sound =
            name.bytes().all(allowed) && !name.starts_with(['.', '-']) && (1..=MAX_NAME_BYTES).contains(&name.len());
        match sound && name != "ca" {
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

/// Permissions of a file of that name: keys are their owner's alone, and nothing is written in place.
pub(super) fn mode(name: &str) -> u32 {
    if name.ends_with(".key") { 0o400 } else { 0o444 }
}

/// What a public name links to.
pub(super) fn public_target(name: &str) -> String {
    format!("{KEEP}/{CURRENT}/{name}")
}

/// The directory of ours, where there is one.
pub(super) fn keep(dir: &DirHandle) -> Result<Option<DirHandle>, DeliveryError> {
    let keep = dir.dir(KEEP)?;
    keep.iter().try_for_each(|keep| keep.check(Guard::Own))?;
    Ok(keep)
}

/// The generation that `current` names.
pub(super) fn current(keep: &DirHandle) -> Result<Option<u64>, DeliveryError> {
    Ok(keep.link(CURRENT)?.and_then(|target| number(target.as_os_str().to_str()?)))
}

/// A generation, where it is there.
pub(super) fn generation(keep: &DirHandle, number: u64) -> Result<Option<DirHandle>, DeliveryError> {
    let dir = keep.dir(number.to_string())?;
    dir.iter().try_for_each(|dir| dir.check(Guard::Own))?;
    Ok(dir)
}

/// The generation that `current` names, where it is there.
pub(super) fn shown(keep: &DirHandle) -> Result<Option<DirHandle>, DeliveryError> {
    current(keep)?.map_or(Ok(None), |number| generation(keep, number))
}

/// The numbers of what is whole, in order.
pub(super) fn numbers(keep: &DirHandle) -> Result<Vec<u64>, DeliveryError> {
    let names = keep.names()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name.to_str()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name && *number < u64::MAX)
}

/// What an interrupted write left behind.
pub(super) fn leftovers(keep: &DirHandle) -> Result<impl Iterator<Item = OsString> + use<>, DeliveryError> {
    Ok(keep.names()?.into_iter().filter(|name| name.as_encoded_bytes().starts_with(ASIDE.as_bytes())))
}
