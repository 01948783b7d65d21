//! Names as users write them: DNS names without their last dot, addresses in their one spelling, or what is wrong.

use std::net::IpAddr;

/// A DNS name in lower case without its last dot (RFC 1123, 2.1; underscores, which homes are full of, pass).
pub fn dns_name(text: &str, wildcard: bool) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} is an IP address: put it into ipAddresses"));
    }
    let labels = if wildcard { name.strip_prefix("*.").unwrap_or(&name) } else { &name };
    if name.len() > 253 || !labels.split('.').all(label) {
        return Err(format!("{text:?} is not a DNS name: write letters, digits and hyphens, in parts joined by dots"));
    }
    Ok(name)
}

fn label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Parses an IPv4 or IPv6 address.
pub fn address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address"))?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("{text:?} is an IPv4 address written as IPv6: write it as IPv4"))
        }
        _ => Ok(address),
    }
}

/// Whether a client's common name looks like a DNS name, so that verifiers hold name constraints against it.
pub fn looks_like_dns_name(common_name: &str) -> bool {
    common_name.contains('.') && dns_name(common_name, false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(dns_name("Pandora.Bodkys.House.", false), Ok("pandora.bodkys.house".into()));
        assert_eq!(dns_name("*.bodkys.house", true), Ok("*.bodkys.house".into()));
        assert_eq!(dns_name("my_nas", false), Ok("my_nas".into()));
        let long = "a".repeat(64);
        for bad in ["", ".", "a..b", "-a", "a-", "a b", "ü.example", "192.168.1.7", "::1", "*.a", "a/b", long.as_str()]
        {
            assert!(dns_name(bad, false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses() {
        assert!(address("192.168.1.7").is_ok() && address("fd00::1").is_ok());
        for bad in ["", "192.168.1", "192.168.1.256", "192.168.1.0/24", "::ffff:1.2.3.4", "fe80::1%eth0", "host"] {
            assert!(address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn common_names() {
        assert!(looks_like_dns_name("portainer.bodkys.house"));
        assert!(!looks_like_dns_name("ci") && !looks_like_dns_name("Jane Doe") && !looks_like_dns_name("a@b.example"));
    }
}
