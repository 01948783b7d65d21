//! The removal of what was delivered, once neither dockerd nor its configuration needs it any more.

use super::daemon_step::request_step;
use super::delivery::{HostDelivery, Outcome, RETRY_INTERVAL, kept, problem, verdict};
use super::files::find_directory;
use crate::adapters::Clock;
use crate::adapters::docker::probe::TlsProbe;
use crate::adapters::host::cert_dir::{DirContents, Generation};
use crate::adapters::host::system_files::PathEntry;
use crate::adapters::host::{DeliveryDirectory, Host};
use crate::api::AssignedHost;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Mode;
use crate::decide::host::DaemonState;
use crate::decide::host::daemon_config::DAEMON_JSON;
use crate::decide::host::ownership::{is_anothers, is_ours};
use crate::decide::host::report::DeliveryOutcome;
use crate::decide::host::step_request::listen_addresses;
use crate::decide::status::Verdict;
use crate::docker::daemon_json::DaemonJson;
use crate::docker::exposure::Exposure;
use crate::docker::listen::Listen;
use crate::docker::unit;
use crate::pki::lifecycle::saturating;
use crate::pki::{Certificate, sha256_hex};
use crate::reconcile::host::daemon;
use std::collections::BTreeSet;
use std::path::Path;

/// Removes what was delivered, or says who still uses it.
pub(super) async fn remove(host: &impl Host, delivery: &HostDelivery, clock: &Clock) -> Outcome {
    let gone = verdict(false, Reason::Removed, "what was delivered has been removed");
    let again = Some(saturating(clock.now(), RETRY_INTERVAL));
    let directory = find_directory(host, delivery)?;
    let contents = directory.as_ref().map(|directory| directory.contents(&delivery.host.name)).transpose();
    let contents = contents.map_err(problem)?.unwrap_or_default();
    if delivery.host.delivery.mode == Mode::Daemon && !is_configured_by_another(host, delivery, &contents) {
        let serving = match request_step(host, delivery, None, BTreeSet::new(), None).await {
            Ok(result) if result.reason() == Reason::Removed => None,
            Ok(result) => Some(daemon::verdict(&result)),
            Err(serving) => Some(serving),
        };
        if serving.is_some() {
            return Ok((DeliveryOutcome { serving, ..kept(delivery) }, again));
        }
    }
    let ours = contents.marker.as_ref().filter(|there| is_ours(there, &delivery.host));
    if let Some((directory, marker)) = directory.zip(ours) {
        if let Some(user) = user(host, &delivery.host, &contents).await {
            let delivered = Some(in_use(&delivery.host.delivery.directory, &user));
            return Ok((DeliveryOutcome { delivered, ..kept(delivery) }, again));
        }
        directory.claim(marker, Some(marker)).map_err(problem)?;
        directory.release(&delivery.host.name).map_err(problem)?;
    }
    Ok((DeliveryOutcome { delivered: Some(gone), ..DeliveryOutcome::default() }, None))
}

/// Another Dockseal replaced what was delivered here: dockerd is its business now.
fn is_configured_by_another(host: &impl Host, delivery: &HostDelivery, contents: &DirContents) -> bool {
    let directory = contents.marker.as_ref().and_then(|there| there.writer.clone());
    let state = host.read_note::<DaemonState>(daemon::STATE).ok().flatten().and_then(|state| state.writer);
    [directory, state].iter().any(|writer| is_anothers(writer.as_deref(), &delivery.host))
}

fn in_use(directory: &str, user: &str) -> Verdict {
    let message = format!(
        "what was delivered to {directory} stays for now, since {user}: without the files dockerd would not start. Take \
         the TLS settings that name them out of its configuration and restart it; then they are removed"
    );
    verdict(true, Reason::InUse, message)
}

/// Who still uses the files: a configuration that names them, or a dockerd that serves one of our certificates or
/// admits our own client certificate. What cannot be seen from here, as from a container without the host's network, is
/// not asked.
async fn user(host: &impl Host, assigned: &AssignedHost, contents: &DirContents) -> Option<String> {
    let below = |path: &str| Path::new(path).starts_with(&assigned.delivery.directory);
    let json = host.read(Path::new(DAEMON_JSON)).ok();
    let json = json.as_ref().and_then(PathEntry::bytes).and_then(|bytes| DaemonJson::parse(bytes).ok());
    let tls = json.map(|json| json.tls()).unwrap_or_default();
    if [tls.tlscacert, tls.tlscert, tls.tlskey].iter().flatten().any(|path| below(path)) {
        return Some(format!("{DAEMON_JSON} names it"));
    }
    let command = host.command(unit::SERVICE).await.unwrap_or_default();
    if command.iter().any(|word| word.split('=').any(below)) {
        return Some("docker.service starts dockerd with it".into());
    }
    for address in listen_addresses(assigned).unwrap_or_default().iter().map(Listen::dial) {
        let identity = contents.generations.iter().rev().find_map(Generation::identity);
        let answer = host.probe_tls(address, identity.as_ref()).await;
        let serves_ours = answer.leaf().map(sha256_hex).is_some_and(|leaf| holds_leaf(contents, &leaf));
        let admits_us =
            matches!(answer, TlsProbe::Answered(_)) && !matches!(host.exposure(address).await, Exposure::Open(_));
        if admits_us || serves_ours {
            return Some(format!("dockerd serves it on {address}"));
        }
    }
    None
}

fn holds_leaf(contents: &DirContents, leaf: &str) -> bool {
    let certificates = contents.generations.iter().filter_map(|there| Certificate::from_pem(there.cert.as_ref()?).ok());
    certificates.into_iter().any(|certificate| certificate.fingerprint() == leaf)
}
