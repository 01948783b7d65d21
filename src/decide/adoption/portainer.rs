//! A Portainer's environments in, manifests out: a DockerHostCert for each Docker host that Portainer reaches over TCP, and
//! a PortainerClient that adopts them by their addresses.

use super::{Adopted, FindingKind, UniqueNames, object, text_secret};
use crate::api::Kind;
use crate::decide::leaf::host_name::dns_name;
use crate::decide::registration::ServerSnapshot;
use crate::decide::registration::desired::MARK;
use crate::portainer::{DOCKER_API, Environment, same_address, too_old};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Portainer's group "Unassigned".
const UNASSIGNED: i64 = 1;
/// Docker's port for TLS.
const DOCKER_PORT: u16 = 2376;
/// Docker's port without TLS.
const PLAIN_PORT: u16 = 2375;
/// The label by which the PortainerClient selects the hosts.
const LABEL: &str = "portainer";

/// The user replaces this text by an API key.
pub const PLACEHOLDER: &str = "PUT-AN-API-KEY-OF-AN-ADMINISTRATOR-HERE";

/// The command's options.
#[derive(Clone, Debug)]
pub struct PortainerAdoption {
    /// Name for the PortainerClient.
    pub name: Option<String>,
    /// Name of the DockerCA that is to sign.
    pub authority: String,
    /// URL of the Portainer server.
    pub url: String,
    /// CA certificates (PEM) that verify its certificate; `None` for the system's.
    pub roots_pem: Option<String>,
    /// The name in its certificate.
    pub server_name: Option<String>,
    /// The API key, if it came from a file and so may be in a manifest.
    pub printed_key: Option<zeroize::Zeroizing<String>>,
}

/// Makes manifests of the server's environments.
pub fn adopt(snapshot: &ServerSnapshot, options: &PortainerAdoption) -> Adopted {
    let mut adopted = Adopted::default();
    let host = server_host(&options.url);
    let first = host.split('.').next().filter(|_| host.parse::<IpAddr>().is_err()).unwrap_or_default();
    let name = UniqueNames::default().take(&[options.name.as_deref().unwrap_or(first)], LABEL);
    server(&mut adopted, snapshot, options, &name);
    let mut names = UniqueNames::default();
    let mut taken: Vec<&Environment> = Vec::new();
    for environment in snapshot.environments.values() {
        if let Some(spec) = host_spec(&mut adopted, snapshot, options, environment, &taken) {
            print_host(&mut adopted, &mut names, environment, &name, spec);
            taken.push(environment);
        }
    }
    let client = json!({
        "caRef": { "name": options.authority },
        "commonName": common_name(&host, &name),
        "server": server_spec(options, &name),
        "hostSelector": { "matchLabels": { LABEL: name } },
        "adoption": "MatchingURL",
    });
    adopted.manifests.push(object(Kind::PortainerClient, &name, client));
    let text = "the DockerCA is not among these manifests: `dockseal adopt --openssl` makes one of the authority that the \
                hosts trust now; a new one needs its certificate on every host first";
    adopted.say(FindingKind::Note, &format!("DockerCA {}", options.authority), text);
    adopted.findings.sort_by_key(|word| word.kind);
    adopted
}

/// The host in a URL of HTTP.
fn server_host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    host_and_port(authority).map(|(host, _)| host).unwrap_or_default()
}

fn common_name(host: &str, name: &str) -> String {
    let fits = (1..=64).contains(&host.len());
    if fits { host.to_owned() } else { name.to_owned() }
}

fn credentials(name: &str) -> String {
    format!("{name}-credentials")
}

fn roots(name: &str) -> String {
    format!("{name}-server-ca")
}

