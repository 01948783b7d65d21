//! Each call of a registration and of a rotation, and everything that can become of it: in the end there is exactly one
//! environment, and it is right. By the library, without a cluster; several registrars are so many processes.

use super::fixture::marks;
use crate::support::docker_like::{DockerLike, Material as Served};
use crate::support::portainer::{Fault, Portainer};
use anyhow::{Context, ensure};
use dockseal::adapters::Clock;
use dockseal::adapters::portainer::{Access, MachineNetwork, Network, RequestTimeouts, ServerCredential};
use dockseal::adapters::random::{make_key, serial};
use dockseal::api::registrar::Registrar as Who;
use dockseal::api::status::EnvironmentReport;
use dockseal::api::{Kind, ObjectRef};
use dockseal::decide::registration::desired::{RegistrationInput, marker};
use dockseal::decide::registration::{DesiredEnvironment, Proof};
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Authority, LeafProfile, new_authority};
use dockseal::pki::{KeyAlgorithm, PrivateKey, lifecycle, sha256_hex};
use dockseal::reconcile::registration::server::NameLocks;
use dockseal::reconcile::registration::{
    ClientPair, Connection, RegistrationOutcome, RegistrationRequest, RegistrationServer, register,
};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::jiff::SignedDuration;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A Docker host and its authority.
struct Site {
    authority: Authority,
    docker: DockerLike,
    stored: String,
}

impl Site {
    async fn new() -> anyhow::Result<Site> {
        let authority = authority().await?;
        let (chain, key, stored, _) = leaf(&authority, Usage::Server).await?;
        let clients = authority.certificate.to_pem();
        let docker = DockerLike::start(&Served { chain, key: key.to_pem().to_string(), clients })?;
        Ok(Site { authority, docker, stored })
    }

    /// A client certificate, and its serial number.
    async fn pair(&self) -> anyhow::Result<(ClientPair, String)> {
        let (certificate, key, fingerprint, serial) = leaf(&self.authority, Usage::Client).await?;
        let key = Zeroizing::new(key.to_pem().as_bytes().to_vec());
        Ok((ClientPair { certificate: certificate.into_bytes(), key, fingerprint }, serial))
    }

    fn request(&self, client: &str) -> RegistrationRequest {
        let address = self.docker.address();
        let desired = DesiredEnvironment {
            client: "fleet".into(),
            marker: marker(
                &ObjectRef::new(Kind::PortainerClient, "default", "fleet"),
                &self.authority.certificate.fingerprint(),
            ),
            name: "pandora".into(),
            host: address.ip().to_string(),
            port: address.port(),
            public_url: None,
            group: None,
            tags: vec!["home".into()],
            verify_server: true,
            adopt: false,
        };
        let bundle = self.authority.certificate.to_pem().into_bytes();
        let (client, stored) = (client.to_owned(), self.stored.clone());
        let input = RegistrationInput { client, bundle: sha256_hex(&bundle), stored, proof: Proof::Ask };
        let (namespace, previous) = ("default".into(), EnvironmentReport::default());
        RegistrationRequest { namespace, desired, input, bundle, previous, registrar: Who::Controller }
    }
}

/// A process that registers the host.
struct Registrar {
    server: RegistrationServer,
    request: RegistrationRequest,
    clock: Clock,
}

impl Registrar {
    fn new(site: &Site, portainer: &Portainer, pair: &ClientPair) -> anyhow::Result<Registrar> {
        Registrar::with(site, portainer, pair, HASTE)
    }

    /// Waits that long for an answer where it waits for no host.
    fn with(site: &Site, portainer: &Portainer, pair: &ClientPair, answer: Duration) -> anyhow::Result<Registrar> {
        let timeouts = RequestTimeouts { answer, host: HASTE, ..RequestTimeouts::default() };
        let access = Access { url: portainer.url(), roots: None, server_name: None, timeouts };
        let credential = ServerCredential::ApiKey(Zeroizing::new(portainer.admin_key().to_owned()));
        let way = Connection { access, credential, initialize: false, client_pair: pair.clone() };
        let network: Arc<dyn Network> = Arc::new(MachineNetwork::default());
        let server = RegistrationServer::new(&network, way, Arc::new(NameLocks::default()), Arc::default())?;
        Ok(Registrar { server, request: site.request(&pair.fingerprint), clock: Clock::system() })
    }

    /// A refresh if one is needed, and a sync: registered?
    async fn once(&mut self) -> bool {
        if !self.server.is_fresh(self.clock.now()) && self.server.refresh(&self.clock).await.is_err() {
            return false;
        }
        match register(&self.server, &self.request, &self.clock).await {
            RegistrationOutcome::Reported(report) => {
                self.request.previous = report;
                self.request.previous.is_registered()
            }
            RegistrationOutcome::RefreshFirst | RegistrationOutcome::Server(_) => {
                self.server.mark_stale();
                false
            }
        }
    }

