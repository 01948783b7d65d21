//! A PortainerClient and a host in, whether the one registers the other out, by selector and labels.

use crate::api::{Object, Spec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// A PortainerClient with a server selects that host. An invalid selector changes nothing: hosts that were selected stay
/// selected until it is fixed.
pub fn selects(client: &Object, host: &Object) -> bool {
    let Spec::Portainer(spec) = &client.spec else { return false };
    let Some(selector) = &spec.host_selector else { return false };
    if spec.server.is_none() || client.at.namespace != host.at.namespace {
        return false;
    }
    matches(selector, &host.labels).unwrap_or_else(|| names(host, client))
}

/// The status of a host names that PortainerClient.
pub fn names(host: &Object, client: &Object) -> bool {
    host.environment_in(&client.at).is_some()
}

/// Whether labels match, as Kubernetes has it; none where the selector is invalid. It is asked for each host, so nothing
/// is made of it first.
fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> Option<bool> {
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    let mut all = selector.match_labels.iter().flatten().all(equal);
    for requirement in selector.match_expressions.iter().flatten() {
        let values = requirement.values.as_deref();
        let found = labels.get(&requirement.key);
        let is_in = values.map(|values| found.is_some_and(|value| values.contains(value)));
        all &= match requirement.operator.as_str() {
            "In" => is_in?,
            "NotIn" => !is_in?,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => return None,
        };
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{Selector, SelectorExt};
    use serde_json::{Value, json};

    #[test]
    fn labels_match_as_kubernetes_has_it() {
        let labels: BTreeMap<String, String> = [("site".into(), "home".into()), ("tier".into(), String::new())].into();
        let expression = |operator: &str, key: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let valid = [
            json!({}),
            json!({"matchLabels": {"site": "home"}}),
            json!({"matchLabels": {"site": "attic"}}),
            json!({"matchLabels": {"site": "home", "rack": "1"}}),
            json!({"matchLabels": {"tier": ""}}),
            expression("In", "site", json!(["attic", "home"])),
            expression("In", "site", json!(["attic"])),
            expression("In", "rack", json!(["1"])),
            expression("NotIn", "site", json!(["home"])),
            expression("NotIn", "site", json!(["attic"])),
            expression("NotIn", "rack", json!(["1"])),
            expression("In", "site", json!([])),
            expression("NotIn", "site", json!([])),
            expression("Exists", "tier", json!([])),
            expression("Exists", "rack", Value::Null),
            expression("DoesNotExist", "tier", json!([])),
            expression("DoesNotExist", "rack", json!([])),
            json!({"matchLabels": {"site": "home"}, "matchExpressions": [{"key": "rack", "operator": "Exists"}]}),
        ];
        for json in valid {
            let selector: LabelSelector = serde_json::from_value(json.clone()).expect("a selector");
            let theirs = Selector::try_from(selector.clone()).expect("it is valid").matches(&labels);
            assert_eq!(matches(&selector, &labels), Some(theirs), "{json}");
        }
        for json in [expression("Is", "site", json!(["home"])), expression("NotIn", "site", Value::Null)] {
            let selector: LabelSelector = serde_json::from_value(json).expect("a selector");
            assert!(Selector::try_from(selector.clone()).is_err());
            assert_eq!(matches(&selector, &labels), None);
        }
    }
}
