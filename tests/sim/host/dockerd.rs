//! dockerd: what it reads when it starts, when it does not start, and what it answers to whom.

use super::machine::Machine;
use dockseal::adapters::docker::probe::TlsProbe;
use dockseal::adapters::host::procfs::ProcessFacts;
use dockseal::adapters::net::tls_client::ClientKeyPair;
use dockseal::docker::authority_proof::AuthorityProof;
use dockseal::docker::daemon_json::DaemonJson;
use dockseal::docker::engine::Engine;
use dockseal::docker::exposure::{Exposure, Stranger};
use dockseal::docker::listen::{DockerHostVariable, Listen, docker_host};
use dockseal::docker::unit::{ExecLine, SOCKET, SOCKET_NAME};
use dockseal::pki::{Certificate, PrivateKey};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

const CONFIG: &str = "/etc/docker/daemon.json";

/// A dockerd that runs.
#[derive(Clone, Debug)]
pub struct Dockerd {
    /// Its unix sockets.
    pub unix: Vec<String>,
    /// Its TCP listeners.
    pub tcp: Vec<SocketAddr>,
    /// What it loaded for TLS; None: it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// live-restore is on.
    pub live_restore: bool,
    /// What it was started with, and where, and when.
    pub process: ProcessFacts,
    /// The moment of its start.
    pub started: i64,
}

/// What dockerd loaded for TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate that it serves.
    pub leaf: Certificate,
    /// Whose clients it admits; None: everybody.
    pub anchors: Option<Vec<Certificate>>,
}

impl Machine {
    /// What dockerd would be, started with that command line.
    pub(super) fn start_dockerd(&self, exec: &ExecLine) -> Result<Dockerd, String> {
        let path = exec.config_file().unwrap_or_else(|| CONFIG.to_owned());
        let text = self.bytes(path.as_ref());
        let json = DaemonJson::parse(text.as_deref().unwrap_or_default()).map_err(|error| error.to_string())?;
        let said = |name: &str| exec.argv().iter().any(|word| word.split('=').next() == Some(&*format!("--{name}")));
        let twice = exec
            .tls_flags()
            .into_iter()
            .map(|flag| flag.name)
            .chain(["live-restore"].into_iter().filter(|name| said(name)));
        if let Some(name) = twice.into_iter().find(|name| json.mentions(name)) {
            return Err(format!(
                "the following directives are specified both as a flag and in the configuration file: {name}"
            ));
        }
        let hosts = match (exec.listeners(), json.hosts()) {
            (flags, Some(_)) if !flags.is_empty() => {
                return Err("hosts is specified both as a flag and in the configuration file".into());
            }
            (flags, None) if !flags.is_empty() => flags,
            (_, hosts) => hosts.unwrap_or_else(|| vec![String::new()]),
        };
        let tls = self.load_tls(exec, &json)?;
        if let Some(tls) = &tls
            && self.refused_leaf.as_ref() == Some(&tls.leaf.fingerprint())
        {
            return Err("failed to like that certificate".into());
        }
        let (unix, tcp) = self.listen(&hosts)?;
        let live_restore = json.live_restore() == Some(true) || said("live-restore");
        let program = PathBuf::from(exec.program());
        let process = ProcessFacts {
            arguments: [vec![exec.program().to_owned()], exec.arguments()].concat(),
            program: if self.script(&program).is_some() { "/usr/sbin/dockerd".into() } else { program },
            environment: self.environment().iter().map(|(name, value)| format!("{name}={value}")).collect(),
            directory: self.directory(),
            user: 0,
        };
        Ok(Dockerd { unix, tcp, tls, live_restore, process, started: self.moment })
    }

