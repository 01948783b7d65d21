//! Client certificates made for one question, which no host trusts: the time in, a key pair out. They are accepted only where
//! a host does not verify its clients.

use crate::adapters::net::tls_client::ClientKeyPair;
use crate::adapters::random::{quick_key, serial};
use crate::pki::lifecycle::dates;
use crate::pki::name::DistinguishedName;
use crate::pki::profile::Usage;
use crate::pki::sign::{Dates, LeafProfile, new_authority, self_signed_client};
use crate::pki::{Certificate, PrivateKey};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

const NAME: &str = "dockseal-verify";

/// A client that signed its own certificate.
pub(super) fn self_signed(now: Timestamp) -> ClientKeyPair {
    let key = quick_key();
    let certificate = self_signed_client(NAME, &key, hour(now), serial()).expect("a constant name");
    pair(&certificate, &key)
}

/// A client of an authority that says it is the issuer of `leaf`: of its name and key identifier, with another key.
pub(super) fn impostor(leaf: &Certificate, now: Timestamp) -> ClientKeyPair {
    let made = new_authority(&DistinguishedName::of(NAME), None, quick_key(), hour(now), serial());
    let mut authority = made.expect("a constant name");
    authority.certificate.subject.clone_from(&leaf.issuer);
    if let Some(id) = &leaf.authority_key_id {
        authority.certificate.subject_key_id = Some(id.clone());
    }
    let client = LeafProfile {
        common_name: NAME.to_owned(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Client,
    };
    let key = quick_key();
    let certificate = authority.sign_leaf(&client, &key, hour(now), serial()).expect("a constant name");
    pair(&certificate, &key)
}

fn hour(now: Timestamp) -> Dates {
    dates(now, SignedDuration::from_hours(1), None)
}

fn pair(certificate: &Certificate, key: &PrivateKey) -> ClientKeyPair {
    ClientKeyPair { cert: certificate.to_pem().into_bytes(), key: key.to_pem().as_bytes().to_vec().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Clock;

    #[test]
    fn an_impostor_has_the_authoritys_name_and_not_its_key() {
        let now = Clock::system().now();
        let real =
            new_authority(&DistinguishedName::of("Docker CA"), None, quick_key(), hour(now), serial()).expect("a name");
        let leaf = real.certificate.clone();
        let client = Certificate::from_pem(&impostor(&leaf, now).cert).expect("a certificate");
        assert_eq!(client.issuer, real.certificate.subject);
        assert_eq!(client.authority_key_id, real.certificate.subject_key_id);
        assert!(!client.is_issued_by(&real.certificate));
        assert!(client.is_valid_at(now));
    }
}
