//! What goes into a certificate beside its key and dates: one profile for authorities, one for each usage of a leaf.

use super::asn1::PublicKeyInfo;
use super::certificate::{CLIENT_AUTH, SERVER_AUTH};
use der::asn1::{Ia5String, ObjectIdentifier, OctetString};
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use std::net::IpAddr;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectAltName};
use x509_cert::ext::{Extension, Extensions};

/// What a leaf is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Extended key usage `serverAuth` alone.
    Server,
    /// Extended key usage `clientAuth` alone.
    Client,
}

impl Usage {
    /// Its object identifier in extKeyUsage.
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Usage::Server => SERVER_AUTH,
            Usage::Client => CLIENT_AUTH,
        }
    }
}

/// Extensions of an authority: critical CA:TRUE with pathlen 0, keyCertSign and cRLSign, SKI, AKI, name constraints.
pub fn authority(key_id: &[u8], constraints: Option<&NameConstraints>) -> Extensions {
    let mut extensions = vec![
        extension(true, &BasicConstraints { ca: true, path_len_constraint: Some(0) }),
        extension(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)),
        extension(false, &SubjectKeyIdentifier(octets(key_id))),
        extension(false, &authority_key_id(key_id)),
    ];
    extensions.extend(constraints.map(|constraints| extension(true, constraints)));
    extensions
}

/// Extensions of a leaf: CA:FALSE, digitalSignature (with keyEncipherment for RSA), its usage, names, SKI and AKI.
pub fn leaf(usage: Usage, dns: &[String], ip: &[IpAddr], key_id: &[u8], issuer_key_id: &[u8], rsa: bool) -> Extensions {
    let mut usages = KeyUsages::DigitalSignature.into();
    if rsa {
        usages |= KeyUsages::KeyEncipherment;
    }
    let mut extensions = vec![
        extension(true, &BasicConstraints { ca: false, path_len_constraint: None }),
        extension(true, &KeyUsage(usages)),
        extension(false, &ExtendedKeyUsage(vec![usage.oid()])),
        extension(false, &SubjectKeyIdentifier(octets(key_id))),
        extension(false, &authority_key_id(issuer_key_id)),
    ];
    let names = alternative_names(dns, ip);
    if !names.is_empty() {
        extensions.push(extension(false, &SubjectAltName(names)));
    }
    extensions
}

/// Key identifier of a public key: the first 160 bits of the SHA-256 of its bits (RFC 7093, 2, method 1).
pub fn key_id(public_key: &[u8]) -> Vec<u8> {
    let info = PublicKeyInfo::from_der(public_key).expect("a public key that was read");
    let bits = info.subject_public_key.raw_bytes();
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bits).as_ref()[..20].to_vec()
}

fn alternative_names(dns: &[String], ip: &[IpAddr]) -> Vec<GeneralName> {
    let dns = dns.iter().map(|name| GeneralName::DnsName(Ia5String::new(name).expect("a DNS name is ASCII")));
    dns.chain(ip.iter().map(|address| GeneralName::from(*address))).collect()
}

fn authority_key_id(key_id: &[u8]) -> AuthorityKeyIdentifier {
    AuthorityKeyIdentifier { key_identifier: Some(octets(key_id)), ..Default::default() }
}

fn octets(bytes: &[u8]) -> OctetString {
    OctetString::new(bytes).expect("an identifier is short")
}

fn extension<E: Encode + AssociatedOid>(critical: bool, value: &E) -> Extension {
    let der = value.to_der().expect("an extension of bounded size encodes");
    Extension { extn_id: E::OID, critical, extn_value: octets(&der) }
}
