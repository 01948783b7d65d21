//! Whose a certificate directory is, and whether this delivery may have it: the marker that is there and what was
//! delivered in, the marker to write or a refusal out. `takeOver` is for files of others, never for another Dockseal's.

use super::daemon_state::DaemonState;
use super::material::{Material, issuer_key};
use crate::api::AssignedHost;
use crate::api::condition::{ConditionType, Reason};
use crate::api::marker::{Marker, TAKE_FROM_ANNOTATION, TakeFrom, Taken, note_taken, times_taken};
use crate::decide::status::Verdict;
use crate::pki::{Certificate, sha256_hex};
use std::collections::BTreeSet;

/// Beginning of the id of a marker without a writer.
const MARKER_PREFIX: &str = "marker-";
/// How many hex digits of the marker's digest follow.
const MARKER_DIGITS: usize = 16;
/// Who replaces something where neither a writer nor a uid is known.
const UNNAMED: &str = "unnamed";

/// Which authority signed what is delivered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveredAuthority {
    /// Nothing was delivered.
    Nothing,
    /// SHA-256 of its key, hex.
    Key(String),
    /// It cannot be read.
    Unknown,
}

/// What keeps a delivery from a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    AnotherWriter,
    UnknownWriter,
    AnotherObject,
    AnotherAuthority,
}

/// The marker of this delivery, where nothing else is in the directory.
pub fn marker(host: &AssignedHost, material: &Material) -> Marker {
    Marker {
        object: host.object().to_string(),
        uid: host.uid.clone(),
        writer: host.claim.writer.clone(),
        authority: issuer_key(&material.certificate, &material.bundle),
        ca: host.claim.ca.clone(),
        taken: Vec::new(),
    }
}

/// Whether a marker is of that host's own delivery, whichever authority it had.
pub fn is_ours(there: &Marker, host: &AssignedHost) -> bool {
    let same = there.object == host.object().to_string() && there.uid == host.uid;
    same && !is_anothers(there.writer.as_deref(), host)
}

/// Whether a writer is known to be another than that host's.
pub fn is_anothers(writer: Option<&str>, host: &AssignedHost) -> bool {
    writer.zip(host.claim.writer.as_deref()).is_some_and(|(there, ours)| there != ours)
}

/// The marker that this delivery writes.
///
/// # Errors
/// Delivered=False HostConflict, with who is there and what lets it be replaced.
pub fn claim(
    there: Option<&Marker>,
    delivered: &DeliveredAuthority,
    host: &AssignedHost,
    material: &Material,
) -> Result<Marker, Verdict> {
    let mut ours = marker(host, material);
    let Some(there) = there else { return Ok(ours) };
    ours.taken.clone_from(&there.taken);
    let keys = material.bundle.iter().map(Certificate::key_fingerprint).collect();
    let shared = shares_authority(there, delivered, &keys);
    let Some(obstacle) = obstacle(there, shared, host) else {
        ours.writer = ours.writer.or_else(|| there.writer.clone());
        return Ok(ours);
    };
    let wanted = take(&mut ours.taken, id(there, obstacle), host);
    wanted.map_or(Ok(ours), |wanted| {
        let message = message(obstacle, there, host, &wanted, shared);
        Err(Verdict::new(ConditionType::Delivered, false, Reason::HostConflict, message))
    })
}

/// Who configured dockerd, as a delivery that may do so writes it: the writer, and what was replaced for it.
///
/// # Errors
/// Why it may not, as a message.
pub fn claim_daemon(state: &DaemonState, host: &AssignedHost) -> Result<(Option<String>, Vec<Taken>), String> {
    let mut taken = state.taken.clone();
    let ours = host.claim.writer.as_ref().or(state.writer.as_ref()).cloned();
    if !is_anothers(state.writer.as_deref(), host) {
        return Ok((ours, taken));
    }
    let writer = state.writer.clone().unwrap_or_default();
    let Some(wanted) = take(&mut taken, writer.clone(), host) else { return Ok((ours, taken)) };
    Err(format!(
        "dockerd was configured for {} by {writer}; {} delivers {}. Two of them would take turns with this \
         host: have one choose mode: Files or end, or let this one replace the other in the same delivery.directory, {}",
        state.configured.as_deref().unwrap_or("another object"),
        name(host),
        host.object(),
        consent(&wanted, host, true)
    ))
}

/// Notes that what has the id `from` is replaced, where the user lets it; else what the annotation would have to be.
fn take(taken: &mut Vec<Taken>, from: String, host: &AssignedHost) -> Option<TakeFrom> {
    let by = claimant(host);
    let times = times_taken(taken, &by, &from);
    let asked = host.claim.take_from.as_deref().and_then(TakeFrom::parse);
    match asked.filter(|asked| asked.from == from && asked.time > times) {
        Some(asked) => {
            note_taken(taken, &by, &asked);
            None
        }
        None => Some(TakeFrom { from, time: times.saturating_add(1) }),
    }
}

