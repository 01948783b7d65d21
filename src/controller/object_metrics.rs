//! Metrics of objects: they are read from the objects whenever the metrics are asked for, so that an object that is gone
//! leaves no series. Names, fixed words and numbers go out; nothing secret does.

use super::index::Index;
use super::workqueue::WorkQueues;
use crate::adapters::portainer::{BOUNDS, Counts, Durations};
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::EnvironmentReport;
use crate::api::{Kind, Object, ObjectRef};
use crate::reconcile::registration::Registrations;
use crate::reconcile::registration::companions_register;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;
use std::time::Duration;

/// What a leader knows.
#[derive(Clone)]
pub struct LeaderState {
    pub index: Arc<RwLock<Index>>,
    pub registrations: Arc<Registrations>,
    pub queues: WorkQueues,
}

/// Its state while this replica leads.
#[derive(Clone, Default)]
pub(super) struct ObjectCollector(pub Arc<RwLock<Option<LeaderState>>>);

impl std::fmt::Debug for ObjectCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ObjectCollector")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfObject {
    kind: &'static str,
    namespace: Arc<str>,
    name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCondition {
    #[prometheus(flatten)]
    object: OfObject,
    condition: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    #[prometheus(flatten)]
    condition: OfCondition,
    reason: &'static str,
}

