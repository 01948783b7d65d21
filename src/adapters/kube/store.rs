//! The store in a cluster: Secrets and ConfigMaps are created and replaced at the version that was seen, statuses are
//! written at the version that was seen, and events are sent. An object of someone else is never overwritten.

use super::leaf_cache::LeafCache;
use super::request::{FIELD_MANAGER, failed, failure_of, patch_as, post, resource, within};
use super::status_write;
use crate::adapters::store::{NewItem, Store, StoreError, StoredItem, StoredKind, StoredLeaf};
use crate::api::ObjectEvent;
use crate::api::status::{CompanionStatus, ControllerStatus, HostReport};
use crate::api::{
    API_VERSION, AUTHORITY_ANNOTATION, AuthorityIdentity, FINALIZER, IDENTITY_ANNOTATION, MANAGED_LABEL,
    NamespacedName, OWNER_ANNOTATION, Object, ObjectName, ObjectRef,
};
use crate::pki::material::{Data, written_leaf};
use crate::text::{MAX_MESSAGE, clean};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;

pub struct KubeStore {
    client: Client,
    recorder: Recorder,
    /// The Secrets with our label.
    pub leaves: LeafCache,
}

impl KubeStore {
    /// The store behind `client`; events are sent under the name `instance`.
    pub fn new(client: Client, instance: String) -> KubeStore {
        let reporter = kube::runtime::events::Reporter { controller: "dockseal".into(), instance: Some(instance) };
        KubeStore { recorder: Recorder::new(client.clone(), reporter), client, leaves: LeafCache::default() }
    }

    /// The watch shows a labelled Secret; returns the owners that it has and had, if that changes anything.
    pub fn notice(&self, secret: Secret) -> Vec<ObjectRef> {
        let Some(at) = place(&secret.metadata) else { return Vec::new() };
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        self.leaves.notice(at, &version, || StoredLeaf::from(&stored_secret(secret)))
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Sends an event about an object.
    pub(super) async fn send(&self, about: &ObjectReference, event: &ObjectEvent) {
        let type_ = if event.warning { EventType::Warning } else { EventType::Normal };
        let note = Some(clean(&event.message, MAX_MESSAGE).into_owned());
        let kube_event =
            Event { type_, reason: event.reason.as_str().into(), note, action: "Reconcile".into(), secondary: None };
        if let Err(error) = within(self.recorder.publish(&kube_event, about)).await {
            let name = about.name.as_deref().unwrap_or_default();
            tracing::warn!(name, reason = event.reason.as_str(), %error, "failed to send an event");
        }
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn config_maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn objects(&self, at: &ObjectRef) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &at.namespace, &resource(at.kind))
    }

    async fn write_cached(
        &self,
        item: &NewItem,
        write: impl Future<Output = Result<Option<String>, StoreError>>,
    ) -> Result<(), StoreError> {
        if item.shelf != StoredKind::Secrets {
            return write.await.map(|_| ());
        }
        let leaf = |version| StoredLeaf { owner: Some(item.owner.clone()), version, facts: written_leaf(&item.data) };
        self.leaves.write(&item.at, write, leaf).await
    }

    async fn create_secret(&self, item: &NewItem) -> kube::Result<Option<String>> {
        let secret = Secret {
            metadata: metadata(item),
            type_: Some(item.type_.to_owned()),
            data: Some(bytes(&item.data)),
            ..Secret::default()
        };
        let made = self.secrets(&item.at.namespace).create(&post(), &secret).await?;
        Ok(made.metadata.resource_version)
    }

    async fn create_config_map(&self, item: &NewItem) -> kube::Result<Option<String>> {
        let map = ConfigMap { metadata: metadata(item), data: Some(texts(&item.data)), ..ConfigMap::default() };
        let made = self.config_maps(&item.at.namespace).create(&post(), &map).await?;
        Ok(made.metadata.resource_version)
    }

