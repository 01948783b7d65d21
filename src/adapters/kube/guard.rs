//! An object of ours as the API server gives it: as it is read, or without its spec and with the field that is at fault.
//! One object that cannot be read neither ends a watch nor spoils a list.

use crate::api::name::InvalidName;
use crate::api::{FieldFault, Kind, Object, Spec, schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// An object; where its spec cannot be used it has an empty one, and a fault.
#[derive(Clone, Debug)]
pub struct Guarded<K> {
    item: K,
    fault: Option<FieldFault>,
}

impl<'de, K> Deserialize<'de> for Guarded<K>
where
    K: DeserializeOwned + Resource<DynamicType = ()>,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Guarded<K>, D::Error> {
        let mut document = Value::deserialize(from)?;
        if !document.is_object() {
            return Err(D::Error::custom("it is no object"));
        }
        let kind = Kind::parse(&K::kind(&())).ok_or_else(|| D::Error::custom("it is of no kind of ours"))?;
        schema::fit_status(kind, &mut document["status"]);
        let fault = match schema::over_bound(kind, &document).map_or_else(|| read::<K>(&document), Err) {
            Ok(item) => return Ok(Guarded { item, fault: None }),
            Err(fault) => fault,
        };
        document["spec"] = Spec::empty(kind).to_json();
        if fault.field.starts_with("metadata.") {
            (document["metadata"]["labels"], document["metadata"]["finalizers"]) = (Value::Null, Value::Null);
        }
        let item = read(&document).or_else(|_| {
            document["status"] = Value::Null;
            read(&document)
        });
        let item = item.map_err(|fault| D::Error::custom(format!("{}: {}", fault.field, fault.message)))?;
        Ok(Guarded { item, fault: Some(fault) })
    }
}

fn read<K: DeserializeOwned>(document: &Value) -> Result<K, FieldFault> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let message = error.inner().to_string();
        FieldFault { field: error.path().to_string(), of_other_version: message != InvalidName.to_string(), message }
    })
}

impl<K> Guarded<K>
where
    Object: From<K>,
{
    /// The fault of an object of another version, which says nothing of what its user wants.
    pub fn of_other_version(&self) -> Option<&FieldFault> {
        self.fault.as_ref().filter(|fault| fault.of_other_version)
    }

    /// The object, with its fault.
    pub fn object(self) -> Object {
        Object { fault: self.fault, ..Object::from(self.item) }
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(type_: &K::DynamicType) -> Cow<'_, str> {
        K::kind(type_)
    }

    fn group(type_: &K::DynamicType) -> Cow<'_, str> {
        K::group(type_)
    }

    fn version(type_: &K::DynamicType) -> Cow<'_, str> {
        K::version(type_)
    }

    fn plural(type_: &K::DynamicType) -> Cow<'_, str> {
        K::plural(type_)
    }

    fn meta(&self) -> &ObjectMeta {
        self.item.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.item.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DockerCA;
    use serde_json::json;

    fn authority(spec: Value) -> Object {
        let object = json!({
            "apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerCA",
            "metadata": {"name": "homelab", "namespace": "home", "generation": 7}, "spec": spec,
            "status": {"fingerprint": "abcd"},
        });
        serde_json::from_value::<Guarded<DockerCA>>(object).expect("no spec spoils a list").object()
    }

    #[test]
    fn an_object_that_cannot_be_read_keeps_its_status_and_says_which_field() {
        let good = json!({"existing": {"secretRef": {"name": "old-ca"}}});
        assert_eq!(authority(good).fault, None);
        for name in ["../../victim/secrets/homelab-docker-ca", "cred/status", "?watch=true&timeoutSeconds=2", ""] {
            for (field, spec) in [
                ("spec.existing.secretRef.name", json!({"existing": {"secretRef": {"name": name}}})),
                ("spec.passphraseSecretRef.name", json!({"passphraseSecretRef": {"name": name, "key": "k"}})),
                ("spec.additionalTrust[0].secretRef.name", json!({"additionalTrust": [{"secretRef": {"name": name}}]})),
                ("spec.secretName", json!({"secretName": name})),
            ] {
                let object = authority(spec);
                let fault = object.fault.as_ref().expect("it is refused");
                assert_eq!(fault.field, field);
                assert!(fault.message.starts_with("must be lower case"), "{}", fault.message);
                assert!(!fault.of_other_version);
                assert_eq!(object.referenced_secrets(), []);
                assert_eq!((object.generation, object.previous.fingerprint.as_deref()), (7, Some("abcd")));
            }
        }
        let fault = authority(json!(7)).fault.expect("it is refused");
        assert_eq!((fault.field.as_str(), fault.of_other_version), ("spec", true));
    }
}
