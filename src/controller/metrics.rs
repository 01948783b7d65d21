//! Metrics: reconciles are counted as they end, and objects are read when the metrics are asked for. Names, fixed words
//! and numbers go out; nothing secret does.

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

/// Label `kind` of the reconciles of companions' accounts.
pub const ACCOUNT: &str = "CompanionAccount";
const OUTCOMES: [&str; 4] = [OK, GONE, CONFLICT, FAILED];
const OK: &str = "ok";
const GONE: &str = "gone";
const CONFLICT: &str = "conflict";
const FAILED: &str = "failed";
/// In seconds.
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

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<OfKind, Histogram>,
    issuances: Family<Issuance, Counter>,
    leader: Gauge,
    collector: ObjectCollector,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let mut registry = Registry::with_prefix("dockseal");
        let (reconciles, issuances, leader, collector) = Default::default();
        let metrics = Metrics { reconciles, durations, issuances, leader, collector, registry: Registry::default() };
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
        registry.register_collector(Box::new(metrics.collector.clone()));
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// What this replica knows; none while it does not lead.
    pub fn set_leader_state(&self, state: Option<LeaderState>) {
        self.leader.set(i64::from(state.is_some()));
        *self.collector.0.write() = state;
    }

    /// Counts a reconcile; with its result comes why a certificate was issued, if one was.
    pub fn reconciled(&self, kind: &'static str, result: Result<Option<Reason>, &StoreError>, took: Duration) {
        let outcome = match result {
            Ok(_) => OK,
            Err(StoreError::Gone(_)) => GONE,
            Err(StoreError::Changed(_) | StoreError::Exists(_)) => CONFLICT,
            Err(StoreError::Failed { .. } | StoreError::ClockBehind(_)) => FAILED,
        };
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).inc();
        self.durations.get_or_create(&OfKind { kind }).observe(took.as_secs_f64());
        if let Ok(Some(reason)) = result {
            self.issuances.get_or_create(&Issuance { kind, reason: reason.as_str() }).inc();
        }
    }

    /// All metrics, as OpenMetrics text.
    pub fn exposition(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string does not fail");
        out
    }
}
