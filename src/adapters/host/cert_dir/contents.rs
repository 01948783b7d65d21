//! What a host's directory holds: an opened directory in, facts out. It changes nothing.

use super::bytes::Bytes;
use super::dir_handle::DirHandle;
use super::error::DeliveryError;
use super::layout::{self, FileNames};
use super::state_dir;
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::api::marker::Marker;
use crate::pki::{Certificate, PrivateKey};
use std::path::PathBuf;

/// What was found in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirContents {
    /// The marker; most of it is empty where it is broken.
    pub marker: Option<Marker>,
    /// The generation that `current` names, even where it is missing.
    pub current: Option<u64>,
    /// Every whole generation, oldest first.
    pub generations: Vec<Generation>,
    /// ca.pem.
    pub ca: PublicName,
    /// NAME.pem.
    pub cert: PublicName,
    /// NAME.key.
    pub key: PublicName,
    /// An interrupted write left something: [`super::CertDir::remove_leftovers`] removes it.
    pub leftovers: bool,
}

impl DirContents {
    /// The generation that the public names show; none where `current` names a missing one.
    pub fn current_generation(&self) -> Option<&Generation> {
        self.generations.iter().find(|generation| Some(generation.number) == self.current)
    }

    /// Whether files were delivered here under that marker before: then another file under a public name is an edit of
    /// ours, else it is someone else's.
    pub fn is_delivered_by(&self, marker: &Marker) -> bool {
        self.marker.as_ref() == Some(marker) && self.current_generation().is_some()
    }
}

/// One generation. A file is none where it is missing or unsafe; a generation of files that were taken over has no
/// probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub number: u64,
    pub ca: Option<Bytes>,
    pub cert: Option<Bytes>,
    pub key: Option<Bytes>,
    pub probe_cert: Option<Bytes>,
    pub probe_key: Option<Bytes>,
    /// What differs from how it was written: owner, permissions, hard links, links instead of files. Sentences with the
    /// path.
    pub problems: Vec<String>,
}

impl Generation {
    /// The probe's client certificate and its key; none where they cannot be read.
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
    /// The link through `current`.
    Ours,
    /// Someone else's file.
    File(Bytes),
    /// Someone else's link. It is not followed.
    Link(PathBuf),
    /// It cannot be read, and why.
    Unreadable(String),
}

pub(super) fn read_contents(dir: &DirHandle, names: &FileNames) -> Result<DirContents, DeliveryError> {
    let [ca, cert, key] = names.public();
    let mut contents = DirContents {
        ca: public_name(dir, ca)?,
        cert: public_name(dir, cert)?,
        key: public_name(dir, key)?,
        ..DirContents::default()
    };
    let Some(state) = state_dir::open(dir)? else { return Ok(contents) };
    contents.marker = marker(&state)?;
    contents.current = state_dir::current(&state)?;
    contents.leftovers = state_dir::leftovers(&state)?.next().is_some();
    for number in state_dir::numbers(&state)? {
        contents.generations.extend(generation(&state, number, names)?);
    }
    Ok(contents)
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

pub(super) fn marker(state: &DirHandle) -> Result<Option<Marker>, DeliveryError> {
    let bytes = state.read_marker(layout::OWNER)?;
    Ok(bytes.map(|bytes| Marker::parse(&String::from_utf8_lossy(&bytes))))
}

fn generation(state: &DirHandle, number: u64, names: &FileNames) -> Result<Option<Generation>, DeliveryError> {
    let mut found =
        Generation { number, ca: None, cert: None, key: None, probe_cert: None, probe_key: None, problems: Vec::new() };
    let problems = &mut found.problems;
    match state_dir::generation(state, number) {
        Ok(None) => return Ok(None), // it was removed meanwhile
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
