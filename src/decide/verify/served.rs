//! Verdicts on the certificate that is served, and on the one in the Secret.

use super::facts::{HostFacts, Renewal};
use super::report::{Check, CheckOutcome, Question, bad, fail, ok, unknown};
use crate::docker::scan::{Answers, ScanResult};
use crate::pki::certificate::{CLIENT_AUTH, SERVER_AUTH};
use crate::pki::{Certificate, name};
use k8s_openapi::jiff::Timestamp;

/// Days before its end from which a certificate gets a warning.
const SOON: i64 = 30;
const MAX_CHAIN: usize = 5;

pub(super) fn checks(
    known: &HostFacts,
    scan: &ScanResult,
    answers: &Answers,
    leaf: &Certificate,
    now: Timestamp,
) -> Vec<Check> {
    let mut checks = vec![
        chain(known, answers, leaf, now),
        names(known, &scan.host, leaf),
        expiry(known.renewal, leaf, now),
        key_usage(leaf),
    ];
    checks.extend(known.stored.as_ref().map(|stored| stored_is_served(known, stored, leaf)));
    checks
}

fn chain(known: &HostFacts, answers: &Answers, leaf: &Certificate, now: Timestamp) -> Check {
    let id = Question::Chain;
    if known.trust.is_empty() {
        return unknown(
            id,
            "whether its authority is trusted is not known, since there is no trust bundle",
            "give --file ca.pem",
        );
    }
    let files = "dockerd serves another authority's certificate: deliver this host's files, and restart dockerd";
    let Some(anchor) = anchor(known, &answers.chain, leaf) else {
        let issuer = name::display(&leaf.issuer);
        let known: Vec<String> = known.trust.iter().map(|trusted| name::display(&trusted.subject)).collect();
        let (trusted, same) = (known.join("; "), known.contains(&issuer));
        let twin = if same { ", which has the same name and another key" } else { "" };
        return fail(id, format!("it is signed by {issuer}, which is not trusted; trusted is {trusted}{twin}"), files);
    };
    let subject = name::display(&anchor.subject);
    if !anchor.is_valid_at(now) {
        let message = format!("its authority, {subject}, is valid from {} to {}", anchor.not_before, anchor.not_after);
        return fail(id, message, "renew the authority and deliver the new bundle to hosts and clients");
    }
    match &answers.distrust {
        Some(why) => fail(id, format!("clients that trust {subject} do not accept it: {why}"), files),
        None => ok(id, format!("it is signed by {subject}")),
    }
}

/// The trusted certificate at the end of the chain; of several for one key the one that ends last.
fn anchor<'a>(known: &'a HostFacts, chain: &[Vec<u8>], leaf: &Certificate) -> Option<&'a Certificate> {
    let between: Vec<Certificate> = chain.iter().skip(1).filter_map(|der| Certificate::from_der(der).ok()).collect();
    let mut current = leaf;
    for _ in 0..MAX_CHAIN {
        let trusted = known.trust.iter().filter(|trusted| current.is_issued_by(trusted) || current.der == trusted.der);
        if let Some(anchor) = trusted.max_by_key(|trusted| trusted.not_after) {
            return Some(anchor);
        }
        current = between.iter().find(|issuer| issuer.is_ca && current.is_issued_by(issuer))?;
    }
    None
}

fn names(known: &HostFacts, host: &str, leaf: &Certificate) -> Check {
    let id = Question::Names;
    let listed = |name: &&String| !leaf.dns_names.iter().any(|found| found.eq_ignore_ascii_case(name));
    let mut missing: Vec<String> = known.dns_names.iter().filter(listed).cloned().collect();
    let addresses = known.ip_addresses.iter().filter(|address| !leaf.ip_addresses.contains(address));
    missing.extend(addresses.map(ToString::to_string));
    if !leaf.names(host) && !missing.iter().any(|name| name == host) {
        missing.insert(0, host.to_owned());
    }
    let found: Vec<String> =
        leaf.dns_names.iter().cloned().chain(leaf.ip_addresses.iter().map(ToString::to_string)).collect();
    if missing.is_empty() {
        return ok(id, format!("it names {}", found.join(", ")));
    }
    let has = match (found.is_empty(), &leaf.common_name) {
        (true, Some(name)) => format!("it has only the common name {name}, which clients ignore"),
        (true, None) => "it has no names at all".to_owned(),
        (false, _) => format!("it names {}", found.join(", ")),
    };
    let remedy = match known.host {
        Some(_) => {
            "add the name to the DockerHostCert, or connect to one that it has; if it has this one, deliver the files and restart dockerd"
        }
        None => "connect to one of its names, or issue a certificate that has this one",
    };
    fail(id, format!("it does not name {}: {has}", missing.join(", ")), remedy)
}