    async fn patch(&self, object: &Object, verb: &'static str, patch: serde_json::Value) -> Result<(), StoreError> {
        let api = self.objects(&object.at);
        let patch = Patch::Merge(patch);
        let done = within(api.patch(&object.at.name, &PatchParams::default(), &patch)).await;
        done.map(|_| ()).map_err(|error| failure_of(object, verb, error))
    }
}

impl Store for KubeStore {
    async fn read(&self, shelf: StoredKind, at: &NamespacedName) -> Result<Option<StoredItem>, StoreError> {
        let read = async {
            Ok(match shelf {
                StoredKind::Secrets => self.secrets(&at.namespace).get_opt(&at.name).await?.map(stored_secret),
                StoredKind::ConfigMaps => {
                    self.config_maps(&at.namespace).get_opt(&at.name).await?.map(stored_config_map)
                }
            })
        };
        within(read).await.map_err(|error| failed("read", name(shelf, at), error))
    }

    async fn leaf(&self, at: &NamespacedName) -> Result<Option<StoredLeaf>, StoreError> {
        Ok(self.leaves.get(at))
    }

    async fn create(&self, item: &NewItem) -> Result<(), StoreError> {
        let create = async {
            match item.shelf {
                StoredKind::Secrets => self.create_secret(item).await,
                StoredKind::ConfigMaps => self.create_config_map(item).await,
            }
        };
        let create = async {
            within(create).await.map_err(|error| match error {
                kube::Error::Api(status) if status.is_already_exists() => StoreError::Exists(item.at.clone()),
                error => failed("create", name(item.shelf, &item.at), error),
            })
        };
        self.write_cached(item, create).await
    }

    async fn replace(&self, item: &NewItem, version: &str) -> Result<(), StoreError> {
        let replace = async {
            match item.shelf {
                StoredKind::Secrets => {
                    let fill = |live: &mut Secret| live.data = Some(bytes(&item.data));
                    replace_live(&self.secrets(&item.at.namespace), item, version, fill).await
                }
                StoredKind::ConfigMaps => {
                    let fill = |live: &mut ConfigMap| live.data = Some(texts(&item.data));
                    replace_live(&self.config_maps(&item.at.namespace), item, version, fill).await
                }
            }
        };
        let replace = async {
            match within(replace).await {
                Ok(Some(version)) => Ok(version),
                Ok(None) => Err(StoreError::Changed(item.at.clone())),
                Err(kube::Error::Api(status)) if status.is_conflict() => Err(StoreError::Changed(item.at.clone())),
                Err(error) => Err(failed("replace", name(item.shelf, &item.at), error)),
            }
        };
        self.write_cached(item, replace).await
    }

