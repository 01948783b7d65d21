//! Metrics: counters of walks, and what every object says of itself, read when asked. No object, no series.

use super::index::Index;
use crate::api::Object;
use crate::api::condition::Reason;
use crate::world::StoreError;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::{Arc, RwLock};
use std::time::Duration;

const UNPOISONED: &str = "nothing panics while it holds this lock";

/// Seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    kind: &'static str,
    namespace: Arc<str>,
    name: Arc<str>,
}

/// What is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    durations: Family<OfKind, Histogram>,
    issuances: Family<Issuance, Counter>,
    leader: Gauge,
    led: Led,
}

/// The objects of the cluster that is led, if any.
#[derive(Clone, Default)]
struct Led(Arc<RwLock<Option<Arc<RwLock<Index>>>>>);

impl std::fmt::Debug for Led {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Led")
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let mut registry = Registry::with_prefix("dockseal");
        let (reconciles, issuances, leader, led) = Default::default();
        let metrics = Metrics { reconciles, durations, issuances, leader, led, registry: Registry::default() };
        registry.register("reconciles", "Objects looked at", metrics.reconciles.clone());
        let help = "Time that a look took, slow keys included";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, metrics.durations.clone());
        registry.register("issuances", "Certificates made", metrics.issuances.clone());
        registry.register("leader", "1 where this replica leads", metrics.leader.clone());
        registry.register_collector(Box::new(metrics.led.clone()));
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// Notes which objects are led, if any.
    pub fn lead(&self, index: Option<Arc<RwLock<Index>>>) {
        self.leader.set(i64::from(index.is_some()));
        *self.led.0.write().expect(UNPOISONED) = index;
    }

    /// Notes a walk of an object of that kind, or of an account; a good one with why a certificate was made.
    pub fn walked(&self, kind: &'static str, walked: Result<Option<Reason>, &StoreError>, took: Duration) {
        let outcome = match walked {
            Ok(_) => "ok",
            Err(StoreError::Gone(_)) => "gone",
            Err(StoreError::Changed(_) | StoreError::Exists(_)) => "conflict",
            Err(StoreError::Failed { .. } | StoreError::ClockBehind(_)) => "failed",
        };
        self.reconciles.get_or_create(&Outcome { kind, outcome }).inc();
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

/// A figure of an object, where it has one.
type Figure = fn(&Object) -> Option<i64>;

impl Collector for Led {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(index) = self.0.read().expect(UNPOISONED).clone() else { return Ok(()) };
        let objects: Vec<Arc<Object>> = index.read().expect(UNPOISONED).all().cloned().collect();
        let gauges: [(&str, &str, Figure); 3] = [
            ("certificate_not_after_timestamp", "End of the certificate", not_after),
            ("certificate_renew_at_timestamp", "When the certificate is renewed", renew_at),
            ("ready", "1 where the object is Ready", ready),
        ];
        for (name, help, value) in gauges {
            let unit = name.ends_with("timestamp").then_some(Unit::Seconds);
            let mut metric =
                encoder.encode_descriptor(name, help, unit.as_ref(), ConstGauge::new(0i64).metric_type())?;
            for object in &objects {
                if let Some(value) = value(object) {
                    ConstGauge::new(value).encode(metric.encode_family(&named(object))?)?;
                }
            }
        }
        Ok(())
    }
}

fn named(object: &Object) -> Named {
    let at = &object.at;
    Named { kind: at.kind.as_str(), namespace: at.namespace.clone(), name: at.name.clone() }
}

fn not_after(object: &Object) -> Option<i64> {
    object.previous.not_after.as_ref().map(|time| time.0.as_second())
}

fn renew_at(object: &Object) -> Option<i64> {
    object.previous.renew_at.as_ref().map(|time| time.0.as_second())
}

fn ready(object: &Object) -> Option<i64> {
    let ready = object.previous.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some(i64::from(ready.status == "True"))
}