    fn load_tls(&self, exec: &ExecLine, json: &DaemonJson) -> Result<Option<Tls>, String> {
        let flags = exec.tls_flags();
        let flag = |name: &str| flags.iter().rfind(|flag| flag.name == name);
        let switch = |name: &str| flag(name).map(|flag| flag.value.as_deref() != Some("false"));
        let environment = self.environment();
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let home = set("HOME").cloned().unwrap_or_else(|| "/root".to_owned());
        let config = set("DOCKER_CONFIG").cloned().unwrap_or_else(|| format!("{home}/.docker"));
        let directory = set("DOCKER_CERT_PATH").cloned().unwrap_or(config);
        let by_flags = flag("tlsverify").is_some() || switch("tls") == Some(true) || set("DOCKER_TLS_VERIFY").is_some();
        let file = |name: &str, known: Option<String>, default: &str| match by_flags {
            true => {
                let named = flag(name).and_then(|flag| flag.value.clone()).or(known);
                named.unwrap_or_else(|| format!("{directory}/{default}"))
            }
            false => known.unwrap_or_default(),
        };
        let settings = json.tls();
        let (verify, tls) = (switch("tlsverify").or(settings.tlsverify), switch("tls").or(settings.tls));
        if verify.is_none() && tls != Some(true) {
            return Ok(None);
        }
        let read = |path: String| {
            self.bytes(&self.directory().join(&path)).ok_or(format!("failed to load {path}: no such file"))
        };
        let certificate = read(file("tlscert", settings.tlscert, "cert.pem"))?;
        let key = read(file("tlskey", settings.tlskey, "key.pem"))?;
        let leaf = Certificate::from_pem(&certificate).map_err(|error| error.to_string())?;
        let key = PrivateKey::from_pem(&key, None).map_err(|error| error.to_string())?;
        if key.public_der() != leaf.public_key {
            return Err("failed to load X509 key pair: private key does not match public key".into());
        }
        let anchors = match verify.or(tls) == Some(true) {
            true => {
                let file = file("tlscacert", settings.tlscacert, "ca.pem");
                if file.is_empty() {
                    return Ok(Some(Tls { leaf, anchors: Some(Vec::new()) })); // the system's, which are not simulated
                }
                let bytes = read(file)?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let blocks = text.split_inclusive("-----END CERTIFICATE-----"); // Go passes over those that are damaged
                let found: Vec<Certificate> =
                    blocks.filter_map(|block| Certificate::from_pem(block.as_bytes()).ok()).collect();
                if found.is_empty() {
                    return Err("failed to append certificates from PEM file".into());
                }
                Some(found)
            }
            false => None,
        };
        Ok(Some(Tls { leaf, anchors }))
    }

    /// Its unix sockets and TCP listeners.
    fn listen(&self, hosts: &[String]) -> Result<(Vec<String>, Vec<SocketAddr>), String> {
        let handed = [SOCKET, SOCKET_NAME].iter().filter_map(|name| self.streams.get(*name)).flatten();
        let handed: Vec<&String> = handed.collect();
        let bound: Vec<SocketAddr> = handed.iter().filter_map(|stream| address(stream)).collect();
        let (mut unix, mut tcp) = (Vec::new(), Vec::new());
        for host in hosts {
            match docker_host(host, false) {
                DockerHostVariable::Fd(_) if handed.is_empty() => {
                    return Err("failed to load listeners: no sockets found via socket activation".into());
                }
                DockerHostVariable::Fd(_) => {
                    unix.extend(handed.iter().filter(|stream| stream.starts_with('/')).map(|stream| (*stream).clone()));
                    tcp.extend(&bound);
                }
                DockerHostVariable::Unix(path) => unix.push(path),
                DockerHostVariable::Tcp { host, port } => {
                    let ip = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                    let address = SocketAddr::new(ip, port);
                    if bound.iter().any(|other| overlap(*other, address)) {
                        return Err(format!("failed to load listeners: listen tcp {address}: address already in use"));
                    }
                    tcp.push(address);
                }
                DockerHostVariable::Other(text) => return Err(format!("failed to read {text}")),
            }
        }
        Ok((unix, tcp))
    }

    pub(super) fn validate(&self, command: &[String]) -> Option<String> {
        let line = ExecLine::parse(&command.join(" ")).expect("a command line");
        let mut copy = self.clone();
        (copy.refused_leaf, copy.streams) = (None, [(SOCKET.to_owned(), vec!["/run/docker.sock".to_owned()])].into());
        copy.start_dockerd(&line).err()
    }

