//! What goes into a certificate beside its key and dates: one profile for authorities, one for each usage of a leaf.

use super::asn1::PublicKeyInfo;
use super::certificate::{CLIENT_AUTH, SERVER_AUTH};
use super::constraints::are_enforced;
use super::name::NameError;
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

/// Path length of a new authority: a later rollover puts one cross certificate between it and a leaf.
pub const PATH_LENGTH: u8 = 1;

/// Extensions of an authority: critical CA:TRUE with that path length, keyCertSign and cRLSign, SKI, AKI, the subject's
/// e-mail addresses as rfc822Name (RFC 5280, 4.2.1.6), name constraints.
pub fn authority(
    key_id: &[u8],
    path_length: Option<u8>,
    emails: &[Ia5String],
    constraints: Option<&NameConstraints>,
) -> Extensions {
    let mut extensions = vec![
        extension(true, &BasicConstraints { ca: true, path_len_constraint: path_length }),
        extension(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)),
        extension(false, &SubjectKeyIdentifier(octets(key_id))),
        extension(false, &authority_key_id(key_id)),
    ];
    let emails: Vec<_> = emails.iter().cloned().map(GeneralName::Rfc822Name).collect();
    extensions.extend(subject_alternative_name(emails));
    // An adopted authority may have some that Docker does not know and passes over, as long as they are not critical.
    extensions.extend(constraints.map(|constraints| extension(are_enforced(constraints), constraints)));
    extensions
}

/// Extensions of a leaf: CA:FALSE, digitalSignature (with keyEncipherment for RSA), its usage, names, SKI and AKI.
pub fn leaf(usage: Usage, names: Vec<GeneralName>, key_id: &[u8], issuer_key_id: &[u8], rsa: bool) -> Extensions {
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
    extensions.extend(subject_alternative_name(names));
    extensions
}

/// Not critical, since no subject here is empty (RFC 5280, 4.2.1.6); left out where there is no name.
fn subject_alternative_name(names: Vec<GeneralName>) -> Option<Extension> {
    (!names.is_empty()).then(|| extension(false, &SubjectAltName(names)))
}

/// Key identifier of a public key: the first 160 bits of the SHA-256 of its bits (RFC 7093, 2, method 1).
pub fn key_id(public_key: &[u8]) -> Vec<u8> {
    let info = PublicKeyInfo::from_der(public_key).expect("a public key that was read");
    let bits = info.subject_public_key.raw_bytes();
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bits).as_ref()[..20].to_vec()
}

/// Names of a server, for subjectAltName.
pub fn server_names(dns: &[String], ip: &[IpAddr]) -> Vec<GeneralName> {
    let dns = dns.iter().map(|name| GeneralName::DnsName(Ia5String::new(name).expect("a DNS name is ASCII")));
    dns.chain(ip.iter().map(|address| GeneralName::from(*address))).collect()
}

/// The one name of a client, for subjectAltName: a URI in ASCII.
///
/// # Errors
/// [`NameError`] where it is not ASCII.
pub fn client_name(uri: &str) -> Result<Vec<GeneralName>, NameError> {
    Ia5String::new(uri).map(|uri| vec![GeneralName::UniformResourceIdentifier(uri)]).map_err(|_| NameError)
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
