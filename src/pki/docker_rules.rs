//! What Docker, whose TLS is Go's crypto/x509 (1.23 and newer), refuses in a certificate that it is to trust or to find in
//! a chain, by kind: DER in, every fault out. Where Go is lenient in odd ways this is stricter, never the other way.

use super::constraint_rules;
use super::der_reader::{BOOLEAN, DerReader, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, dotted};
use super::public_key_rules::{self, PublicKeyFault};

/// One reason for which Docker refuses a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerRefusal {
    /// The DER is damaged.
    #[error("its {0} cannot be read")]
    Malformed(&'static str),
    /// Bytes behind the certificate.
    #[error("something follows the certificate in the same block")]
    TrailingData,
    /// Not 1, 2 or 3.
    #[error("it has a version that X.509 does not have")]
    Version,
    /// RFC 5280, 4.1.2.2.
    #[error("its serial number is negative")]
    NegativeSerial,
    /// RFC 5280, 4.1.1.2.
    #[error("it names two different signature algorithms")]
    AlgorithmsDiffer,
    /// Letters that its kind of text does not have.
    #[error("its {0} has letters that are not allowed there")]
    Name(&'static str),
    /// A key that Docker cannot use.
    #[error("{0}")]
    PublicKey(#[from] PublicKeyFault),
    /// RFC 5280, 4.2.
    #[error("it has the extension {0} twice")]
    Duplicate(String),
    /// RFC 5280, 4.2.1.1, 4.2.1.2 and 4.2.2.1.
    #[error("its {0} is marked critical")]
    WronglyCritical(&'static str),
    /// RFC 5280, 4.2.
    #[error("it has the critical extension {0}, which Docker does not know")]
    UnknownCritical(String),
    /// The content of an extension.
    #[error("its {0} cannot be read")]
    Extension(&'static str),
    /// RFC 5280, 4.2.1.10.
    #[error("its name constraints {0}")]
    Constraints(String),
}

impl DockerRefusal {
    /// A further certificate of the same key, subject and name constraints by our profile does not have it.
    pub fn is_cured_by_renewal(&self) -> bool {
        use DockerRefusal::{Extension, NegativeSerial, UnknownCritical, WronglyCritical};
        matches!(self, NegativeSerial | WronglyCritical(_) | UnknownCritical(_) | Extension(_))
    }
}

/// Every reason for which Docker refuses the certificate; none where it takes it.
pub fn refusals(der: &[u8]) -> Vec<DockerRefusal> {
    let mut found = Vec::new();
    if let Err(refusal) = certificate(der, &mut found) {
        found.push(refusal);
    }
    found
}

type Found = Vec<DockerRefusal>;

/// Structure first: where that is damaged nothing behind it can be read.
fn certificate(der: &[u8], found: &mut Found) -> Result<(), DockerRefusal> {
    use DockerRefusal::Malformed;
    let mut input = DerReader(der);
    let mut outer = input.inside(SEQUENCE).ok_or(Malformed("encoding"))?;
    let mut tbs = outer.inside(SEQUENCE).ok_or(Malformed("encoding"))?;
    if !input.is_empty() {
        return Err(DockerRefusal::TrailingData);
    }
    let version = version(&mut tbs)?;
    let serial = tbs.integer().ok_or(Malformed("serial number"))?;
    if serial[0] & 0x80 != 0 {
        found.push(DockerRefusal::NegativeSerial);
    }
    let algorithm = tbs.of(SEQUENCE).ok_or(Malformed("signature algorithm"))?;
    if outer.of(SEQUENCE) != Some(algorithm) {
        return Err(DockerRefusal::AlgorithmsDiffer);
    }
    DerReader(algorithm).of(OID).ok_or(Malformed("signature algorithm"))?;
    name(&mut tbs, "issuer")?;
    validity(&mut tbs).ok_or(Malformed("validity"))?;
    name(&mut tbs, "subject")?;
    let (.., key) = tbs.any().ok_or(Malformed("public key"))?;
    if let Some(fault) = public_key_rules::fault(key) {
        found.push(fault.into());
    }
    for tag in [0xa1, 0xa2, 0x81, 0x82] {
        tbs.optional(tag).map_err(|()| Malformed("unique identifier"))?;
    }
    if version == 2 {
        extensions(&mut tbs, found)?;
    }
    outer.bits().ok_or(Malformed("signature"))?;
    Ok(())
}

/// As it is written: 0 for version 1.
fn version(tbs: &mut DerReader<'_>) -> Result<u8, DockerRefusal> {
    let explicit = tbs.optional(0xa0).map_err(|()| DockerRefusal::Malformed("version"))?;
    match explicit.map(|content| DerReader(content).integer()) {
        None => Ok(0),
        Some(Some([version @ 0..=2])) => Ok(*version),
        Some(Some(_)) => Err(DockerRefusal::Version),
        Some(None) => Err(DockerRefusal::Malformed("version")),
    }
}

fn validity(tbs: &mut DerReader<'_>) -> Option<()> {
    let mut dates = tbs.inside(SEQUENCE)?;
    for _ in 0..2 {
        let (tag, text, _) = dates.any()?;
        let digits = match tag {
            0x17 => 12,
            0x18 => 14,
            _ => return None,
        };
        let (date, zone) = text.split_at_checked(digits)?;
        (zone == b"Z" && date.iter().all(u8::is_ascii_digit)).then_some(())?;
    }
    Some(())
}

fn name(tbs: &mut DerReader<'_>, which: &'static str) -> Result<(), DockerRefusal> {
    let mut parts = tbs.inside(SEQUENCE).ok_or(DockerRefusal::Malformed(which))?;
    while !parts.is_empty() {
        let mut set = parts.inside(SET).ok_or(DockerRefusal::Malformed(which))?;
        while !set.is_empty() {
            let mut attribute = set.inside(SEQUENCE).ok_or(DockerRefusal::Malformed(which))?;
            attribute.of(OID).ok_or(DockerRefusal::Malformed(which))?;
            let (tag, text, _) = attribute.any().ok_or(DockerRefusal::Malformed(which))?;
            if !is_text(tag, text) {
                return Err(DockerRefusal::Name(which));
            }
        }
    }
    Ok(())
}

/// Whether the bytes are a text of that ASN.1 type, as Go has them.
fn is_text(tag: u8, text: &[u8]) -> bool {
    match tag {
        0x0c => std::str::from_utf8(text).is_ok(),
        0x12 => text.iter().all(|byte| byte.is_ascii_digit() || *byte == b' '),
        0x13 => text.iter().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(byte)),
        0x14 => true,
        0x16 => text.is_ascii(),
        0x1e => {
            let letters = text.chunks(2).map(|pair| pair.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
            let is_letter = |letter: u32| !matches!(letter, 0xd800..=0xdfff | 0xfdd0..=0xfdef | 0xfffe..);
            text.len().is_multiple_of(2) && letters.into_iter().all(is_letter)
        }
        _ => false,
    }
}

fn extensions(tbs: &mut DerReader<'_>, found: &mut Found) -> Result<(), DockerRefusal> {
    let malformed = DockerRefusal::Malformed("extensions");
    let Some(explicit) = tbs.optional(0xa3).map_err(|()| malformed.clone())? else { return Ok(()) };
    let mut list = DerReader(explicit).inside(SEQUENCE).ok_or(malformed.clone())?;
    let mut seen: Vec<&[u8]> = Vec::new();
    while !list.is_empty() {
        let mut extension = list.inside(SEQUENCE).ok_or(malformed.clone())?;
        let oid = extension.of(OID).ok_or(malformed.clone())?;
        let critical = extension.next_is(BOOLEAN).then(|| extension.boolean().ok_or(malformed.clone())).transpose()?;
        let value = extension.of(OCTET_STRING).ok_or(malformed.clone())?;
        if seen.contains(&oid) {
            found.push(DockerRefusal::Duplicate(described(oid)));
        }
        seen.push(oid);
        found.extend(extension_refusal(oid, critical.unwrap_or_default(), value));
    }
    Ok(())
}

/// `id-ce`, 2.5.29, and the last part of an extension's identifier.
fn standard(oid: &[u8]) -> Option<u8> {
    match oid {
        [0x55, 0x1d, last] => Some(*last),
        _ => None,
    }
}

/// 1.3.6.1.5.5.7.1.1, authorityInfoAccess.
const AUTHORITY_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];

fn extension_refusal(oid: &[u8], critical: bool, value: &[u8]) -> Option<DockerRefusal> {
    let identifier = match (standard(oid), oid) {
        (Some(14), _) => Some("subject key identifier"),
        (Some(35), _) => Some("authority key identifier"),
        (_, AUTHORITY_INFO) => Some("authority information access"),
        _ => None,
    };
    if let Some(name) = identifier.filter(|_| critical) {
        return Some(DockerRefusal::WronglyCritical(name));
    }
    let value = DerReader(value);
    let sound = match (standard(oid), oid) {
        (Some(14), _) => is_whole(value, OCTET_STRING),
        (Some(15), _) => { value }.bits().is_some(),
        (Some(17), _) => return alternative_names(value, critical),
        (Some(19), _) => basic_constraints(value).is_some(),
        (Some(30), _) => return constraint_rules::fault(value, critical).map(DockerRefusal::Constraints),
        (Some(31 | 32 | 33 | 35 | 36 | 37), _) | (_, AUTHORITY_INFO) => is_whole(value, SEQUENCE),
        (Some(54), _) => { value }.integer().is_some(),
        _ if critical => return Some(DockerRefusal::UnknownCritical(described(oid))),
        _ => true,
    };
    (!sound).then(|| DockerRefusal::Extension(identifier.unwrap_or_else(|| known(oid))))
}

fn known(oid: &[u8]) -> &'static str {
    match standard(oid) {
        Some(15) => "key usage",
        Some(17) => "subject alternative name",
        Some(19) => "basic constraints",
        Some(31) => "CRL distribution points",
        Some(32) => "certificate policies",
        Some(33) => "policy mappings",
        Some(36) => "policy constraints",
        Some(37) => "extended key usage",
        Some(54) => "inhibitAnyPolicy",
        _ => "extension",
    }
}

/// An extension by its identifier, and its name where it is one that people meet.
fn described(oid: &[u8]) -> String {
    let name = match oid {
        [0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1] => " (nsCertType)",
        [0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 13] => " (nsComment)",
        [0x55, 0x1d, 16] => " (privateKeyUsagePeriod)",
        [0x55, 0x1d, 18] => " (issuerAltName)",
        [0x55, 0x1d, 30] => " (nameConstraints)",
        _ => "",
    };
    format!("{}{name}", dotted(oid))
}

/// One element of that tag, all of whose own elements can be read. Empty lists and policies said twice are odd enough.
fn is_whole(mut value: DerReader<'_>, tag: u8) -> bool {
    let Some(content) = value.of(tag).filter(|_| value.is_empty()) else { return false };
    let mut elements: Vec<&[u8]> = Vec::new();
    let mut inner = DerReader(content);
    while tag == SEQUENCE && !inner.is_empty() {
        match inner.any() {
            Some((.., whole)) if !elements.contains(&whole) => elements.push(whole),
            _ => return false,
        }
    }
    true
}

fn basic_constraints(mut value: DerReader<'_>) -> Option<()> {
    let mut inner = value.inside(SEQUENCE)?;
    if inner.next_is(BOOLEAN) {
        inner.boolean()?;
    }
    if inner.next_is(INTEGER) {
        inner.integer().filter(|length| length[0] & 0x80 == 0 && length.len() <= 4)?;
    }
    Some(())
}

/// dNSName, rfc822Name, iPAddress and a plain URI can be read; a critical list of others alone is unknown to Go.
fn alternative_names(mut value: DerReader<'_>, critical: bool) -> Option<DockerRefusal> {
    let malformed = Some(DockerRefusal::Extension("subject alternative name"));
    let Some(mut names) = value.inside(SEQUENCE) else { return malformed };
    let mut understood = 0;
    while !names.is_empty() {
        let Some((tag, text, _)) = names.any() else { return malformed };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=".contains(byte);
        let sound = match tag {
            0x81 | 0x82 => text.is_ascii(),
            0x86 => text.iter().all(plain) && !text.ends_with(b"."),
            0x87 => matches!(text.len(), 4 | 16),
            _ => continue,
        };
        if !sound {
            return malformed;
        }
        understood += 1;
    }
    (understood == 0 && critical).then(|| DockerRefusal::UnknownCritical("2.5.29.17 (subjectAltName)".to_owned()))
}
