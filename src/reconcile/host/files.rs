//! The files of a delivery: looked at, brought whole, shown, and those that nobody uses any more removed.

use super::{HostDelivery, refusal};
use crate::adapters::host::cert_dir::{
    CertDir, DirContents, Generation, GenerationFiles, Overwrite, Owner, PublicName,
};
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::adapters::random::{quick_key, serial};
use crate::api::AssignedHost;
use crate::api::docker_host_cert::Mode;
use crate::decide::host::Material;
use crate::decide::host::files::{FilesStep, ObservedFiles, plan};
use crate::decide::status::Verdict;
use crate::pki::certificate::all_from_pem;
use crate::pki::sign::self_signed_client;
use crate::pki::{Certificate, lifecycle};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::path::Path;

/// A client certificate of ours is good for as long as the files that it came with may lie about.
const PROBE_LIFE: SignedDuration = SignedDuration::from_hours(36_500 * 24);

/// The files are where they are to be.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) generation: u64,
    pub(super) identity: Option<ClientKeyPair>,
}

/// A client certificate of our own, by which this host alone lets us in.
struct Probe {
    certificate: Certificate,
    key_pem: zeroize::Zeroizing<String>,
}

fn probe(now: Timestamp) -> Probe {
    let key = quick_key();
    let dates = lifecycle::dates(now, PROBE_LIFE, None);
    let certificate = self_signed_client("Dockseal's own proof", &key, dates, serial());
    Probe { certificate: certificate.expect("a short name"), key_pem: key.to_pem() }
}

pub(super) fn owner(host: &AssignedHost) -> Owner {
    Owner { object: host.object().to_string(), uid: host.uid.clone() }
}

pub(super) fn look(delivery: &HostDelivery) -> Result<Option<DirContents>, Verdict> {
    let directory = CertDir::find(&delivery.roots, Path::new(&delivery.host.delivery.directory)).map_err(refusal)?;
    directory.map(|directory| directory.contents(&delivery.host.name)).transpose().map_err(refusal)
}

pub(super) fn place(delivery: &HostDelivery, material: &Material, now: Timestamp) -> Result<Placed, Verdict> {
    let host = &delivery.host;
    let directory = CertDir::open(&delivery.roots, Path::new(&host.delivery.directory)).map_err(refusal)?;
    let seen = directory.contents(&host.name).map_err(refusal)?;
    let shown = shown(&seen, host, material);
    let generation = match plan(&host.delivery.directory, &shown, material, host.delivery.take_over, now) {
        FilesStep::Refuse(verdict) => return Err(verdict),
        FilesStep::Use(generation) => {
            directory.claim(&owner(host), seen.owner.as_ref()).map_err(refusal)?;
            generation
        }
        FilesStep::Write(take_over) => {
            directory.claim(&owner(host), seen.owner.as_ref()).map_err(refusal)?;
            if shown.delivered && !shown.linked {
                // A take-over that was cut off, or somebody's edit: one set again, before that set is another.
                directory.link_names(&host.name, Overwrite::Always).map_err(refusal)?;
            }
            if take_over {
                directory.take_over(&host.name).map_err(refusal)?;
            }
            write(&directory, &host.name, material, &probe(now))?
        }
    };
    show(&directory, host, &shown, generation)?;
    let seen = directory.contents(&host.name).map_err(refusal)?;
    let identity = seen.generations.iter().find(|there| there.number == generation).and_then(Generation::identity);
    Ok(Placed { generation, identity })
}

fn write(directory: &CertDir, name: &str, material: &Material, probe: &Probe) -> Result<u64, Verdict> {
    let certificate = material.certificate.to_pem();
    let probe_pem = probe.certificate.to_pem();
    let ca = [material.bundle_pem.as_slice(), probe_pem.as_bytes()].concat();
    let files = GenerationFiles {
        ca: &ca,
        cert: certificate.as_bytes(),
        key: &material.key_pem,
        probe_cert: probe_pem.as_bytes(),
        probe_key: probe.key_pem.as_bytes(),
    };
    directory.write_generation(name, &files).map_err(refusal)
}

/// Has the public names show the generation; where dockerd may be using what they show, its own step does.
fn show(directory: &CertDir, host: &AssignedHost, shown: &ObservedFiles, generation: u64) -> Result<(), Verdict> {
    let ours_to_move = host.delivery.mode == Mode::Files || shown.current.is_none() && shown.others.is_empty();
    if ours_to_move && shown.current != Some(generation) {
        directory.set_current(generation).map_err(refusal)?;
    }
    let over = if shown.delivered { Overwrite::Always } else { Overwrite::Never };
    directory.link_names(&host.name, over).map_err(refusal)
}

/// What is in the directory, as the decision needs it.
fn shown(seen: &DirContents, host: &AssignedHost, material: &Material) -> ObservedFiles {
    let names = [
        ("ca.pem".to_owned(), &seen.ca),
        (format!("{}.pem", host.name), &seen.cert),
        (format!("{}.key", host.name), &seen.key),
    ];
    let ours = owner(host);
    let another = seen.owner.as_ref().filter(|there| there.object != ours.object);
    let is_other = |there: &PublicName| !matches!(there, PublicName::Absent | PublicName::Ours);
    let trusted = match &seen.ca {
        PublicName::File(bytes) => all_from_pem(bytes).ok(),
        _ => None,
    };
    let matching = seen.generations.iter().rev().find(|generation| holds(generation, material));
    ObservedFiles {
        owner: another.map(|there| there.object.clone()),
        delivered: another.is_none() && seen.owner.is_some() && seen.current.is_some(),
        current: seen.current,
        matching: matching.map(|generation| generation.number),
        linked: names.iter().all(|(_, there)| **there == PublicName::Ours),
        others: names.into_iter().filter(|(_, there)| is_other(there)).map(|(name, _)| name).collect(),
        trusted_before: trusted,
    }
}

/// Whether a generation is whole and holds what is wanted.
fn holds(generation: &Generation, material: &Material) -> bool {
    let Some((ca, probe)) = generation.ca.as_ref().zip(generation.probe_cert.as_ref()) else { return false };
    let certificate = generation.cert.as_ref().and_then(|pem| Certificate::from_pem(pem).ok());
    generation.problems.is_empty()
        && generation.probe_key.is_some()
        && certificate.is_some_and(|certificate| certificate.der == material.certificate.der)
        && generation.key.as_ref().is_some_and(|key| **key == **material.key_pem)
        && ca.strip_prefix(material.bundle_pem.as_slice()) == Some(&**probe)
}

/// Generations that dockerd may still be using stay.
pub(super) fn retire(delivery: &HostDelivery, keep: &[u64]) -> Result<(), Verdict> {
    let path = Path::new(&delivery.host.delivery.directory);
    let Some(directory) = CertDir::find(&delivery.roots, path).map_err(refusal)? else { return Ok(()) };
    let seen = directory.contents(&delivery.host.name).map_err(refusal)?;
    let oldest = keep.iter().min().copied().unwrap_or_default();
    let before = seen.generations.iter().rev().map(|there| there.number).find(|number| *number < oldest);
    let keep: Vec<u64> = keep.iter().copied().chain(before).collect();
    directory.prune(&keep).map_err(refusal)
}
