//! Opening a directory by its path: allowed roots and a path in, the directory out. It passes through no directory that
//! others could replace.

use super::dir_handle::{DirHandle, Guard};
use super::error::DeliveryError;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Links that are followed up to an allowed root.
const MAX_LINKS: usize = 16;

/// What to do where a directory is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

/// Opens `directory`; none where it is missing and not to be made.
///
/// Every directory of the path must belong to root or to this process's user, and others may not rename in it: it is
/// not writable by them, or sticky. Up to the allowed root, links of those users are followed (`/var/run`); below it,
/// none. The directory itself must not be writable by others at all.
pub(super) fn open(roots: &[PathBuf], directory: &Path, missing: Missing) -> Result<Option<DirHandle>, DeliveryError> {
    let root = root_of(roots, directory)?;
    let below = directory.strip_prefix(root).unwrap_or(Path::new(""));
    let Some(mut here) = open_root(root, missing)? else { return Ok(None) };
    for name in below {
        let next = match (here.dir(name)?, missing) {
            (Some(next), _) => next,
            (None, Missing::Make) => here.make_folder(name)?,
            (None, Missing::Leave) => return Ok(None),
        };
        next.check(Guard::Replacing)?;
        here = next;
    }
    here.check(Guard::Writing)?;
    Ok(Some(here))
}

/// The innermost allowed root that the directory is in.
fn root_of<'a>(roots: &'a [PathBuf], directory: &Path) -> Result<&'a Path, DeliveryError> {
    plain(directory)?;
    roots.iter().try_for_each(|root| plain(root))?;
    let above = roots.iter().filter(|root| directory.starts_with(root));
    let outside = || DeliveryError::Outside { directory: directory.to_owned(), roots: roots.to_vec() };
    above.max_by_key(|root| root.components().count()).map(PathBuf::as_path).ok_or_else(outside)
}

fn plain(path: &Path) -> Result<(), DeliveryError> {
    let steps = path.components().all(|step| matches!(step, Component::RootDir | Component::Normal(_)));
    // Path leaves single dots out of its components, which is what they mean.
    if path.is_absolute() && steps { Ok(()) } else { Err(DeliveryError::NotCanonical(path.to_owned())) }
}

fn open_root(root: &Path, missing: Missing) -> Result<Option<DirHandle>, DeliveryError> {
    let mut here = top()?;
    let mut ahead = steps(root);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            here = checked(here.parent()?)?;
            continue;
        }
        here = match here.dir(&name) {
            Ok(Some(next)) => checked(next)?,
            Ok(None) if missing == Missing::Make => checked(here.make_folder(&name)?)?,
            Ok(None) => return Ok(None),
            Err(DeliveryError::InTheWay { .. }) if links < MAX_LINKS && here.link(&name)?.is_some() => {
                links += 1;
                let target = here.trusted_link(&name)?;
                ahead.extend(steps(&target));
                if target.is_absolute() { top()? } else { here }
            }
            Err(error) => return Err(error),
        };
    }
    Ok(Some(here))
}

fn top() -> Result<DirHandle, DeliveryError> {
    checked(DirHandle::top()?)
}

fn checked(dir: DirHandle) -> Result<DirHandle, DeliveryError> {
    dir.check(Guard::Replacing).map(|()| dir)
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir));
    named.map(|step| step.as_os_str().to_owned()).rev().collect()
}