/// A host or a PortainerClient, where the metric's name says which.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    namespace: Arc<str>,
    name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHost {
    #[prometheus(flatten)]
    host: Named,
    seen_by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEnvironment {
    #[prometheus(flatten)]
    host: Named,
    portainer_client: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    #[prometheus(flatten)]
    client: Named,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    #[prometheus(flatten)]
    operation: OfOperation,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfQueue {
    queue: &'static str,
    namespace: Arc<str>,
}

/// A PortainerClient with a server, when the server was last listed without a problem, and the requests to it.
struct PortainerMetrics {
    client: Named,
    /// Companions call it, not the controller.
    by_companions: bool,
    seen: Option<Timestamp>,
    counts: Counts,
}

impl Collector for ObjectCollector {
    /// Every metric is described, whether this replica leads or not.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let leader = self.0.read().clone();
        let (objects, portainers) = leader.as_ref().map(read).unwrap_or_default();
        certificates(&mut encoder, &objects)?;
        conditions(&mut encoder, &objects)?;
        hosts(&mut encoder, &objects)?;
        environments(&mut encoder, &objects)?;
        servers(&mut encoder, &portainers)?;
        queues(&mut encoder, leader.as_ref())
    }
}

type ObjectFamilies = BTreeMap<ObjectRef, Arc<Object>>;

/// In a stable order, so that two answers can be compared.
fn read(leader: &LeaderState) -> (ObjectFamilies, Vec<PortainerMetrics>) {
    let index = leader.index.read();
    let objects: ObjectFamilies = index.all().map(|object| (object.at.clone(), Arc::clone(object))).collect();
    drop(index);
    let with_server = objects.values().filter(|object| object.has_server());
    let portainer = |client: &Arc<Object>| {
        let (seen, requests) = leader.registrations.last_success(&client.at).unwrap_or_default();
        let by_companions = companions_register(client);
        PortainerMetrics { client: named(&client.at), by_companions, seen, counts: requests.counts() }
    };
    let portainers = with_server.map(portainer).collect();
    (objects, portainers)
}

fn certificates(encoder: &mut DescriptorEncoder<'_>, objects: &ObjectFamilies) -> Result<(), Error> {
    let all = || objects.values();
    let ends = all().filter_map(|object| Some((of_object(object), not_after(object)?)));
    gauge(encoder, "certificate_not_after_timestamp", "End of the certificate that is stored", ends)?;
    let renewals = all().filter_map(|object| {
        let renew_at = object.previous.renew_at.as_ref()?;
        Some((of_object(object), renew_at.0.as_second()))
    });
    gauge(encoder, "certificate_renew_at_timestamp", "When that certificate is to be renewed", renewals)
}

fn conditions(encoder: &mut DescriptorEncoder<'_>, objects: &ObjectFamilies) -> Result<(), Error> {
    let all = || objects.values().flat_map(|object| reported(object).map(|condition| (of_object(object), condition)));
    let label = |object, type_: ConditionType| OfCondition { object, condition: type_.as_str() };
    let whether = all().map(|(object, (type_, known))| (label(object, type_), i64::from(known.status == "True")));
    gauge(encoder, "condition", "1 where the condition is True, else 0", whether)?;
    let reasons = all().map(|(object, (type_, known))| {
        let reason = Reason::parse(&known.reason).map_or("Unknown", Reason::as_str);
        (OfReason { condition: label(object, type_), reason }, 1)
    });
    gauge(encoder, "condition_reason", "1 for the reason that the condition has now", reasons)
}

/// Each condition once, whichever field manager wrote it.
fn reported(object: &Object) -> impl Iterator<Item = (ConditionType, &Condition)> {
    ConditionType::ALL.into_iter().filter_map(|type_| {
        let mut all = object.previous.conditions.iter().chain(&object.companion.conditions);
        Some((type_, all.find(|condition| condition.type_ == type_.as_str())?))
    })
}

fn hosts(encoder: &mut DescriptorEncoder<'_>, objects: &ObjectFamilies) -> Result<(), Error> {
    let all = || objects.values().filter_map(|object| Some((named(&object.at), served(object, objects)?, object)));
    let help = "1 where dockerd was last seen to serve the certificate that is stored, 0 where another one";
    let matches = all().map(|(host, (seen_by, is_stored), _)| (OfHost { host, seen_by }, i64::from(is_stored)));
    gauge(encoder, "host_served", help, matches)?;
    let help = "End of the certificate that dockerd serves, where that is the one that is stored";
    let ends = all().filter(|(_, (_, is_stored), _)| *is_stored);
    let ends = ends.filter_map(|(host, _, object)| Some((host, not_after(object)?)));
    gauge(encoder, "host_served_not_after_timestamp", help, ends)
}

/// Who last saw what dockerd serves, and whether that is what is stored. The companion sees it first.
fn served(host: &Object, objects: &ObjectFamilies) -> Option<(&'static str, bool)> {
    let stored = host.previous.fingerprint.as_ref();
    if let Some(served) = &host.companion.host.served_fingerprint {
        return Some(("companion", Some(served) == stored));
    }
    let proved: Vec<_> = reports(host, objects).filter_map(|report| report.proved_fingerprint.as_ref()).collect();
    (!proved.is_empty()).then(|| ("registration", proved.into_iter().any(|proved| Some(proved) == stored)))
}

fn environments(encoder: &mut DescriptorEncoder<'_>, objects: &ObjectFamilies) -> Result<(), Error> {
    let mut series = Vec::new();
    for host in objects.values() {
        let mut found: BTreeMap<&str, bool> = BTreeMap::new();
        for report in reports(host, objects) {
            *found.entry(&report.portainer_client).or_default() |= report.is_registered();
        }
        series.extend(found.into_iter().map(|(client, is_registered)| {
            let labels = OfEnvironment { host: named(&host.at), portainer_client: client.to_owned() };
            (labels, i64::from(is_registered))
        }));
    }
    gauge(encoder, "environment_registered", "1 where that Portainer reaches the host, else 0", series)
}

/// The environments that are ours or are to be, of PortainerClients that are there; not what else a status reports.
fn reports<'a>(host: &'a Object, objects: &'a ObjectFamilies) -> impl Iterator<Item = &'a EnvironmentReport> {
    host.environments().filter(|report| {
        let client = host.at.named(Kind::PortainerClient, &report.portainer_client);
        report.reason != Reason::Deregistered.as_str() && client.is_some_and(|client| objects.contains_key(&client))
    })
}

fn servers(encoder: &mut DescriptorEncoder<'_>, portainers: &[PortainerMetrics]) -> Result<(), Error> {
    let own = portainers.iter().filter(|known| !known.by_companions);
    let seen = own.map(|known| (known.client.clone(), known.seen.map_or(0, Timestamp::as_second)));
    let help = "When a look at the server last found nothing wrong; 0 where none has since this replica leads";
    gauge(encoder, "portainer_last_look_timestamp", help, seen)?;
    let mut metric =
        encoder.encode_descriptor("portainer_requests", "Requests to the server", None, MetricType::Counter)?;
    for known in portainers {
        for ((operation, outcome), count) in &known.counts.requests {
            let operation = OfOperation { client: known.client.clone(), operation: operation.as_str() };
            let labels = OfRequest { operation, outcome: outcome.as_str() };
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
        }
    }
    let help = "Time from the question to the whole answer, or to the end of patience";
    let (name, unit) = ("portainer_request_duration", Some(&Unit::Seconds));
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    for known in portainers {
        for (operation, Durations { counts, sum }) in &known.counts.durations {
            let labels = OfOperation { client: known.client.clone(), operation: operation.as_str() };
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
            let (sum, count) = (sum.as_secs_f64(), counts.iter().sum());
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
    }
    Ok(())
}

/// A namespace of which nothing waits has no series.
fn queues(encoder: &mut DescriptorEncoder<'_>, leader: Option<&LeaderState>) -> Result<(), Error> {
    let oldest = leader.map(|leader| leader.queues.oldest()).unwrap_or_default();
    let ages = oldest.into_iter().flat_map(|(queue, ages)| {
        let series = move |(namespace, age): (_, Duration)| (OfQueue { queue, namespace }, age.as_secs() as i64);
        ages.into_iter().map(series)
    });
    gauge(encoder, "oldest_waiting_age", "How long the object has been waiting that waits longest", ages)
}

/// A gauge with all its series; instants are in seconds since 1970.
fn gauge<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (L, i64)>,
) -> Result<(), Error> {
    let unit = (name.ends_with("timestamp") || name.ends_with("age")).then_some(Unit::Seconds);
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
    for (labels, value) in series {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn of_object(object: &Object) -> OfObject {
    let at = &object.at;
    let Named { namespace, name } = named(at);
    OfObject { kind: at.kind.as_str(), namespace, name }
}

fn named(at: &ObjectRef) -> Named {
    Named { namespace: Arc::clone(at.namespace.shared()), name: Arc::clone(at.name.shared()) }
}

fn not_after(object: &Object) -> Option<i64> {
    object.previous.not_after.as_ref().map(|time| time.0.as_second())
}
