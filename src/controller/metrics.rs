//! Metrics: counters of walks, and beside them what objects say of themselves. Never anything secret.

pub use super::object_metrics::LeaderState;

use super::object_metrics::ObjectCollector;
use crate::adapters::StoreError;
use crate::api::Kind;
use crate::api::condition::Reason;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// What walks of companions' accounts are called.
pub const ACCOUNT: &str = "CompanionAccount";
const OUTCOMES: [&str; 4] = [OK, GONE, CONFLICT, FAILED];
const OK: &str = "ok";
const GONE: &str = "gone";
const CONFLICT: &str = "conflict";
const FAILED: &str = "failed";
/// Seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Issuance {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

/// What is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<OfKind, Histogram>,
    issuances: Family<Issuance, Counter>,
    leader: Gauge,
    figures: ObjectCollector,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let mut registry = Registry::with_prefix("dockseal");
        let (reconciles, issuances, leader, figures) = Default::default();
        let metrics = Metrics { reconciles, durations, issuances, leader, figures, registry: Registry::default() };
        // From 0 on, since no increase is seen of what begins with 1.
        let kinds = Kind::ALL.map(Kind::as_str).into_iter().chain([ACCOUNT]);
        for (kind, outcome) in kinds.flat_map(|kind| OUTCOMES.map(|outcome| (kind, outcome))) {
            drop(metrics.reconciles.get_or_create(&ReconcileLabels { kind, outcome }));
        }
        registry.register("reconciles", "Objects looked at", metrics.reconciles.clone());
        let help = "Time that a look took, slow keys included";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, metrics.durations.clone());
        registry.register("issuances", "Certificates made", metrics.issuances.clone());
        registry.register("leader", "1 where this replica leads", metrics.leader.clone());
        registry.register_collector(Box::new(metrics.figures.clone()));
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// Notes which cluster is led, if any.
    pub fn lead(&self, led: Option<LeaderState>) {
        self.leader.set(i64::from(led.is_some()));
        *self.figures.0.write() = led;
    }

    /// Notes a walk of an object of that kind, or of an account; a good one with why a certificate was made.
    pub fn walked(&self, kind: &'static str, walked: Result<Option<Reason>, &StoreError>, took: Duration) {
        let outcome = match walked {
            Ok(_) => OK,
            Err(StoreError::Gone(_)) => GONE,
            Err(StoreError::Changed(_) | StoreError::Exists(_)) => CONFLICT,
            Err(StoreError::Failed { .. } | StoreError::ClockBehind(_)) => FAILED,
        };
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).inc();
        self.durations.get_or_create(&OfKind { kind }).observe(took.as_secs_f64());
        if let Ok(Some(reason)) = walked {
            self.issuances.get_or_create(&Issuance { kind, reason: reason.as_str() }).inc();
        }
    }

    /// Everything, as OpenMetrics text.
    pub fn exposition(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string does not fail");
        out
    }
}
