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

/// The extension of a new authority: where it limits names alone, the only addresses are those of the machine itself, to
/// which every host's certificate is bound unless its owner says otherwise.
pub fn closed(constraints: NameConstraints) -> NameConstraints {
    let permitted = constraints.permitted_subtrees.as_deref().unwrap_or_default();
    if permitted.iter().any(|subtree| matches!(subtree.base, GeneralName::IpAddress(_))) {
        return constraints;
    }
    let loopback = ["127.0.0.0/8", "::1/128"].map(|network| Subnet::parse(network).expect("a network"));
    let loopback = permit(&[], &loopback).permitted_subtrees.unwrap_or_default();
    let permitted_subtrees = Some(permitted.iter().cloned().chain(loopback).collect());
    NameConstraints { permitted_subtrees, ..constraints }
}

fn subtrees(constraints: &NameConstraints) -> impl Iterator<Item = &GeneralSubtree> {
    constraints.permitted_subtrees.iter().chain(&constraints.excluded_subtrees).flatten()
}

/// How many subtrees there are.
pub fn size(constraints: &NameConstraints) -> usize {
    subtrees(constraints).count()
}

/// Whether Docker enforces all of them, so that the extension may be critical.
pub fn are_enforced(constraints: &NameConstraints) -> bool {
    use GeneralName::{DnsName, IpAddress, Rfc822Name, UniformResourceIdentifier};
    let known =
        |base: &GeneralName| matches!(base, DnsName(_) | IpAddress(_) | Rfc822Name(_) | UniformResourceIdentifier(_));
    subtrees(constraints).all(|subtree| known(&subtree.base))
}

/// Whether a DNS name may be signed for. A wildcard must be permitted as a whole, and is excluded with any name that it
/// stands for, as Go has it.
pub fn permits_dns(constraints: &NameConstraints, name: &str) -> bool {
    permits(constraints, |base, excluded| match base {
        GeneralName::DnsName(domain) => {
            Some(within_domain(name, domain.as_str()) || excluded && stands_for(name, domain.as_str()))
        }
        _ => None,
    })
}

/// Whether an address may be signed for. Addresses of both families are constrained as soon as one network is.
pub fn permits_ip(constraints: &NameConstraints, address: IpAddr) -> bool {
    permits(constraints, |base, _| match base {
        GeneralName::IpAddress(network) => Some(within_network(address, network.as_bytes())),
        _ => None,
    })
}

/// `judge` says of a subtree, excluded or not, whether it covers the name, or nothing where it is of another form.
fn permits(constraints: &NameConstraints, judge: impl Fn(&GeneralName, bool) -> Option<bool>) -> bool {
    let mut permitted = constraints.permitted_subtrees.iter().flatten().filter_map(|tree| judge(&tree.base, false));
    let mut excluded = constraints.excluded_subtrees.iter().flatten().filter_map(|tree| judge(&tree.base, true));
    // None permitted means that the form is free.
    let free_or_permitted = permitted.next().is_none_or(|first| first || permitted.any(|covers| covers));
    free_or_permitted && !excluded.any(|covers| covers)
}

/// A domain with a dot in front, as an adopted authority may have it, holds what is below it and not itself (as Go and
/// OpenSSL have it).
fn within_domain(name: &str, domain: &str) -> bool {
    let Some(before) = name.len().checked_sub(domain.len()) else { return false };
    let (rest, end) = name.as_bytes().split_at(before);
    end.eq_ignore_ascii_case(domain.as_bytes())
        && match domain.starts_with('.') {
            true => !rest.is_empty(),
            false => domain.is_empty() || rest.is_empty() || rest.ends_with(b"."),
        }
}

/// Whether `*.x` stands for the domain `a.x`.
fn stands_for(wildcard: &str, domain: &str) -> bool {
    let parents = wildcard.strip_prefix("*.").zip(domain.split_once('.'));
    parents.is_some_and(|(parent, (_, of_domain))| parent.eq_ignore_ascii_case(of_domain))
}

fn within_network(address: IpAddr, network: &[u8]) -> bool {
    let (base, mask) = network.split_at(network.len() / 2);
    let within = |address: &[u8]| {
        base.len() == address.len() && address.iter().zip(base).zip(mask).all(|((a, b), m)| a & m == b & m)
    };
    match address {
        IpAddr::V4(address) => within(&address.octets()),
        IpAddr::V6(address) => within(&address.octets()),
    }
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
        let names = closed(permit(&["a.example".into()], &[]));
        for (address, expected) in [("10.0.0.1", false), ("127.0.0.1", true), ("::1", true), ("fd00::1", false)] {
            assert_eq!(permits_ip(&names, address.parse().unwrap()), expected, "{address} where names are limited");
        }
        assert_eq!(closed(rules.clone()), rules, "addresses are limited already");
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

    #[test]
    fn a_wildcard_is_excluded_with_what_it_stands_for() {
        let excluded = |domain: &str| NameConstraints {
            permitted_subtrees: None,
            excluded_subtrees: permit(&[domain.into()], &[]).permitted_subtrees,
        };
        for (domain, name, expected) in [
            ("secret.x", "*.x", false),
            ("Secret.X", "*.x", false),
            ("secret.x", "secret.x", false),
            ("secret.x", "a.secret.x", false),
            ("secret.x", "*.secret.x", false),
            ("secret.x", "open.x", true),
            ("secret.x", "*.y", true),
            ("a.secret.x", "*.x", true),
            (".secret.x", "secret.x", true),
            (".secret.x", "*.secret.x", false),
            ("x", "*.x", false),
            ("", "anything", false),
        ] {
            assert_eq!(permits_dns(&excluded(domain), name), expected, "{name} where {domain:?} is excluded");
        }
    }
}
