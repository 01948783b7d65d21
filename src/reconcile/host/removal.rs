//! What was delivered is taken away again, once nobody needs it.

use super::daemon_step::ask;
use super::files::owner;
use super::{HostDelivery, Outcomes, RETRY_INTERVAL, kept, refusal, verdict};
use crate::adapters::Clock;
use crate::adapters::docker::probe::{self, TlsProbe};
use crate::adapters::host::cert_dir::{CertDir, DirContents, Generation};
use crate::adapters::host::system_files;
use crate::adapters::host::system_files::PathEntry;
use crate::adapters::host::systemd::Systemd;
use crate::api::AssignedHost;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Mode;
use crate::decide::host::report::DeliveryOutcome;
use crate::decide::host::step_request::listen_addresses;
use crate::decide::status::Verdict;
use crate::docker::daemon_json::DaemonJson;
use crate::docker::listen::Listen;
use crate::pki::lifecycle::saturating;
use crate::pki::{Certificate, sha256_hex};
use crate::reconcile::host::daemon::{self, DAEMON_JSON};
use std::collections::BTreeSet;
use std::path::Path;

/// Takes away what was delivered, once dockerd no longer needs it.
pub(super) async fn remove(delivery: &HostDelivery, clock: &Clock) -> Outcomes {
    let gone = verdict(false, Reason::Removed, "what was delivered has been removed");
    let again = Some(saturating(clock.now(), RETRY_INTERVAL));
    if delivery.host.delivery.mode == Mode::Daemon {
        match ask(delivery, None, BTreeSet::new()).await {
            Ok(answer) if answer.reason() == Reason::Removed => {}
            Ok(answer) => {
                return Ok((DeliveryOutcome { serving: Some(daemon::verdict(&answer)), ..kept(delivery) }, again));
            }
            Err(serving) => return Ok((DeliveryOutcome { serving: Some(serving), ..kept(delivery) }, again)),
        }
    }
    let path = Path::new(&delivery.host.delivery.directory);
    if let Some(directory) = CertDir::find(&delivery.roots, path).map_err(refusal)? {
        let seen = directory.contents(&delivery.host.name).map_err(refusal)?;
        if seen.owner == Some(owner(&delivery.host)) {
            if let Some(user) = user(&delivery.host, &seen).await {
                return Ok((DeliveryOutcome { delivered: Some(in_use(path, &user)), ..kept(delivery) }, again));
            }
            directory.release(&delivery.host.name).map_err(refusal)?;
        }
    }
    Ok((DeliveryOutcome { delivered: Some(gone), ..DeliveryOutcome::default() }, None))
}

fn in_use(directory: &Path, user: &str) -> Verdict {
    let directory = directory.display();
    let message = format!(
        "what was delivered to {directory} stays for now, since {user}: without the files dockerd would not start. Take \
         the TLS settings that name them out of its configuration and restart it; then they are removed"
    );
    verdict(true, Reason::InUse, message)
}

/// Who still uses the files: a configuration that names them, or a dockerd that serves one of our certificates or lets
/// our own proof in. What cannot be seen from here, as from a container without the host's network, is not asked.
async fn user(host: &AssignedHost, seen: &DirContents) -> Option<String> {
    let below = |path: &str| Path::new(path).starts_with(&host.delivery.directory);
    let configured = system_files::read(Path::new(DAEMON_JSON)).ok();
    let configured = configured.as_ref().and_then(PathEntry::bytes).and_then(|bytes| DaemonJson::parse(bytes).ok());
    let tls = configured.map(|json| json.tls()).unwrap_or_default();
    if [tls.tlscacert, tls.tlscert, tls.tlskey].iter().flatten().any(|path| below(path)) {
        return Some(format!("{DAEMON_JSON} names it"));
    }
    if let Ok(systemd) = Systemd::reach().await {
        let command = systemd.command("docker.service").await.unwrap_or_default();
        if command.iter().any(|word| word.split('=').any(below)) {
            return Some("docker.service starts dockerd with it".into());
        }
    }
    let ours = |leaf: &str| {
        let certificates = seen.generations.iter().filter_map(|there| Certificate::from_pem(there.cert.as_ref()?).ok());
        certificates.into_iter().any(|certificate| certificate.fingerprint() == leaf)
    };
    for address in listen_addresses(host).unwrap_or_default().iter().map(Listen::dial) {
        let proof = seen.generations.iter().rev().find_map(Generation::identity);
        let answer = probe::tls(address, proof.as_ref()).await;
        let served = answer.leaf().map(sha256_hex);
        let lets_proof_in = matches!(answer, TlsProbe::Answered(_))
            && !matches!(probe::tls(address, None).await, TlsProbe::Answered(_));
        if lets_proof_in || served.is_some_and(|served| ours(&served)) {
            return Some(format!("dockerd serves it on {address}"));
        }
    }
    None
}
