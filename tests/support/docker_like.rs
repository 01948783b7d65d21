//! A server that meets clients as `dockerd --tlsverify` does, in this process: it demands their certificates, and notes them.

use super::listening::{Listening, acceptor, listen, only_tls};
use dockseal::pki::Certificate;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A running server; dropped, it has ended.
pub struct DockerLike {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    listening: Mutex<Option<Listening>>,
}

/// What a daemon is started with, in PEM.
#[derive(Clone, Debug)]
pub struct Material {
    pub chain: String,
    pub key: String,
    /// Whose clients it serves.
    pub clients: String,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The serial number of the client's certificate, in hexadecimal digits.
    pub serial: String,
    pub method: String,
    pub path: String,
    /// Which of its addresses was dialled.
    pub at: SocketAddr,
    /// The number of the connection, from 1.
    pub connection: u64,
}

struct Shared {
    acceptor: Mutex<TlsAcceptor>,
    /// Of addresses that are hosts of their own.
    own: HashMap<IpAddr, TlsAcceptor>,
    paused: watch::Sender<bool>,
    version: Mutex<String>,
    served: Mutex<Vec<Served>>,
    connections: AtomicU64,
}

impl DockerLike {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(material: &Material) -> anyhow::Result<DockerLike> {
        DockerLike::start_on(&[([127, 0, 0, 1], 0).into()], material)
    }

    /// Starts one on those addresses; port 0 is a free one.
    pub fn start_on(addresses: &[SocketAddr], material: &Material) -> anyhow::Result<DockerLike> {
        DockerLike::with(addresses, material, HashMap::new())
    }

    /// Starts one on one port of `count` addresses, as so many hosts.
    pub fn start_many(count: u16, material: &Material) -> anyhow::Result<DockerLike> {
        let port = listen((many_ip(1), 0).into())?.local_addr()?.port();
        let addresses: Vec<SocketAddr> = (1..=count).map(|number| (many_ip(number), port).into()).collect();
        DockerLike::start_on(&addresses, material)
    }

    /// The same with what is its own for each of them.
    pub fn start_each(materials: &[Material]) -> anyhow::Result<DockerLike> {
        let port = listen((many_ip(1), 0).into())?.local_addr()?.port();
        let addresses = (1..).map(|number| (many_ip(number), port).into());
        let addresses: Vec<SocketAddr> = addresses.take(materials.len()).collect();
        let own = addresses.iter().zip(materials).map(|(address, material)| Ok((address.ip(), material.acceptor()?)));
        DockerLike::with(&addresses, &materials[0], own.collect::<anyhow::Result<_>>()?)
    }

    fn with(
        addresses: &[SocketAddr],
        material: &Material,
        own: HashMap<IpAddr, TlsAcceptor>,
    ) -> anyhow::Result<DockerLike> {
        let shared = Arc::new(Shared {
            acceptor: Mutex::new(material.acceptor()?),
            own,
            paused: watch::Sender::new(false),
            version: Mutex::new("27.0.0".into()),
            served: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        let mut docker = DockerLike { addresses: addresses.to_vec(), shared, listening: Mutex::default() };
        docker.addresses = docker.listen()?;
        Ok(docker)
    }

    /// Starts one on one port of `count` addresses, as so many hosts.
    pub fn start_as_one(count: u16, material: &Material) -> anyhow::Result<DockerLike> {
        let port = listen((many_ip(1), 0).into())?.local_addr()?.port();
        let addresses: Vec<SocketAddr> = (1..=count).map(|number| (many_ip(number), port).into()).collect();
        DockerLike::start_on(&addresses, material)
    }

    /// The first address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// `tcp://` and the first address.
    pub fn url(&self) -> String {
        format!("tcp://{}", self.address())
    }

    /// Starts it again with other files. Every connection is cut: a daemon takes new files only when it restarts.
    pub fn reload(&self, material: &Material) -> anyhow::Result<()> {
        *locked(&self.shared.acceptor) = material.acceptor()?;
        self.stop();
        self.go_on()
    }

    /// From now on connections are accepted, and nothing is ever answered, until `resume`.
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Answers what has waited, and what comes.
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// Ends it: connections are cut, and new ones refused.
    pub fn stop(&self) {
        drop(locked(&self.listening).take());
    }

    /// Listens again on the same addresses.
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.listen().map(drop)
    }

    /// What it says it is.
    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut locked(&self.shared.version));
    }

    /// Every request that it answered.
    pub fn served(&self) -> Vec<Served> {
        locked(&self.shared.served).clone()
    }

    /// The serial number of the client that asked last.
    pub fn last_serial(&self) -> Option<String> {
        locked(&self.shared.served).last().map(|served| served.serial.clone())
    }

    /// How many connections passed the handshake.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    fn listen(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let listeners = self.addresses.iter().map(|address| listen(*address)).collect::<anyhow::Result<Vec<_>>>()?;
        let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?)).collect();
        let shared = Arc::clone(&self.shared);
        let serve = move |stream| Arc::clone(&shared).welcome(stream);
        *locked(&self.listening) = Some(Listening::start(listeners, serve)?);
        addresses
    }
}

