//! Where dockerd listens: text of a spec or of `-H` in, addresses and systemd's ListenStream= out.

mod docker_host;

pub use docker_host::{DockerHostVariable, docker_host};

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A TCP address to listen on. All addresses come first in order, then IPv4, then IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// None: all addresses of both families.
    address: Option<IpAddr>,
    port: u16,
}

/// Why dockerd cannot listen on an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ListenAddressError {
    /// The text is not IP:PORT.
    #[error("failed to read {0:?}: an address to listen on is IP:PORT, such as 192.168.1.7:2376 or [fd00::7]:2376")]
    Malformed(String),
    /// Port 0, which means any free port.
    #[error("failed to read {0:?}: no client can connect to port 0; choose another port")]
    PortZero(String),
    /// fe80::/10, which needs an interface.
    #[error("failed to read {0:?}: a link-local address belongs to one interface; use another address of the host")]
    LinkLocal(String),
    /// Not an address of TCP.
    #[error("failed to read {0:?}: dockerd cannot listen on a multicast or broadcast address")]
    Multicast(String),
}

impl Listen {
    /// All addresses, IPv4 and IPv6.
    pub fn all(port: u16) -> Listen {
        Listen { address: None, port }
    }

    /// Reads `192.168.1.7:2376`, `[fd00::7]:2376` or a port alone, which is all addresses.
    ///
    /// # Errors
    /// [`ListenAddressError`]: names, zones, port 0, and addresses that nothing can listen on.
    pub fn parse(text: &str) -> Result<Listen, ListenAddressError> {
        let listen = match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().ok().map(Listen::all),
            false => text.parse().ok().filter(|_| !text.contains('%')).map(of),
        };
        let listen = listen.ok_or_else(|| ListenAddressError::Malformed(text.to_owned()))?;
        match listen.address {
            _ if listen.port == 0 => Err(ListenAddressError::PortZero(text.to_owned())),
            Some(IpAddr::V6(address)) if address.is_unicast_link_local() => {
                Err(ListenAddressError::LinkLocal(text.to_owned()))
            }
            Some(address) if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) => {
                Err(ListenAddressError::Multicast(text.to_owned()))
            }
            _ => Ok(listen),
        }
    }

    /// Each address once, in order, and none that another one covers: systemd could not open both. `[::]` covers IPv4
    /// too, as dockerd and our socket unit have it.
    pub fn distinct(listens: impl IntoIterator<Item = Listen>) -> Vec<Listen> {
        let all: BTreeSet<Listen> = listens.into_iter().collect();
        let covered = |one: &Listen| all.iter().any(|other| other.covers(one) && (!one.covers(other) || other < one));
        all.iter().filter(|one| !covered(one)).copied().collect()
    }

    /// Whether a socket on this address leaves no room for one on the other.
    pub fn covers(&self, other: &Listen) -> bool {
        let whole = match self.address {
            None | Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => true,
            Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => matches!(other.address, Some(IpAddr::V4(_))),
            one => one == other.address,
        };
        self.port == other.port && whole
    }

    /// Whether a socket on that address leaves no room for this one, or this one none for it.
    pub fn overlaps(&self, address: &SocketAddr) -> bool {
        Listen::parse(&address.to_string()).is_ok_and(|there| self.covers(&there) || there.covers(self))
    }

    /// The value of `ListenStream=` (systemd.socket(5)).
    pub fn stream(&self) -> String {
        match self.address {
            None => self.port.to_string(),
            Some(address) => SocketAddr::new(address, self.port).to_string(),
        }
    }

    /// Where the host itself reaches it.
    pub fn dial(&self) -> SocketAddr {
        let address = match self.address {
            None | Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.into(),
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.into(),
            Some(address) => address,
        };
        SocketAddr::new(address, self.port)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn of(address: SocketAddr) -> Listen {
    Listen { address: Some(address.ip().to_canonical()), port: address.port() }
}

#[cfg(test)]
mod tests;
