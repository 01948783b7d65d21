//! Where objects stand, as programs read it: `status -o json`. Fields are only ever added; docs/schema/status.json has
//! them. It prints nothing.

use crate::api::condition::ConditionType;
use crate::api::docker_host_cert::Mode;
use crate::api::status::EnvironmentReport;
use crate::api::{GROUP, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

/// Whoever has not been renewed so shortly before the end is in danger.
pub const DANGER: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A renewal that is due is done within a moment, and no alarm until then.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

/// The reason of an object that was not processed yet, or not since its latest change.
const NOT_SEEN: &str = "NotSeen";
/// The reason of an object that is going.
const DELETING: &str = "Deleting";
/// Reasons that no condition has.
pub const WORDS: [&str; 2] = [NOT_SEEN, DELETING];

/// Which program reconciles the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcilerKind {
    /// The controller of a cluster.
    Controller,
    /// `dockseal up`.
    Up,
}

/// Where objects of Dockseal stand.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "dockseal status -o json")]
pub struct StatusReport {
    /// Version of this document: fields are added to it, and none is taken away or changes its meaning.
    #[schemars(extend("const" = "v1"))]
    pub version: String,
    /// How many objects are Ready.
    pub ready: usize,
    /// How many objects there are.
    pub total: usize,
    /// Hosts, authorities, clients and PortainerClients, each by namespace and name.
    pub objects: Vec<ObjectReport>,
}

/// Where one object stands.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport {
    /// DockerHostCert, DockerCA, DockerClientCert or PortainerClient.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// All that was asked for is there, and that of its latest change.
    pub ready: bool,
    /// A sound certificate is stored.
    pub issued: Mark,
    /// It is on the host.
    pub delivered: Mark,
    /// dockerd uses it.
    pub served: Mark,
    /// Portainer reaches the host, or each host that the PortainerClient selects.
    pub registered: Mark,
    /// Why it is not as it should be: a stable word. Absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What that means, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// End of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Whole days until then; below 0 after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    /// When it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Time>,
    /// It ends within 30 days, or has ended, and the renewal that was due has not come.
    pub overdue: bool,
    /// Name of the Secret that holds certificate and key.
    pub secret_name: String,
    /// SHA-256 in hex: of an authority's public key, of another's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Serial number of the certificate, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Of a PortainerClient with a server: how many hosts it selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_hosts: Option<i64>,
    /// Of a PortainerClient with a server: how many of them are registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_hosts: Option<i64>,
    /// Of a host: its environments in Portainer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentMark>,
}

/// One step of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Mark {
    /// Taken.
    Yes,
    /// Not taken, or not yet.
    No,
    /// Nobody asked for it.
    NotWanted,
}

/// A host's environment in one Portainer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentMark {
    /// Name of the PortainerClient.
    pub portainer_client: String,
    /// Portainer reaches the host.
    pub registered: bool,
    /// Number that Portainer gave the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// Registered, or why not: a stable word.
    pub reason: String,
    /// What that means, and what to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The JSON Schema of a [`StatusReport`].
pub fn schema() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<StatusReport>();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

impl StatusReport {
    /// Where those objects stand at that instant.
    pub fn of(objects: &[Object], reconciler: ReconcilerKind, now: Timestamp) -> StatusReport {
        let objects: Vec<ObjectReport> =
            objects.iter().map(|object| ObjectReport::of(object, reconciler, now)).collect();
        let ready = objects.iter().filter(|object| object.ready).count();
        StatusReport { version: "v1".into(), ready, total: objects.len(), objects }
    }
}

impl ObjectReport {
    fn of(object: &Object, reconciler: ReconcilerKind, now: Timestamp) -> ObjectReport {
        let fault = fault(object, reconciler);
        let status = &object.previous;
        let end = status.not_after.clone();
        ObjectReport {
            kind: object.at.kind.to_string(),
            namespace: object.at.namespace.to_string(),
            name: object.at.name.to_string(),
            ready: is_ready(object),
            issued: mark(object, ConditionType::Issued, true),
            delivered: mark(object, ConditionType::Delivered, object.account().is_some()),
            served: mark(object, ConditionType::Serving, serving_is_wanted(object)),
            registered: mark(object, ConditionType::Registered, object.has_server()),
            reason: fault.as_ref().map(|fault| fault.0.clone()),
            message: fault.map(|fault| fault.1),
            overdue: end.as_ref().is_some_and(|end| is_overdue(end.0, status.renew_at.as_ref().map(|at| at.0), now)),
            days_left: end.as_ref().map(|end| now.duration_until(end.0).as_secs().div_euclid(86_400)),
            expires: end,
            renew_at: status.renew_at.clone(),
            secret_name: object.secret_name().to_string(),
            fingerprint: status.fingerprint.clone(),
            serial: status.serial.clone(),
            selected_hosts: status.server.selected,
            registered_hosts: status.server.registered,
            environments: object.environments().map(environment).collect(),
        }
    }

    /// `dockerhostcert.dockseal.dev/pandora`, which kubectl and every verb here take.
    pub fn kubectl_name(&self) -> String {
        format!("{}.{GROUP}/{}", self.kind.to_lowercase(), self.name)
    }
}

fn environment(report: &EnvironmentReport) -> EnvironmentMark {
    EnvironmentMark {
        portainer_client: report.portainer_client.clone(),
        registered: report.is_registered(),
        id: report.id,
        reason: report.reason.clone(),
        message: report.message.clone(),
    }
}

fn condition(object: &Object, type_: ConditionType) -> Option<&Condition> {
    let published = object.previous.conditions.iter().find(|condition| condition.type_ == type_.as_str());
    published.or_else(|| object.companion.condition(type_))
}