    /// SIGHUP.
    pub(super) fn hang_up(&mut self) -> Result<(), String> {
        let json = self.bytes(CONFIG.as_ref()).and_then(|text| DaemonJson::parse(&text).ok());
        let on = json.and_then(|json| json.live_restore()) == Some(true);
        self.change("signal");
        let Some(dockerd) = &mut self.dockerd else { return Err("it does not run".into()) };
        dockerd.live_restore |= on;
        Ok(())
    }

    pub(super) fn engine(&self, socket: &Path) -> Option<Engine> {
        let here = |path: &String| path.replace("/var/run/", "/run/") == socket.display().to_string();
        let dockerd = self.dockerd.as_ref().filter(|dockerd| dockerd.unix.iter().any(here))?;
        Some(Engine { live_restore: dockerd.live_restore, swarm: false, running: 3 })
    }

    pub(super) fn tcp_listeners(&self) -> Vec<SocketAddr> {
        self.dockerd.iter().flat_map(|dockerd| dockerd.tcp.clone()).collect()
    }

    /// Listeners that answer without a client certificate.
    pub fn exposed(&self) -> BTreeSet<SocketAddr> {
        let closed = |dockerd: &Dockerd| dockerd.tls.as_ref().is_some_and(|tls| tls.anchors.is_some());
        let open = self.dockerd.iter().filter(|dockerd| !closed(dockerd));
        open.flat_map(|dockerd| dockerd.tcp.clone()).collect()
    }

    fn at(&self, address: SocketAddr) -> Option<&Dockerd> {
        self.dockerd.as_ref().filter(|dockerd| dockerd.tcp.iter().any(|there| overlap(*there, address)))
    }

    /// Whether it lets strangers in there.
    pub fn exposure(&self, address: SocketAddr) -> Exposure {
        match self.at(address).map(|dockerd| &dockerd.tls) {
            None => Exposure::Unreachable("connection refused".into()),
            Some(None) => Exposure::Open(Stranger::PlainHttp),
            Some(Some(Tls { anchors: None, .. })) => Exposure::Open(Stranger::NoCertificate),
            Some(Some(_)) => Exposure::Closed,
        }
    }

    /// Whether it accepts that client certificate, whose key nobody has.
    pub(super) fn authority_proof(&self, address: SocketAddr, leaf: &Certificate) -> AuthorityProof {
        let tls = self.at(address).and_then(|dockerd| dockerd.tls.as_ref());
        let refused = |anchor: &&Certificate| self.refused_authority.as_ref() == Some(&anchor.key_fingerprint());
        match tls.and_then(|tls| tls.anchors.as_ref()) {
            None => AuthorityProof::Unknown("it looks at no certificate".into()),
            Some(anchors) => match anchors.iter().any(|anchor| !refused(&anchor) && leaf.is_issued_by(anchor)) {
                true => AuthorityProof::Trusted,
                false => AuthorityProof::NotTrusted("alert UnknownCA".into()),
            },
        }
    }

    /// With a client certificate, the one who asks has its key.
    pub fn probe_tls(&self, address: SocketAddr, identity: Option<&ClientKeyPair>) -> TlsProbe {
        let Some(dockerd) = self.at(address) else { return TlsProbe::Closed("connection refused".into()) };
        let Some(tls) = &dockerd.tls else { return TlsProbe::Refused(None, "it speaks no TLS".into()) };
        let client = identity.and_then(|identity| Certificate::from_pem(&identity.cert).ok());
        let admits = |client: &Certificate| {
            let anchors = tls.anchors.iter().flatten();
            anchors.into_iter().any(|anchor| anchor.der == client.der || client.is_issued_by(anchor))
        };
        match tls.anchors.is_none() || client.as_ref().is_some_and(admits) {
            true => TlsProbe::Answered(tls.leaf.der.clone()),
            false => TlsProbe::Refused(Some(tls.leaf.der.clone()), "bad certificate".into()),
        }
    }
}

/// A stream of a socket unit, where it is TCP.
fn address(stream: &str) -> Option<SocketAddr> {
    match stream.parse::<u16>() {
        Ok(port) => Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        Err(_) => stream.parse().ok(),
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let listen = |address: SocketAddr| Listen::parse(&address.to_string()).expect("an address");
    let (one, other) = (listen(one), listen(other));
    one.covers(&other) || other.covers(&one)
}
