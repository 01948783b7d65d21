//! A certificate in, a message for each thing that is insecure about it out.

use crate::pki::certificate::{CLIENT_AUTH, SERVER_AUTH, SignatureDigest};
use crate::pki::{Certificate, KeyAlgorithm};
use k8s_openapi::jiff::Timestamp;

/// A leaf valid for more days is reported (the former limit of the CA/Browser Forum, and that of docker:dind).
const LONG: i64 = 825;

/// Weaknesses of an authority that do not prevent its adoption.
pub(super) fn of_authority(certificate: &Certificate) -> Vec<String> {
    let forged = matches!(certificate.digest, SignatureDigest::Sha1)
        .then(|| "signed with SHA-1, which can be forged".to_owned());
    let signature = forged.or_else(|| signature(certificate));
    signature.into_iter().chain(key(certificate)).collect()
}

/// Weaknesses of a host's certificate.
pub(super) fn of_host(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut weaknesses = of_leaf(certificate, now);
    match &certificate.extended_usage {
        None => {
            weaknesses.push("no extended key usage: anyone who steals its key can be a client of every host".to_owned())
        }
        Some(usages) if !usages.contains(&SERVER_AUTH) => {
            weaknesses.push("no serverAuth in its extended key usage: no client accepts it from a server".to_owned());
        }
        Some(usages) if usages.contains(&CLIENT_AUTH) => {
            weaknesses.push(
                "clientAuth beside serverAuth: anyone who steals its key can be a client of every host".to_owned(),
            );
        }
        Some(_) => {}
    }
    if certificate.dns_names.is_empty() && certificate.ip_addresses.is_empty() {
        weaknesses.push("a common name and no subjectAltName: clients check only the subjectAltName".to_owned());
    }
    weaknesses
}

/// Weaknesses of a client's certificate.
pub(super) fn of_client(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut weaknesses = of_leaf(certificate, now);
    match &certificate.extended_usage {
        None => weaknesses.push("no extended key usage: anyone who steals its key can pretend to be a host".to_owned()),
        Some(usages) if usages.contains(&SERVER_AUTH) => {
            weaknesses
                .push("serverAuth beside clientAuth: anyone who steals its key can pretend to be a host".to_owned());
        }
        Some(_) => {}
    }
    weaknesses
}

fn of_leaf(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut weaknesses: Vec<String> = signature(certificate).into_iter().chain(key(certificate)).collect();
    if now >= certificate.not_after {
        weaknesses.push(format!("it expired at {}", certificate.not_after));
    }
    let days = certificate.not_before.duration_until(certificate.not_after).as_hours() / 24;
    if days > LONG {
        weaknesses
            .push(format!("valid for {days} days: a stolen key works as long, because dockerd checks no revocations"));
    }
    weaknesses
}

fn signature(certificate: &Certificate) -> Option<String> {
    match certificate.digest {
        SignatureDigest::Sound => None,
        SignatureDigest::Sha1 => Some("signed with SHA-1, which Docker refuses".to_owned()),
        SignatureDigest::Unsupported => Some("signed with an old or unknown algorithm".to_owned()),
    }
}

fn key(certificate: &Certificate) -> Option<String> {
    match certificate.algorithm {
        Some(KeyAlgorithm::Rsa(bits)) if bits < 2048 => {
            Some(format!("an RSA key of {bits} bits: it needs at least 2048"))
        }
        _ => None,
    }
}
