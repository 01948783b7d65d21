//! What registration needs from the network, as two traits: a Portainer server, and what reaches servers and hosts. The
//! real ones send HTTP; tests/sim has others in memory.

use super::access::{Access, ServerCredential};
use super::client::PortainerApi;
use super::error::{AccessError, PortainerError};
use super::request_metrics::RequestMetrics;
use crate::adapters::docker::ping::{DockerAddress, PingError, Pinged, docker_ping};
use crate::adapters::net::destinations::Destinations;
use crate::portainer::{
    Environment, EnvironmentChange, File, Group, NewEnvironment, SystemStatus, Tag, TlsFiles, User,
};
use futures::future::BoxFuture;
use std::sync::Arc;

/// An answer that is on its way. Nothing is retried, but for a login that has ended.
pub type Response<'a, T> = BoxFuture<'a, Result<T, PortainerError>>;

/// One Portainer server by one credential.
pub trait PortainerServer: Send + Sync {
    /// Its version and InstanceID. No credential is sent.
    fn status(&self) -> Response<'_, SystemStatus>;

    /// Whether it has an administrator. No credential is sent.
    fn has_administrator(&self) -> Response<'_, bool>;

    /// Makes the first administrator with our username and password, if there is none yet; fails with
    /// [`PortainerError::Forbidden`] for an API key.
    fn initialize(&self) -> Response<'_, ()>;

    /// The user of the credential.
    fn me(&self) -> Response<'_, User>;

    fn groups(&self) -> Response<'_, Vec<Group>>;

    fn tags(&self) -> Response<'_, Vec<Tag>>;

    /// Makes a tag, or finds the one of that name.
    fn create_tag<'a>(&'a self, name: &'a str) -> Response<'a, Tag>;

    /// All environments. Only an administrator sees them: others get an empty list.
    fn environments(&self) -> Response<'_, Vec<Environment>>;

    /// The environments of exactly that name; Portainer may have more than one.
    fn named<'a>(&'a self, name: &'a str) -> Response<'a, Vec<Environment>>;

    fn environment(&self, id: i64) -> Response<'_, Option<Environment>>;

    /// Makes an environment. Portainer asks the host first; if that fails, the key stays on Portainer's disk. After
    /// [`PortainerError::TimedOut`] and after [`PortainerError::Refused`] with 500 the environment may exist.
    fn create<'a>(&'a self, new: &'a NewEnvironment, files: &'a TlsFiles) -> Response<'a, Environment>;

    /// Changes an environment. Portainer does not ask the host.
    fn change<'a>(&'a self, id: i64, change: &'a EnvironmentChange) -> Response<'a, Environment>;

    /// Replaces a file. The next snapshot uses it; Portainer's users do after the next [`PortainerServer::change`].
    fn upload<'a>(&'a self, id: i64, file: File, pem: &'a [u8]) -> Response<'a, ()>;

    /// Pings the host through Portainer's proxy, as its users reach it; fails with [`PortainerError::HostUnreachable`]
    /// if Portainer does not reach it.
    fn ping(&self, id: i64) -> Response<'_, ()>;

    /// Makes Portainer take a snapshot; afterwards the environment's status says whether the host answered.
    fn snapshot(&self, id: i64) -> Response<'_, ()>;

    /// Removes an environment, if there is one of that id.
    fn delete(&self, id: i64) -> Response<'_, ()>;
}

/// A client certificate and its key, PEM.
pub type ClientPem<'a> = (&'a [u8], &'a [u8]);

/// Reaches Portainer servers and Docker hosts.
pub trait Network: Send + Sync {
    /// A client of a Portainer, which sends nothing yet; its requests are counted in `metrics`.
    ///
    /// # Errors
    /// Where `access` or the credential cannot be parsed.
    fn portainer(
        &self,
        access: &Access,
        credential: ServerCredential,
        metrics: Arc<RequestMetrics>,
    ) -> Result<Arc<dyn PortainerServer>, AccessError>;

    /// Pings dockerd as Portainer will: with that client certificate, verified by `trust` (PEM) if there is any.
    fn ping_docker<'a>(
        &'a self,
        address: &'a DockerAddress,
        trust: Option<&'a [u8]>,
        client: ClientPem<'a>,
    ) -> BoxFuture<'a, Result<Pinged, PingError>>;
}

/// The network of this machine, as far as connections may be made in it.
#[derive(Clone, Debug, Default)]
pub struct MachineNetwork(pub Destinations);

impl Network for MachineNetwork {
    fn portainer(
        &self,
        access: &Access,
        credential: ServerCredential,
        metrics: Arc<RequestMetrics>,
    ) -> Result<Arc<dyn PortainerServer>, AccessError> {
        Ok(Arc::new(PortainerApi::with_metrics(access, &self.0, credential, metrics)?))
    }

    fn ping_docker<'a>(
        &'a self,
        address: &'a DockerAddress,
        trust: Option<&'a [u8]>,
        client: ClientPem<'a>,
    ) -> BoxFuture<'a, Result<Pinged, PingError>> {
        Box::pin(docker_ping(address, trust, client, &self.0))
    }
}
