//! Where connections may be made to: the administrator's list of networks and an address in, yes or no out. Addresses of
//! this machine, of its link and of clouds' metadata, and the API server, are in no network but one that names them.

use super::resolve::resolve;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// For the name of the API server.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Networks that a wider network does not stand for.
const SPECIAL: &[&str] = &[
    "0.0.0.0/8",          // this machine
    "127.0.0.0/8",        // loopback
    "169.254.0.0/16",     // link-local, and metadata of most clouds
    "100.100.100.200/32", // metadata of Alibaba Cloud
    "168.63.129.16/32",   // of Azure
    "192.0.0.192/32",     // of Oracle Cloud
    "224.0.0.0/4",        // multicast
    "240.0.0.0/4",        // reserved, and broadcast
    "::/128",
    "::1/128",
    "fe80::/10",
    "fd00:ec2::254/128", // metadata of AWS
    "fd20:ce::254/128",  // of Google Cloud
    "ff00::/8",
];

/// A network like 192.168.0.0/16 or fd00::/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Cidr, String> {
        let wrong =
            || format!("{text:?} is not a network: write 192.168.0.0/16, fd00::/8, or 10.0.0.7/32 for one address");
        let (address, prefix) = text.trim().split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if prefix > width(address) {
            return Err(wrong());
        }
        Ok(Cidr { address, prefix })
    }
}

impl Cidr {
    fn contains(&self, ip: IpAddr) -> bool {
        let shift = u32::from(width(self.address) - self.prefix);
        let differing = bits(self.address) ^ bits(ip);
        self.address.is_ipv4() == ip.is_ipv4() && differing.checked_shr(shift).unwrap_or_default() == 0
    }

