//! Verdicts on a live Docker host: what a visit found and what is known of the host in, a line for each question out.

pub mod report;
mod served;

pub use report::{Check, CheckOutcome, Question, VerifyReport};

use crate::decide::leaf::{DesiredLeaf, plan};
use crate::docker::scan::{
    Answers, PlainAnswer, PlainHttpPort, PortState, ScanResult, TlsAnswer, TlsVersion, VersionSupport,
};
use crate::pki::{Certificate, lifecycle, name};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use report::Served;
use std::net::IpAddr;

/// Our client, as far as there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// There is none, and why.
    None(String),
    /// There is one: what it is called, and its certificate.
    Known(String, Box<Certificate>),
}

/// A renewal that is due is done within a moment, and no fault until then.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

/// When the stored certificate is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// When.
    pub at: Timestamp,
    /// It is overdue, and a new one would last longer.
    pub due: bool,
}

/// When `stored` is to be renewed, and whether it should have been by `now`; its authority is among `trust`.
pub fn renewal(wanted: &DesiredLeaf, stored: &Certificate, trust: &[Certificate], now: Timestamp) -> Renewal {
    let issuers = trust.iter().filter(|trusted| stored.is_issued_by(trusted));
    let bound = issuers.map(|issuer| issuer.not_after).max();
    let at = plan::renew_at(wanted, stored);
    let due = now >= lifecycle::saturating(at, GRACE) && plan::is_due(wanted, stored, bound, now);
    Renewal { at, due }
}

/// What is known of a host before it is asked. Without a cluster or a state directory most of it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Namespace and name of the DockerHostCert.
    pub host: Option<(String, String)>,
    /// What clients trust.
    pub trust: Vec<Certificate>,
    /// DNS names that its certificate should have.
    pub dns_names: Vec<String>,
    /// IP addresses that it should have.
    pub ip_addresses: Vec<IpAddr>,
    /// The certificate in its Secret; none where there is no Secret to read.
    pub stored: Option<Certificate>,
    /// Renewal of that.
    pub renewal: Option<Renewal>,
    /// Our client.
    pub client: Client,
}

/// Judges a visit at `now`.
pub fn judge(known: &HostFacts, scan: &ScanResult, now: Timestamp) -> VerifyReport {
    let mut checks = vec![port(scan)];
    let leaf = scan.answers.as_ref().and_then(served_leaf);
    if let Some(answers) = &scan.answers {
        checks.extend(doors(known, answers, now));
        checks.extend(leaf.iter().flat_map(|leaf| served::checks(known, scan, answers, leaf, now)));
        checks.push(versions(&answers.versions));
        checks.extend(answers.plain_http_port.map(plain_port));
    }
    checks.extend(known.renewal.map(|renewal| served::renewal(known, renewal)));
    let (namespace, host) = known.host.clone().unzip();
    VerifyReport {
        version: "v1".into(),
        host,
        namespace,
        address: address(scan),
        at: now.to_string(),
        result: checks.iter().map(|check| check.result).max().unwrap_or(CheckOutcome::Unknown),
        docker_version: scan.answers.as_ref().and_then(docker_version),
        served: leaf.map(|leaf| Served {
            fingerprint: leaf.fingerprint(),
            serial: leaf.serial.clone(),
            subject: name::display(&leaf.subject),
            issuer: name::display(&leaf.issuer),
            not_after: leaf.not_after.to_string(),
        }),
        checks,
    }
}

fn served_leaf(answers: &Answers) -> Option<Certificate> {
    answers.chain.first().and_then(|der| Certificate::from_der(der).ok())
}