    async fn until_registered(&mut self) -> anyhow::Result<()> {
        for _ in 0..8 {
            if self.once().await {
                return Ok(());
            }
        }
        anyhow::bail!("it is not registered after eight tries: {:?}", self.request.previous)
    }

    /// Another certificate is to be used from now on.
    fn take(&mut self, pair: &ClientPair) {
        self.request.input.client.clone_from(&pair.fingerprint);
        self.server.set_client_pair(pair.clone());
    }
}

/// Far more than an answer takes, and short enough to see what becomes of one that never comes.
const HASTE: Duration = Duration::from_secs(4);

/// What may become of a call. The last three are done without the caller's knowing.
const FAULTS: [Fault; 11] = [
    Fault::Status(401),
    Fault::Status(403),
    Fault::Status(409),
    Fault::Status(500),
    Fault::Status(303),
    Fault::Empty(502),
    Fault::Hang(Duration::from_secs(5)),
    Fault::Cut,
    Fault::LoseAnswer,
    Fault::CutAnswer,
    Fault::DelayAnswer(Duration::from_secs(5)),
];

/// A call, and how many like it come before.
type CallPosition = (&'static str, &'static str, usize);

const FIRST: [CallPosition; 11] = [
    ("GET", "/api/system/status", 0),
    ("GET", "/api/users/admin/check", 0),
    ("GET", "/api/users/me", 0),
    ("GET", "/api/endpoint_groups", 0),
    ("GET", "/api/tags", 0),
    ("GET", "/api/endpoints", 0),
    ("POST", "/api/tags", 0),
    ("POST", "/api/endpoints", 0),
    ("GET", "/api/endpoints", 1),
    ("GET", "/api/endpoints/*/docker/_ping", 0),
    ("POST", "/api/endpoints/*/snapshot", 0),
];

const ROTATION: [CallPosition; 6] = [
    ("POST", "/api/upload/tls/ca", 0),
    ("POST", "/api/upload/tls/cert", 0),
    ("POST", "/api/upload/tls/key", 0),
    ("PUT", "/api/endpoints/*", 0),
    ("GET", "/api/endpoints/*/docker/_ping", 0),
    ("POST", "/api/endpoints/*/snapshot", 0),
];

/// Every call with everything that may become of it.
fn table(calls: &'static [CallPosition]) -> impl Iterator<Item = (CallPosition, Fault)> {
    calls.iter().flat_map(|at| FAULTS.into_iter().map(move |fault| (*at, fault)))
}

fn inject(portainer: &Portainer, (method, path, before): CallPosition, fault: Fault) {
    (0..before).for_each(|_| portainer.inject(method, path, Fault::DelayAnswer(Duration::ZERO)));
    portainer.inject(method, path, fault);
}

/// Exactly one environment, ours, that is reached with that certificate; no key lies about.
async fn is_whole(site: &Site, portainer: &Portainer, pair: &ClientPair) -> anyhow::Result<()> {
    let environments = portainer.environments();
    ensure!(environments.len() == 1, "{environments:#?}");
    let environment = &environments[0];
    ensure!(environment.name == "pandora" && environment.url == site.docker.url(), "{environment:#?}");
    ensure!(environment.tls.on && !environment.tls.skip_verify && environment.status == 1, "{environment:#?}");
    ensure!(marks(portainer, environment).len() == 1 && environment.tags.len() == 2, "{environment:#?}");
    let certificate = portainer.tls_file(environment.id, "cert").context("a certificate")?;
    ensure!(certificate.as_bytes() == pair.certificate, "Portainer has another certificate");
    let leaked = portainer.tls_key_dirs();
    ensure!(leaked.is_empty(), "keys were left in {leaked:?}");
    super::fixture::info(portainer, environment.id).await
}

#[tokio::test]
async fn whatever_becomes_of_a_call_the_host_is_registered_once() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let (pair, _) = site.pair().await?;
    let (site, pair) = (&site, &pair);
    let cases = table(&FIRST).map(|(at, fault)| async move {
        let portainer = Portainer::start()?;
        inject(&portainer, at, fault);
        let mut registrar = Registrar::new(site, &portainer, pair)?;
        registrar.until_registered().await?;
        ensure!(portainer.faults_left() == 0, "it was never asked");
        is_whole(site, &portainer, pair).await?;
        // Another process, to which nothing was left, sees the same.
        Registrar::new(site, &portainer, pair)?.until_registered().await?;
        is_whole(site, &portainer, pair).await
    });
    all(cases, table(&FIRST)).await
}

#[tokio::test]
async fn whatever_becomes_of_a_call_a_rotation_ends() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let ((old, _), (new, _)) = (site.pair().await?, site.pair().await?);
    let (site, old, new) = (&site, &old, &new);
    let cases = table(&ROTATION).map(|(at, fault)| async move {
        let portainer = Portainer::start()?;
        let mut registrar = Registrar::new(site, &portainer, old)?;
        registrar.until_registered().await?;
        let id = portainer.environments()[0].id;
        inject(&portainer, at, fault);
        registrar.take(new);
        registrar.until_registered().await?;
        ensure!(portainer.faults_left() == 0, "it was never asked");
        ensure!(portainer.environments()[0].id == id, "it is another environment");
        is_whole(site, &portainer, new).await
    });
    all(cases, table(&ROTATION)).await
}

