//! Whose clients dockerd admits by what others configured: what was found out in, whether a new bundle admits them too
//! out. What is not known is never taken for nobody.

use super::material::valid_keys;
use super::report::serving;
use crate::api::condition::Reason;
use crate::decide::status::Verdict;
use crate::pki::Certificate;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeSet;

/// Whose clients dockerd admits, or would on its next start, other than by Dockseal's own files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OldTrust {
    /// Nobody's.
    #[default]
    Nobody,
    /// Those of these authorities.
    Known(Vec<Certificate>),
    /// That could not be found out; why, and what to do, as sentences.
    Unknown(String),
}

impl OldTrust {
    /// Both: what is unknown of one of them is unknown.
    pub fn and(self, other: OldTrust) -> OldTrust {
        match (self, other) {
            (OldTrust::Unknown(why), _) | (_, OldTrust::Unknown(why)) => OldTrust::Unknown(why),
            (OldTrust::Nobody, other) | (other, OldTrust::Nobody) => other,
            (OldTrust::Known(one), OldTrust::Known(other)) => OldTrust::Known([one, other].concat()),
        }
    }
}

/// Clients that dockerd admits now must not be refused later.
///
/// # Errors
/// Serving=False DaemonConflict, with the authority that `trusts`, keys of the new bundle, does not hold.
pub fn keeps_old_clients(before: &OldTrust, trusts: &BTreeSet<String>, now: Timestamp) -> Result<(), Verdict> {
    let message = match before {
        OldTrust::Nobody => return Ok(()),
        OldTrust::Unknown(why) => format!(
            "whose clients dockerd accepts until now cannot be found out, and a change might shut them out, so nothing was \
             changed: {why}"
        ),
        OldTrust::Known(before) => match valid_keys(before, now).difference(trusts).next() {
            None => return Ok(()),
            Some(key) => format!(
                "dockerd trusts an authority that the new bundle does not hold (SHA-256 of its key {}): its clients would \
                 be refused. Put its certificate into a Secret and name it in additionalTrust of the DockerCA",
                &key[..16]
            ),
        },
    };
    Err(serving(Reason::DaemonConflict, message))
}
