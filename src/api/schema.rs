//! The bounds of the schemas, for objects that came in before the API server held them: a document comes in, the field
//! that is over its bound goes out, and a status is cut to its own.

use super::object::FieldFault;
use super::{Kind, definitions};
use crate::text::{MAX_MESSAGE, clean};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Labels of an object that are kept for selectors.
const MAX_LABELS: usize = 128;
/// Finalizers of an object.
const MAX_FINALIZERS: usize = 32;

/// The schema of each kind, in the order of [`Kind::ALL`].
static SCHEMAS: LazyLock<[Value; 4]> = LazyLock::new(|| {
    let definitions = definitions();
    Kind::ALL.map(|kind| {
        let definition =
            definitions.iter().map(|(_, found)| found).find(|found| found.spec.names.kind == kind.as_str());
        let schema = serde_json::to_value(definition.expect("every kind is defined")).expect("a definition is JSON");
        schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone()
    })
});

fn schema(kind: Kind) -> &'static Value {
    let index = Kind::ALL.iter().position(|known| *known == kind).expect("it is one of them");
    &SCHEMAS[index]
}

/// The first field of an object's metadata or spec that is over its bound.
pub fn over_bound(kind: Kind, document: &Value) -> Option<FieldFault> {
    let metadata = &document["metadata"];
    let lists = [("labels", MAX_LABELS), ("finalizers", MAX_FINALIZERS)];
    let metadata = lists.into_iter().find_map(|(name, most)| {
        let count = metadata[name].as_object().map(|map| map.len()).or(metadata[name].as_array().map(Vec::len));
        over(&format!("metadata.{name}"), count.unwrap_or_default(), most as u64, "entries")
    });
    metadata.or_else(|| spec_over_bound(&schema(kind)["spec"], &document["spec"], "spec"))
}

fn spec_over_bound(schema: &Value, value: &Value, path: &str) -> Option<FieldFault> {
    let bound = |name: &str| schema[name].as_u64().unwrap_or(u64::MAX);
    match value {
        Value::String(text) => over(path, text.chars().count(), bound("maxLength"), "characters"),
        Value::Array(items) => over(path, items.len(), bound("maxItems"), "entries").or_else(|| {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| spec_over_bound(&schema["items"], item, &format!("{path}[{index}]")))
        }),
        Value::Object(fields) => over(path, fields.len(), bound("maxProperties"), "entries").or_else(|| {
            let below = |name: &str| schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            fields.iter().find_map(|(name, value)| {
                over(path, name.len(), MAX_KEY, "bytes in a key")
                    .or_else(|| spec_over_bound(below(name), value, &format!("{path}.{name}")))
            })
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Bytes of the longest key of a map: a label's, with its prefix.
const MAX_KEY: u64 = 317;

fn over(path: &str, count: usize, most: u64, what: &str) -> Option<FieldFault> {
    let message = || format!("too big: it has {count} {what}, and at most {most} are allowed");
    (count as u64 > most).then(|| FieldFault { field: path.to_owned(), message: message(), of_other_version: false })
}

/// Cuts a status to the bounds of its schema, and cleans its texts.
pub fn fit_status(kind: Kind, status: &mut Value) {
    fit(&schema(kind)["status"], status);
}

fn fit(schema: &Value, value: &mut Value) {
    let bound = |name: &str| schema[name].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    match value {
        Value::String(text) => {
            let most = bound("maxLength").min(MAX_MESSAGE);
            if let Cow::Owned(cleaned) = clean(text, most) {
                *text = cleaned;
            }
        }
        Value::Array(items) => {
            items.truncate(bound("maxItems"));
            items.iter_mut().for_each(|item| fit(&schema["items"], item));
        }
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, value)| fit(&schema["properties"][name.as_str()], value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_over_a_bound_is_named_and_what_is_at_it_is_taken() {
        let selector = |count: usize| {
            let labels: serde_json::Map<String, Value> = (0..count).map(|n| (format!("l{n}"), json!("x"))).collect();
            json!({"spec": {"caRef": {"name": "a"}, "hostSelector": {"matchLabels": labels}}})
        };
        let expression = |values: usize, length: usize| {
            let values = vec!["v".repeat(length); values];
            json!({"spec": {"hostSelector": {"matchExpressions": [{"key": "k", "operator": "In", "values": values}]}}})
        };
        let labels = |count: usize| {
            let labels: serde_json::Map<String, Value> = (0..count).map(|n| (format!("l{n}"), json!("x"))).collect();
            json!({"metadata": {"labels": labels}, "spec": {}})
        };
        for (document, field) in [
            (selector(64), None),
            (selector(65), Some("spec.hostSelector.matchLabels")),
            (expression(64, 63), None),
            (expression(65, 1), Some("spec.hostSelector.matchExpressions[0].values")),
            (expression(1, 64), Some("spec.hostSelector.matchExpressions[0].values[0]")),
            (
                json!({"spec": {"hostSelector": {"matchLabels": {"k".repeat(318): "x"}}}}),
                Some("spec.hostSelector.matchLabels"),
            ),
            (labels(128), None),
            (labels(129), Some("metadata.labels")),
            (json!({"metadata": {"finalizers": vec!["a/b"; 33]}}), Some("metadata.finalizers")),
            (json!({"spec": {"environment": {"tags": vec!["t"; 65]}}}), Some("spec.environment.tags")),
            (json!({"spec": null}), None),
            (json!({}), None),
        ] {
            let found = over_bound(Kind::PortainerClient, &document);
            assert_eq!(found.as_ref().map(|fault| fault.field.as_str()), field, "{document}");
        }
    }

    #[test]
    fn a_status_is_cut_to_its_schema_and_cleaned() {
        let condition =
            |type_: String| json!({"type": type_, "status": "True", "message": "a\u{202e}b\n".repeat(4000)});
        let mut status = json!({
            "host": {"deliveredFingerprint": "f".repeat(1 << 20), "servedAt": "2026-11-22T10:00:00Z"},
            "conditions": (0..1000).map(|n| condition(format!("T{n}"))).collect::<Vec<_>>(),
            "environments": vec![json!({"portainerClient": "p", "id": 3, "message": "m".repeat(1 << 20)}); 2000],
        });
        fit_status(Kind::DockerHostCert, &mut status);
        let text = status.to_string();
        assert!(text.len() < 100 * 1024, "{}", text.len());
        assert!(!text.contains('\u{202e}') && !text.contains("\\n"));
        assert_eq!(status["host"]["servedAt"], "2026-11-22T10:00:00Z");
        assert_eq!(status["environments"][0]["id"], 3);
        let once = status.clone();
        fit_status(Kind::DockerHostCert, &mut status);
        assert_eq!(status, once);
    }
}
