//! Mode Files: the files are delivered, and dockerd is the user's. It is asked what it serves, and never changed.

use super::delivery::{HostDelivery, Outcome, RETRY_INTERVAL, in_place, read_material};
use super::files::{Placed, make_directory, place_files, remove_old};
use crate::adapters::docker::probe::{PlainProbe, TlsProbe};
use crate::adapters::host::Host;
use crate::api::condition::{ConditionType, Reason};
use crate::decide::host::Material;
use crate::decide::host::report::serving;
use crate::decide::host::report::{DeliveryOutcome, delivered};
use crate::decide::host::step_request::listen_addresses;
use crate::decide::status::Verdict;
use crate::pki::lifecycle::saturating;
use crate::pki::sha256_hex;
use k8s_openapi::jiff::Timestamp;
use std::net::SocketAddr;

pub(super) async fn deliver_files<H: Host>(host: &H, delivery: &HostDelivery, now: Timestamp) -> Outcome {
    let material = read_material(delivery, now)?;
    let directory = make_directory(host, delivery)?;
    let (directory, placed) = place_files::<H>(directory, delivery, &material, now).await?;
    let (serving, served) = match address(delivery) {
        Some(address) => ask(host, address, &placed, &material).await,
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

/// Serving, where dockerd answers at all, and the fingerprint of the leaf that it serves.
async fn ask(
    host: &impl Host,
    address: SocketAddr,
    placed: &Placed,
    material: &Material,
) -> (Option<Verdict>, Option<String>) {
    if host.probe_plain(address).await == PlainProbe::Answered {
        let message =
            format!("dockerd answers everybody on {address}, without a certificate: whoever reaches it is root here");
        return (Some(serving(Reason::ExposedByOthers, message)), None);
    }
    let answer = host.probe_tls(address, placed.identity.as_ref()).await;
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