    /// Whether all of the other network is in this one.
    fn covers(&self, other: &Cidr) -> bool {
        other.prefix >= self.prefix && self.contains(other.address)
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// Where connections may be made to; by default, anywhere.
#[derive(Clone, Debug, Default)]
pub struct Destinations(Option<Arc<Limits>>);

#[derive(Debug)]
struct Limits {
    networks: Vec<Cidr>,
    /// Host and port of the API server.
    api_server: (String, u16),
}

impl Destinations {
    /// No limit, for programs that are run by the machine's owner.
    pub fn anywhere() -> Destinations {
        Destinations::default()
    }

    /// Only those networks, without what is special in them, and without the API server.
    pub fn only(networks: Vec<Cidr>, (host, port): (&str, u16)) -> Destinations {
        let api_server = (host.trim_matches(['[', ']']).to_owned(), port);
        Destinations(Some(Arc::new(Limits { networks, api_server })))
    }

    /// Those of the addresses to which a connection may be made.
    pub(in crate::adapters) async fn allowed(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let Some(limits) = &self.0 else { return addresses };
        let (host, port) = &limits.api_server;
        // Without its addresses it could be any of these.
        let Ok(api_server) = resolve((host, *port), RESOLVE_TIMEOUT).await else { return Vec::new() };
        let api_server: Vec<SocketAddr> = api_server.into_iter().map(canonical).collect();
        addresses.into_iter().filter(|address| limits.allow(canonical(*address), &api_server)).collect()
    }
}

impl Limits {
    fn allow(&self, address: SocketAddr, api_server: &[SocketAddr]) -> bool {
        let inside = self.networks.iter().any(|network| network.contains(address.ip()));
        let behind = embedded(address.ip()).into_iter().map(|ip| SocketAddr::new(ip.into(), address.port()));
        inside && std::iter::once(address).chain(behind).all(|address| self.is_named(address, api_server))
    }

    /// It is nothing special, or a network names it that is nothing else.
    fn is_named(&self, address: SocketAddr, api_server: &[SocketAddr]) -> bool {
        let ip = address.ip();
        let itself = Cidr { address: ip, prefix: width(ip) };
        let special = special(ip).or_else(|| api_server.contains(&address).then_some(itself));
        let names = |network: &Cidr, special: &Cidr| special.covers(network) && network.contains(ip);
        special.is_none_or(|special| self.networks.iter().any(|network| names(network, &special)))
    }
}

/// An IPv4 address that is written as IPv6 (`::ffff:127.0.0.1`) is an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn special(ip: IpAddr) -> Option<Cidr> {
    let networks = SPECIAL.iter().map(|text| text.parse::<Cidr>().expect("a constant network"));
    networks.into_iter().find(|network| network.contains(ip))
}

/// The IPv4 addresses to which gateways translate an IPv6 address, or tunnels lead.
fn embedded(ip: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return Vec::new() };
    let octets = ip.octets();
    let at = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| octets[place]));
    let (last, inverted) = (at([12, 13, 14, 15]), Ipv4Addr::from([12, 13, 14, 15].map(|place| !octets[place])));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, ..] if ip != Ipv6Addr::UNSPECIFIED && ip != Ipv6Addr::LOCALHOST => vec![last],
        [0, 0, 0, 0, 0xffff, 0, ..] => vec![last],              // SIIT
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![last],           // NAT64, RFC 6052
        [0x64, 0xff9b, 1, ..] => vec![last, at([6, 7, 9, 10])], // NAT64, RFC 8215
        [0x2002, ..] => vec![at([2, 3, 4, 5])],                 // 6to4
        [0x2001, 0, ..] => vec![at([4, 5, 6, 7]), inverted],    // Teredo
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => vec![last],      // ISATAP
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations(networks: &[&str]) -> Destinations {
        let networks = networks.iter().map(|text| text.parse().expect(text)).collect();
        Destinations::only(networks, ("10.96.0.1", 443))
    }

    async fn allows(networks: &[&str], address: &str) -> bool {
        let address: SocketAddr = address.parse().expect(address);
        !destinations(networks).allowed(vec![address]).await.is_empty()
    }

    #[tokio::test]
    async fn everything_is_allowed_but_what_is_special() {
        for (address, allowed) in [
            ("192.168.1.7:9443", true),
            ("10.0.0.7:443", true),
            ("8.8.8.8:443", true),
            ("100.64.0.9:2376", true),
            ("[2001:db8::7]:9443", true),
            ("[fd12:3456::7]:9443", true),
            ("10.96.0.1:443", false), // the API server
            ("10.96.0.1:9443", true),
            ("[::ffff:10.96.0.1]:443", false),
            ("127.0.0.1:9443", false),
            ("127.1.2.3:80", false),
            ("0.0.0.0:80", false),
            ("0.1.2.3:80", false),
            ("169.254.169.254:80", false),
            ("100.100.100.200:80", false),
            ("168.63.129.16:80", false),
            ("192.0.0.192:80", false),
            ("224.0.0.1:80", false),
            ("239.255.255.250:80", false),
            ("255.255.255.255:80", false),
            ("240.0.0.1:80", false),
            ("[::]:80", false),
            ("[::1]:80", false),
            ("[fe80::1]:80", false),
            ("[fe80::a9fe:a9fe]:80", false),
            ("[ff02::1]:80", false),
            ("[fd00:ec2::254]:80", false),
            ("[fd20:ce::254]:80", false),
            ("[::ffff:127.0.0.1]:80", false),
            ("[::ffff:169.254.169.254]:80", false),
            ("[::ffff:192.168.1.7]:80", true),
            ("[::127.0.0.1]:80", false),
            ("[::ffff:0:127.0.0.1]:80", false),
            ("[64:ff9b::127.0.0.1]:80", false),
            ("[64:ff9b::169.254.169.254]:80", false),
            ("[64:ff9b::8.8.8.8]:80", true),
            ("[64:ff9b::10.96.0.1]:443", false),
            ("[64:ff9b:1::7f00:1]:80", false),
            ("[64:ff9b:1:a9fe:a9:fe00::]:80", false),
            ("[2002:7f00:1::]:80", false),
            ("[2002:a9fe:a9fe::1]:80", false),
            ("[2002:808:808::1]:80", true),
            ("[2001:0:7f00:1::]:80", false),
            ("[2001:0:808:808::80ff:fffe]:80", false),
            ("[2001:db8::5efe:127.0.0.1]:80", false),
            ("[2001:db8::200:5efe:127.0.0.1]:80", false),
        ] {
            assert_eq!(allows(&["0.0.0.0/0", "::/0"], address).await, allowed, "{address}");
        }
    }

    #[tokio::test]
    async fn a_list_says_which_and_only_a_network_of_its_own_names_what_is_special() {
        for (networks, address, allowed) in [
            (&["192.168.0.0/16"][..], "192.168.1.7:9443", true),
            (&["192.168.0.0/16"], "192.169.1.7:9443", false),
            (&["192.168.0.0/16"], "[::ffff:192.168.1.7]:9443", true),
            (&["192.168.0.0/16"], "[64:ff9b::192.168.1.7]:9443", false),
            (&["192.168.1.7/32"], "192.168.1.7:9443", true),
            (&["192.168.1.7/32"], "192.168.1.8:9443", false),
            (&["::/0"], "192.168.1.7:9443", false),
            (&["0.0.0.0/0"], "[fd00::7]:9443", false),
            (&["fd00::/8"], "[fd00::7]:9443", true),
            (&[], "8.8.8.8:443", false),
            (&["127.0.0.0/8"], "127.0.0.1:80", true),
            (&["127.0.0.0/8"], "[::ffff:127.0.0.1]:80", true),
            (&["127.0.0.1/32"], "127.0.0.2:80", false),
            (&["64.0.0.0/2"], "127.0.0.1:80", false), // wider than loopback, so it does not mean it
            (&["::1/128"], "[::1]:80", true),
            (&["127.0.0.0/8", "::/0"], "[64:ff9b::127.0.0.1]:80", true),
            (&["169.254.10.0/24"], "169.254.10.9:80", true),
            (&["169.254.10.0/24"], "169.254.169.254:80", false),
            (&["0.0.0.0/0", "10.96.0.1/32"], "10.96.0.1:443", true),
            (&["0.0.0.0/0", "10.96.0.0/16"], "10.96.0.1:443", false),
        ] {
            assert_eq!(allows(networks, address).await, allowed, "{networks:?} {address}");
        }
    }

    #[tokio::test]
    async fn of_several_addresses_the_allowed_ones_stay() {
        let addresses = ["127.0.0.1:80", "192.168.1.7:80", "[::1]:80"].map(|text| text.parse().expect(text)).to_vec();
        let limited = destinations(&["0.0.0.0/0", "::/0"]);
        assert_eq!(limited.allowed(addresses.clone()).await, addresses[1..2]);
        assert_eq!(Destinations::anywhere().allowed(addresses.clone()).await, addresses);
        let unknown = Destinations::only(vec!["0.0.0.0/0".parse().expect("a network")], ("no-such-host.invalid", 443));
        assert!(unknown.allowed(addresses).await.is_empty(), "any of them could be the API server");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "host/8", "10.0.0.0/8/8", "/8"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
