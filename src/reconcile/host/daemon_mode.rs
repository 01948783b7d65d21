//! Mode Daemon: the files are delivered, then the step on dockerd has it serve them. It writes no file of dockerd's
//! itself.

use super::daemon;
use super::daemon_step::request_step;
use super::delivery::{HostDelivery, Outcome, RETRY_INTERVAL, in_place, kept, problem, read_material, verdict};
use super::files::{find_directory, make_directory, marker, place_files, remove_old};
use crate::adapters::host::cert_dir::DirContents;
use crate::adapters::host::{DeliveryDirectory, Host};
use crate::api::condition::Reason;
use crate::decide::host::material::valid_keys;
use crate::decide::host::ownership::claim_daemon;
use crate::decide::host::report::{DeliveryOutcome, delivered};
use crate::decide::host::step_request::StepResult;
use crate::decide::host::{DaemonState, Material};
use crate::decide::status::Verdict;
use crate::pki::lifecycle::saturating;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeSet;

pub(super) async fn deliver_to_daemon<H: Host>(host: &H, delivery: &HostDelivery, now: Timestamp) -> Outcome {
    match deliver(host, delivery, now).await {
        Err(verdict) if verdict.reason == Reason::HostConflict => Err(verdict), // its ports are the other's business
        Err(verdict) => close_listeners(host, delivery, verdict).await,
        outcome => outcome,
    }
}

/// Nothing can be delivered: listeners that answer without a certificate are closed all the same.
async fn close_listeners(host: &impl Host, delivery: &HostDelivery, verdict: Verdict) -> Outcome {
    let Ok(result) = request_step(host, delivery, None, BTreeSet::new(), None).await else { return Err(verdict) };
    match result.reason() {
        reason if reason.is_exposure() => {
            let serving = Some(daemon::verdict(&result));
            Ok((DeliveryOutcome { delivered: Some(verdict), serving, ..kept(delivery) }, result.requeue_at))
        }
        _ => Err(verdict),
    }
}

async fn deliver<H: Host>(host: &H, delivery: &HostDelivery, now: Timestamp) -> Outcome {
    let material = read_material(delivery, now)?;
    let trusts = valid_keys(&material.bundle, now);
    let directory = find_directory(host, delivery)?;
    let contents = directory.as_ref().map(|directory| directory.contents(&delivery.host.name)).transpose();
    let contents = contents.map_err(problem)?.unwrap_or_default();
    check_owner(host, delivery, &contents, &material)?;
    let first = contents.current.is_none();
    if first && let Err(serving) = check_first(host, delivery, &trusts).await {
        let delivered = verdict(false, serving.reason, format!("nothing was delivered: {}", serving.message));
        let outcome =
            DeliveryOutcome { delivered: Some(delivered), serving: Some(serving), ..DeliveryOutcome::default() };
        return Ok((outcome, Some(saturating(now, RETRY_INTERVAL))));
    }
    let directory = directory.map_or_else(|| make_directory(host, delivery), Ok)?;
    let (directory, placed) = place_files::<H>(directory, delivery, &material, now).await?;
    Ok(match request_step(host, delivery, Some(placed.generation), trusts, material.proof.as_ref()).await {
        Ok(result) => served_outcome(&directory, delivery, &material, (placed.generation, result)),
        // What was begun is to be ended soon.
        Err(serving) => {
            (DeliveryOutcome { serving: Some(serving), ..kept(delivery) }, Some(saturating(now, RETRY_INTERVAL)))
        }
    })
}

/// Before anything is written, notes for the step included: neither the directory nor dockerd is another Dockseal's.
fn check_owner(
    host: &impl Host,
    delivery: &HostDelivery,
    contents: &DirContents,
    material: &Material,
) -> Result<(), Verdict> {
    marker(contents, &delivery.host, material)?;
    let state = host.read_note::<DaemonState>(daemon::STATE).ok().flatten().unwrap_or_default(); // else the step fails
    let allowed = claim_daemon(&state, &delivery.host);
    allowed.map(drop).map_err(|message| verdict(false, Reason::HostConflict, message))
}

/// Before anything is written for the first time: whether something of others' keeps dockerd from using it.
async fn check_first(host: &impl Host, delivery: &HostDelivery, trusts: &BTreeSet<String>) -> Result<(), Verdict> {
    let result = request_step(host, delivery, None, trusts.clone(), None).await;
    let serving = result.map_or_else(|serving| serving, |result| daemon::verdict(&result));
    match serving.reason {
        Reason::NotServed | Reason::DaemonUnusable => Ok(()), // the files are of use as soon as that has passed
        _ => Err(serving),
    }
}

/// What the step's result says, as conditions; generations that dockerd no longer needs are removed.
fn served_outcome(
    directory: &impl DeliveryDirectory,
    delivery: &HostDelivery,
    material: &Material,
    (generation, result): (u64, StepResult),
) -> (DeliveryOutcome, Option<Timestamp>) {
    let name = &delivery.host.name;
    let shown = directory.contents(name).ok().and_then(|contents| contents.current);
    let (in_place, verdict) = match shown == Some(generation) {
        true => (Some(in_place(material)), delivered(&delivery.host.delivery.directory, material)),
        false => (kept(delivery).in_place, verdict(false, Reason::RolledBack, result.message.clone())),
    };
    let keep = [Some(generation), result.loaded].into_iter().flatten().collect::<Vec<_>>();
    if result.holds
        && let Err(error) = remove_old(directory, name, &keep)
    {
        tracing::warn!(error = error.message, "failed to remove old files");
    }
    let serving = Some(daemon::verdict(&result));
    (DeliveryOutcome { in_place, delivered: Some(verdict), serving, served: result.served }, result.requeue_at)
}
