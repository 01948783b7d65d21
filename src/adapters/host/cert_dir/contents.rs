//! What is in a host's directory: facts for the one who decides. It changes nothing.

use super::dir_handle::DirHandle;
use super::error::DeliveryError;
use super::layout::{self, FileNames};
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::pki::{Certificate, PrivateKey};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What a file holds. Its Debug says how much, its memory is zeroed.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub(super) Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Zeroizing::new(bytes))
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Which object has a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `Kind/namespace/name`.
    pub object: String,
    /// Its uid; an object of that name that was made again has another.
    pub uid: String,
}

/// What was found in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirContents {
    /// Whose the directory is; what a broken marker says is nobody's uid.
    pub owner: Option<Owner>,
    /// What `current` names, whether it is there or not.
    pub current: Option<u64>,
    /// Every whole generation, oldest first.
    pub generations: Vec<Generation>,
    /// What is under the public name of the authorities' certificates, ca.pem.
    pub ca: PublicName,
    /// What is under the public name of the certificate, NAME.pem.
    pub cert: PublicName,
    /// What is under the public name of the key, NAME.key.
    pub key: PublicName,
    /// An interrupted write left something: [`super::CertDir::remove_leftovers`] removes it.
    pub leftovers: bool,
}

impl DirContents {
    /// The generation that the public names show, where `current` names one that is there.
    pub fn current_generation(&self) -> Option<&Generation> {
        self.generations.iter().find(|generation| Some(generation.number) == self.current)
    }

    /// Whether we had the public names already: then a foreign file under one of them is somebody's edit, and else it
    /// is somebody's own.
    pub fn is_delivered_by(&self, owner: &Owner) -> bool {
        self.owner.as_ref() == Some(owner) && self.current_generation().is_some()
    }
}

/// One generation. Where a file is none, it is missing or has a flaw; a generation of files that were taken over has
/// no probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// ca.pem.
    pub ca: Option<Bytes>,
    /// NAME.pem.
    pub cert: Option<Bytes>,
    /// NAME.key.
    pub key: Option<Bytes>,
    /// The probe's certificate.
    pub probe_cert: Option<Bytes>,
    /// The probe's key.
    pub probe_key: Option<Bytes>,
    /// What is not as it was written: owner, permissions, hard links, links in the place of files. Each says what it
    /// is and where.
    pub problems: Vec<String>,
}

impl Generation {
    /// The client certificate that came with it, and its key; none where it has none that can be read.
    pub fn identity(&self) -> Option<ClientKeyPair> {
        let (cert, key) = (self.probe_cert.as_ref()?, self.probe_key.as_ref()?);
        let readable = Certificate::from_pem(cert).is_ok() && PrivateKey::from_pem(key, None).is_ok();
        readable.then(|| ClientKeyPair { cert: cert.to_vec(), key: key.to_vec().into() })
    }
}

/// What is under a public name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublicName {
    /// Nothing.
    #[default]
    Absent,
    /// Our link through `current`.
    Ours,
    /// A file of somebody else.
    File(Bytes),
    /// A link of somebody else. It is not followed.
    Link(PathBuf),
    /// Something that cannot be read, and why.
    Unreadable(String),
}

pub(super) fn read_contents(dir: &DirHandle, names: &FileNames) -> Result<DirContents, DeliveryError> {
    let [ca, cert, key] = names.public();
    let mut seen = DirContents {
        ca: public_name(dir, ca)?,
        cert: public_name(dir, cert)?,
        key: public_name(dir, key)?,
        ..DirContents::default()
    };
    let Some(keep) = layout::keep(dir)? else { return Ok(seen) };
    seen.owner = owner(&keep)?;
    seen.current = layout::current(&keep)?;
    seen.leftovers = layout::leftovers(&keep)?.next().is_some();
    for number in layout::numbers(&keep)? {
        seen.generations.extend(generation(&keep, number, names)?);
    }
    Ok(seen)
}

pub(super) fn public_name(dir: &DirHandle, name: &str) -> Result<PublicName, DeliveryError> {
    if let Some(target) = dir.link(name)? {
        let ours = target.as_os_str() == layout::public_target(name).as_str();
        return Ok(if ours { PublicName::Ours } else { PublicName::Link(target) });
    }
    Ok(match dir.read(name) {
        Ok(None) => PublicName::Absent,
        Ok(Some((bytes, _))) => PublicName::File(bytes),
        Err(error) => PublicName::Unreadable(error.to_string()),
    })
}

pub(super) fn owner(keep: &DirHandle) -> Result<Option<Owner>, DeliveryError> {
    let Some(bytes) = keep.read_marker(layout::OWNER)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let (object, uid) = text.trim_end().split_once('\n').unwrap_or((text.trim_end(), ""));
    Ok(Some(Owner { object: object.to_owned(), uid: uid.to_owned() }))
}

fn generation(keep: &DirHandle, number: u64, names: &FileNames) -> Result<Option<Generation>, DeliveryError> {
    let mut found =
        Generation { number, ca: None, cert: None, key: None, probe_cert: None, probe_key: None, problems: Vec::new() };
    let problems = &mut found.problems;
    match layout::generation(keep, number) {
        Ok(None) => return Ok(None), // it went meanwhile
        Err(error) => problems.push(error.to_string()),
        Ok(Some(dir)) => {
            let [ca, cert, key] = names.public();
            found.ca = file(&dir, ca, problems);
            found.cert = file(&dir, cert, problems);
            found.key = file(&dir, key, problems);
            found.probe_cert = file(&dir, layout::PROBE_CERT, problems);
            found.probe_key = file(&dir, layout::PROBE_KEY, problems);
        }
    }
    Ok(Some(found))
}

fn file(dir: &DirHandle, name: &str, problems: &mut Vec<String>) -> Option<Bytes> {
    let read = dir.read_own(name);
    read.unwrap_or_else(|error| {
        problems.push(error.to_string());
        None
    })
}
