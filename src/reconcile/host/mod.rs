//! A delivery: what the Secret holds becomes files on this host, dockerd serves them, and what came of it is reported.
//! The same for a companion in a cluster, one outside, and `up --host`.

pub mod daemon;
mod daemon_step;
mod files;
mod removal;

use crate::adapters::Clock;
use crate::adapters::docker::probe::{self, PlainProbe, TlsProbe};
use crate::adapters::host::cert_dir::DeliveryError;
use crate::api::AssignedHost;
use crate::api::condition::{ConditionType, Reason};
use crate::api::docker_host_cert::Mode;
use crate::api::status::CompanionStatus;
use crate::decide::host::report::serving;
use crate::decide::host::report::{DeliveryOutcome, delivered, report};
use crate::decide::host::step_request::{StepResult, listen_addresses};
use crate::decide::host::{Material, material};
use crate::decide::status::Verdict;
use crate::pki::lifecycle::saturating;
use crate::pki::material::Data;
use crate::pki::sha256_hex;
use daemon_step::ask;
use files::{Placed, look, place, retire};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use removal::remove;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What others may have changed without our being told is looked at so often.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(10);
/// What failed for a reason that may pass is tried again, and what dockerd does not serve yet looked at.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// A host that is delivered to.
#[derive(Clone, Debug)]
pub struct HostDelivery {
    /// The DockerHostCert and its wishes.
    pub host: AssignedHost,
    /// What its Secret holds, where there is one.
    pub secret: Option<Arc<Data>>,
    /// Directories that may be delivered to.
    pub roots: Vec<PathBuf>,
    /// What was reported before.
    pub previous: CompanionStatus,
    /// This process runs in a container of the host's dockerd.
    pub contained: bool,
    /// Where this process reaches the host, if not on loopback.
    pub address: Option<IpAddr>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct DeliveryResult {
    /// What is reported from now on.
    pub status: CompanionStatus,
    /// When to look again though nothing changes.
    pub requeue_at: Timestamp,
}

/// Delivers. It fails in no other way than that the status says so.
pub async fn deliver(delivery: &HostDelivery, clock: &Clock) -> DeliveryResult {
    let now = clock.now();
    let done = match delivery.host.removing {
        true => remove(delivery, clock).await,
        false => bring(delivery, clock).await,
    };
    let (outcome, requeue_at) = done.unwrap_or_else(|verdict| {
        let again = verdict.reason == Reason::DirectoryUnusable;
        let kept = kept(delivery);
        (DeliveryOutcome { delivered: Some(verdict), ..kept }, again.then(|| saturating(now, RETRY_INTERVAL)))
    });
    let status = report(&outcome, &delivery.previous, delivery.host.generation, now);
    let look = saturating(now, CHECK_INTERVAL);
    DeliveryResult { status, requeue_at: requeue_at.map_or(look, |requeue_at| requeue_at.min(look)) }
}

/// What is reported of a host that may not be delivered here; nothing is touched.
pub fn refuse(delivery: &HostDelivery, why: String, clock: &Clock) -> DeliveryResult {
    let now = clock.now();
    let outcome = DeliveryOutcome { delivered: Some(verdict(false, Reason::NotListed, why)), ..kept(delivery) };
    let status = report(&outcome, &delivery.previous, delivery.host.generation, now);
    DeliveryResult { status, requeue_at: saturating(now, CHECK_INTERVAL) }
}

/// What is in place though nothing new could be brought.
fn kept(delivery: &HostDelivery) -> DeliveryOutcome {
    let host = &delivery.previous.host;
    DeliveryOutcome {
        in_place: host.delivered_fingerprint.clone().zip(host.delivered_bundle.clone()),
        served: host.served_fingerprint.clone(),
        ..DeliveryOutcome::default()
    }
}

fn verdict(holds: bool, reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict::new(ConditionType::Delivered, holds, reason, message)
}

fn refusal(error: DeliveryError) -> Verdict {
    let reason = match error {
        DeliveryError::FileExists(_) | DeliveryError::TakeOver { .. } => Reason::FileConflict,
        DeliveryError::Claimed { .. } => Reason::HostConflict,
        DeliveryError::Outside { .. } => Reason::NotListed,
        _ => Reason::DirectoryUnusable,
    };
    verdict(false, reason, error.to_string())
}

type Outcomes = Result<(DeliveryOutcome, Option<Timestamp>), Verdict>;

async fn bring(delivery: &HostDelivery, clock: &Clock) -> Outcomes {
    match brought(delivery, clock).await {
        Err(verdict) if delivery.host.delivery.mode == Mode::Daemon => still(delivery, verdict).await,
        outcome => outcome,
    }
}

/// Nothing can be brought: a door that stands open is closed all the same.
async fn still(delivery: &HostDelivery, verdict: Verdict) -> Outcomes {
    let Ok(answer) = ask(delivery, None, BTreeSet::new()).await else { return Err(verdict) };
    match answer.reason() {
        Reason::ExposedByOthers | Reason::ExposureClosed => {
            let serving = Some(daemon::verdict(&answer));
            Ok((DeliveryOutcome { delivered: Some(verdict), serving, ..kept(delivery) }, answer.requeue_at))
        }
        _ => Err(verdict),
    }
}

/// Before anything is written for the first time: whether something of others' is in the way of dockerd's using it.
async fn could_be_served(delivery: &HostDelivery, trusts: &BTreeSet<String>) -> Result<(), Verdict> {
    let said = ask(delivery, None, trusts.clone()).await;
    let serving = said.map_or_else(|serving| serving, |answer| daemon::verdict(&answer));
    match serving.reason {
        Reason::NotServed | Reason::DaemonUnusable => Ok(()), // the files are of use as soon as that has passed
        _ => Err(serving),
    }
}

async fn brought(delivery: &HostDelivery, clock: &Clock) -> Outcomes {
    let host = &delivery.host;
    let missing = || verdict(false, Reason::SecretMissing, format!("Secret {} is not there yet", host.secret_name));
    let secret = delivery.secret.as_ref().ok_or_else(missing)?;
    let now = clock.now();
    let material = material::read(&host.secret_name, secret, now)?;
    let trusts = material::valid_keys(&material.bundle, now);
    if host.delivery.mode == Mode::Daemon
        && look(delivery)?.is_none_or(|seen| seen.current.is_none())
        && let Err(serving) = could_be_served(delivery, &trusts).await
    {
        let delivered = verdict(false, serving.reason, format!("nothing was delivered: {}", serving.message));
        let outcome =
            DeliveryOutcome { delivered: Some(delivered), serving: Some(serving), ..DeliveryOutcome::default() };
        return Ok((outcome, Some(saturating(now, RETRY_INTERVAL))));
    }
    let blocking = (delivery.clone(), material.clone());
    let placed = tokio::task::spawn_blocking(move || place(&blocking.0, &blocking.1, now));
    let placed = placed.await.expect("placing files does not panic")?;
    let outcome = DeliveryOutcome { in_place: Some(in_place(&material)), ..DeliveryOutcome::default() };
    let directory = &host.delivery.directory;
    match host.delivery.mode {
        Mode::Files => {
            let (serving, served) = look_at_daemon(delivery, &placed, &material).await;
            let unserved = served.as_ref() != Some(&material.certificate.fingerprint());
            let outcome =
                DeliveryOutcome { delivered: Some(delivered(directory, &material)), serving, served, ..outcome };
            retire(delivery, &[placed.generation])?;
            Ok((outcome, unserved.then(|| saturating(now, RETRY_INTERVAL)))) // whoever restarts dockerd does not tell us
        }
        Mode::Daemon => {
            let answer = ask(delivery, Some(placed.generation), trusts).await;
            Ok(daemon_outcome(delivery, &material, placed.generation, answer, outcome, now))
        }
    }
}

fn in_place(material: &Material) -> (String, String) {
    (material.certificate.fingerprint(), material.bundle_digest())
}

/// What the step on the host says, as conditions.
fn daemon_outcome(
    delivery: &HostDelivery,
    material: &Material,
    generation: u64,
    answer: Result<StepResult, Verdict>,
    outcome: DeliveryOutcome,
    now: Timestamp,
) -> (DeliveryOutcome, Option<Timestamp>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(serving) => {
            // What was begun is to be ended soon.
            return (
                DeliveryOutcome { serving: Some(serving), ..kept(delivery) },
                Some(saturating(now, RETRY_INTERVAL)),
            );
        }
    };
    let shown = look(delivery).ok().flatten().and_then(|seen| seen.current);
    let in_place = shown == Some(generation);
    let verdict = match in_place {
        true => delivered(&delivery.host.delivery.directory, material),
        false => verdict(false, Reason::RolledBack, answer.message.clone()),
    };
    let keep = [Some(generation), answer.loaded].into_iter().flatten().collect::<Vec<_>>();
    if answer.holds
        && let Err(error) = retire(delivery, &keep)
    {
        tracing::warn!(error = error.message, "failed to remove old files");
    }
    let outcome = match in_place {
        true => outcome,
        false => DeliveryOutcome { in_place: kept(delivery).in_place, ..outcome },
    };
    let requeue_at = answer.requeue_at;
    let serving = Some(daemon::verdict(&answer));
    (DeliveryOutcome { delivered: Some(verdict), serving, served: answer.served, ..outcome }, requeue_at)
}

