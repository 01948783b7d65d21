//! Verdicts on a live Docker host: a scan and what is known of the host in, a verdict on each question out. It asks
//! nobody.

mod facts;
pub mod report;
mod served;

pub use facts::{Client, HostFacts, Renewal, renewal};
pub use report::{Check, CheckOutcome, Question, VerifyReport};

use crate::docker::exposure::{Admission, Stranger};
use crate::docker::scan::{
    Answers, PingAnswer, PlainHttpPort, PortState, ScanResult, TlsAnswer, TlsVersion, VersionSupport,
};
use crate::pki::{Certificate, name};
use k8s_openapi::jiff::Timestamp;
use report::{Served, bad, fail, ok, unknown};

/// The report on `scan` at `now`.
pub fn judge(known: &HostFacts, scan: &ScanResult, now: Timestamp) -> VerifyReport {
    let mut checks = vec![port(scan)];
    let leaf = scan.answers.as_ref().and_then(served_leaf);
    if let Some(answers) = &scan.answers {
        checks.extend(access(known, answers, now));
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
    answered(answers).find_map(|answer| answer.version.clone())
}

/// What clients were answered, ours first.
fn answered(answers: &Answers) -> impl Iterator<Item = &PingAnswer> {
    let strangers = [&answers.strangers.no_certificate, &answers.strangers.self_signed];
    answers.our_client.iter().chain(strangers).filter_map(|tls| match tls {
        TlsAnswer::Answered(answer) => Some(answer),
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

fn port(scan: &ScanResult) -> Check {
    let fail = |message: String, remedy| fail(Question::Port, message, remedy);
    match &scan.port_state {
        PortState::Open(at) => ok(Question::Port, format!("{at} is open")),
        PortState::Unresolved(why) => {
            fail(format!("the name has no address: {why}"), "fix DNS, or give --address with an IP address")
        }
        PortState::Refused(why) => fail(
            format!("the host answers, but nobody listens on that port: {why}"),
            "start dockerd's TCP listener there, or correct the port in spec.address",
        ),
        PortState::NoRoute(why) => {
            fail(format!("there is no route to the host: {why}"), "fix the route or the VPN, or correct spec.address")
        }
        PortState::TimedOut(why) => fail(
            format!("the host does not answer: {why}"),
            "the host is off, or a firewall drops the packets: open the port, or correct spec.address",
        ),
        PortState::Failed(why) => {
            fail(format!("the connection fails: {why}"), "check the network between this machine and the host")
        }
    }
}

const EXPOSED: &str =
    "everyone who reaches the port has root rights on the host: close it, then run dockerd with tlsverify";

const UNCERTAIN: &str =
    "ask again; if this stays, look for a proxy or a firewall before that port, and at dockerd's log";

/// Which clients are accepted.
fn access(known: &HostFacts, answers: &Answers, now: Timestamp) -> Vec<Check> {
    let asked = |stranger| Some(stranger_check(stranger, answers.strangers.admission(stranger)?));
    let mut checks: Vec<Check> = Stranger::ALL.into_iter().filter_map(asked).collect();
    checks.push(our_client(known, answers, now));
    checks.extend(docker(answers));
    checks
}

/// Whether a client is refused that must be.
fn stranger_check(stranger: Stranger, admission: Admission) -> Check {
    let (id, who) = match stranger {
        Stranger::PlainHttp => (Question::PlainHttp, "plain HTTP"),
        Stranger::NoCertificate => (Question::NoCertificate, "a client without certificate"),
        Stranger::SelfSigned => (Question::SelfSigned, "a client with a self-signed certificate"),
        Stranger::Impostor => (Question::OtherAuthority, "a client of another authority of the same name"),
    };
    match admission {
        Admission::Refused(why) => ok(id, format!("{who} is refused ({why})")),
        Admission::Admitted(why) => fail(id, format!("{who} is answered ({why})"), EXPOSED),
        Admission::Unknown(why) => unknown(id, format!("whether {who} is refused is not certain: {why}"), UNCERTAIN),
    }
}

fn our_client(known: &HostFacts, answers: &Answers, now: Timestamp) -> Check {
    let id = Question::OurClient;
    let (who, certificate) = match &known.client {
        Client::Known(who, certificate) => (who, certificate),
        Client::None(why) => {
            let remedy = "make a DockerClientCert of the same DockerCA, or name a client with --client";
            return unknown(id, format!("whether a client of ours is accepted: {why}"), remedy);
        }
    };
    let refused = |why: &str| match certificate.is_valid_at(now) {
        true => fail(
            id,
            format!("{who} is refused: {why}"),
            "dockerd trusts another ca.pem: deliver this host's files again, and restart dockerd",
        ),
        false => fail(
            id,
            format!("{who} is refused, and its certificate ended at {}", certificate.not_after),
            "renew the client: dockseal renew",
        ),
    };
    let not_tls = match answers.strangers.admission(Stranger::PlainHttp) {
        Some(Admission::Admitted(_)) => EXPOSED,
        _ => "another program listens there: correct the address, or have dockerd listen there with tlsverify",
    };
    match &answers.our_client {
        Some(TlsAnswer::Answered(answer)) if answer.status == 200 => ok(id, format!("{who} is accepted")),
        Some(TlsAnswer::Answered(answer)) => fail(
            id,
            format!("{who} is accepted, but gets HTTP {}", answer.status),
            "read dockerd's log, and check its authorization plugins",
        ),
        Some(TlsAnswer::Refused(why)) => refused(why),
        Some(TlsAnswer::HungUp) => refused("it hangs up"),
        Some(TlsAnswer::NotTls) => fail(id, "the server does not speak TLS", not_tls),
        Some(TlsAnswer::Silence(why)) => fail(id, format!("{who} gets no answer: {why}"), "read dockerd's log"),
        Some(TlsAnswer::Unusable(why)) => unknown(id, format!("{who}: {why}"), "correct its Secret"),
        None => unknown(id, format!("the host was not asked with the certificate of {who}"), "ask again"),
    }
}

/// Which server answers; none where no answer came.
fn docker(answers: &Answers) -> Option<Check> {
    let id = Question::Docker;
    let answer = answered(answers).next()?;
    Some(match (answer.is_docker, &answer.version) {
        (true, Some(version)) => ok(id, format!("Docker {version} answers")),
        (true, None) => ok(id, "Docker answers, and does not say its version"),
        (false, _) => fail(
            id,
            format!("a server answers that is not Docker (HTTP {})", answer.status),
            "correct the address: another server listens there, or a proxy is in front of dockerd",
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
        let remedy = "dockerd has spoken neither since 2015: another server is in front of it; configure that server to refuse them";
        return fail(id, format!("TLS {} is spoken, which attackers can break", list(&old)), remedy);
    }
    let open: Vec<&(TlsVersion, VersionSupport)> =
        spoken.iter().filter(|(_, found)| matches!(found, VersionSupport::Unknown(_))).collect();
    if let Some((version, VersionSupport::Unknown(why))) = open.first() {
        return unknown(id, format!("whether TLS {version} is spoken: {why}"), "ask again");
    }
    match missing.as_slice() {
        [] => ok(id, format!("TLS {} is spoken, and nothing older", list(&new))),
        missing if new.is_empty() => fail(id, format!("TLS {} is refused", list(missing)), "read dockerd's log"),
        missing => bad(
            id,
            CheckOutcome::Warning,
            format!("TLS {} is refused, {} is spoken", list(missing), list(&new)),
            "dockerd speaks both: another server is in front of it",
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
            "a server listens on port 2375, and does not answer as Docker does",
            "find out which program listens there",
        ),
        PlainHttpPort::Docker => fail(
            id,
            "Docker answers on port 2375, without any certificate",
            "everyone who reaches it has root rights on the host: remove tcp://…:2375 from dockerd's hosts, and restart it",
        ),
    }
}

#[cfg(test)]
mod tests;
