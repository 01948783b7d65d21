//! Name constraints (RFC 5280, 4.2.1.10): what an authority may sign for, written and asked.

use der::asn1::{Ia5String, OctetString};
use std::net::IpAddr;
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Reads `192.168.0.0/16` or `fd00::/8`, as the schema's isCIDR has them; bits beyond the prefix are cleared.
    pub fn parse(text: &str) -> Option<Subnet> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let plain = prefix.bytes().all(|b| b.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        let prefix: u8 = prefix.parse().ok().filter(|_| plain)?;
        let bits = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => return None, // it would hold no IPv4 address
            IpAddr::V6(_) => 128,
        };
        (prefix <= bits).then_some(Subnet { address, prefix })
    }

    /// Address and mask, as iPAddress has them in a subtree.
    fn octets(self) -> Vec<u8> {
        let bytes = octets(self.address);
        let mask: Vec<u8> = (0..bytes.len()).map(|at| mask_byte(self.prefix, at)).collect();
        bytes.iter().zip(&mask).map(|(byte, mask)| byte & mask).chain(mask.iter().copied()).collect()
    }
}

/// The extension that permits those domains and networks.
pub fn permit(domains: &[String], networks: &[Subnet]) -> NameConstraints {
    let domains = domains.iter().map(|name| GeneralName::DnsName(Ia5String::new(name).expect("a DNS name is ASCII")));
    let networks = networks.iter().map(|network| {
        GeneralName::IpAddress(OctetString::new(network.octets()).expect("an address and its mask are short"))
    });
    let subtrees = domains.chain(networks).map(|base| GeneralSubtree { base, minimum: 0, maximum: None }).collect();
    NameConstraints { permitted_subtrees: Some(subtrees), excluded_subtrees: None }
}

/// Whether a DNS name may be signed for.
pub fn permits_dns(constraints: &NameConstraints, name: &str) -> bool {
    permits(constraints, |base| match base {
        GeneralName::DnsName(domain) => Some(within_domain(name, domain.as_str())),
        _ => None,
    })
}

/// Whether an address may be signed for. Addresses of both families are constrained as soon as one network is.
pub fn permits_ip(constraints: &NameConstraints, address: IpAddr) -> bool {
    permits(constraints, |base| match base {
        GeneralName::IpAddress(network) => Some(within_network(address, network.as_bytes())),
        _ => None,
    })
}

/// `judge` says of a subtree whether it covers the name, or nothing where it is of another form.
fn permits(constraints: &NameConstraints, judge: impl Fn(&GeneralName) -> Option<bool>) -> bool {
    let verdicts = |subtrees: &Option<Vec<GeneralSubtree>>| -> Vec<bool> {
        subtrees.iter().flatten().filter_map(|subtree| judge(&subtree.base)).collect()
    };
    let permitted = verdicts(&constraints.permitted_subtrees);
    let excluded = verdicts(&constraints.excluded_subtrees);
    (permitted.is_empty() || permitted.contains(&true)) && !excluded.contains(&true)
}

/// A domain with a dot in front, as an adopted authority may have it, holds what is below it and not itself (as Go and
/// OpenSSL have it).
fn within_domain(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
    let rest = name.strip_suffix(&domain);
    match domain.starts_with('.') {
        true => rest.is_some_and(|rest| !rest.is_empty()),
        false => domain.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

fn within_network(address: IpAddr, network: &[u8]) -> bool {
    let address = octets(address);
    let (base, mask) = network.split_at(network.len() / 2);
    base.len() == address.len() && address.iter().zip(base).zip(mask).all(|((a, b), m)| a & m == b & m)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn mask_byte(prefix: u8, at: usize) -> u8 {
    let bits = usize::from(prefix).saturating_sub(at * 8).min(8);
    (0xff00_u16 >> bits) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_within_and_without() {
        let networks: Vec<_> = ["192.168.0.0/16", "1.2.3.4/32", "fd00::/8"].map(|n| Subnet::parse(n).unwrap()).into();
        let rules = permit(&["bodkys.house".into()], &networks);
        for (name, expected) in [
            ("bodkys.house", true),
            ("Pandora.Bodkys.House", true),
            ("*.bodkys.house", true),
            ("notbodkys.house", false),
            ("bodkys.house.evil.example", false),
            ("pandora", false),
        ] {
            assert_eq!(permits_dns(&rules, name), expected, "{name}");
        }
        for (address, expected) in [
            ("192.168.255.1", true),
            ("192.169.0.1", false),
            ("1.2.3.4", true),
            ("1.2.3.5", false),
            ("fd12::1", true),
            ("::1", false),
        ] {
            assert_eq!(permits_ip(&rules, address.parse().unwrap()), expected, "{address}");
        }
        let below = permit(&[".bodkys.house".into()], &[]);
        assert!(!permits_dns(&below, "bodkys.house") && permits_dns(&below, "pandora.bodkys.house"));
        assert!(permits_ip(&permit(&["a.example".into()], &[]), "10.0.0.1".parse().unwrap()));
        // The schema refused the last three, `dockseal up` did not.
        for bad in [
            "1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "x/8",
            "::/129",
            "1.2.3.4/08",
            "::/00",
            "::ffff:1.2.3.0/120",
        ] {
            assert_eq!(Subnet::parse(bad), None, "{bad}");
        }
    }
}