/// In mode Files dockerd is the user's: it is asked what it serves where it answers at all.
async fn look_at_daemon(
    delivery: &HostDelivery,
    placed: &Placed,
    material: &Material,
) -> (Option<Verdict>, Option<String>) {
    let Some(mut address) =
        listen_addresses(&delivery.host).ok().and_then(|listen_addresses| Some(listen_addresses.first()?.dial()))
    else {
        return (None, None);
    };
    if let (true, Some(host)) = (address.ip().is_loopback(), delivery.address) {
        address.set_ip(host);
    }
    if probe::plain(address).await == PlainProbe::Answered {
        let message =
            format!("dockerd answers everybody on {address}, without a certificate: whoever reaches it is root here");
        return (Some(serving(Reason::ExposedByOthers, message)), None);
    }
    let answer = probe::tls(address, placed.identity.as_ref()).await;
    let served = answer.leaf().map(sha256_hex);
    let wanted = served.as_deref() == Some(&material.certificate.fingerprint());
    let verdict = match answer {
        TlsProbe::Answered(_) if wanted => {
            let message = format!("dockerd serves the certificate on {address}");
            Some(Verdict::new(ConditionType::Serving, true, Reason::Serving, message))
        }
        TlsProbe::Answered(_) | TlsProbe::Refused(Some(_), _) => {
            let message = format!("dockerd on {address} does not use the delivered files yet: restart it");
            Some(serving(Reason::NotServed, message))
        }
        TlsProbe::Refused(None, _) | TlsProbe::Closed(_) => None,
    };
    (verdict, served)
}