fn docker_version(answers: &Answers) -> Option<String> {
    let clients = answers.our_client.iter().chain([&answers.no_certificate, &answers.self_signed]);
    clients.into_iter().find_map(|tls| match tls {
        TlsAnswer::Answered(answer) => answer.version.clone(),
        _ => None,
    })
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn address(scan: &ScanResult) -> String {
    match scan.host.contains(':') {
        true => format!("[{}]:{}", scan.host, scan.port),
        false => format!("{}:{}", scan.host, scan.port),
    }
}

fn ok(id: Question, message: impl Into<String>) -> Check {
    Check { id, result: CheckOutcome::Ok, message: message.into(), remedy: None }
}

fn bad(id: Question, result: CheckOutcome, message: impl Into<String>, remedy: &str) -> Check {
    Check { id, result, message: message.into(), remedy: Some(remedy.to_owned()) }
}

fn fail(id: Question, message: impl Into<String>, remedy: &str) -> Check {
    bad(id, CheckOutcome::Fail, message, remedy)
}

fn unknown(id: Question, message: impl Into<String>, remedy: &str) -> Check {
    bad(id, CheckOutcome::Unknown, message, remedy)
}

fn port(scan: &ScanResult) -> Check {
    let fail = |message: String, remedy| fail(Question::Port, message, remedy);
    match &scan.port_state {
        PortState::Open(at) => ok(Question::Port, format!("{at} is open")),
        PortState::Unresolved(words) => {
            fail(format!("the name has no address: {words}"), "mend DNS, or give --address with an IP address")
        }
        PortState::Refused(words) => fail(
            format!("the machine is there and nobody listens: {words}"),
            "start dockerd's TCP listener there, or mend the port in spec.address",
        ),
        PortState::NoRoute(words) => {
            fail(format!("no way leads there: {words}"), "mend the route, the VPN or the address in spec.address")
        }
        PortState::TimedOut(words) => fail(
            format!("nobody says anything: {words}"),
            "the machine is off, or a firewall swallows packets: open the port, or mend spec.address",
        ),
        PortState::Failed(words) => {
            fail(format!("no connection: {words}"), "look at the network between here and there")
        }
    }
}

const DEMAND: &str = "whoever reaches the port is root there: close it, then have dockerd run with tlsverify";

/// Who is let in.
fn doors(known: &HostFacts, answers: &Answers, now: Timestamp) -> Vec<Check> {
    let mut checks = vec![
        plain_http(&answers.plain),
        refused(Question::NoCertificate, "a client without certificate", &answers.no_certificate),
        refused(Question::SelfSigned, "a client with a self-signed certificate", &answers.self_signed),
    ];
    let other = "a client of another authority of the same name";
    checks.extend(answers.impostor.as_ref().map(|tls| refused(Question::OtherAuthority, other, tls)));
    checks.push(our_client(known, answers.our_client.as_ref(), now));
    checks.extend(docker(answers));
    checks
}

fn plain_http(plain: &PlainAnswer) -> Check {
    let id = Question::PlainHttp;
    match plain {
        PlainAnswer::TlsRequired => ok(id, "plain HTTP is refused (400, TLS is spoken here)"),
        PlainAnswer::HungUp => ok(id, "plain HTTP gets no answer"),
        PlainAnswer::Answered(words) => fail(id, format!("plain HTTP is answered: {words}"), DEMAND),
        PlainAnswer::Silence(words) => unknown(id, format!("plain HTTP: {words}"), "ask again; dockerd may hang"),
    }
}

fn refused(id: Question, who: &str, tls: &TlsAnswer) -> Check {
    match tls {
        TlsAnswer::Refused(words) => ok(id, format!("{who} is refused ({words})")),
        // What stands in front of Docker may refuse in HTTP.
        TlsAnswer::Answered(answer) if !answer.is_docker && matches!(answer.status, 400 | 401 | 403) => {
            ok(id, format!("{who} is refused (HTTP {})", answer.status))
        }
        TlsAnswer::Answered(answer) => fail(id, format!("{who} is served (HTTP {})", answer.status), DEMAND),
        TlsAnswer::NotTls => fail(id, "no TLS is spoken here", DEMAND),
        TlsAnswer::Silence(words) | TlsAnswer::Unusable(words) => {
            unknown(id, format!("{who}: {words}"), "ask again; dockerd may hang")
        }
    }
}

fn our_client(known: &HostFacts, our_client: Option<&TlsAnswer>, now: Timestamp) -> Check {
    let id = Question::OurClient;
    let (who, certificate) = match &known.client {
        Client::Known(who, certificate) => (who, certificate),
        Client::None(why) => {
            let remedy = "make a DockerClientCert of the same DockerCA, or name a client with --client";
            return unknown(id, format!("whether a client of ours is accepted: {why}"), remedy);
        }
    };
    let refused = |words: &str| match certificate.is_valid_at(now) {
        true => fail(
            id,
            format!("{who} is refused: {words}"),
            "dockerd trusts another ca.pem: deliver this host's files again, and restart dockerd",
        ),
        false => fail(
            id,
            format!("{who} is refused, and its certificate ended at {}", certificate.not_after),
            "renew the client: dockseal renew",
        ),
    };
    match our_client {
        Some(TlsAnswer::Answered(answer)) if answer.status == 200 => ok(id, format!("{who} is accepted")),
        Some(TlsAnswer::Answered(answer)) => fail(
            id,
            format!("{who} is let in, and gets HTTP {}", answer.status),
            "look at dockerd's log, and at its authorization plugins",
        ),
        Some(TlsAnswer::Refused(words)) => refused(words),
        Some(TlsAnswer::NotTls) => fail(id, "no TLS is spoken here", DEMAND),
        Some(TlsAnswer::Silence(words)) => fail(id, format!("{who} gets no answer: {words}"), "look at dockerd's log"),
        Some(TlsAnswer::Unusable(words)) => unknown(id, format!("{who}: {words}"), "mend its Secret"),
        None => unknown(id, format!("{who} was not asked with"), "ask again"),
    }
}

/// Who answers, where anybody does.
fn docker(answers: &Answers) -> Option<Check> {
    let id = Question::Docker;
    let clients = answers.our_client.iter().chain([&answers.no_certificate, &answers.self_signed]);
    let answer = clients.into_iter().find_map(|tls| match tls {
        TlsAnswer::Answered(answer) => Some(answer),
        _ => None,
    })?;
    Some(match (answer.is_docker, &answer.version) {
        (true, Some(version)) => ok(id, format!("Docker {version} answers")),
        (true, None) => ok(id, "Docker answers, and does not say its version"),
        (false, _) => fail(
            id,
            format!("something answers that is not Docker (HTTP {})", answer.status),
            "mend the address: another server listens there, or a proxy stands in front",
        ),
    })
}

fn versions(spoken: &[(TlsVersion, VersionSupport)]) -> Check {
    let id = Question::TlsVersions;
    let those = |wanted: fn(&VersionSupport) -> bool| -> Vec<TlsVersion> {
        spoken.iter().filter(|(_, found)| wanted(found)).map(|(version, _)| *version).collect()
    };
    let list = |versions: &[TlsVersion]| versions.iter().map(TlsVersion::to_string).collect::<Vec<_>>().join(" and ");
    let is_old = |version: &TlsVersion| matches!(version, TlsVersion::V10 | TlsVersion::V11);
    let (yes, no) =
        (those(|found| *found == VersionSupport::Yes), those(|found| matches!(found, VersionSupport::No(_))));
    let (old, new): (Vec<TlsVersion>, Vec<TlsVersion>) = yes.into_iter().partition(is_old);
    let missing: Vec<TlsVersion> = no.into_iter().filter(|version| !is_old(version)).collect();
    if !old.is_empty() {
        let remedy = "dockerd speaks neither since 2015: another server stands in front of it; have it refuse them";
        return fail(id, format!("TLS {} is spoken, which can be broken", list(&old)), remedy);
    }
    let open: Vec<&(TlsVersion, VersionSupport)> =
        spoken.iter().filter(|(_, found)| matches!(found, VersionSupport::Unknown(_))).collect();
    if let Some((version, VersionSupport::Unknown(words))) = open.first() {
        return unknown(id, format!("whether TLS {version} is spoken: {words}"), "ask again");
    }
    match missing.as_slice() {
        [] => ok(id, format!("TLS {} is spoken, and nothing older", list(&new))),
        missing if new.is_empty() => fail(id, format!("TLS {} is refused", list(missing)), "look at dockerd's log"),
        missing => bad(
            id,
            CheckOutcome::Warning,
            format!("TLS {} is refused, {} is spoken", list(missing), list(&new)),
            "dockerd speaks both: another server stands in front of it",
        ),
    }
}

fn plain_port(plain_http_port: PlainHttpPort) -> Check {
    let id = Question::PlainPort;
    match plain_http_port {
        PlainHttpPort::Closed => ok(id, "port 2375 is closed"),
        PlainHttpPort::Other => bad(
            id,
            CheckOutcome::Warning,
            "something listens on port 2375, and it does not answer as Docker does",
            "see what it is",
        ),
        PlainHttpPort::Docker => fail(
            id,
            "Docker answers on port 2375, without any certificate",
            "whoever reaches it is root there: take tcp://…:2375 out of dockerd's hosts, and restart it",
        ),
    }
}

#[cfg(test)]
mod tests;
