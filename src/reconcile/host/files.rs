//! The files of a delivery: what is in the certificate directory in, a whole set written and shown, and old sets
//! removed. It never writes over others' files unless it is told to take them over.

use super::delivery::{HostDelivery, blocking, problem};
use crate::adapters::host::cert_dir::{DeliveryError, DirContents, Generation, GenerationFiles, Overwrite, PublicName};
use crate::adapters::host::{DeliveryDirectory, Host};
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::adapters::random::{quick_key, serial};
use crate::api::AssignedHost;
use crate::api::docker_host_cert::Mode;
use crate::api::marker::Marker;
use crate::decide::host::Material;
use crate::decide::host::files::{FilesStep, ObservedFiles, plan};
use crate::decide::host::material::issuer_key;
use crate::decide::host::ownership::{self, DeliveredAuthority};
use crate::decide::status::Verdict;
use crate::pki::certificate::all_from_pem;
use crate::pki::sign::{Dates, self_signed_client};
use crate::pki::{Certificate, DockerTrust, lifecycle};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::path::Path;

/// The files are in their place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) generation: u64,
    pub(super) identity: Option<ClientKeyPair>,
}

/// A client certificate of our own, which only this host admits.
struct Probe {
    certificate: Certificate,
    key_pem: zeroize::Zeroizing<String>,
}

/// It ends with the host's own certificate: its key is root on this host for as long as dockerd has it loaded, and whoever
/// finds it in an old backup has nothing.
fn probe(leaf: &Certificate, now: Timestamp) -> Probe {
    let key = quick_key();
    let dates = Dates { not_after: leaf.not_after, ..lifecycle::dates(now, SignedDuration::ZERO, None) };
    let certificate = self_signed_client("Dockseal's own proof", &key, dates, serial());
    Probe { certificate: certificate.expect("a short name"), key_pem: key.to_pem() }
}

/// The marker under which this delivery may write there; nothing is written before.
pub(super) fn marker(contents: &DirContents, host: &AssignedHost, material: &Material) -> Result<Marker, Verdict> {
    ownership::claim(contents.marker.as_ref(), &delivered_authority(contents), host, material)
}

/// The authority of the delivered files.
fn delivered_authority(contents: &DirContents) -> DeliveredAuthority {
    if contents.current.is_none() {
        return DeliveredAuthority::Nothing;
    }
    let read = || {
        let current = contents.current_generation()?;
        let leaf = Certificate::from_pem(current.cert.as_ref()?).ok()?;
        issuer_key(&leaf, &all_from_pem(current.ca.as_ref()?).ok()?)
    };
    read().map_or(DeliveredAuthority::Unknown, DeliveredAuthority::Key)
}

/// Opens the directory of a delivery; None where it is missing.
pub(super) fn find_directory<H: Host>(host: &H, delivery: &HostDelivery) -> Result<Option<H::Directory>, Verdict> {
    host.find_directory(&delivery.roots, Path::new(&delivery.host.delivery.directory)).map_err(problem)
}

/// Opens the directory of a delivery, and makes it where it is missing.
pub(super) fn make_directory<H: Host>(host: &H, delivery: &HostDelivery) -> Result<H::Directory, Verdict> {
    host.make_directory(&delivery.roots, Path::new(&delivery.host.delivery.directory)).map_err(problem)
}

/// Places the files, and gives the directory back.
pub(super) async fn place_files<H: Host>(
    directory: H::Directory,
    delivery: &HostDelivery,
    material: &Material,
    now: Timestamp,
) -> Result<(H::Directory, Placed), Verdict> {
    let (host, material) = (delivery.host.clone(), material.clone());
    blocking(move || place(&directory, &host, &material, now).map(|placed| (directory, placed))).await
}

fn place(
    directory: &impl DeliveryDirectory,
    host: &AssignedHost,
    material: &Material,
    now: Timestamp,
) -> Result<Placed, Verdict> {
    let contents = directory.contents(&host.name).map_err(problem)?;
    let marker = marker(&contents, host, material)?;
    let shown = shown(&contents, host, material);
    let step = plan(&host.delivery.directory, &shown, material, host.delivery.take_over, now);
    if let FilesStep::Refuse(verdict) = step {
        return Err(verdict);
    }
    directory.claim(&marker, contents.marker.as_ref()).map_err(problem)?;
    let generation = match step {
        FilesStep::Use(generation) => Ok(generation),
        step => write(directory, &host.name, material, (&shown, step == FilesStep::Write(true), now)),
    };
    let generation = generation.map_err(problem)?;
    show(directory, host, &shown, generation).map_err(problem)?;
    let contents = directory.contents(&host.name).map_err(problem)?;
    let identity = contents.generations.iter().find(|there| there.number == generation).and_then(Generation::identity);
    Ok(Placed { generation, identity })
}