/// Whether clients of what is delivered are accepted with the new bundle.
fn shares_authority(there: &Marker, delivered: &DeliveredAuthority, wanted: &BTreeSet<String>) -> bool {
    match (&there.authority, delivered) {
        (Some(key), _) | (None, DeliveredAuthority::Key(key)) => wanted.contains(key),
        (None, DeliveredAuthority::Nothing) => true,
        (None, DeliveredAuthority::Unknown) => false,
    }
}

fn obstacle(there: &Marker, shared: bool, host: &AssignedHost) -> Option<Obstacle> {
    let same_object = there.object == host.object().to_string();
    let same_uid = same_object && !host.uid.is_empty() && there.uid == host.uid;
    let no_object = !same_object && !host.delivery.take_over;
    match (&there.writer, &host.claim.writer) {
        (Some(writer), Some(ours)) if writer != ours => Some(Obstacle::AnotherWriter),
        (Some(_), None) if !same_uid => Some(Obstacle::AnotherWriter),
        (Some(_), _) if no_object => Some(Obstacle::AnotherObject),
        (Some(_), _) => (!shared && !asks_for_another_authority(there, host)).then_some(Obstacle::AnotherAuthority),
        // A version before wrote it.
        (None, _) if same_uid => None,
        (None, _) if no_object => Some(Obstacle::AnotherObject),
        (None, _) if shared && (there.uid.is_empty() || !host.uid.is_empty()) => None,
        (None, _) => Some(Obstacle::UnknownWriter),
    }
}

/// The user named another DockerCA in the spec, or had that authority replaced.
fn asks_for_another_authority(there: &Marker, host: &AssignedHost) -> bool {
    let other_ca = there.ca.as_ref().zip(host.claim.ca.as_ref()).is_some_and(|(before, now)| before != now);
    other_ca || there.authority.is_some() && there.authority == host.claim.replaces
}

/// Who replaces.
fn claimant(host: &AssignedHost) -> String {
    let uid = Some(&host.uid).filter(|uid| !uid.is_empty());
    host.claim.writer.as_ref().or(uid).cloned().unwrap_or_else(|| UNNAMED.to_owned())
}

/// The id by which a user names what may be replaced.
fn id(there: &Marker, obstacle: Obstacle) -> String {
    let named = if obstacle == Obstacle::AnotherAuthority { &there.authority } else { &there.writer };
    let digest = || sha256_hex(format!("{}\n{}\n", there.object, there.uid).as_bytes());
    named.clone().unwrap_or_else(|| format!("{MARKER_PREFIX}{}", &digest()[..MARKER_DIGITS]))
}

fn message(obstacle: Obstacle, there: &Marker, host: &AssignedHost, wanted: &TakeFrom, shared: bool) -> String {
    let (directory, object) = (&host.delivery.directory, host.object());
    let theirs = there.writer.as_deref().unwrap_or("a Dockseal whose id is not known");
    let consent = consent(wanted, host, shared);
    match obstacle {
        Obstacle::AnotherObject => format!(
            "{directory} holds the files of {}: choose another directory, or set delivery.takeOver: true",
            object_of(there)
        ),
        Obstacle::AnotherAuthority => format!(
            "{directory} holds the files of another authority than the one of {object}, which was not asked for in its \
             spec or by dockseal.dev/replace-authority. Restore the authority whose key has the SHA-256 {}, or let it be \
             replaced, {consent}",
            there.authority.as_deref().unwrap_or("?")
        ),
        Obstacle::AnotherWriter | Obstacle::UnknownWriter => format!(
            "{directory} holds the files of {}, delivered by {theirs}; {} delivers {object}. Two of them would take \
             turns with this host: have one choose another directory or end, or let this one replace the other, {consent}",
            object_of(there),
            name(host)
        ),
    }
}

fn object_of(there: &Marker) -> &str {
    if there.object.is_empty() { "an object that its marker does not name" } else { &there.object }
}

fn name(host: &AssignedHost) -> &str {
    host.claim.writer.as_deref().unwrap_or("this cluster, whose id the controller may not read,")
}

fn consent(wanted: &TakeFrom, host: &AssignedHost, shared: bool) -> String {
    let lost = if shared { "" } else { ". Clients of the authority there are refused then" };
    format!("once, by the annotation {TAKE_FROM_ANNOTATION}: {wanted} on {}{lost}", host.object())
}
