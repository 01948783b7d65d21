//! What dockerd answers over TCP, and to whom: the addresses that it should serve, and listeners that need no client
//! certificate.

use super::docker_host::DockerHost;
use super::error::StepError;
use crate::adapters::docker::probe::TlsProbe;
use crate::adapters::host::Host;
use crate::adapters::host::cert_dir::{DirContents, Generation};
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::decide::host::observed::ListenerState;
use crate::decide::host::step_request::listen_addresses;
use crate::docker::exposure::Exposure;
use crate::docker::unit;
use crate::pki::Certificate;
use k8s_openapi::jiff::Timestamp;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Generations whose client certificate is tried.
const MAX_TRIED: usize = 4;

impl<H: Host> DockerHost<'_, H> {
    /// dockerd's listeners that let strangers in, and those that it should serve and that may do so, with the reason for
    /// the doubt.
    pub async fn exposures(&self) -> Result<(Vec<SocketAddr>, Vec<(SocketAddr, String)>), StepError> {
        let wanted = listen_addresses(&self.request.host).unwrap_or_default();
        let is_wanted = |address: &SocketAddr| wanted.iter().any(|wanted| wanted.overlaps(address));
        let (mut open, mut uncertain) = (Vec::new(), Vec::new());
        for address in self.host.listeners(unit::SERVICE).await? {
            match self.worst_exposure(address).await {
                Exposure::Open(_) => open.push(address),
                // Its metrics and a swarm's ports are not the API.
                Exposure::Unknown(_, why) if is_wanted(&address) => uncertain.push((address, why)),
                _ => {}
            }
        }
        Ok((open, uncertain))
    }

    /// The listener that refuses the clients of the authority, and why; none where that cannot be told. Only one that
    /// accepts our own client certificate is asked: another is not ours yet.
    pub async fn refused_authority(&self, listeners: &[ListenerState]) -> Option<(SocketAddr, String)> {
        let leaf = Certificate::from_pem(self.request.proof.as_ref()?.as_bytes()).ok()?;
        let address = listeners.iter().find(|listener| listener.accepts.is_some())?.address;
        self.host.authority_proof(address, &leaf).await.refusal().map(|why| (address, why))
    }

    async fn worst_exposure(&self, address: SocketAddr) -> Exposure {
        let mut worst = Exposure::Closed;
        for dialled in dialled(address) {
            match self.host.exposure(dialled).await {
                Exposure::Open(stranger) => return Exposure::Open(stranger),
                Exposure::Unknown(stranger, why) => worst = Exposure::Unknown(stranger, why),
                Exposure::Closed | Exposure::Unreachable(_) => {}
            }
        }
        worst
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
pub fn dialled(listener: SocketAddr) -> Vec<SocketAddr> {
    let ips = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        ip => vec![ip],
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, listener.port())).collect()
}
