//! The next step for a host's certificate files: the directory as it is in, one step out. It touches no file.

use super::material::{Material, valid_keys};
use crate::api::condition::{ConditionType, Reason};
use crate::decide::status::Verdict;
use crate::pki::DockerTrust;
use k8s_openapi::jiff::Timestamp;

/// A host's directory as it was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedFiles {
    /// Dockseal delivered here before, so other files are edits of its own.
    pub delivered: bool,
    /// The generation that the public names show.
    pub current: Option<u64>,
    /// A sound generation that holds the wanted files.
    pub matching: Option<u64>,
    /// Public names of files that Dockseal did not write.
    pub others: Vec<String>,
    /// Every public name is our link.
    pub linked: bool,
    /// What Docker trusts in such a ca.pem.
    pub trusted_before: DockerTrust,
}

/// One step on the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesStep {
    /// Use a generation that exists.
    Use(u64),
    /// Write a new generation; with the flag, take over the existing files first.
    Write(bool),
    /// The user must do something.
    Refuse(Verdict),
}

/// Plans the next step.
pub fn plan(directory: &str, shown: &ObservedFiles, material: &Material, take_over: bool, now: Timestamp) -> FilesStep {
    let refuse =
        |reason, message: String| FilesStep::Refuse(Verdict::new(ConditionType::Delivered, false, reason, message));
    let others = !shown.others.is_empty() && !shown.delivered;
    if others && !take_over {
        let message = format!(
            "{} in {directory} was not delivered by Dockseal: move it away, or set delivery.takeOver: true to replace it",
            shown.others.join(", ")
        );
        return refuse(Reason::FileConflict, message);
    }
    if others && let Some(message) = refuses_old_clients(directory, shown, material, now) {
        return refuse(Reason::FileConflict, message);
    }
    match shown.matching {
        Some(generation) if !others => FilesStep::Use(generation),
        _ => FilesStep::Write(others),
    }
}

/// Why clients that are accepted now would be refused with the new ca.pem.
fn refuses_old_clients(directory: &str, shown: &ObservedFiles, material: &Material, now: Timestamp) -> Option<String> {
    if !shown.others.iter().any(|name| name == "ca.pem") {
        return None;
    }
    let before = &shown.trusted_before;
    if let Some(why) = before.unknown.first() {
        return Some(format!(
            "{directory}/ca.pem cannot be read, so it is not known whose clients dockerd accepts by it: {why}. Put a \
             copy in its place that holds what clients need: whom it does not name is refused from then on"
        ));
    }
    let (before, after) = (valid_keys(&before.certificates, now), valid_keys(&material.bundle, now));
    let lost = before.difference(&after).next()?;
    Some(format!(
        "{directory}/ca.pem trusts an authority that the new bundle does not hold (SHA-256 of its key {}): its clients \
         would be refused. Put its certificate into a Secret and name it in additionalTrust of the DockerCA",
        &lost[..16]
    ))
}
