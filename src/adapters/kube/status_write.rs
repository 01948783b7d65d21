//! The controller's part of a status, written at exactly the version that was seen: an object, its status as it was
//! seen, and the new one in; one request out, and after a conflict a read and another. What a companion reported meanwhile
//! is never lost: a write at an older version is refused by the API server.
//!
//! An update costs the API server less than a server-side apply (docs/decisions/0019). It replaces the whole status, so
//! it is for objects of which no companion reported anything; else a merge patch leaves the companion's fields alone.

use super::request::{FIELD_MANAGER, failure_of, patch_as, post, resource, within};
use crate::adapters::StoreError;
use crate::api::schema::fit_status;
use crate::api::status::{CompanionStatus, ControllerStatus, HostCertStatus};
use crate::api::{Kind, Object};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// How often it is tried on an object that changes meanwhile.
const MAX_TRIES: usize = 3;
const PUBLISH: &str = "publish the status of";

/// A status at a version of its object.
struct SeenStatus<'a> {
    version: Cow<'a, str>,
    controller: Cow<'a, ControllerStatus>,
    companion: Cow<'a, CompanionStatus>,
}

/// Publishes the controller's part.
///
/// # Errors
/// [`StoreError::Gone`] where the object is gone, or another has its name; else what the API server says.
pub(super) async fn publish(client: Client, object: &Object, status: &ControllerStatus) -> Result<(), StoreError> {
    let resource = resource(object.at.kind);
    let api = Api::namespaced_with(client, &object.at.namespace, &resource);
    let mut seen = SeenStatus {
        version: Cow::Borrowed(&object.version),
        controller: Cow::Borrowed(&object.previous),
        companion: Cow::Borrowed(&object.companion),
    };
    for _ in 0..MAX_TRIES {
        match write(&api, &resource, object, &seen, status).await {
            Err(kube::Error::Api(refusal)) if refusal.is_conflict() => seen = read(&api, object).await?,
            written => return written.map_err(|error| failure_of(object, PUBLISH, error)),
        }
    }
    Err(StoreError::Changed(object.at.beside(&object.at.name)))
}

async fn write(
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    object: &Object,
    seen: &SeenStatus<'_>,
    status: &ControllerStatus,
) -> kube::Result<()> {
    let name = &object.at.name;
    let mut body = DynamicObject::new(name, resource);
    body.metadata.namespace = Some(object.at.namespace.to_string());
    body.metadata.uid = Some(object.uid.clone());
    body.metadata.resource_version = Some(seen.version.to_string());
    if *seen.companion == CompanionStatus::default() {
        body.data = json!({ "status": fitted(object.at.kind, json!(status)) });
        return within(api.replace_status(name, &post(), &body)).await.map(drop);
    }
    body.data = json!({ "status": fitted(object.at.kind, merge_patch(seen, status)) });
    let how = patch_as(FIELD_MANAGER);
    within(api.patch_status(name, &how, &Patch::Merge(&body))).await.map(drop)
}

/// Within the bounds of the schema: one that is over them would be refused whole.
fn fitted(kind: Kind, mut status: Value) -> Value {
    fit_status(kind, &mut status);
    status
}

/// Null takes a field away. The companion's report of the host is not named, so it stays; lists are replaced whole.
fn merge_patch(seen: &SeenStatus<'_>, status: &ControllerStatus) -> Value {
    let fields = |status: &ControllerStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let mut patch = fields(&seen.controller);
    patch.values_mut().for_each(|value| *value = Value::Null);
    patch.extend(fields(status));
    let (conditions, environments) = lists(status, &seen.companion);
    patch.insert("conditions".into(), conditions);
    patch.insert("environments".into(), environments);
    Value::Object(patch)
}

/// The conditions and environments of a status, whole, for a merge; null, which takes the field away, where it has no
/// environment.
pub(super) fn lists(controller: &ControllerStatus, companion: &CompanionStatus) -> (Value, Value) {
    let conditions: Vec<_> = controller.conditions.iter().chain(&companion.conditions).collect();
    let environments: Vec<_> = controller.environments.iter().chain(&companion.environments).collect();
    (json!(conditions), json!((!environments.is_empty()).then_some(environments)))
}

/// What cannot be read is not taken for empty: it would be lost.
async fn read(api: &Api<DynamicObject>, object: &Object) -> Result<SeenStatus<'static>, StoreError> {
    let live = within(api.get_status(&object.at.name)).await.map_err(|error| failure_of(object, PUBLISH, error))?;
    if live.metadata.uid.as_deref() != Some(&*object.uid) {
        return Err(StoreError::Gone(object.at.clone()));
    }
    let status = live.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let parts = match object.at.kind {
        Kind::DockerHostCert => serde_json::from_value(status).map(HostCertStatus::split),
        _ => serde_json::from_value(status).map(|controller| (controller, CompanionStatus::default())),
    };
    let (controller, companion) = parts.map_err(|error| failure_of(object, PUBLISH, kube::Error::SerdeError(error)))?;
    Ok(SeenStatus {
        version: Cow::Owned(live.metadata.resource_version.unwrap_or_default()),
        controller: Cow::Owned(controller),
        companion: Cow::Owned(companion),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: Value) -> ControllerStatus {
        serde_json::from_value(text).expect("a status")
    }

    #[test]
    fn a_merge_takes_away_what_is_no_longer_so_and_leaves_the_companions_part() {
        let condition = |type_: &str| {
            json!({
                "type": type_, "status": "True", "reason": type_, "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"
            })
        };
        let seen = SeenStatus {
            version: "7".into(),
            controller: Cow::Owned(part(
                json!({ "conditions": [condition("Registered")], "serial": "40", "renewAt": "2027-11-22T10:00:00Z" }),
            )),
            companion: Cow::Owned(
                serde_json::from_value(
                    json!({ "conditions": [condition("Serving")], "host": { "servedFingerprint": "ab" } }),
                )
                .expect("a report"),
            ),
        };
        let patch = merge_patch(&seen, &part(json!({ "conditions": [condition("Ready")], "serial": "41" })));
        assert_eq!(
            patch,
            json!({
                "conditions": [condition("Ready"), condition("Serving")],
                "serial": "41", "renewAt": null, "environments": null
            })
        );
    }
}
