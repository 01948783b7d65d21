//! Mode Files: the files are delivered, and dockerd is the user's. It is asked what it serves, and never changed.

use super::daemon::dialled;
use super::delivery::{HostDelivery, Outcome, RETRY_INTERVAL, in_place, read_material};
use super::files::{Placed, make_directory, place_files, remove_old};
use crate::adapters::docker::probe::TlsProbe;
use crate::adapters::host::Host;
use crate::api::condition::{ConditionType, Reason};
use crate::decide::host::Material;
use crate::decide::host::report::{
    DeliveryOutcome, authority_refused, delivered, exposed, serving, uncertain_exposure,
};
use crate::decide::host::step_request::listen_addresses;
use crate::decide::status::Verdict;
use crate::docker::exposure::{Exposure, PLAIN_HTTP_PORT};
use crate::docker::unit;
use crate::pki::lifecycle::saturating;
use crate::pki::sha256_hex;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeSet;
use std::net::SocketAddr;

pub(super) async fn deliver_files<H: Host>(host: &H, delivery: &HostDelivery, now: Timestamp) -> Outcome {
    let material = read_material(delivery, now)?;
    let directory = make_directory(host, delivery)?;
    let (directory, placed) = place_files::<H>(directory, delivery, &material, now).await?;
    let (serving, served) = match address(delivery) {
        Some(address) => ask(host, delivery, address, (&placed, &material)).await,
        None => (None, None),
    };
    let unserved = served.as_ref() != Some(&material.certificate.fingerprint());
    let outcome = DeliveryOutcome {
        in_place: Some(in_place(&material)),
        delivered: Some(delivered(&delivery.host.delivery.directory, &material)),
        serving,
        served,
    };
    remove_old(&directory, &delivery.host.name, &[placed.generation])?;
    Ok((outcome, unserved.then(|| saturating(now, RETRY_INTERVAL)))) // nobody tells us when dockerd is restarted
}

/// Where dockerd should listen, from where this process runs.
fn address(delivery: &HostDelivery) -> Option<SocketAddr> {
    let mut address = listen_addresses(&delivery.host).ok()?.first()?.dial();
    if let (true, Some(host)) = (address.ip().is_loopback(), delivery.address) {
        address.set_ip(host);
    }
    Some(address)
}

/// Serving, where dockerd answers at all, and the fingerprint of the leaf that it serves. A listener that lets strangers in
/// is said before everything else.
async fn ask(
    host: &impl Host,
    delivery: &HostDelivery,
    address: SocketAddr,
    (placed, material): (&Placed, &Material),
) -> (Option<Verdict>, Option<String>) {
    let mut uncertain = None;
    for listener in listeners(host, delivery, address).await {
        match host.exposure(listener).await {
            Exposure::Open(stranger) => return (Some(exposed(listener, stranger)), None),
            Exposure::Unknown(_, why) if listener == address => uncertain = Some(why),
            _ => {}
        }
    }
    let answer = host.probe_tls(address, placed.identity.as_ref()).await;
    let served = answer.leaf().map(sha256_hex);
    let wanted = served.as_deref() == Some(&material.certificate.fingerprint());
    let verdict = match (answer, uncertain) {
        (TlsProbe::Answered(_), Some(why)) => Some(uncertain_exposure(address, &why)),
        (TlsProbe::Answered(_), None) if wanted => {
            if let Some(why) = refused_authority(host, address, material).await {
                return (Some(authority_refused(address, &why)), served);
            }
            let message = format!("dockerd serves the certificate on {address}, and refuses clients without one");
            Some(Verdict::new(ConditionType::Serving, true, Reason::Serving, message))
        }
        (TlsProbe::Answered(_) | TlsProbe::Refused(Some(_), _), _) => {
            let message = format!("dockerd on {address} does not use the delivered files yet: restart it");
            Some(serving(Reason::NotServed, message))
        }
        (TlsProbe::Refused(None, _) | TlsProbe::Closed(_), _) => None,
    };
    (verdict, served)
}

/// Why dockerd refuses the clients of the authority; none where it does not, or where that cannot be told.
async fn refused_authority(host: &impl Host, address: SocketAddr, material: &Material) -> Option<String> {
    host.authority_proof(address, material.proof.as_ref()?).await.refusal()
}

/// What is asked whether it lets strangers in: where dockerd should listen, Docker's port of plain HTTP beside it, and
/// what dockerd listens on besides, where systemd can be asked for it.
async fn listeners(host: &impl Host, delivery: &HostDelivery, address: SocketAddr) -> Vec<SocketAddr> {
    let mut found = vec![address, SocketAddr::new(address.ip(), PLAIN_HTTP_PORT)];
    if delivery.address.is_none() {
        let own = host.listeners(unit::SERVICE).await.unwrap_or_default();
        found.extend(own.into_iter().flat_map(dialled));
    }
    let mut seen = BTreeSet::new();
    found.retain(|listener| seen.insert(*listener));
    found
}
