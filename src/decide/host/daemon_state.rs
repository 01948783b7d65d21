//! The state that the step on a host keeps between two runs: the change that was rolled back, the consent that was used,
//! and how often others undid the configuration. It is stored as JSON: names on disk stay.

use crate::api::marker::Taken;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a drift is counted.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// The drift in a day at which the listener is removed.
const MAX_DRIFTS: usize = 3;

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Files are written; dockerd is not restarted yet.
    Writing,
    /// dockerd is restarted to close a port.
    Closing,
    /// dockerd is restarted, and what it serves is checked.
    Restarting,
    /// The change is rolled back.
    RollingBack,
}

/// A change that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Digest of the files of the change.
    pub digest: String,
    /// The generation of certificate files of the change.
    pub files: Option<u64>,
    /// Why it was rolled back.
    pub message: String,
}

/// The stored state of a host's dockerd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonState {
    /// The object that dockerd was configured for, `Kind/namespace/name`.
    pub configured: Option<String>,
    /// [`super::step_request::StepRequest::spec`] at that time.
    pub spec: String,
    /// When others undid what demands client certificates.
    pub drifts: Vec<Timestamp>,
    /// The change that is not tried again.
    pub rejected: Option<Rejected>,
    /// The consent to a restart that has been used.
    pub consent: Option<String>,
    /// The listener was removed, since others undid the configuration too often.
    #[serde(rename = "out")]
    pub listener_removed: bool,
    /// The cluster or state directory that it was configured by; none from a version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// Configurations of others that were replaced because a user asked for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Taken>,
}

impl DaemonState {
    /// Whether `consent` was not used yet.
    pub fn is_new_consent(&self, consent: Option<&str>) -> bool {
        consent.is_some() && consent != self.consent.as_deref()
    }

    /// Counts a drift; true where it is the last that is allowed in a day.
    pub fn record_drift(&mut self, now: Timestamp) -> bool {
        self.drifts.retain(|drift| now.duration_since(*drift) < DAY && *drift <= now);
        self.drifts.push(now);
        self.drifts.len() >= MAX_DRIFTS
    }

    /// Forgets drifts and the rejected change at a new spec or a new consent; true where there is one.
    pub fn forget_if_new(&mut self, spec: &str, consent: Option<&str>) -> bool {
        let news = self.spec != spec || self.is_new_consent(consent);
        if news {
            *self = DaemonState {
                configured: self.configured.take(),
                writer: self.writer.take(),
                taken: std::mem::take(&mut self.taken),
                spec: spec.to_owned(),
                consent: self.consent.take(),
                ..DaemonState::default()
            };
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_drift_of_a_day_is_one_too_many_until_somebody_says_otherwise() {
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
        let mut state = DaemonState { spec: "1".into(), ..DaemonState::default() };
        let told: Vec<bool> = [0, 1, 30, 31, 32].into_iter().map(|hour| state.record_drift(at(hour))).collect();
        assert_eq!(told, [false, false, false, false, true]);
        state.listener_removed = true;
        state.forget_if_new("1", None);
        assert!(state.listener_removed);
        state.forget_if_new("1", Some("2026-11-22T00:00:00Z"));
        assert!(!state.listener_removed && state.drifts.is_empty());
    }
}