/// The addresses of `start_as_one`: 127.77.0.1 is the first.
pub fn many_ip(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    [127, 77, high, low].into()
}

impl Material {
    fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        acceptor(&self.chain, &self.key, Some(&self.clients))
    }
}

impl Shared {
    async fn welcome(self: Arc<Shared>, stream: TcpStream) {
        self.awake().await;
        let Ok(at) = stream.local_addr() else { return };
        let Some(stream) = only_tls(stream).await else { return };
        let acceptor = self.own.get(&at.ip()).cloned().unwrap_or_else(|| locked(&self.acceptor).clone());
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let Some(serial) = stream.get_ref().1.peer_certificates().and_then(|chain| serial(chain.first()?)) else {
            return;
        };
        let connection = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let service = service_fn(move |request| {
            let (shared, serial) = (Arc::clone(&self), serial.clone());
            async move { Ok::<_, Infallible>(shared.answer(&request, serial, at, connection).await) }
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(
        &self,
        request: &Request<Incoming>,
        serial: String,
        at: SocketAddr,
        connection: u64,
    ) -> Response<Full<Bytes>> {
        self.awake().await;
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.say(&path);
        locked(&self.served).push(Served { serial, method, path, at, connection });
        response
    }

    fn say(&self, path: &str) -> Response<Full<Bytes>> {
        let version = locked(&self.version).clone();
        let api = "1.47";
        let path = path
            .strip_prefix("/v1.")
            .and_then(|rest| rest.split_once('/'))
            .map_or(path.trim_start_matches('/'), |(_, rest)| rest);
        let (status, kind, body) = match path {
            "_ping" => (200, "text/plain; charset=utf-8", "OK".to_owned()),
            "info" => (200, "application/json", info(&version).to_string()),
            "version" => (200, "application/json", versions(&version, api).to_string()),
            "containers/json" | "images/json" | "networks" => (200, "application/json", "[]".to_owned()),
            "volumes" => (200, "application/json", json!({ "Volumes": [], "Warnings": null }).to_string()),
            _ => (404, "application/json", json!({ "message": "page not found" }).to_string()),
        };
        let response = Response::builder()
            .status(status)
            .header("content-type", kind)
            .header("api-version", api)
            .header("docker-experimental", "false")
            .header("ostype", "linux")
            .header("server", format!("Docker/{version} (linux)"));
        response.body(Full::from(body)).expect("well-formed headers")
    }

    async fn awake(&self) {
        // The sender lives as long as this.
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }
}

fn info(version: &str) -> Value {
    json!({ "ID": "docker-like", "Name": "docker-like", "ServerVersion": version, "NCPU": 2,
        "MemTotal": 4_294_967_296_u64, "Containers": 0, "Images": 0, "Swarm": { "LocalNodeState": "inactive" } })
}

fn versions(version: &str, api: &str) -> Value {
    let major: u64 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    let least = if major >= 29 { "1.44" } else { "1.24" };
    json!({ "Version": version, "ApiVersion": api, "MinAPIVersion": least, "Os": "linux", "Arch": "amd64" })
}

fn serial(der: &[u8]) -> Option<String> {
    Certificate::from_der(der).ok().map(|certificate| certificate.serial)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
