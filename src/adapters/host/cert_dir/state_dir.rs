//! The state directory `.dockseal` in an opened directory: its generations, and which one is current. It only reads.

use super::dir_handle::{DirHandle, Guard};
use super::error::DeliveryError;
use super::layout::{CURRENT, STAGING_PREFIX, STATE_DIR};
use std::ffi::OsString;

/// The state directory; none where there is none.
pub(super) fn open(dir: &DirHandle) -> Result<Option<DirHandle>, DeliveryError> {
    let state = dir.dir(STATE_DIR)?;
    state.iter().try_for_each(|state| state.check(Guard::Writing))?;
    Ok(state)
}

/// The number that `current` names.
pub(super) fn current(state: &DirHandle) -> Result<Option<u64>, DeliveryError> {
    Ok(state.link(CURRENT)?.and_then(|target| number(target.as_os_str().to_str()?)))
}

/// A generation; none where it is missing.
pub(super) fn generation(state: &DirHandle, number: u64) -> Result<Option<DirHandle>, DeliveryError> {
    let dir = state.dir(number.to_string())?;
    dir.iter().try_for_each(|dir| dir.check(Guard::Writing))?;
    Ok(dir)
}

/// The generation that `current` names; none where it is missing.
pub(super) fn current_generation(state: &DirHandle) -> Result<Option<DirHandle>, DeliveryError> {
    current(state)?.map_or(Ok(None), |number| generation(state, number))
}

/// The numbers of all whole generations, in order.
pub(super) fn numbers(state: &DirHandle) -> Result<Vec<u64>, DeliveryError> {
    let names = state.names()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name.to_str()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name && *number < u64::MAX)
}

/// What an interrupted write left behind.
pub(super) fn leftovers(state: &DirHandle) -> Result<impl Iterator<Item = OsString> + use<>, DeliveryError> {
    Ok(state.names()?.into_iter().filter(|name| name.as_encoded_bytes().starts_with(STAGING_PREFIX.as_bytes())))
}