/// Writes a generation, after others' files were taken over where that is asked.
fn write(
    directory: &impl DeliveryDirectory,
    name: &str,
    material: &Material,
    (shown, take_over, now): (&ObservedFiles, bool, Timestamp),
) -> Result<u64, DeliveryError> {
    if shown.delivered && !shown.linked {
        // A take-over that was interrupted, or someone's edit: one set again, before that set is another.
        directory.link_names(name, Overwrite::Always)?;
    }
    if take_over {
        directory.take_over(name)?;
    }
    let (certificate, probe) = (material.certificate.to_pem(), probe(&material.certificate, now));
    let probe_pem = probe.certificate.to_pem();
    let ca = [material.bundle_pem.as_slice(), probe_pem.as_bytes()].concat();
    let files = GenerationFiles {
        ca: &ca,
        cert: certificate.as_bytes(),
        key: &material.key_pem,
        probe_cert: probe_pem.as_bytes(),
        probe_key: probe.key_pem.as_bytes(),
    };
    directory.write_generation(name, &files)
}

/// Has the public names show the generation; where dockerd may be using what they show, its own step does.
fn show(
    directory: &impl DeliveryDirectory,
    host: &AssignedHost,
    shown: &ObservedFiles,
    generation: u64,
) -> Result<(), DeliveryError> {
    let ours_to_move = host.delivery.mode == Mode::Files || shown.current.is_none() && shown.others.is_empty();
    if ours_to_move && shown.current != Some(generation) {
        directory.set_current(generation)?;
    }
    let over = if shown.delivered { Overwrite::Always } else { Overwrite::Never };
    directory.link_names(&host.name, over)
}

/// What is in the directory, as the decision needs it.
fn shown(contents: &DirContents, host: &AssignedHost, material: &Material) -> ObservedFiles {
    let names = [
        ("ca.pem".to_owned(), &contents.ca),
        (format!("{}.pem", host.name), &contents.cert),
        (format!("{}.key", host.name), &contents.key),
    ];
    let object = host.object().to_string();
    let delivered = contents.marker.as_ref().is_some_and(|there| there.object == object) && contents.current.is_some();
    let is_other = |there: &PublicName| !matches!(there, PublicName::Absent | PublicName::Ours);
    let matching = contents.generations.iter().rev().find(|generation| holds(generation, material));
    ObservedFiles {
        delivered,
        current: contents.current,
        matching: matching.map(|generation| generation.number),
        linked: names.iter().all(|(_, there)| **there == PublicName::Ours),
        others: names.into_iter().filter(|(_, there)| is_other(there)).map(|(name, _)| name).collect(),
        trusted_before: trusted_before(&contents.ca),
    }
}

/// What Docker trusts in someone else's ca.pem.
fn trusted_before(ca: &PublicName) -> DockerTrust {
    let unknown = |why: String| DockerTrust { unknown: vec![why], ..DockerTrust::default() };
    match ca {
        PublicName::File(bytes) => DockerTrust::read("ca.pem", bytes),
        PublicName::Link(to) => unknown(format!("it is a symbolic link to {}, which is not followed", to.display())),
        PublicName::Unreadable(why) => unknown(why.clone()),
        PublicName::Absent | PublicName::Ours => DockerTrust::default(),
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

/// Removes generations but for those in `keep`, which dockerd may still be using, and the one before them.
pub(super) fn remove_old(directory: &impl DeliveryDirectory, name: &str, keep: &[u64]) -> Result<(), Verdict> {
    let contents = directory.contents(name).map_err(problem)?;
    let oldest = keep.iter().min().copied().unwrap_or_default();
    let before = contents.generations.iter().rev().map(|there| there.number).find(|number| *number < oldest);
    let keep: Vec<u64> = keep.iter().copied().chain(before).collect();
    directory.prune(&keep).map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_lasts_as_long_as_what_it_came_with() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let (now, end) = (at("2026-11-22T10:00:00Z"), at("2027-11-20T09:00:00Z"));
        let dates = Dates { not_before: at("2026-11-20T09:00:00Z"), not_after: end };
        let leaf = self_signed_client("pandora", &quick_key(), dates, serial()).expect("a short name");
        let made = probe(&leaf, now).certificate;
        assert_eq!((made.not_before, made.not_after), (at("2026-11-22T09:55:00Z"), end));
    }
}