fn expiry(renewal: Option<Renewal>, leaf: &Certificate, now: Timestamp) -> Check {
    let id = Question::Expiry;
    let end = leaf.not_after;
    if now < leaf.not_before {
        let message = format!("it is not valid before {}", leaf.not_before);
        return fail(id, message, "correct the clock of this machine, or of the one that issued it");
    }
    if now >= end {
        let remedy = "renew it (dockseal renew), deliver it and restart dockerd";
        return fail(id, format!("it ended at {end}: no client accepts it"), remedy);
    }
    let left = now.duration_until(end);
    let message = match left.as_hours() / 24 {
        0 => format!("{} hours left, until {end}", left.as_hours()),
        days => format!("{days} days left, until {end}"),
    };
    // A certificate that lasts a month always ends within a month.
    let in_time = renewal.is_some_and(|renewal| now < renewal.at);
    match left.as_hours() <= SOON * 24 && !in_time {
        true => bad(id, CheckOutcome::Warning, message, "renew it (dockseal renew), deliver it and restart dockerd"),
        false => ok(id, message),
    }
}

fn key_usage(leaf: &Certificate) -> Check {
    let id = Question::KeyUsage;
    let again = "issue it again with serverAuth alone, as for a DockerHostCert";
    let stolen = "so a stolen key would be accepted as a client's by every host";
    match &leaf.extended_usage {
        _ if leaf.is_ca => fail(id, "it is an authority's own certificate: its key is on the host", again),
        None => fail(id, format!("it has no extended key usage, {stolen}"), again),
        Some(usages) if !usages.contains(&SERVER_AUTH) => {
            fail(id, "it has no serverAuth: no client accepts it from a server", again)
        }
        Some(usages) if usages.contains(&CLIENT_AUTH) => {
            fail(id, format!("it has clientAuth in addition to serverAuth, {stolen}"), again)
        }
        Some(_) => ok(id, "serverAuth, and no clientAuth"),
    }
}

fn stored_is_served(known: &HostFacts, stored: &Certificate, leaf: &Certificate) -> Check {
    let id = Question::Stored;
    if stored.der == leaf.der {
        return ok(id, "it is the certificate in the Secret");
    }
    let same_authority = known.trust.iter().any(|anchor| leaf.is_issued_by(anchor));
    if same_authority && leaf.not_before < stored.not_before {
        let message = format!(
            "an older certificate is served, issued at {}; the one in the Secret is of {}: dockerd was not restarted yet",
            leaf.not_before, stored.not_before
        );
        return fail(id, message, "deliver the files, and restart dockerd: it reads certificates only when it starts");
    }
    let message = match same_authority {
        true => "another certificate of the same authority is served",
        false => "the certificate that is served is from another authority",
    };
    fail(id, message, "deliver this host's files, and restart dockerd; or correct the address")
}

/// Whether the renewal of the certificate in the Secret is late.
pub(super) fn renewal(known: &HostFacts, renewal: Renewal) -> Check {
    let id = Question::Renewal;
    match (renewal.due, &known.stored) {
        (true, Some(stored)) => fail(
            id,
            format!(
                "the certificate in the Secret should have been renewed at {}, and ends at {}",
                renewal.at, stored.not_after
            ),
            "check that the controller, or `dockseal up`, runs; `dockseal status` shows the reason",
        ),
        _ => ok(id, format!("the certificate in the Secret is renewed at {}", renewal.at)),
    }
}
