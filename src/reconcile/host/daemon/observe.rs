//! A Docker host as it is: units, files, sockets, and what dockerd answers to whom. It only reads and asks.

use super::StepError;
use crate::adapters::docker::probe::{self, PlainProbe, TlsProbe};
use crate::adapters::host::cert_dir::{CertDir, DirContents, Generation};
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::host::systemd::{Systemd, Unit};
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::decide::host::daemon_config::{DaemonFiles, ExistingConfig, ca_of_flags};
use crate::decide::host::daemon_plan::paths;
use crate::decide::host::observed::{ListenerState, ObservedDaemon, WantedFiles};
use crate::decide::host::step_request::{StepRequest, listen_addresses};
use crate::docker::daemon_json::DaemonJson;
use crate::docker::unit;
use crate::docker::unit::parse::{self, values};
use crate::pki::Certificate;
use crate::pki::certificate::all_from_pem;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub use crate::decide::host::daemon_config::DAEMON_JSON;
/// dockerd's unit.
pub const SERVICE: &str = "docker.service";
/// The unit of its unix socket.
pub const SOCKET: &str = "docker.socket";
/// Ours.
pub const OUR_SOCKET: &str = "dockseal-docker.socket";
/// dockerd says that it is ready within this time of its start, or hangs.
pub const START_TIMEOUT: Duration = Duration::from_secs(90);
/// How often it is looked whether it starts.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Generations whose client certificate is tried.
const MAX_TRIED: usize = 4;

/// Looks at everything.
pub async fn observe(order: &StepRequest, systemd: &Systemd) -> Result<ObservedDaemon, StepError> {
    let (service, socket) = (systemd.unit(SERVICE).await?, systemd.unit(SOCKET).await?);
    supported(systemd, &service, &socket).await?;
    if service.stale || socket.stale {
        systemd.reload().await?;
    }
    let seen = seen(order)?;
    let found = found(systemd).await?;
    let files = order.files.and_then(|number| files_of(&seen, number));
    let unix = found.streams.iter().find(|stream| stream.starts_with('/')).cloned();
    let unix = unix.unwrap_or_else(|| "/run/docker.sock".into());
    let running = matches!(service.active.as_str(), "active" | "reloading");
    let listeners = listeners(order, &seen).await;
    let (listeners, ends): (Vec<ListenerState>, Vec<_>) = listeners.into_iter().unzip();
    let loaded = listeners.iter().find_map(|listener| listener.accepts);
    Ok(ObservedDaemon {
        trusted_before: trusted_before(&found, order),
        written: written()?,
        running,
        failed: matches!(service.active.as_str(), "failed" | "activating"), // see settled()
        stale: systemd.unit(OUR_SOCKET).await?.stale,
        guarded: system_files::is_there(unit::BINARY),
        engine: if running { probe::engine(Path::new(&unix)).await.ok() } else { None },
        exposed: exposed(systemd).await?,
        current: seen.current,
        loaded: loaded.and_then(|number| files_of(&seen, number)).map(|files| files.anchors),
        listeners,
        files,
        served_until: ends.into_iter().flatten().min(),
        kubelet: systemd.unit("cri-docker.service").await?.active == "active",
        unfinished: system_files::recall::<super::apply::Journal>(super::apply::JOURNAL)?.map(|journal| journal.stage),
        found,
    })
}

/// Waits until dockerd runs or does not: one that does not start is tried a few times by systemd.
pub async fn settled(systemd: &Systemd) -> Result<(), StepError> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline && systemd.unit(SERVICE).await?.active == "activating" {
        sleep(CHECK_INTERVAL).await;
    }
    Ok(())
}