/// What was said of an older spec says nothing of this one.
fn is_stale(object: &Object, condition: &Condition) -> bool {
    condition.observed_generation.is_some_and(|seen| seen < object.generation)
}

fn is_ready(object: &Object) -> bool {
    let ready = condition(object, ConditionType::Ready);
    object.deleted.is_none() && ready.is_some_and(|ready| ready.status == "True" && !is_stale(object, ready))
}

fn mark(object: &Object, type_: ConditionType, wanted: bool) -> Mark {
    match condition(object, type_) {
        Some(condition) if condition.status == "True" => Mark::Yes,
        Some(_) => Mark::No,
        None if wanted => Mark::No,
        None => Mark::NotWanted,
    }
}

fn serving_is_wanted(object: &Object) -> bool {
    object.account().is_some() && object.delivery().is_some_and(|delivery| delivery.mode == Mode::Daemon)
}

/// Reason and message of what is wrong: that of Ready, else of another condition that does not count in it, like
/// Serving where the user restarts dockerd.
fn fault(object: &Object, reconciler: ReconcilerKind) -> Option<(String, String)> {
    if object.deleted.is_some() {
        let message = "it is being deleted, and what its policies say goes before it".to_owned();
        return Some((DELETING.into(), pending(object).unwrap_or(message)));
    }
    let Some(ready) = condition(object, ConditionType::Ready) else {
        return Some((NOT_SEEN.into(), unseen(reconciler, "it")));
    };
    if is_stale(object, ready) {
        return Some((NOT_SEEN.into(), unseen(reconciler, "its latest change")));
    }
    let others = [ConditionType::Issued, ConditionType::Delivered, ConditionType::Serving, ConditionType::Registered];
    let all = [Some(ready)].into_iter().chain(others.map(|type_| condition(object, type_)));
    let failed = all.flatten().find(|condition| condition.status != "True" && !is_stale(object, condition))?;
    Some((failed.reason.clone(), failed.message.clone()))
}

/// What an object that goes waits for.
fn pending(object: &Object) -> Option<String> {
    let ready = condition(object, ConditionType::Ready).filter(|ready| ready.status != "True")?;
    Some(ready.message.clone())
}

fn unseen(reconciler: ReconcilerKind, what: &str) -> String {
    match reconciler {
        ReconcilerKind::Controller => format!(
            "the controller has not processed {what} yet: does it run, and does it serve this namespace? kubectl get \
             pods -A -l app.kubernetes.io/name=dockseal"
        ),
        ReconcilerKind::Up => format!("`dockseal up` has not processed {what} yet: is it running?"),
    }
}

fn is_overdue(end: Timestamp, renew_at: Option<Timestamp>, now: Timestamp) -> bool {
    let due = renew_at.is_none_or(|at| at.duration_until(now) > GRACE);
    now >= end || (now.duration_until(end) <= DANGER && due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A host whose conditions have those statuses, all seen at generation 2.
    fn host(generation: i64, conditions: &[(&str, &str)]) -> ObjectReport {
        let condition = |(type_, status): &(&str, &str)| {
            json!({
                "type": type_, "status": status, "reason": format!("{type_}{status}"), "message": "words",
                "observedGeneration": 2, "lastTransitionTime": "2026-11-22T00:00:00Z"
            })
        };
        let conditions: Vec<Value> = conditions.iter().map(condition).collect();
        let object = Object::from_manifest(json!({
            "apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerHostCert",
            "metadata": {"name": "pandora", "namespace": "home", "generation": generation},
            "spec": {"caRef": {"name": "homelab"}, "delivery": {"target": "Node", "nodeName": "pandora", "mode": "Daemon"}},
            "status": {"conditions": conditions}
        }));
        let now = "2026-11-22T00:00:00Z".parse().expect("an instant");
        ObjectReport::of(&object.expect("it is one"), ReconcilerKind::Controller, now)
    }

    #[test]
    fn what_is_wrong_is_that_of_ready_else_of_another_condition() {
        let good = [("Issued", "True"), ("Delivered", "True"), ("Serving", "True"), ("Ready", "True")];
        let told = |generation, conditions: &[(&str, &str)]| {
            let report = host(generation, conditions);
            (report.ready, report.reason.unwrap_or_default(), [report.issued, report.delivered, report.served])
        };
        assert_eq!(told(2, &good), (true, String::new(), [Mark::Yes; 3]));
        assert_eq!(told(3, &good), (false, "NotSeen".into(), [Mark::Yes; 3]), "what was said is of an older spec");
        assert_eq!(told(2, &[]), (false, "NotSeen".into(), [Mark::No; 3]), "a delivery is wanted");
        let mut restart = good;
        restart[2].1 = "False";
        assert_eq!(told(2, &restart), (true, "ServingFalse".into(), [Mark::Yes, Mark::Yes, Mark::No]));
        restart[3].1 = "False";
        assert_eq!(told(2, &restart).1, "ReadyFalse");
    }

    #[test]
    fn overdue_is_who_ends_soon_and_was_due() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().expect("an instant");
        let days = |days: i64| now + SignedDuration::from_hours(24 * days);
        for (end, renew_at, expected) in [
            (days(243), Some(days(121)), false),
            (days(31), Some(days(-60)), false),
            (days(30), Some(days(-60)), true),
            (days(12), None, true),
            (days(12), Some(days(2)), false),
            (days(1), Some(now - SignedDuration::from_mins(5)), false),
            (days(1), Some(now - SignedDuration::from_mins(11)), true),
            (now, Some(days(1)), true),
            (days(-3), Some(days(-90)), true),
        ] {
            assert_eq!(is_overdue(end, renew_at, now), expected, "{end} {renew_at:?}");
        }
    }
}
