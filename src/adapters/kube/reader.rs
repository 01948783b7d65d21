//! A cluster as the user's commands see it: objects and Secrets are read once, an annotation is set. Its errors say what is
//! missing and what to do. It watches nothing.

use super::guard::Guarded;
use super::request::{patch_as, resource, within};
use super::store::{place, stored_secret};
use super::token::{Token, mint};
use crate::adapters::Clock;
use crate::adapters::store::StoredItem;
use crate::api::{
    DockerCA, DockerClientCert, DockerHostCert, GROUP, Kind, NamespacedName, Object, ObjectName, ObjectRef,
    PortainerClient,
};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Api, DynamicObject, ListParams, Patch};
use kube::core::{Selector, Status};
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

/// For a connection: a user waits at the terminal.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Field manager of what the user's commands write.
const FIELD_MANAGER: &str = "dockseal";
/// The oldest API server that Dockseal works with.
const OLDEST_SUPPORTED: (u32, u32) = (1, 34);
/// The version of our group that this program speaks.
const VERSION: &str = "v1alpha1";

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "failed to reach the API server {server}: {why}: does the kubeconfig name the right cluster, and is it up?"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// The innermost reason.
        why: String,
    },
    #[error("the API server {server} refuses the kubeconfig's credentials: log in again, or name another --context")]
    Unauthorized {
        /// Its URL.
        server: String,
    },
    #[error("you may not {verb} {resource} in {scope}: ask the cluster's administrator for that right{}", if *.scope == "all namespaces" { ", or name a namespace with -n" } else { "" })]
    Forbidden {
        verb: &'static str,
        /// On which resource.
        resource: String,
        /// In which namespace, or in all.
        scope: String,
    },
    /// The API server has none of our kinds.
    #[error(
        "Dockseal is not installed in the cluster {server}: its CRDs are missing; install the chart, or: dockseal crds | kubectl apply --server-side -f -"
    )]
    NotInstalled {
        /// Its URL.
        server: String,
    },
    /// It has them in another version.
    #[error("the cluster {server} has {GROUP} in {versions}, and this dockseal ({}) speaks {VERSION}: use the dockseal of the version that is installed there", env!("CARGO_PKG_VERSION"))]
    OtherVersion {
        /// Its URL.
        server: String,
        /// Which.
        versions: String,
    },
    /// It has them with other fields.
    #[error("this dockseal ({}) cannot read the {kind}s of the cluster {server} ({why}): use the dockseal of the version that is installed there", env!("CARGO_PKG_VERSION"))]
    OtherFields {
        /// Its URL.
        server: String,
        /// Of which kind.
        kind: &'static str,
        why: String,
    },
    /// It is too old.
    #[error("the API server {server} is Kubernetes {version}, and Dockseal needs {}.{} or newer: upgrade the cluster, or run `dockseal up` without one", OLDEST_SUPPORTED.0, OLDEST_SUPPORTED.1)]
    TooOld {
        /// Its URL.
        server: String,
        /// Its version.
        version: String,
    },
    /// Anything else.
    #[error("failed to {verb} {object}: {why}")]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// On what.
        object: String,
        /// The server's message.
        why: String,
    },
}

/// A request, for the message of its failure.
struct Request<'a> {
    verb: &'static str,
    resource: String,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

/// A connection to a cluster.
pub struct KubeReader {
    client: Client,
    server: String,
}

