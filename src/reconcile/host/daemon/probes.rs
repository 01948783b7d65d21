//! What dockerd answers over TCP, and to whom: the addresses that it should serve, and listeners that need no client
//! certificate.

use super::docker_host::DockerHost;
use super::error::StepError;
use crate::adapters::docker::probe::{PlainProbe, TlsProbe};
use crate::adapters::host::Host;
use crate::adapters::host::cert_dir::{DirContents, Generation};
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::decide::host::observed::ListenerState;
use crate::decide::host::step_request::listen_addresses;
use crate::docker::unit;
use crate::pki::Certificate;
use k8s_openapi::jiff::Timestamp;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Generations whose client certificate is tried.
const MAX_TRIED: usize = 4;

impl<H: Host> DockerHost<'_, H> {
    /// dockerd's listeners that answer Docker's API without a client certificate.
    pub async fn exposed(&self) -> Result<Vec<SocketAddr>, StepError> {
        let mut exposed = Vec::new();
        for address in self.host.listeners(unit::SERVICE).await? {
            for ip in reachable(address.ip()) {
                let dialled = SocketAddr::new(ip, address.port());
                let plain = self.host.probe_plain(dialled).await == PlainProbe::Answered;
                if plain || matches!(self.host.probe_tls(dialled, None).await, TlsProbe::Answered(_)) {
                    exposed.push(address);
                    break;
                }
            }
        }
        Ok(exposed)
    }

    /// Each address that dockerd should serve, with the end of the certificate that it serves.
    pub async fn served_addresses(&self, contents: &DirContents) -> Vec<(ListenerState, Option<Timestamp>)> {
        let first = self.request.files.into_iter().chain(contents.current);
        let others = contents.generations.iter().rev().map(|generation| generation.number);
        let mut identities: Vec<(u64, ClientKeyPair)> = Vec::new();
        for number in first.chain(others) {
            let generation = contents.generations.iter().find(|generation| generation.number == number);
            let known = identities.iter().any(|(known, _)| *known == number);
            let new = generation.filter(|_| !known && identities.len() < MAX_TRIED);
            identities.extend(new.and_then(Generation::identity).map(|found| (number, found)));
        }
        let mut served = Vec::new();
        for listen in listen_addresses(&self.request.host).unwrap_or_default() {
            served.push(self.ask(listen.dial(), &identities).await);
        }
        served
    }

    /// Tries each client certificate until one is admitted; without any, asks which certificate is served.
    async fn ask(
        &self,
        address: SocketAddr,
        identities: &[(u64, ClientKeyPair)],
    ) -> (ListenerState, Option<Timestamp>) {
        let absent = !self.host.is_local(address.ip());
        let mut listener = ListenerState { address, absent, leaf: None, accepts: None, error: None };
        let mut end = None;
        let anonymous = [None].into_iter().filter(|_| identities.is_empty());
        for identity in identities.iter().map(Some).chain(anonymous) {
            let answer = self.host.probe_tls(address, identity.map(|(_, identity)| identity)).await;
            let leaf = answer.leaf().and_then(|der| Certificate::from_der(der).ok());
            end = leaf.as_ref().map(|leaf| leaf.not_after).or(end);
            listener.leaf = leaf.map(|leaf| leaf.fingerprint()).or(listener.leaf);
            match answer {
                TlsProbe::Closed(why) => {
                    listener.error = Some(why);
                    break;
                }
                TlsProbe::Refused(_, why) => listener.error = Some(why),
                TlsProbe::Answered(_) => {
                    listener.accepts = identity.map(|(number, _)| *number);
                    break;
                }
            }
        }
        (listener, end)
    }
}

/// Where the host itself reaches a listener.
fn reachable(ip: IpAddr) -> Vec<IpAddr> {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        ip => vec![ip],
    }
}