async fn supported(systemd: &Systemd, service: &Unit, socket: &Unit) -> Result<(), StepError> {
    let generated = service.fragment.starts_with("/run/systemd/generator");
    if service.loaded && socket.loaded && !generated {
        return Ok(());
    }
    let known = [
        ("snap.docker.dockerd.service", "the snap package of Docker"),
        ("pkg-ContainerManager-dockerd.service", "Synology's Container Manager"),
        ("podman.socket", "Podman"),
    ];
    let mut what = match service.loaded {
        true if generated => "a docker.service that systemd made of a script in /etc/init.d".to_owned(),
        true => "docker.service without docker.socket".to_owned(),
        false => "no docker.service (rootless Docker, Docker Desktop, or none at all)".to_owned(),
    };
    for (unit, name) in known {
        if systemd.unit(unit).await?.loaded {
            what = name.to_owned();
        }
    }
    Err(StepError::Unsupported(format!(
        "this host has {what}; mode: Daemon works with systemd's docker.service and docker.socket alone, and nothing \
         was touched: use mode: Files, and point dockerd to the files yourself"
    )))
}

fn seen(order: &StepRequest) -> Result<DirContents, StepError> {
    let directory = Path::new(&order.host.delivery.directory);
    let roots = [directory.to_owned()];
    Ok(match CertDir::find(&roots, directory)? {
        Some(directory) => directory.contents(&order.host.name)?,
        None => DirContents::default(),
    })
}

fn files_of(seen: &DirContents, number: u64) -> Option<WantedFiles> {
    let generation = seen.generations.iter().find(|generation| generation.number == number)?;
    let leaf = Certificate::from_pem(generation.cert.as_ref()?).ok()?.fingerprint();
    let probe = generation.probe_cert.as_ref().and_then(|pem| Certificate::from_pem(pem).ok());
    let mut anchors = all_from_pem(generation.ca.as_ref()?).ok()?;
    anchors.retain(|anchor| probe.as_ref().is_none_or(|probe| probe.der != anchor.der));
    Some(WantedFiles { generation: number, leaf, anchors })
}

/// Text of a unit's files in systemd's order, ours left out.
fn texts(unit: &Unit) -> Result<Vec<String>, StepError> {
    let files = [&unit.fragment].into_iter().chain(&unit.drop_ins);
    let others =
        files.filter(|file| !file.is_empty() && *file != unit::DROP_IN && *file != unit::DOCKER_SOCKET_DROP_IN);
    others.map(|file| Ok(text(file)?.unwrap_or_default())).collect()
}

fn text(path: &str) -> Result<Option<String>, StepError> {
    Ok(bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn bytes(path: &str) -> Result<Option<Vec<u8>>, StepError> {
    let entry = system_files::read(&system_files::behind_links(path.as_ref())?)?;
    Ok(entry.bytes().map(<[u8]>::to_vec))
}

/// Drop-ins that systemd reads behind ours, and that set what it sets.
fn overruling(drop_ins: &[String]) -> Result<Vec<String>, StepError> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for path in drop_ins.iter().filter(|path| name(path) > name(unit::DROP_IN)) {
        let text = text(path)?.unwrap_or_default();
        let sets = |key| parse::mentions(&text, "Service", key);
        if ["ExecStart", "ExecStartPre", "ExecStartPost"].into_iter().any(sets) {
            found.push(path.clone());
        }
    }
    Ok(found)
}

async fn found(systemd: &Systemd) -> Result<ExistingConfig, StepError> {
    let service = systemd.unit(SERVICE).await?;
    let overruling = overruling(&service.drop_ins)?;
    let service = texts(&service)?;
    let service: Vec<&str> = service.iter().map(String::as_str).collect();
    let socket = texts(&systemd.unit(SOCKET).await?)?;
    let socket: Vec<&str> = socket.iter().map(String::as_str).collect();
    let exec = values(&service, "Service", "ExecStart").pop().unwrap_or_default();
    let mut variables = BTreeMap::new();
    for file in systemd.environment_files(SERVICE).await? {
        let text = text(&file)?.unwrap_or_default();
        variables
            .extend(unit::variables(&exec).filter_map(|name| Some((name.to_owned(), unit::variable(&text, name)?))));
    }
    Ok(ExistingConfig {
        exec,
        overruling,
        variables,
        streams: values(&socket, "Socket", "ListenStream"),
        daemon_json: bytes(DAEMON_JSON)?,
    })
}

fn written() -> Result<DaemonFiles, StepError> {
    let own = |path: &str| text(path);
    Ok(DaemonFiles {
        daemon_json: bytes(DAEMON_JSON)?,
        drop_in: own(unit::DROP_IN)?,
        socket: own(unit::SOCKET_UNIT)?,
        docker_socket: own(unit::DOCKER_SOCKET_DROP_IN)?,
        wanted: system_files::read(unit::SOCKET_WANT.as_ref())? != PathEntry::Absent,
    })
}

/// Listeners of dockerd that answer Docker's API to somebody without a certificate.
async fn exposed(systemd: &Systemd) -> Result<Vec<SocketAddr>, StepError> {
    let Some(pid) = systemd.main_pid(SERVICE).await? else { return Ok(Vec::new()) };
    let mut exposed = Vec::new();
    for address in system_files::listeners(pid).unwrap_or_default() {
        for ip in reachable(address.ip()) {
            let dialled = SocketAddr::new(ip, address.port());
            let plain = probe::plain(dialled).await == PlainProbe::Answered;
            if plain || matches!(probe::tls(dialled, None).await, TlsProbe::Answered(_)) {
                exposed.push(address);
                break;
            }
        }
    }
    Ok(exposed)
}

fn reachable(ip: IpAddr) -> Vec<IpAddr> {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        ip => vec![ip],
    }
}

