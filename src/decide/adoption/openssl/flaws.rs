//! What is insecure about a certificate, in words.

use crate::pki::certificate::{CLIENT_AUTH, SERVER_AUTH, SignatureDigest};
use crate::pki::{Certificate, KeyAlgorithm};
use k8s_openapi::jiff::Timestamp;

/// Days that a leaf is valid at most for it to pass without a word (the CA/Browser Forum's old bound, and dind's).
const LONG: i64 = 825;

/// Of an authority; what keeps it from being taken over is said elsewhere.
pub(super) fn of_authority(certificate: &Certificate) -> Vec<String> {
    signature(certificate).into_iter().chain(key(certificate)).collect()
}

/// Of a host's certificate.
pub(super) fn of_host(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut flaws = of_leaf(certificate, now);
    match &certificate.extended_usage {
        None => flaws.push("no extended key usage: whoever steals its key may be a client of every host".to_owned()),
        Some(usages) if !usages.contains(&SERVER_AUTH) => {
            flaws.push("no serverAuth in its extended key usage: no client takes it for a server's".to_owned());
        }
        Some(usages) if usages.contains(&CLIENT_AUTH) => {
            flaws.push("clientAuth beside serverAuth: whoever steals its key may be a client of every host".to_owned());
        }
        Some(_) => {}
    }
    if certificate.dns_names.is_empty() && certificate.ip_addresses.is_empty() {
        flaws.push("a common name and no subjectAltName: clients look at the latter alone".to_owned());
    }
    flaws
}

/// Of a client's certificate.
pub(super) fn of_client(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut flaws = of_leaf(certificate, now);
    match &certificate.extended_usage {
        None => flaws.push("no extended key usage: whoever steals its key may pretend to be a host".to_owned()),
        Some(usages) if usages.contains(&SERVER_AUTH) => {
            flaws.push("serverAuth beside clientAuth: whoever steals its key may pretend to be a host".to_owned());
        }
        Some(_) => {}
    }
    flaws
}

fn of_leaf(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut flaws: Vec<String> = signature(certificate).into_iter().chain(key(certificate)).collect();
    if now >= certificate.not_after {
        flaws.push(format!("it ended at {}", certificate.not_after));
    }
    let days = certificate.not_before.duration_until(certificate.not_after).as_hours() / 24;
    if days > LONG {
        flaws.push(format!("valid for {days} days: so long a stolen key is good, for dockerd reads no revocations"));
    }
    flaws
}

fn signature(certificate: &Certificate) -> Option<String> {
    match certificate.digest {
        SignatureDigest::Sound => None,
        SignatureDigest::Sha1 => Some("signed with SHA-1, which Docker refuses".to_owned()),
        SignatureDigest::Unsupported => Some("signed in a way that is old or unknown".to_owned()),
    }
}

fn key(certificate: &Certificate) -> Option<String> {
    match certificate.algorithm {
        Some(KeyAlgorithm::Rsa(bits)) if bits < 2048 => Some(format!("an RSA key of {bits} bits: 2048 is the least")),
        _ => None,
    }
}
