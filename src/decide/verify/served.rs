//! Verdicts on the certificate that is served, and on the one that is stored.

use super::{Check, CheckOutcome, HostFacts, Question, Renewal, bad, fail, ok, unknown};
use crate::docker::scan::{Answers, ScanResult};
use crate::pki::certificate::{CLIENT_AUTH, SERVER_AUTH};
use crate::pki::{Certificate, name};
use k8s_openapi::jiff::Timestamp;

/// Within so many days of its end a certificate is worth a word.
const SOON: i64 = 30;
/// A chain is followed no further.
const MAX_CHAIN: usize = 5;

/// All of them, in their order.
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
        return unknown(id, "whether its authority is trusted: no trust bundle is known", "give --file ca.pem");
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
        Some(words) => fail(id, format!("clients that trust {subject} do not take it: {words}"), files),
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
        (true, Some(name)) => format!("it has the common name {name} alone, which nobody looks at"),
        (true, None) => "it has no names at all".to_owned(),
        (false, _) => format!("it names {}", found.join(", ")),
    };
    let remedy = match known.host {
        Some(_) => {
            "put the name into the DockerHostCert, or dial one that it has; where it is there, deliver and restart dockerd"
        }
        None => "dial one of its names, or have a certificate made that has this one",
    };
    fail(id, format!("it does not name {}: {has}", missing.join(", ")), remedy)
}

fn expiry(renewal: Option<Renewal>, leaf: &Certificate, now: Timestamp) -> Check {
    let id = Question::Expiry;
    let end = leaf.not_after;
    if now < leaf.not_before {
        let message = format!("it is valid only from {} on", leaf.not_before);
        return fail(id, message, "set the clock, here or where it was made");
    }
    if now >= end {
        let remedy = "renew it (dockseal renew), deliver it and restart dockerd";
        return fail(id, format!("it ended at {end}: no client takes it"), remedy);
    }
    let left = now.duration_until(end);
    let words = match left.as_hours() / 24 {
        0 => format!("{} hours left, until {end}", left.as_hours()),
        days => format!("{days} days left, until {end}"),
    };
    // A certificate of a month is always within a month of its end.
    let in_time = renewal.is_some_and(|renewal| now < renewal.at);
    match left.as_hours() <= SOON * 24 && !in_time {
        true => bad(id, CheckOutcome::Warning, words, "renew it (dockseal renew), deliver it and restart dockerd"),
        false => ok(id, words),
    }
}

fn key_usage(leaf: &Certificate) -> Check {
    let id = Question::KeyUsage;
    let again = "have it issued again with serverAuth alone: a DockerHostCert's is";
    let stolen = "so whoever steals its key may be a client of every host";
    match &leaf.extended_usage {
        _ if leaf.is_ca => fail(id, "it is an authority's own certificate: its key is on the host", again),
        None => fail(id, format!("it has no extended key usage, {stolen}"), again),
        Some(usages) if !usages.contains(&SERVER_AUTH) => {
            fail(id, "it has no serverAuth: no client takes it for a server's", again)
        }
        Some(usages) if usages.contains(&CLIENT_AUTH) => {
            fail(id, format!("it has clientAuth beside serverAuth, {stolen}"), again)
        }
        Some(_) => ok(id, "serverAuth, and no clientAuth"),
    }
}

fn stored_is_served(known: &HostFacts, stored: &Certificate, leaf: &Certificate) -> Check {
    let id = Question::Stored;
    if stored.der == leaf.der {
        return ok(id, "it is the stored one");
    }
    let same_authority = known.trust.iter().any(|anchor| leaf.is_issued_by(anchor));
    if same_authority && leaf.not_before < stored.not_before {
        let message = format!(
            "an older one of ours is served, of {}; the stored one is of {}: dockerd was not restarted yet",
            leaf.not_before, stored.not_before
        );
        return fail(
            id,
            message,
            "deliver the stored one, and restart dockerd: it reads certificates only when it starts",
        );
    }
    let message = match same_authority {
        true => "another one of the same authority is served",
        false => "a certificate is served that is none of ours",
    };
    fail(id, message, "deliver this host's files, and restart dockerd; or mend the address")
}

/// Whether the stored one should have been renewed by now.
pub(super) fn renewal(known: &HostFacts, renewal: Renewal) -> Check {
    let id = Question::Renewal;
    match (renewal.due, &known.stored) {
        (true, Some(stored)) => fail(
            id,
            format!("the stored one was to be renewed at {}, and ends at {}", renewal.at, stored.not_after),
            "see that the controller, or `dockseal up`, runs; `dockseal status` has the reason",
        ),
        _ => ok(id, format!("the stored one is renewed at {}", renewal.at)),
    }
}
