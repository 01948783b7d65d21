//! A leaf's spec in; checked values, or the problem that names the field, out.

use super::host_name;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::DockerHostCertSpec;
use crate::api::key::{Algorithm, LeafKey, RotationPolicy};
use crate::api::{NamespacedName, Object, ObjectRef, Spec, duration};
use crate::decide::Problem;
use crate::pki::KeyAlgorithm;
use crate::pki::profile::Usage;
use crate::pki::sign::LeafProfile;
use k8s_openapi::jiff::SignedDuration;
use std::net::{IpAddr, Ipv4Addr};

/// Names and addresses of a host at most.
const MAX_NAMES: usize = 202;
/// Letters of all its names at most.
const MAX_NAME_LETTERS: usize = 8 << 10;

/// A leaf as it should be. Nothing in it can be malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredLeaf {
    /// The object that asks.
    pub object: ObjectRef,
    /// Names and usage of the certificate.
    pub profile: LeafProfile,
    /// Algorithm of the private key.
    pub algorithm: KeyAlgorithm,
    /// A renewal keeps the key.
    pub keep_key: bool,
    /// From issuance to end.
    pub duration: SignedDuration,
    /// From renewal to end, where the user says so.
    pub renew_before: Option<SignedDuration>,
    /// Where the Secret with the leaf is to be.
    pub secret: NamespacedName,
    /// The DockerCA that signs, in the same namespace.
    pub authority: NamespacedName,
}

/// Reads the spec of a leaf.
///
/// # Errors
/// The [`Problem`] of the first field that cannot be used.
pub fn desired(object: &Object) -> Result<DesiredLeaf, Problem> {
    Problem::of_reading(object)?;
    let (profile, key, duration, renew_before) = match &object.spec {
        Spec::Host(spec) => (host_profile(object, spec)?, &spec.private_key, &spec.duration, &spec.renew_before),
        Spec::Client(spec) => {
            (client_profile(&spec.common_name)?, &spec.private_key, &spec.duration, &spec.renew_before)
        }
        Spec::Portainer(spec) => {
            (client_profile(&spec.common_name)?, &spec.private_key, &spec.duration, &spec.renew_before)
        }
        Spec::Authority(_) => unreachable!("an authority is no leaf"),
    };
    short_enough(&object.secret_name())?;
    let (duration, renew_before) = spans(duration, renew_before.as_deref())?;
    Ok(DesiredLeaf {
        object: object.at.clone(),
        profile,
        algorithm: algorithm(key.algorithm, key.size)?,
        keep_key: keeps_key(key),
        duration,
        renew_before,
        secret: object.secret(),
        authority: object.authority().expect("a leaf has an authority"),
    })
}

/// Names of Secrets and ConfigMaps have at most 253 bytes (RFC 1123 subdomains).
///
/// # Errors
/// The problem of a longer one.
pub fn short_enough(name: &str) -> Result<(), Problem> {
    match name.len() {
        0..=253 => Ok(()),
        _ => Err(Problem::spec(Reason::InvalidSpec, format!("metadata.name is too long: {name} has over 253 bytes"))),
    }
}

fn keeps_key(key: &LeafKey) -> bool {
    key.rotation_policy == RotationPolicy::Never
}

fn spans(duration: &str, renew_before: Option<&str>) -> Result<(SignedDuration, Option<SignedDuration>), Problem> {
    let span = duration::parse(duration).map_err(|error| Problem::field("duration", error))?;
    let before = renew_before.map(duration::parse).transpose().map_err(|error| Problem::field("renewBefore", error))?;
    match (before, renew_before) {
        (Some(before), Some(text)) if before >= span => {
            Err(Problem::field("renewBefore", format!("{text} is not shorter than the duration, {duration}")))
        }
        _ => Ok((span, before)),
    }
}

