//! What is to be done about a host's certificate files: what is there in, one step out.

use super::material::{Material, valid_keys};
use crate::api::condition::{ConditionType, Reason};
use crate::decide::status::Verdict;
use crate::pki::Certificate;
use k8s_openapi::jiff::Timestamp;

/// A host's directory as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedFiles {
    /// Another object that has it.
    pub owner: Option<String>,
    /// We delivered here before: foreign files are somebody's edits.
    pub delivered: bool,
    /// Generation that the public names show.
    pub current: Option<u64>,
    /// A sound generation that holds what is wanted.
    pub matching: Option<u64>,
    /// Public names under which there is something that is not ours.
    pub foreign: Vec<String>,
    /// Every public name is our link.
    pub linked: bool,
    /// Anchors in a foreign ca.pem; none where it cannot be read as such.
    pub trusted_before: Option<Vec<Certificate>>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesStep {
    /// Nothing, or a move to a generation that is there.
    Use(u64),
    /// A new generation; with the flag, the files that are there are taken over first.
    Write(bool),
    /// The user must do something.
    Refuse(Verdict),
}

/// Decides.
pub fn plan(directory: &str, shown: &ObservedFiles, material: &Material, take_over: bool, now: Timestamp) -> FilesStep {
    let refuse =
        |reason, message: String| FilesStep::Refuse(Verdict::new(ConditionType::Delivered, false, reason, message));
    if let Some(owner) = shown.owner.as_ref().filter(|_| !take_over) {
        let message =
            format!("{directory} holds the files of {owner}: choose another directory, or set delivery.takeOver: true");
        return refuse(Reason::HostConflict, message);
    }
    let foreign = !shown.foreign.is_empty() && !shown.delivered;
    if foreign && !take_over {
        let message = format!(
            "{} in {directory} was not delivered by Dockseal: move it away, or set delivery.takeOver: true to replace it",
            shown.foreign.join(", ")
        );
        return refuse(Reason::FileConflict, message);
    }
    if foreign && let Some(message) = shuts_out(directory, shown, material, now) {
        return refuse(Reason::FileConflict, message);
    }
    match shown.matching {
        Some(generation) if !foreign => FilesStep::Use(generation),
        _ => FilesStep::Write(foreign),
    }
}

/// Old clients would be refused under the new ca.pem.
fn shuts_out(directory: &str, shown: &ObservedFiles, material: &Material, now: Timestamp) -> Option<String> {
    if !shown.foreign.iter().any(|name| name == "ca.pem") {
        return None;
    }
    let Some(before) = &shown.trusted_before else {
        return Some(format!("{directory}/ca.pem holds no readable certificate: move it away"));
    };
    let (before, after) = (valid_keys(before, now), valid_keys(&material.bundle, now));
    let lost = before.difference(&after).next()?;
    Some(format!(
        "{directory}/ca.pem trusts an authority that the new bundle does not hold (SHA-256 of its key {}): its clients \
         would be refused. Put its certificate into a Secret and name it in additionalTrust of the DockerCA",
        &lost[..16]
    ))
}