/// Findings about the server itself, and its Secrets.
fn server(adopted: &mut Adopted, snapshot: &ServerSnapshot, options: &PortainerAdoption, name: &str) {
    if options.url.starts_with("http://") {
        let text = "the credential is sent without encryption: let Portainer serve HTTPS, and remove allowHTTP";
        adopted.say(FindingKind::Insecure, &options.url, text);
    }
    let text = match too_old(&snapshot.version, "29.0.0") {
        true => format!(
            "Portainer {}, which cannot talk to Docker 29: update it to 2.33.5, 2.36.0 or newer",
            snapshot.version
        ),
        false => format!("Portainer {}", snapshot.version),
    };
    adopted.say(FindingKind::Note, &options.url, text);
    let key = options.printed_key.as_ref().map_or(PLACEHOLDER, |key| key.as_str());
    adopted.manifests.push(text_secret(&credentials(name), "apiKey", key));
    if options.printed_key.is_none() {
        let text = format!("put an API key of an administrator where {PLACEHOLDER} stands");
        adopted.say(FindingKind::Note, &format!("Secret {}", credentials(name)), text);
    }
    if let Some(pem) = &options.roots_pem {
        adopted.manifests.push(text_secret(&roots(name), "ca.crt", pem));
    }
}

fn server_spec(options: &PortainerAdoption, name: &str) -> Value {
    let mut server = json!({ "url": options.url, "credentialsSecretRef": { "name": credentials(name) } });
    if options.url.starts_with("http://") {
        server["allowHTTP"] = true.into();
    }
    if options.roots_pem.is_some() {
        server["tls"]["caSecretRef"] = json!({ "name": roots(name), "key": "ca.crt" });
    }
    if let Some(server_name) = &options.server_name {
        server["tls"]["serverName"] = server_name.as_str().into();
    }
    server
}

/// The spec of an environment's host; `None`, with a finding, if Dockseal cannot manage it.
fn host_spec(
    adopted: &mut Adopted,
    snapshot: &ServerSnapshot,
    options: &PortainerAdoption,
    environment: &Environment,
    taken: &[&Environment],
) -> Option<Value> {
    let about = about(environment);
    let (host, port) = match address(snapshot, environment, taken) {
        Ok(address) => address,
        Err(text) => {
            adopted.say(FindingKind::LeftOut, &about, text);
            return None;
        }
    };
    transport(adopted, &about, environment, port);
    let mut spec = json!({ "caRef": { "name": options.authority } });
    match host.parse::<IpAddr>() {
        Ok(address) => spec["ipAddresses"] = vec![address.to_string()].into(),
        Err(_) => spec["hostname"] = host.as_str().into(),
    }
    // Docker speaks TLS on its own port for that.
    let port = port.filter(|port| *port != PLAIN_PORT).unwrap_or(DOCKER_PORT);
    if port != DOCKER_PORT {
        spec["address"] = json!({ "port": port });
    }
    spec["portainer"] = shown(adopted, &about, snapshot, environment);
    Some(spec)
}

fn about(environment: &Environment) -> String {
    format!("environment {} (number {})", environment.name, environment.id)
}

/// Host and port of a Docker API over TCP that no other environment has; else why it is left out.
fn address(
    snapshot: &ServerSnapshot,
    environment: &Environment,
    taken: &[&Environment],
) -> Result<(String, Option<u16>), String> {
    let kind = match environment.kind {
        DOCKER_API => None,
        2 => Some("it is reached by Portainer's agent, which has its own TLS"),
        4 | 7 => Some("it is reached by an edge agent, which dials Portainer itself"),
        3 => Some("it is Azure's"),
        5 | 6 => Some("it is a Kubernetes cluster"),
        _ => Some("its kind is unknown to Dockseal"),
    };
    if let Some(why) = kind {
        return Err(why.to_owned());
    }
    let url = environment.url.trim();
    if url.starts_with("unix://") || url.starts_with("npipe://") || url.starts_with('/') {
        return Err("it is a socket on Portainer's own machine, which cannot be reached over a network".to_owned());
    }
    if let Some(tag) = snapshot.tags_beginning(environment, MARK).next() {
        return Err(format!("it is Dockseal's already, by its tag {}", tag.name));
    }
    if let Some(twin) = taken.iter().find(|twin| same_address(&twin.url, url)) {
        return Err(format!("{} has the same address, {url}", about(twin)));
    }
    let (host, port) = host_and_port(url).ok_or_else(|| format!("its address, {url}, cannot be parsed"))?;
    match host.parse::<IpAddr>().is_ok() || (dns_name(&host, false).is_ok() && host.len() <= 64) {
        true => Ok((host, port)),
        false => Err(format!("a DockerHostCert cannot have its address, {url}")),
    }
}