/// Algorithm and size as one value.
///
/// # Errors
/// The problem of a size that the algorithm does not have.
pub fn algorithm(algorithm: Algorithm, size: Option<i64>) -> Result<KeyAlgorithm, Problem> {
    match (algorithm, size) {
        (Algorithm::Ecdsa, None | Some(256)) => Ok(KeyAlgorithm::EcdsaP256),
        (Algorithm::Ecdsa, Some(384)) => Ok(KeyAlgorithm::EcdsaP384),
        (Algorithm::Rsa, None | Some(4096)) => Ok(KeyAlgorithm::Rsa(4096)),
        (Algorithm::Rsa, Some(2048)) => Ok(KeyAlgorithm::Rsa(2048)),
        (Algorithm::Rsa, Some(3072)) => Ok(KeyAlgorithm::Rsa(3072)),
        (Algorithm::Ed25519, None) => Ok(KeyAlgorithm::Ed25519),
        (_, size) => Err(Problem::field(
            "privateKey.size",
            format!(
                "{} is not a size of this algorithm: ECDSA 256 or 384, RSA 2048, 3072 or 4096, Ed25519 none",
                size.unwrap_or_default()
            ),
        )),
    }
}

fn client_profile(common_name: &str) -> Result<LeafProfile, Problem> {
    let common_name = common_name.trim_end_matches('.');
    if common_name.is_empty() || common_name.len() > 64 || common_name.chars().any(char::is_control) {
        return Err(Problem::field("commonName", "a common name has 1 to 64 bytes and no control characters"));
    }
    Ok(LeafProfile {
        common_name: common_name.to_owned(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Client,
    })
}

fn host_profile(object: &Object, spec: &DockerHostCertSpec) -> Result<LeafProfile, Problem> {
    if &*object.at.name == "ca" {
        let message = "metadata.name: ca is refused, since its files would be named as the authority's, ca.pem";
        return Err(Problem::spec(Reason::InvalidSpec, message));
    }
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    if let Some(hostname) = &spec.hostname {
        push(&mut names, host_name::dns_name(hostname, false).map_err(|error| Problem::field("hostname", error))?);
    }
    for name in &spec.dns_names {
        push(&mut names, host_name::dns_name(name, true).map_err(|error| Problem::field("dnsNames", error))?);
    }
    for address in &spec.ip_addresses {
        push(&mut addresses, host_name::address(address).map_err(|error| Problem::field("ipAddresses", error))?);
    }
    let common_name = common_name(spec, &names, &addresses)?;
    few_enough(&names, &addresses)?;
    dialled(spec, &mut names, &mut addresses)?;
    if spec.include_loopback {
        push(&mut addresses, IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(LeafProfile { common_name, dns_names: names, ip_addresses: addresses, usage: Usage::Server })
}

/// A certificate with more is not read by ourselves, and travels with each handshake.
fn few_enough(names: &[String], addresses: &[IpAddr]) -> Result<(), Problem> {
    let letters: usize = names.iter().map(String::len).sum();
    match names.len() + addresses.len() <= MAX_NAMES && letters <= MAX_NAME_LETTERS {
        true => Ok(()),
        false => {
            let most = format!("more than {MAX_NAMES} names and addresses, or {MAX_NAME_LETTERS} letters of names");
            Err(Problem::field("dnsNames", format!("{most}, are too many for a certificate")))
        }
    }
}

fn common_name(spec: &DockerHostCertSpec, names: &[String], addresses: &[IpAddr]) -> Result<String, Problem> {
    let name = match (&spec.hostname, addresses.first()) {
        (Some(_), _) => names[0].clone(),
        (None, Some(address)) => address.to_string(),
        (None, None) => return Err(Problem::field("hostname", "give a hostname, ipAddresses or both")),
    };
    if name.len() > 64 {
        let message = "no X.509 common name holds over 64 bytes: put it into dnsNames beside a shorter hostname";
        return Err(Problem::field("hostname", message));
    }
    Ok(name)
}

/// The address that clients connect to is in the certificate, too.
fn dialled(spec: &DockerHostCertSpec, names: &mut Vec<String>, addresses: &mut Vec<IpAddr>) -> Result<(), Problem> {
    let Some(address) = &spec.address else { return Ok(()) };
    if !(1..=65535).contains(&address.port) {
        return Err(Problem::field("address.port", format!("{} is not a port, 1 to 65535", address.port)));
    }
    let Some(host) = &address.host else { return Ok(()) };
    match host_name::address(host) {
        Ok(address) => push(addresses, address),
        Err(_) => push(names, host_name::dns_name(host, false).map_err(|error| Problem::field("address.host", error))?),
    }
    Ok(())
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
