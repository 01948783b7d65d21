//! Certificates of hosts and clients in, the objects that will issue new ones out: names and addresses, no keys.

use super::authorities::{AdoptedAuthority, Adoption};
use super::weaknesses;
use crate::api::Kind;
use crate::decide::adoption::FindingKind;
use crate::decide::adoption::object;
use crate::decide::leaf::host_name::dns_name;
use crate::pki::certificate::{CLIENT_AUTH, SERVER_AUTH};
use crate::pki::{Certificate, name};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Adds a DockerHostCert for each host and a DockerClientCert for each client.
pub(super) fn adopt(adoption: &mut Adoption<'_>, adopted: &[AdoptedAuthority<'_>]) {
    let imported = adoption.imported;
    let is_leaf = |certificate: &Certificate| !certificate.is_ca && !certificate.is_issued_by(certificate);
    let mut leaves: Vec<_> = imported.certificates.iter().filter(|(_, certificate)| is_leaf(certificate)).collect();
    // Of several certificates with the same names, the newest counts.
    leaves.sort_by_key(|(_, certificate)| std::cmp::Reverse(certificate.not_after));
    let mut seen: Vec<(bool, BTreeSet<String>)> = Vec::new();
    for (file, certificate) in leaves {
        let path = adoption.path(*file);
        let is_host = is_host(certificate, path);
        let weaknesses = match is_host {
            true => weaknesses::of_host(certificate, adoption.now),
            false => weaknesses::of_client(certificate, adoption.now),
        };
        adoption.report_weaknesses(*file, weaknesses);
        let issuer = adopted.iter().find(|one| one.certificates.iter().any(|issuer| certificate.is_issued_by(issuer)));
        let Some(issuer) = issuer else {
            let text = format!("it is signed by {}, which is not adopted", name::display(&certificate.issuer));
            adoption.adopted.say(FindingKind::LeftOut, path, text);
            continue;
        };
        let identity = (is_host, identity(certificate));
        if seen.contains(&identity) {
            adoption.adopted.say(FindingKind::LeftOut, path, "there is a newer certificate of the same names");
            continue;
        }
        match is_host {
            true => host(adoption, path, certificate, &issuer.name),
            false => client(adoption, path, certificate, &issuer.name),
        }
        seen.push(identity);
    }
    shared_keys(adoption);
    extfiles(adoption);
}

/// What it is for: by its extended key usage, else by its names and its file's name.
fn is_host(certificate: &Certificate, path: &str) -> bool {
    let named = !certificate.dns_names.is_empty() || !certificate.ip_addresses.is_empty();
    match &certificate.extended_usage {
        Some(usages) if usages.contains(&SERVER_AUTH) && usages.contains(&CLIENT_AUTH) => named,
        Some(usages) if usages.contains(&CLIENT_AUTH) => false,
        Some(usages) if usages.contains(&SERVER_AUTH) => true,
        _ => named || path.rsplit('/').next().is_some_and(|file| file.contains("server") || file.contains("host")),
    }
}

fn identity(certificate: &Certificate) -> BTreeSet<String> {
    let addresses = certificate.ip_addresses.iter().map(ToString::to_string);
    certificate.dns_names.iter().chain(&certificate.common_name).cloned().chain(addresses).collect()
}