impl KubeReader {
    /// Connects, and checks that the API server is new enough.
    ///
    /// # Errors
    /// [`ReadError`] where it is not, or does not answer.
    pub async fn connect(mut config: Config) -> Result<KubeReader, ReadError> {
        config.connect_timeout = Some(TIMEOUT);
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config)
            .map_err(|error| ReadError::Unreachable { server: server.clone(), why: innermost(&error) })?;
        let reader = KubeReader { client, server };
        match within(reader.client.apiserver_version()).await {
            Ok(version) => reader.check(&version.major, &version.minor, &version.git_version)?,
            Err(kube::Error::Api(status)) if status.is_forbidden() => {} // what is asked next may be allowed
            Err(error) => {
                return Err(reader
                    .failure(
                        error,
                        &Request { verb: "get", resource: "its version".into(), namespace: None, name: None },
                    )
                    .await);
            }
        }
        Ok(reader)
    }

    fn check(&self, major: &str, minor: &str, version: &str) -> Result<(), ReadError> {
        // Some providers write "34+".
        let number = |text: &str| text.trim_end_matches('+').parse::<u32>().ok();
        match (number(major), number(minor)) {
            (Some(major), Some(minor)) if (major, minor) < OLDEST_SUPPORTED => {
                Err(ReadError::TooOld { server: self.server.clone(), version: version.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Objects of those kinds: one list for each kind, all at the same time.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn objects(
        &self,
        kinds: &[Kind],
        namespace: Option<&str>,
        selector: Option<&Selector>,
    ) -> Result<Vec<Object>, ReadError> {
        let lists = kinds.iter().map(|kind| async {
            match kind {
                Kind::DockerCA => self.list::<DockerCA>(*kind, namespace, selector).await,
                Kind::DockerHostCert => self.list::<DockerHostCert>(*kind, namespace, selector).await,
                Kind::DockerClientCert => self.list::<DockerClientCert>(*kind, namespace, selector).await,
                Kind::PortainerClient => self.list::<PortainerClient>(*kind, namespace, selector).await,
            }
        });
        Ok(futures::future::try_join_all(lists).await?.into_iter().flatten().collect())
    }

    async fn list<K>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: Option<&Selector>,
    ) -> Result<Vec<Object>, ReadError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
        Object: From<K>,
    {
        let api: Api<Guarded<K>> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let mut how = ListParams::default();
        if let Some(selector) = selector.filter(|selector| !selector.selects_all()) {
            how = how.labels_from(selector);
        }
        match within(api.list(&how)).await {
            Ok(list) => {
                let named = list.items.into_iter().filter(|item| place(item.meta()).is_some());
                named.map(|item| self.readable(kind, item)).collect()
            }
            Err(error) => Err(self.failure_of(error, kind, "list", namespace, None).await),
        }
    }

    /// One object; none where it does not exist.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn object(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Object>, ReadError> {
        match kind {
            Kind::DockerCA => self.one::<DockerCA>(kind, namespace, name).await,
            Kind::DockerHostCert => self.one::<DockerHostCert>(kind, namespace, name).await,
            Kind::DockerClientCert => self.one::<DockerClientCert>(kind, namespace, name).await,
            Kind::PortainerClient => self.one::<PortainerClient>(kind, namespace, name).await,
        }
    }

    async fn one<K>(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Object>, ReadError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
        Object: From<K>,
    {
        if ObjectName::parse(namespace).and(ObjectName::parse(name)).is_err() {
            return Ok(None);
        }
        let api: Api<Guarded<K>> = Api::namespaced(self.client.clone(), namespace);
        match within(api.get(name)).await {
            Ok(object) => self.readable(kind, object).map(Some),
            Err(kube::Error::Api(status)) if status.is_not_found() && names_an_object(&status) => Ok(None),
            Err(error) => Err(self.failure_of(error, kind, "get", Some(namespace), Some(name)).await),
        }
    }

    /// A Secret; none where it does not exist.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn secret(&self, at: &NamespacedName) -> Result<Option<StoredItem>, ReadError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &at.namespace);
        match within(api.get_opt(&at.name)).await {
            Ok(secret) => Ok(secret.map(stored_secret)),
            Err(error) => {
                let (namespace, name) = (Some(&*at.namespace), Some(&*at.name));
                let request = Request { verb: "get", resource: "secrets".into(), namespace, name };
                Err(self.failure(error, &request).await)
            }
        }
    }

    /// Whether a ServiceAccount exists.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn has_account(&self, at: &NamespacedName) -> Result<bool, ReadError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &at.namespace);
        match within(api.get_metadata_opt(&at.name)).await {
            Ok(found) => Ok(found.is_some()),
            Err(error) => Err(self.failure(error, &of_account(at, "get", "serviceaccounts")).await),
        }
    }

    /// A token of a ServiceAccount, bound to nothing.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn token(
        &self,
        at: &NamespacedName,
        duration: SignedDuration,
        clock: &Clock,
    ) -> Result<Token, ReadError> {
        match mint(&self.client, (&at.namespace, &at.name), None, duration, clock).await {
            Ok(token) => Ok(token),
            Err(error) => Err(self.failure(error, &of_account(at, "create", "serviceaccounts/token")).await),
        }
    }

    /// Sets an annotation, or removes it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn annotate(&self, at: &ObjectRef, name: &str, value: Option<&str>) -> Result<(), ReadError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &at.namespace, &resource(at.kind));
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { name: value } } }));
        let how = patch_as(FIELD_MANAGER);
        match within(api.patch(&at.name, &how, &patch)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure_of(error, at.kind, "patch", Some(&at.namespace), Some(&at.name)).await),
        }
    }

    /// An object of this version, even where its spec is refused.
    fn readable<K>(&self, kind: Kind, item: Guarded<K>) -> Result<Object, ReadError>
    where
        Object: From<K>,
    {
        let Some(fault) = item.of_other_version() else { return Ok(item.object()) };
        let why = format!("{}: {}", fault.field, fault.message);
        Err(ReadError::OtherFields { server: self.server.clone(), kind: kind.as_str(), why })
    }

    async fn failure_of(
        &self,
        error: kube::Error,
        kind: Kind,
        verb: &'static str,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> ReadError {
        if let kube::Error::SerdeError(error) = &error {
            return ReadError::OtherFields { server: self.server.clone(), kind: kind.as_str(), why: error.to_string() };
        }
        let plural = resource(kind).plural;
        self.failure(error, &Request { verb, resource: format!("{plural}.{GROUP}"), namespace, name }).await
    }

    async fn failure(&self, error: kube::Error, request: &Request<'_>) -> ReadError {
        let server = self.server.clone();
        let status = match error {
            kube::Error::Api(status) => status,
            error => return ReadError::Unreachable { server, why: innermost(&error) },
        };
        if status.code == 401 {
            return ReadError::Unauthorized { server };
        }
        if status.is_forbidden() {
            let scope = request.namespace.map_or("all namespaces".into(), |name| format!("namespace {name}"));
            return ReadError::Forbidden { verb: request.verb, resource: request.resource.clone(), scope };
        }
        if status.code == 404 && !names_an_object(&status) {
            return self.absent().await;
        }
        let object = request.name.map_or(request.resource.clone(), |name| format!("{} {name}", request.resource));
        ReadError::Failed { verb: request.verb, object, why: status.message.clone() }
    }

    /// Our kinds are missing, or there in another version.
    async fn absent(&self) -> ReadError {
        let server = self.server.clone();
        let groups = within(self.client.list_api_groups()).await.map(|list| list.groups).unwrap_or_default();
        let versions = groups.into_iter().find(|group| group.name == GROUP).map(|group| group.versions);
        let versions: Vec<String> = versions.unwrap_or_default().into_iter().map(|version| version.version).collect();
        if versions.is_empty() || versions.iter().any(|version| version == VERSION) {
            return ReadError::NotInstalled { server }; // also where one of the four kinds is missing
        }
        ReadError::OtherVersion { server, versions: versions.join(", ") }
    }
}

fn of_account<'a>(at: &'a NamespacedName, verb: &'static str, resource: &str) -> Request<'a> {
    Request { verb, resource: resource.into(), namespace: Some(&at.namespace), name: Some(&at.name) }
}

/// A 404 for a missing object has details; a 404 for a missing resource has none.
fn names_an_object(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

/// The innermost cause, like "Connection refused".
pub fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
