//! Companions' accounts in an API server: objects are created and replaced at the version that was seen, never applied,
//! so that an object of someone else is never overwritten.

use super::request::{failed, post, within};
use super::store::{KubeStore, place};
use crate::adapters::account_store::AccountStore;
use crate::adapters::store::StoreError;
use crate::api::account::{
    ACCOUNT_ANNOTATION, AccountResource, ObservedResource, ResourceBody, ResourceKey, ResourceKind,
};
use crate::api::assignment::AssignedHost;
use crate::api::{API_VERSION, Kind, MANAGED_LABEL, ObjectEvent};
use crate::text::clean;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// A kind of Kubernetes that accounts are made of.
pub trait ResourceType:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Default
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
    const KIND: ResourceKind;
    fn body(&self) -> ResourceBody;
    /// Replaces the body.
    fn fill(&mut self, body: &ResourceBody);
}

/// Bytes of the annotation that names an account: a namespace and a name.
const MAX_OWNER: usize = 512;
const OF_THIS_KIND: &str = "an object is filled with the body of its own kind";

impl ResourceType for ServiceAccount {
    const KIND: ResourceKind = ResourceKind::ServiceAccount;

    fn body(&self) -> ResourceBody {
        ResourceBody::ServiceAccount { automount: self.automount_service_account_token }
    }

    fn fill(&mut self, body: &ResourceBody) {
        let ResourceBody::ServiceAccount { automount } = body else { unreachable!("{OF_THIS_KIND}") };
        self.automount_service_account_token = *automount;
    }
}

impl ResourceType for ConfigMap {
    const KIND: ResourceKind = ResourceKind::ConfigMap;

    fn body(&self) -> ResourceBody {
        ResourceBody::ConfigMap(self.data.clone().unwrap_or_default())
    }

    fn fill(&mut self, body: &ResourceBody) {
        let ResourceBody::ConfigMap(data) = body else { unreachable!("{OF_THIS_KIND}") };
        (self.data, self.binary_data) = (Some(data.clone()), None);
    }
}

impl ResourceType for Role {
    const KIND: ResourceKind = ResourceKind::Role;

    fn body(&self) -> ResourceBody {
        ResourceBody::Role(self.rules.clone().unwrap_or_default())
    }

    fn fill(&mut self, body: &ResourceBody) {
        let ResourceBody::Role(rules) = body else { unreachable!("{OF_THIS_KIND}") };
        self.rules = Some(rules.clone());
    }
}

impl ResourceType for RoleBinding {
    const KIND: ResourceKind = ResourceKind::RoleBinding;

    fn body(&self) -> ResourceBody {
        ResourceBody::RoleBinding(self.role_ref.clone(), self.subjects.clone().unwrap_or_default())
    }

    fn fill(&mut self, body: &ResourceBody) {
        let ResourceBody::RoleBinding(role, subjects) = body else { unreachable!("{OF_THIS_KIND}") };
        (self.role_ref, self.subjects) = (role.clone(), Some(subjects.clone()));
    }
}

/// None of an object whose name cannot be one of ours (Roles may have a colon in it).
pub fn resource_key<K: ResourceType>(item: &K) -> Option<ResourceKey> {
    Some(ResourceKey { kind: K::KIND, at: place(item.meta())? })
}

/// Of an object without our annotation, or with more in it than we write, the body is not kept: it is only told that it
/// is there.
pub fn observed_resource<K: ResourceType>(item: &K) -> ObservedResource {
    let owned = item.annotations().contains_key(ACCOUNT_ANNOTATION);
    ObservedResource {
        version: item.resource_version().unwrap_or_default(),
        owner: item.annotations().get(ACCOUNT_ANNOTATION).map(|owner| clean(owner, MAX_OWNER).into_owned()),
        labelled: item.labels().get(MANAGED_LABEL).is_some_and(|value| value == "true"),
        body: if owned { item.body() } else { K::default().body() },
    }
}

fn mark(metadata: &mut ObjectMeta, resource: &AccountResource) {
    metadata.labels.get_or_insert_default().insert(MANAGED_LABEL.into(), "true".into());
    metadata.annotations.get_or_insert_default().insert(ACCOUNT_ANNOTATION.into(), resource.owner.clone());
}

impl KubeStore {
    fn api<K: ResourceType>(&self, key: &ResourceKey) -> Api<K> {
        Api::namespaced(self.client(), &key.at.namespace)
    }