    async fn delete(&self, shelf: StoredKind, at: &NamespacedName, version: &str) -> Result<(), StoreError> {
        let exactly = Preconditions { resource_version: Some(version.to_owned()), uid: None };
        let how = DeleteParams::default().preconditions(exactly);
        let delete = async {
            match shelf {
                StoredKind::Secrets => self.secrets(&at.namespace).delete(&at.name, &how).await.map(|_| ()),
                StoredKind::ConfigMaps => self.config_maps(&at.namespace).delete(&at.name, &how).await.map(|_| ()),
            }
        };
        match within(delete).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => Err(StoreError::Changed(at.clone())),
            done => done.map_err(|error| failed("delete", name(shelf, at), error)),
        }
    }

    async fn remember(
        &self,
        object: &Object,
        fingerprint: &str,
        identity: Option<AuthorityIdentity>,
    ) -> Result<(), StoreError> {
        let mut annotations = BTreeMap::from([(AUTHORITY_ANNOTATION, fingerprint.to_owned())]);
        annotations.extend(identity.map(|identity| (IDENTITY_ANNOTATION, identity.to_string())));
        let metadata = json!({ "uid": object.uid, "resourceVersion": object.version, "annotations": annotations });
        self.patch(object, "annotate", json!({ "metadata": metadata })).await
    }

    async fn set_finalizer(&self, object: &Object, held: bool) -> Result<(), StoreError> {
        let others = object.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).cloned();
        let finalizers: Vec<String> = others.chain(held.then(|| FINALIZER.to_owned())).collect();
        let metadata = json!({ "resourceVersion": object.version, "finalizers": finalizers });
        match self.patch(object, "set the finalizer of", json!({ "metadata": metadata })).await {
            Err(StoreError::Gone(_)) => Ok(()),
            done => done,
        }
    }

    async fn publish(&self, object: &Object, status: &ControllerStatus) -> Result<(), StoreError> {
        status_write::publish(self.client.clone(), object, status).await
    }

    /// A merge at exactly the version that was seen.
    async fn prune(&self, object: &Object, kept: &CompanionStatus) -> Result<(), StoreError> {
        let (conditions, environments) = status_write::lists(&object.previous, kept);
        let metadata = json!({ "uid": object.uid, "resourceVersion": object.version });
        let status = json!({ "conditions": conditions, "host": host(&kept.host), "environments": environments });
        let patch = json!({ "metadata": metadata, "status": status });
        let how = patch_as(FIELD_MANAGER);
        let api = self.objects(&object.at);
        match within(api.patch_status(&object.at.name, &how, &Patch::Merge(patch))).await {
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                Err(StoreError::Changed(object.at.beside(&object.at.name)))
            }
            done => done
                .map(|_| ())
                .map_err(|error| failure_of(object, "remove the outdated report of the companion on", error)),
        }
    }

    async fn announce(&self, object: &Object, event: &ObjectEvent) {
        self.send(&reference(object), event).await;
    }
}

/// A report for a merge: null removes every field that it lacks.
fn host(report: &HostReport) -> serde_json::Value {
    if *report == HostReport::default() {
        return serde_json::Value::Null;
    }
    let HostReport { delivered_fingerprint, delivered_bundle, delivered_at, served_fingerprint, served_at } = report;
    json!({
        "deliveredFingerprint": delivered_fingerprint,
        "deliveredBundle": delivered_bundle,
        "deliveredAt": delivered_at,
        "servedFingerprint": served_fingerprint,
        "servedAt": served_at,
    })
}

/// Where an object is, if its name can be one of ours.
pub fn place(meta: &ObjectMeta) -> Option<NamespacedName> {
    let named = |name: &Option<String>| ObjectName::parse(name.as_deref()?).ok();
    Some(NamespacedName::new(named(&meta.namespace)?, named(&meta.name)?))
}

/// The owner that a Secret or ConfigMap names, in its own namespace: who may write in one namespace must not cause
/// work in another.
pub fn owner(meta: &ObjectMeta) -> Option<ObjectRef> {
    let named = meta.annotations.as_ref()?.get(OWNER_ANNOTATION).and_then(|text| ObjectRef::parse(text));
    named.filter(|owner| meta.namespace.as_deref() == Some(&owner.namespace))
}

/// Replaces data, label and annotations; fields that others added stay. None where the version has changed.
async fn replace_live<K>(
    api: &Api<K>,
    item: &NewItem,
    version: &str,
    fill: impl FnOnce(&mut K),
) -> kube::Result<Option<Option<String>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
{
    let Some(mut live) = api.get_opt(&item.at.name).await?.filter(|live| has(live, version)) else {
        return Ok(None);
    };
    mark(live.meta_mut(), item);
    fill(&mut live);
    Ok(Some(api.replace(&item.at.name, &post(), &live).await?.resource_version()))
}

fn name(shelf: StoredKind, at: &NamespacedName) -> String {
    match shelf {
        StoredKind::Secrets => format!("Secret {at}"),
        StoredKind::ConfigMaps => format!("ConfigMap {at}"),
    }
}

fn metadata(item: &NewItem) -> ObjectMeta {
    let mut metadata = ObjectMeta {
        name: Some(item.at.name.to_string()),
        namespace: Some(item.at.namespace.to_string()),
        ..ObjectMeta::default()
    };
    mark(&mut metadata, item);
    metadata
}