/// Several at a time; says in which it failed.
async fn all<C, F>(cases: C, table: impl Iterator<Item = (CallPosition, Fault)>) -> anyhow::Result<()>
where
    C: Iterator<Item = F>,
    F: Future<Output = anyhow::Result<()>>,
{
    let named = cases
        .zip(table)
        .map(|(case, (at, fault))| async move { case.await.with_context(|| format!("{fault:?} at {at:?}")) });
    futures::stream::iter(named).buffer_unordered(16).try_collect::<Vec<()>>().await.map(drop)
}

#[tokio::test]
async fn six_at_a_time_make_one_environment() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let (pair, _) = site.pair().await?;
    let mut twins = 0;
    for _ in 0..5 {
        let portainer = Portainer::start()?;
        let mut registrars =
            (0..6).map(|_| Registrar::new(&site, &portainer, &pair)).collect::<anyhow::Result<Vec<_>>>()?;
        let together = registrars.iter_mut().map(Registrar::until_registered);
        futures::future::try_join_all(together).await?;
        twins += portainer.calls().iter().filter(|call| call.method == "DELETE").count();
        // Whoever was first may have been told of one that another removed since: the next look tells.
        for registrar in &mut registrars {
            registrar.server.refresh(&registrar.clock).await.map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
            registrar.until_registered().await?;
        }
        is_whole(&site, &portainer, &pair).await?;
        let id = i64::try_from(portainer.environments()[0].id)?;
        ensure!(registrars.iter().all(|registrar| registrar.request.previous.id == Some(id)), "they do not agree");
    }
    ensure!(twins > 0, "they never met");
    Ok(())
}

#[tokio::test]
async fn an_environment_that_is_made_after_all_is_found() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let (pair, _) = site.pair().await?;
    let portainer = Portainer::start()?;
    portainer.set_patience(Duration::from_secs(60));
    // dockerd was asked and falls silent before Portainer asks it.
    portainer.inject("POST", "/api/tags", Fault::DelayAnswer(Duration::from_secs(5)));
    let mut registrar = Registrar::with(&site, &portainer, &pair, Duration::from_secs(60))?;
    let silence = async {
        super::fixture::until("no tag is made", || !portainer.tags().is_empty()).await?;
        site.docker.pause();
        anyhow::Ok(())
    };
    let (registered, silent) = tokio::join!(registrar.once(), silence);
    silent?;
    ensure!(!registered && portainer.environments().is_empty(), "nothing can be registered yet");
    ensure!(registrar.request.previous.reason == "EnvironmentUnreachable", "{:?}", registrar.request.previous);
    // Portainer still waits for it, and makes the environment as soon as it speaks: nobody was told of that.
    site.docker.resume();
    super::fixture::until("it is never made", || !portainer.environments().is_empty()).await?;
    let made: Vec<_> = portainer.environments().iter().map(|environment| environment.id).collect();
    ensure!(made.len() == 1, "Portainer made {made:?}");
    // The next create is refused for its name, and that is looked into: no other name, no second one, no complaint.
    ensure!(registrar.once().await, "it is not found: {:?}", registrar.request.previous);
    ensure!(portainer.environments().iter().map(|environment| environment.id).eq(made), "it is another one");
    let created =
        portainer.calls().iter().filter(|call| call.method == "POST" && call.path == "/api/endpoints").count();
    ensure!(created == 2, "{created} creates");
    is_whole(&site, &portainer, &pair).await
}

async fn key() -> PrivateKey {
    make_key(KeyAlgorithm::EcdsaP256)
}

/// An authority.
pub async fn authority() -> anyhow::Result<Authority> {
    let dates = lifecycle::dates(Clock::system().now(), SignedDuration::from_hours(48), None);
    Ok(new_authority(&DistinguishedName::of("Docker CA"), None, key().await, dates, serial())?)
}

/// Certificate, key, fingerprint and serial number.
pub async fn leaf(authority: &Authority, usage: Usage) -> anyhow::Result<(String, PrivateKey, String, String)> {
    let ip_addresses = if usage == Usage::Server { vec!["127.0.0.1".parse()?] } else { vec![] };
    let profile = LeafProfile { common_name: "pandora".into(), dns_names: vec![], ip_addresses, usage };
    let dates = lifecycle::dates(Clock::system().now(), SignedDuration::from_hours(24), None);
    let key = key().await;
    let certificate = authority.sign_leaf(&profile, &key, dates, serial())?;
    Ok((certificate.to_pem(), key, certificate.fingerprint(), certificate.serial.clone()))
}
