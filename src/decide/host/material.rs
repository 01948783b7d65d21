//! The Secret of a host: bytes in, a key pair and a bundle that dockerd can serve out, or what is wrong with them.

use crate::api::condition::{ConditionType, Reason};
use crate::decide::status::Verdict;
use crate::pki::certificate::{SERVER_AUTH, all_from_pem};
use crate::pki::lifecycle::saturating;
use crate::pki::material::{AUTHORITY_PROOF, Data, bundle_digest};
use crate::pki::{Certificate, PrivateKey, hex};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// A certificate, its key and the bundle that the host trusts, checked against each other.
#[derive(Clone)]
pub struct Material {
    /// The host's leaf.
    pub certificate: Certificate,
    /// The key of the leaf, PEM.
    pub key_pem: Zeroizing<Vec<u8>>,
    /// The trust bundle, PEM.
    pub bundle_pem: Vec<u8>,
    /// The trust bundle, parsed.
    pub bundle: Vec<Certificate>,
    /// A client certificate of the leaf's authority for which nobody has a key; none in Secrets of earlier versions, and
    /// none that this host's clock finds invalid.
    pub proof: Option<Certificate>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Material({})", self.certificate.fingerprint())
    }
}

impl Material {
    /// SHA-256 of the bundle's PEM, hex.
    pub fn bundle_digest(&self) -> String {
        hex(&bundle_digest(&self.bundle_pem))
    }
}

/// Reads a host's Secret. dockerd itself detects neither an expired certificate nor one of another authority.
///
/// # Errors
/// Delivered=False MaterialUnsound, with what is wrong.
pub fn read(secret: &str, data: &Data, now: Timestamp) -> Result<Material, Verdict> {
    let unsound = |what: String| {
        let message = format!("Secret {secret} {what}; the host keeps what it has");
        Verdict::new(ConditionType::Delivered, false, Reason::MaterialUnsound, message)
    };
    let bytes = |key: &str| data.get(key).ok_or_else(|| unsound(format!("has no {key}")));
    let certificate = Certificate::from_pem(bytes("tls.crt")?);
    let certificate = certificate.map_err(|error| unsound(format!("has a tls.crt that cannot be used: {error}")))?;
    let key_pem = bytes("tls.key")?;
    let key = PrivateKey::from_pem(key_pem, None);
    let key = key.map_err(|error| unsound(format!("has a tls.key that cannot be used: {error}")))?;
    let bundle_pem = bytes("ca.crt")?;
    let bundle = all_from_pem(bundle_pem);
    let bundle = bundle.map_err(|error| unsound(format!("has a ca.crt that cannot be used: {error}")))?;
    if key.public_der() != certificate.public_key {
        return Err(unsound("has a tls.key of another certificate".into()));
    }
    check(&certificate, &bundle, now).map_err(unsound)?;
    let key_pem = Zeroizing::new(key_pem.to_vec());
    let proof = data.get(AUTHORITY_PROOF).and_then(|pem| proof(pem, &certificate, &bundle, now));
    Ok(Material { certificate, key_pem, bundle_pem: bundle_pem.to_vec(), bundle, proof })
}

/// A certificate by which something is proved: of an authority that also signed the leaf, and valid now.
fn proof(pem: &[u8], leaf: &Certificate, bundle: &[Certificate], now: Timestamp) -> Option<Certificate> {
    let proof = Certificate::from_pem(pem).ok().filter(|proof| proof.is_valid_at(now))?;
    let mut signers = bundle.iter().filter(|anchor| anchor.is_valid_at(now) && leaf.is_issued_by(anchor));
    signers.any(|anchor| proof.is_issued_by(anchor)).then_some(proof)
}

fn check(certificate: &Certificate, bundle: &[Certificate], now: Timestamp) -> Result<(), String> {
    if !certificate.is_valid_at(now) {
        let (from, until) = (certificate.not_before, certificate.not_after);
        return Err(format!("has a certificate that is valid from {from} until {until}, and it is {now}"));
    }
    if certificate.extended_usage.as_ref().is_some_and(|usages| !usages.contains(&SERVER_AUTH)) {
        return Err("has a certificate that is not for servers (extKeyUsage without serverAuth)".into());
    }
    if certificate.dns_names.is_empty() && certificate.ip_addresses.is_empty() {
        return Err("has a certificate without subjectAltName, which Docker's clients refuse".into());
    }
    let signers = bundle.iter().filter(|anchor| certificate.is_issued_by(anchor));
    match signers.filter(|anchor| anchor.is_valid_at(now)).count() {
        0 => Err("has a certificate that no valid authority in its ca.crt signed".into()),
        _ => Ok(()),
    }
}

/// SHA-256 of the key of the authority that signed a leaf, hex; none where it is not among `anchors`.
pub fn issuer_key(leaf: &Certificate, anchors: &[Certificate]) -> Option<String> {
    anchors.iter().find(|anchor| leaf.is_issued_by(anchor)).map(Certificate::key_fingerprint)
}

/// SHA-256 of the keys of the valid `anchors`, hex.
pub fn valid_keys(anchors: &[Certificate], now: Timestamp) -> BTreeSet<String> {
    anchors.iter().filter(|anchor| anchor.is_valid_at(now)).map(Certificate::key_fingerprint).collect()
}

/// How long before the end of a loaded authority it is replaced, where the wanted one lasts longer.
const RELOAD_BEFORE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Why dockerd must load the wanted anchors instead of the loaded ones: a key was added, a valid one was removed, or
/// the loaded certificate of a key ends soon. None where it need not.
pub fn anchors_differ(loaded: &[Certificate], wanted: &[Certificate], now: Timestamp) -> Option<&'static str> {
    let lacks = |at: Timestamp| !valid_keys(wanted, at).is_subset(&valid_keys(loaded, at));
    if lacks(now) {
        return Some("dockerd does not yet trust an authority of the bundle");
    }
    if !valid_keys(loaded, now).is_subset(&wanted.iter().map(Certificate::key_fingerprint).collect()) {
        return Some("dockerd still trusts an authority that the bundle no longer holds");
    }
    lacks(saturating(now, RELOAD_BEFORE)).then_some("an authority's certificate that dockerd has loaded ends soon")
}