fn mark(metadata: &mut ObjectMeta, item: &NewItem) {
    metadata.labels.get_or_insert_default().insert(MANAGED_LABEL.into(), "true".into());
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(OWNER_ANNOTATION.into(), item.owner.to_string());
    annotations.extend(item.authority.iter().map(|authority| (AUTHORITY_ANNOTATION.into(), authority.clone())));
    annotations.extend(item.identity.map(|identity| (IDENTITY_ANNOTATION.into(), identity.to_string())));
}

fn has(live: &impl ResourceExt, version: &str) -> bool {
    live.resource_version().as_deref() == Some(version)
}

fn bytes(data: &Data) -> BTreeMap<String, ByteString> {
    data.iter().map(|(key, bytes)| (key.to_owned(), ByteString(bytes.to_vec()))).collect()
}

fn texts(data: &Data) -> BTreeMap<String, String> {
    data.iter().map(|(key, bytes)| (key.to_owned(), String::from_utf8_lossy(bytes).into_owned())).collect()
}

pub(super) fn stored_secret(secret: Secret) -> StoredItem {
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    stored(secret.metadata, data.collect())
}

fn stored_config_map(map: ConfigMap) -> StoredItem {
    let data = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    stored(map.metadata, data.collect())
}

fn stored(meta: ObjectMeta, data: Data) -> StoredItem {
    let annotation = |name: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(name).cloned());
    StoredItem {
        owner: owner(&meta),
        authority: annotation(AUTHORITY_ANNOTATION),
        identity: annotation(IDENTITY_ANNOTATION).and_then(|text| AuthorityIdentity::parse(&text)),
        labelled: meta
            .labels
            .as_ref()
            .and_then(|labels| labels.get(MANAGED_LABEL))
            .is_some_and(|value| value == "true"),
        version: meta.resource_version.unwrap_or_default(),
        data,
    }
}

fn reference(object: &Object) -> ObjectReference {
    ObjectReference {
        api_version: Some(API_VERSION.into()),
        kind: Some(object.at.kind.as_str().into()),
        namespace: Some(object.at.namespace.to_string()),
        name: Some(object.at.name.to_string()),
        uid: Some(object.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;
    use kube::api::GetParams;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    #[test]
    fn an_owner_is_of_its_own_namespace() {
        let pandora = ObjectRef::new(Kind::DockerHostCert, "home", "pandora");
        let named = |namespace: &str| ObjectMeta {
            namespace: Some(namespace.into()),
            annotations: Some([(OWNER_ANNOTATION.into(), pandora.to_string())].into()),
            ..ObjectMeta::default()
        };
        assert_eq!(owner(&named("home")), Some(pandora.clone()));
        assert_eq!(owner(&named("elsewhere")), None);
    }

    proptest! {
        /// Whatever stands where a name is wanted, a request is for one object of one namespace.
        #[test]
        fn no_name_yields_another_path(namespace in hostile(), name in hostile()) {
            let named = ObjectName::parse(&namespace).ok().zip(ObjectName::parse(&name).ok());
            if let Some((namespace, name)) = named {
                let url = <Secret as Resource>::url_path(&(), Some(&namespace));
                let request = kube::core::Request::new(url).get(&name, &GetParams::default()).expect("a request");
                prop_assert_eq!(request.uri().path(), format!("/api/v1/namespaces/{namespace}/secrets/{name}"));
                prop_assert_eq!(request.uri().path().split('/').count(), 7);
                prop_assert!(!request.uri().path().split('/').any(|segment| segment == "." || segment == ".."));
                prop_assert_eq!(request.uri().query().unwrap_or_default(), "");
            }
        }
    }

    /// Names, what attackers write for them, and anything.
    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9.%/?#-]{0,20}", "[.a/]{1,6}", "([a-z]{1,3}[/?#%&=.;]){1,4}[a-z]{1,3}", any::<String>()]
    }
}