/// Host and port of `tcp://HOST:PORT` and similar.
fn host_and_port(url: &str) -> Option<(String, Option<u16>)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    if let Some(rest) = rest.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':').map(str::parse).transpose().ok()?;
        return Some((host.to_owned(), port));
    }
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (rest, None),
    };
    let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#']);
    plain.then(|| (host.to_ascii_lowercase(), port))
}

/// Findings about how Portainer reaches it now.
fn transport(adopted: &mut Adopted, about: &str, environment: &Environment, port: Option<u16>) {
    let tls = environment.tls;
    if !tls.on {
        let text = "no TLS: anyone who reaches its port is root there";
        adopted.say(FindingKind::Insecure, about, text);
    } else if tls.skip_verify {
        let text = "TLS without verification of the host: any machine in between can pretend to be the host";
        adopted.say(FindingKind::Insecure, about, text);
    }
    if tls.on && !(tls.has_cert && tls.has_key) {
        adopted.say(
            FindingKind::Insecure,
            about,
            "no client certificate: the host accepts everyone who reaches its port",
        );
    }
    if port == Some(PLAIN_PORT) || port.is_none() {
        let text = format!(
            "its address, {}, is not the one of TLS, port {DOCKER_PORT}: it is taken over once the host serves TLS there \
             and Portainer has that address; until then Registered says NameConflict",
            environment.url
        );
        adopted.say(FindingKind::Note, about, text);
    }
}

/// `spec.portainer` of the DockerHostCert: the environment's name, group and tags.
fn shown(adopted: &mut Adopted, about: &str, snapshot: &ServerSnapshot, environment: &Environment) -> Value {
    let mut shown = json!({ "name": environment.name });
    if !environment.public_url.is_empty() {
        shown["publicURL"] = environment.public_url.as_str().into();
    }
    let group = snapshot.groups.iter().find(|group| group.id == environment.group_id && group.id != UNASSIGNED);
    if let Some(group) = group {
        match snapshot.groups.iter().filter(|other| other.name == group.name).count() {
            1 => shown["group"] = group.name.as_str().into(),
            _ => {
                let text = format!("its group, {}, is left out: Portainer has several groups of that name", group.name);
                adopted.say(FindingKind::Note, about, text);
            }
        }
    }
    let tags = snapshot.tags.iter().filter(|tag| environment.tag_ids.contains(&tag.id));
    let tags: Vec<&str> = tags.map(|tag| tag.name.as_str()).collect();
    if !tags.is_empty() {
        shown["tags"] = tags.into();
    }
    shown
}

fn print_host(adopted: &mut Adopted, names: &mut UniqueNames, environment: &Environment, client: &str, spec: Value) {
    let wanted = if environment.name == "ca" { "ca-host" } else { &environment.name };
    let name = names.take(&[wanted], "host");
    let mut host = object(Kind::DockerHostCert, &name, spec);
    host["metadata"]["labels"] = json!({ LABEL: client });
    if host["spec"]["portainer"]["name"] == name {
        let shown = host["spec"]["portainer"].as_object_mut().expect("it has a name");
        shown.remove("name"); // metadata.name is the default
        if shown.is_empty() {
            host["spec"].as_object_mut().expect("a spec").remove("portainer");
        }
    }
    adopted.manifests.push(host);
}