fn host(adoption: &mut Adoption<'_>, path: &str, certificate: &Certificate, authority: &str) {
    let common_name = certificate.common_name.iter();
    let mut names: Vec<String> = Vec::new();
    for name in common_name.clone().chain(&certificate.dns_names) {
        match dns_name(name, true) {
            Ok(name) if !names.contains(&name) => names.push(name),
            Ok(_) => {}
            Err(_) if name.parse::<IpAddr>().is_ok() => {}
            Err(why) => adoption.adopted.say(FindingKind::Note, path, format!("the name is left out: {why}")),
        }
    }
    let mut addresses = certificate.ip_addresses.clone();
    addresses.extend(common_name.filter_map(|name| name.parse::<IpAddr>().ok()));
    addresses.dedup();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let hostname = names.iter().find(|name| !name.starts_with("*.") && name.len() <= 64).cloned();
    if hostname.is_some() || addresses.iter().any(|address| *address != loopback) {
        addresses.retain(|address| *address != loopback); // includeLoopback adds it
    }
    if hostname.is_none() && addresses.is_empty() {
        adoption.adopted.say(
            FindingKind::LeftOut,
            path,
            "it has no name that a DockerHostCert may have: write the DockerHostCert by hand",
        );
        return;
    }
    names.retain(|name| Some(name) != hostname.as_ref());
    let mut spec = json!({ "caRef": { "name": authority } });
    if let Some(hostname) = &hostname {
        spec["hostname"] = hostname.as_str().into();
    }
    if !names.is_empty() {
        spec["dnsNames"] = names.into();
    }
    if !addresses.is_empty() {
        spec["ipAddresses"] = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().into();
    }
    let name = host_name(adoption, hostname.as_deref(), addresses.first());
    adoption.adopted.manifests.push(object(Kind::DockerHostCert, &name, spec));
}

/// The first part of its hostname, the whole of it, or its address.
fn host_name(adoption: &mut Adoption<'_>, hostname: Option<&str>, address: Option<&IpAddr>) -> String {
    let address = address.map(|address| format!("host-{address}")).unwrap_or_default();
    let whole = hostname.unwrap_or(&address);
    let first = whole.split('.').next().filter(|first| hostname.is_some() && *first != "ca").unwrap_or(whole);
    let fallback = format!("{whole}-host");
    let candidates = if whole == "ca" { [fallback.as_str(), &fallback] } else { [first, whole] };
    adoption.names.take(&candidates, "host")
}

fn client(adoption: &mut Adoption<'_>, path: &str, certificate: &Certificate, authority: &str) {
    let Some(common_name) = certificate.common_name.as_deref().filter(|name| (1..=64).contains(&name.len())) else {
        adoption.adopted.say(FindingKind::LeftOut, path, "it has no common name of at most 64 bytes");
        return;
    };
    let spec: Value = json!({ "caRef": { "name": authority }, "commonName": common_name });
    let name = adoption.names.take(&[common_name], "client");
    adoption.adopted.manifests.push(object(Kind::DockerClientCert, &name, spec));
}

/// Reports a key that two certificates share: a thief gets both.
fn shared_keys(adoption: &mut Adoption<'_>) {
    let imported = adoption.imported;
    for (at, (file, certificate)) in imported.certificates.iter().enumerate() {
        let before = imported.certificates[..at]
            .iter()
            .find(|(_, other)| other.public_key == certificate.public_key && other.subject != certificate.subject);
        if let Some((other, _)) = before {
            let text = format!("it has the same private key as {}", adoption.path(*other));
            let path = adoption.path(*file);
            adoption.adopted.say(FindingKind::Insecure, path, text);
        }
    }
}

/// Reports names in an extfile that no certificate has: the file was edited after the last signing.
fn extfiles(adoption: &mut Adoption<'_>) {
    let known: BTreeSet<String> =
        adoption.imported.certificates.iter().flat_map(|(_, certificate)| identity(certificate)).collect();
    for file in adoption.files.iter().filter(|file| file.path.ends_with(".cnf") || file.path.contains("extfile")) {
        let text = String::from_utf8_lossy(&file.bytes);
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let values = lines.filter(|(key, _)| key.trim() == "subjectAltName").flat_map(|(_, value)| value.split(','));
        let names = values.filter_map(|value| value.trim().split_once(':')).map(|(_, name)| name.trim().to_owned());
        let missing: Vec<String> = names.filter(|name| !known.contains(name)).collect();
        if !missing.is_empty() {
            let text =
                format!("it names {}, which no certificate here has: add it where it belongs", missing.join(", "));
            adoption.adopted.say(FindingKind::Note, &file.path, text);
        }
    }
}
