//! The API server as far as a companion may use it: its assignment, the Secrets that this names, and the companion's part
//! of a status.

use super::request::resource;
use crate::api::assignment::ASSIGNMENT_KEY;
use crate::api::schema::fit_status;
use crate::api::status::{CompanionStatus, HostCertStatus};
use crate::api::{API_VERSION, Assignment, NamespacedName, ObjectRef};
use crate::pki::material::Data;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::time::Duration;
use zeroize::Zeroizing;

/// Field manager of what companions write.
pub const COMPANION_MANAGER: &str = "dockseal-companion";
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The server's message, or why there is none.
    message: String,
    /// The server refuses the token.
    pub refused: bool,
}

impl ApiError {
    fn of(error: &kube::Error) -> ApiError {
        let refused = matches!(error, kube::Error::Api(status) if status.code == 401);
        ApiError { message: message(error), refused }
    }

    fn because(message: impl Into<String>) -> ApiError {
        ApiError { message: message.into(), refused: false }
    }
}

/// An API server, with a companion's token.
#[derive(Clone)]
pub struct CompanionApi(Client);

impl CompanionApi {
    pub fn new(client: Client) -> CompanionApi {
        CompanionApi(client)
    }

    /// The assignment, now and whenever it changes; after an error the watch starts again.
    pub fn assignments(
        &self,
        at: &NamespacedName,
    ) -> impl Stream<Item = Result<Option<Assignment>, ApiError>> + Send + use<> {
        one::<ConfigMap>(&self.0, at).map(|found| {
            let Some(map) = found? else { return Ok(None) };
            let text = map.data.unwrap_or_default().remove(ASSIGNMENT_KEY).unwrap_or_default();
            serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| ApiError::because(format!("failed to read the assignment: {error}")))
        })
    }

    /// A Secret, now and whenever it changes.
    pub fn secrets(&self, at: &NamespacedName) -> impl Stream<Item = Result<Option<Data>, ApiError>> + Send + use<> {
        one::<Secret>(&self.0, at).map(|found| {
            let data = found?.map(|secret| secret.data.unwrap_or_default());
            Ok(data.map(|data| data.into_iter().map(|(key, bytes)| (key, bytes.0)).collect()))
        })
    }

    /// The companion's part of an object's status, as it was last published; empty where the object of that name has
    /// another UID.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn status(&self, at: &ObjectRef, uid: &str) -> Result<CompanionStatus, ApiError> {
        let api = self.objects(at);
        let object = within(api.get_status(&at.name)).await?;
        if object.metadata.uid.as_deref() != Some(uid) {
            return Ok(CompanionStatus::default());
        }
        let status: HostCertStatus = serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
        Ok(status.split().1)
    }

    /// Publishes the companion's part.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn publish(&self, at: &ObjectRef, uid: &str, status: &CompanionStatus) -> Result<(), ApiError> {
        let metadata = json!({ "name": &*at.name, "namespace": &*at.namespace, "uid": uid });
        let mut status = json!(status);
        fit_status(at.kind, &mut status); // one over the schema's bounds would be refused whole
        let patch =
            json!({ "apiVersion": API_VERSION, "kind": at.kind.as_str(), "metadata": metadata, "status": status });
        let how = PatchParams::apply(COMPANION_MANAGER).force();
        let api = self.objects(at);
        within(api.patch_status(&at.name, &how, &Patch::Apply(patch))).await.map(|_| ())
    }

    fn objects(&self, at: &ObjectRef) -> Api<DynamicObject> {
        Api::namespaced_with(self.0.clone(), &at.namespace, &resource(at.kind))
    }
}

async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(done) => done.map_err(|error| ApiError::of(&error)),
        Err(_) => Err(ApiError::because(format!("no answer within {} seconds", TIMEOUT.as_secs()))),
    }
}

/// The server's message. An answer that cannot be read is not shown: it may hold a key.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        kube::Error::SerdeError(_) => "the answer of the API server cannot be read".into(),
        error => error.to_string(),
    }
}

/// Watches one object by its name: RBAC allows that where a rule names the object.
fn one<K>(client: &Client, at: &NamespacedName) -> impl Stream<Item = Result<Option<K>, ApiError>> + Send + use<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), &at.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", at.name)).streaming_lists();
    let mut seen = false;
    watcher(api, config).default_backoff().filter_map(move |event| {
        let item = match event {
            Ok(Event::Init) => {
                seen = false;
                None
            }
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                seen = true;
                Some(Ok(Some(object)))
            }
            Ok(Event::Delete(_)) => Some(Ok(None)),
            Ok(Event::InitDone) => (!seen).then_some(Ok(None)),
            Err(error) => Some(Err(watch_error(&error))),
        };
        std::future::ready(item)
    })
}

fn watch_error(error: &watcher::Error) -> ApiError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => ApiError::of(error),
        watcher::Error::WatchError(status) => ApiError { message: status.message.clone(), refused: status.code == 401 },
        error => ApiError::because(error.to_string()),
    }
}

/// A client that sends a token.
///
/// # Errors
/// Where the server's address or its authorities are invalid.
pub fn client(mut config: kube::Config, token: &Zeroizing<String>) -> kube::Result<Client> {
    config.auth_info = kube::config::AuthInfo { token: Some(token.as_str().into()), ..Default::default() };
    config.default_retry = false;
    Client::try_from(config)
}
