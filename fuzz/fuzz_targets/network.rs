//! Networks of name constraints: read as CIDR notation and nothing else, and they hold the addresses that they say.
#![no_main]

use dockseal::pki::constraints::{Subnet, permit, permits_ip};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let Ok(text) = str::from_utf8(lines.next().unwrap_or_default()) else { return };
    let mut random = lines.next().unwrap_or_default().iter().copied().chain(std::iter::repeat(0));
    let (v4, v6) =
        ([0; 4].map(|_: u8| random.next().expect("zeroes")), [0; 16].map(|_: u8| random.next().expect("zeroes")));
    let Some(network) = Subnet::parse(text) else { return };
    let (address, prefix) = text.split_once('/').expect("a slash");
    let base: IpAddr = address.parse().expect("an address");
    assert_eq!(prefix.parse::<u8>().map(|bits| bits.to_string()).as_deref(), Ok(prefix), "one way to write a prefix");
    let prefix: u32 = prefix.parse().expect("a prefix");
    if let IpAddr::V6(base) = base {
        assert!(base.to_ipv4_mapped().is_none(), "{text}: the schema's isCIDR refuses it");
    }

    let rules = permit(&[], &[network]);
    assert!(permits_ip(&rules, base), "{text} holds its own address");
    let near = |random: u128, base: u128, bits: u32| base ^ random.checked_shr(random as u32 % bits).unwrap_or(0);
    let (bits, number) = number(base);
    let random = u128::from_be_bytes(v6) & (u128::MAX >> (128 - bits));
    for address in [IpAddr::from(v4), IpAddr::from(v6), of(near(random, number, bits), bits)] {
        let (bits_here, number_here) = self::number(address);
        let same = bits == bits_here && (prefix == 0 || (number ^ number_here) >> (bits - prefix) == 0);
        assert_eq!(permits_ip(&rules, address), same, "{text} and {address}");
    }
});

fn number(address: IpAddr) -> (u32, u128) {
    match address {
        IpAddr::V4(address) => (32, u32::from(address).into()),
        IpAddr::V6(address) => (128, address.into()),
    }
}

fn of(number: u128, bits: u32) -> IpAddr {
    match bits {
        32 => IpAddr::from((number as u32).to_be_bytes()),
        _ => IpAddr::from(number.to_be_bytes()),
    }
}
