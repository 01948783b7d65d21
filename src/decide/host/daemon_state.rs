//! What the step on a host remembers between two runs: what was taken back, who consented, how often others meddled.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// As long as drifts are counted.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// So many drifts in a day are one too many.
const TOO_OFTEN: usize = 3;

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Files are written; dockerd is what it was.
    Writing,
    /// dockerd is being restarted to close a door.
    Closing,
    /// dockerd is being restarted and proved.
    Restarting,
    /// All is taken back.
    RollingBack,
}

/// A change that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Digest of what was tried.
    pub digest: String,
    /// Generation of files that was tried.
    pub files: Option<u64>,
    /// Why it was taken back.
    pub message: String,
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonState {
    /// dockerd was brought to serve for this object, `Kind/namespace/name`.
    pub configured: Option<String>,
    /// [`super::step_request::Order::spec`] then.
    pub spec: String,
    /// When others undid what keeps the listener closed to strangers.
    pub drifts: Vec<Timestamp>,
    /// What is not tried again.
    pub rejected: Option<Rejected>,
    /// The consent that has been used.
    pub consent: Option<String>,
    /// The listener was taken out, since others undid it too often.
    #[serde(rename = "out")]
    pub listener_removed: bool,
}

impl DaemonState {
    /// A consent that was not used yet.
    pub fn is_new_consent(&self, consent: Option<&str>) -> bool {
        consent.is_some() && consent != self.consent.as_deref()
    }

    /// Notes a drift; true where it is one too many.
    pub fn record_drift(&mut self, now: Timestamp) -> bool {
        self.drifts.retain(|drift| now.duration_since(*drift) < DAY && *drift <= now);
        self.drifts.push(now);
        self.drifts.len() >= TOO_OFTEN
    }

    /// A new spec or a user's consent ends what was held against the old one; true where there is one.
    pub fn forget_if_new(&mut self, spec: &str, consent: Option<&str>) -> bool {
        let news = self.spec != spec || self.is_new_consent(consent);
        if news {
            *self = DaemonState {
                configured: self.configured.take(),
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