/// Each wanted address, with the end of the certificate that it serves.
async fn listeners(
    order: &StepRequest,
    seen: &DirContents,
) -> Vec<(ListenerState, Option<k8s_openapi::jiff::Timestamp>)> {
    let first = order.files.into_iter().chain(seen.current);
    let mut numbers: Vec<u64> = first.collect();
    numbers.extend(seen.generations.iter().rev().map(|generation| generation.number));
    let mut identities: Vec<(u64, ClientKeyPair)> = Vec::new();
    for number in numbers {
        let generation = seen.generations.iter().find(|generation| generation.number == number);
        let known = identities.iter().any(|(known, _)| *known == number);
        identities.extend(
            generation
                .filter(|_| !known && identities.len() < MAX_TRIED)
                .and_then(Generation::identity)
                .map(|found| (number, found)),
        );
    }
    let mut listeners = Vec::new();
    for listen in listen_addresses(&order.host).unwrap_or_default() {
        listeners.push(ask(listen.dial(), &identities).await);
    }
    listeners
}

async fn ask(
    address: SocketAddr,
    identities: &[(u64, ClientKeyPair)],
) -> (ListenerState, Option<k8s_openapi::jiff::Timestamp>) {
    let mut listener =
        ListenerState { address, absent: !probe::is_local(address.ip()), leaf: None, accepts: None, error: None };
    let mut end = None;
    let strangers = [None].into_iter().filter(|_| identities.is_empty());
    for identity in identities.iter().map(Some).chain(strangers) {
        let answer = probe::tls(address, identity.map(|(_, identity)| identity)).await;
        let leaf = answer.leaf().and_then(|der| Certificate::from_der(der).ok());
        end = leaf.as_ref().map(|leaf| leaf.not_after).or(end);
        listener.leaf = leaf.map(|leaf| leaf.fingerprint()).or(listener.leaf);
        match answer {
            TlsProbe::Closed(why) => {
                listener.error = Some(why);
                break;
            }
            TlsProbe::Refused(_, why) => listener.error = Some(why),
            TlsProbe::Answered(_) => {
                listener.accepts = identity.map(|(number, _)| *number);
                break;
            }
        }
    }
    (listener, end)
}

/// Certificates in the CA file that others had dockerd use.
fn trusted_before(found: &ExistingConfig, order: &StepRequest) -> Vec<Certificate> {
    let json = DaemonJson::parse(found.daemon_json.as_deref().unwrap_or_default()).ok();
    let named = json.and_then(|json| json.tls().tlscacert);
    let files = named.into_iter().chain(ca_of_flags(found)).filter(|file| *file != paths(order).ca);
    files
        .flat_map(|file| {
            text(&file).ok().flatten().and_then(|pem| all_from_pem(pem.as_bytes()).ok()).unwrap_or_default()
        })
        .collect()
}