    async fn fetch_resource<K: ResourceType>(&self, key: &ResourceKey) -> kube::Result<Option<ObservedResource>> {
        Ok(self.api::<K>(key).get_opt(&key.at.name).await?.as_ref().map(observed_resource))
    }

    async fn post_resource<K: ResourceType>(&self, resource: &AccountResource) -> kube::Result<String> {
        let mut item = K::default();
        item.meta_mut().name = Some(resource.key.at.name.to_string());
        item.meta_mut().namespace = Some(resource.key.at.namespace.to_string());
        mark(item.meta_mut(), resource);
        item.fill(&resource.body);
        let made = self.api::<K>(&resource.key).create(&post(), &item).await?;
        Ok(made.resource_version().unwrap_or_default())
    }

    /// Fields that others added stay. None where the version has changed.
    async fn put_resource<K: ResourceType>(
        &self,
        resource: &AccountResource,
        version: &str,
    ) -> kube::Result<Option<String>> {
        let api = self.api::<K>(&resource.key);
        let live = api.get_opt(&resource.key.at.name).await?;
        let Some(mut live) = live.filter(|live| live.resource_version().as_deref() == Some(version)) else {
            return Ok(None);
        };
        mark(live.meta_mut(), resource);
        live.fill(&resource.body);
        Ok(Some(api.replace(&resource.key.at.name, &post(), &live).await?.resource_version().unwrap_or_default()))
    }

    async fn remove_resource<K: ResourceType>(&self, key: &ResourceKey, version: &str) -> kube::Result<()> {
        let exactly = Preconditions { resource_version: Some(version.to_owned()), uid: None };
        let how = DeleteParams::default().preconditions(exactly);
        self.api::<K>(key).delete(&key.at.name, &how).await.map(|_| ())
    }
}

/// Makes the same call for each kind.
macro_rules! of_kind {
    ($kind:expr, $store:ident.$call:ident($($argument:expr),*)) => {
        match $kind {
            ResourceKind::ServiceAccount => within($store.$call::<ServiceAccount>($($argument),*)).await,
            ResourceKind::ConfigMap => within($store.$call::<ConfigMap>($($argument),*)).await,
            ResourceKind::Role => within($store.$call::<Role>($($argument),*)).await,
            ResourceKind::RoleBinding => within($store.$call::<RoleBinding>($($argument),*)).await,
        }
    };
}

impl AccountStore for KubeStore {
    async fn read_resource(&self, key: &ResourceKey) -> Result<Option<ObservedResource>, StoreError> {
        let found = of_kind!(key.kind, self.fetch_resource(key));
        found.map_err(|error| failed("read", key.to_string(), error))
    }

    async fn create_resource(&self, resource: &AccountResource) -> Result<String, StoreError> {
        match of_kind!(resource.key.kind, self.post_resource(resource)) {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Err(StoreError::Exists(resource.key.at.clone()))
            }
            made => made.map_err(|error| failed("create", resource.key.to_string(), error)),
        }
    }

    async fn replace_resource(&self, resource: &AccountResource, version: &str) -> Result<String, StoreError> {
        match of_kind!(resource.key.kind, self.put_resource(resource, version)) {
            Ok(Some(version)) => Ok(version),
            Ok(None) => Err(StoreError::Changed(resource.key.at.clone())),
            Err(kube::Error::Api(status)) if status.is_conflict() => Err(StoreError::Changed(resource.key.at.clone())),
            Err(error) => Err(failed("replace", resource.key.to_string(), error)),
        }
    }

    async fn delete_resource(&self, key: &ResourceKey, version: &str) -> Result<(), StoreError> {
        match of_kind!(key.kind, self.remove_resource(key, version)) {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => Err(StoreError::Changed(key.at.clone())),
            done => done.map_err(|error| failed("delete", key.to_string(), error)),
        }
    }

    async fn announce_left(&self, host: &AssignedHost, what: &ObjectEvent) {
        let about = ObjectReference {
            api_version: Some(API_VERSION.into()),
            kind: Some(Kind::DockerHostCert.as_str().into()),
            namespace: Some(host.namespace.to_string()),
            name: Some(host.name.to_string()),
            uid: Some(host.uid.clone()),
            ..ObjectReference::default()
        };
        self.send(&about, what).await;
    }
}
