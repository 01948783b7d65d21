//! Reading certificates: DER or PEM in, facts out, and whether one signed another. It trusts nothing by itself.

use super::asn1::{PublicKeyInfo, SignedCertificate, Tbs};
use super::constraints;
use super::docker_rules::{self, DockerRefusal};
use super::key::{KeyAlgorithm, public_algorithm};
use super::name;
use super::pem_blocks::{self, PemBlock, PemLimit};
use super::{encode_pem, hex, sha256_hex};
use aws_lc_rs::signature::{self as sig, UnparsedPublicKey, VerificationAlgorithm};
use der::asn1::ObjectIdentifier;
use der::{Decode, Encode};
use k8s_openapi::jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName};

/// `id-kp-serverAuth` (RFC 5280, 4.2.1.12).
pub const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// Extended key usage `id-kp-clientAuth` (RFC 5280, 4.2.1.12).
pub const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// Bytes of a certificate in DER at most. Docker's own limit for a whole handshake is 64 KiB.
pub const MAX_DER: usize = 16 << 10;
/// Alternative names of a certificate at most, and subtrees of its name constraints: more than a host can ask for.
pub const MAX_NAMES: usize = 256;

/// Why a certificate could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// No certificate in PEM.
    #[error("there is no certificate in PEM")]
    Missing,
    /// Not a certificate in DER.
    #[error("the certificate cannot be read")]
    Malformed,
    /// Damaged in a way that has a name.
    #[error("the certificate cannot be read: {0}")]
    Refused(DockerRefusal),
    /// More than [`MAX_DER`].
    #[error("the certificate has {0} bytes, and {MAX_DER} are read at most")]
    TooLarge(usize),
    /// More than [`MAX_NAMES`].
    #[error("the certificate has {0} names or name constraints, and {MAX_NAMES} are read at most")]
    TooManyNames(usize),
    /// One block of PEM.
    #[error("block {number}: {why}")]
    Block {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// More than is read.
    #[error(transparent)]
    TooMuch(#[from] PemLimit),
}

/// How a certificate is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureDigest {
    /// SHA-256 or better, or Ed25519.
    Sound,
    /// A signature with SHA-1.
    Sha1,
    /// MD5 or something else.
    Unsupported,
}

/// A certificate and what it says. Instants are UTC, names as ASCII text without interpretation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The whole certificate in DER.
    pub der: Vec<u8>,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// `issuer` in DER, byte for byte.
    pub issuer: Vec<u8>,
    /// `subject` in DER, byte for byte.
    pub subject: Vec<u8>,
    /// Last common name of the subject, if any.
    pub common_name: Option<String>,
    /// Start of validity, to the second.
    pub not_before: Timestamp,
    /// End of validity, to the second.
    pub not_after: Timestamp,
    /// `SubjectPublicKeyInfo` in DER.
    pub public_key: Vec<u8>,
    /// Algorithm of that key, where it is a known one.
    pub algorithm: Option<KeyAlgorithm>,
    /// Digest of the signature.
    pub digest: SignatureDigest,
    /// `basicConstraints` has CA:TRUE, so that it may sign certificates.
    pub is_ca: bool,
    /// `basicConstraints` is marked critical.
    pub has_critical_basic_constraints: bool,
    /// `pathLenConstraint` of `basicConstraints`, where there is one.
    pub path_length: Option<u8>,
    /// `keyUsage`, where there is one: whether it has keyCertSign.
    pub may_sign: Option<bool>,
    /// `extKeyUsage`, where there is one.
    pub extended_usage: Option<Vec<ObjectIdentifier>>,
    /// DNS names, in order.
    pub dns_names: Vec<String>,
    /// IP addresses, in order.
    pub ip_addresses: Vec<IpAddr>,
    /// URIs in `subjectAltName`, in order.
    pub uris: Vec<String>,
    /// `nameConstraints`, where there is one. Copies of the certificate share it.
    pub name_constraints: Option<Arc<NameConstraints>>,
    /// `subjectKeyIdentifier`, where there is one.
    pub subject_key_id: Option<Vec<u8>>,
    /// `keyIdentifier` of `authorityKeyIdentifier`, where there is one.
    pub authority_key_id: Option<Vec<u8>>,
}

impl Certificate {
    /// Reads one certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        if der.len() > MAX_DER {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let found = read(der).ok_or_else(|| why_unreadable(der))?;
        let names = found.dns_names.len() + found.ip_addresses.len() + found.uris.len();
        match names.max(found.name_constraints.as_ref().map_or(0, |constraints| constraints::size(constraints))) {
            0..=MAX_NAMES => Ok(found),
            names => Err(CertificateError::TooManyNames(names)),
        }
    }

    /// Reads the certificate in a block of PEM, whatever its label.
    ///
    /// # Errors
    /// [`CertificateError::Block`].
    pub fn from_block(block: &PemBlock) -> Result<Certificate, CertificateError> {
        let at = |why: String| CertificateError::Block { number: block.number, why };
        let der = block.contents.as_ref().map_err(|fault| at(fault.to_string()))?;
        Certificate::from_der(der).map_err(|error| at(error.to_string()))
    }

    /// Reads the first certificate of `pem`.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_pem(pem: &[u8]) -> Result<Certificate, CertificateError> {
        let blocks = pem_blocks::blocks(pem)?;
        let first = blocks.iter().find(|block| block.is_certificate());
        Certificate::from_block(first.ok_or(CertificateError::Missing)?)
    }

    /// The certificate in PEM.
    pub fn to_pem(&self) -> String {
        encode_pem(&pem::Pem::new("CERTIFICATE", self.der.clone()))
    }

    /// SHA-256 of the DER, hex: identifies a leaf.
    pub fn fingerprint(&self) -> String {
        sha256_hex(&self.der)
    }

    /// SHA-256 of the public key, hex: identifies an authority.
    pub fn key_fingerprint(&self) -> String {
        sha256_hex(&self.public_key)
    }

    /// Whether `issuer`'s key signed this certificate and its name stands in it.
    pub fn is_issued_by(&self, issuer: &Certificate) -> bool {
        self.issuer == issuer.subject && signed_by(&self.der, &issuer.public_key).unwrap_or(false)
    }

    /// Whether it names `host`, a DNS name or an IP address (RFC 6125, 6.4): the common name does not count, and a
    /// wildcard stands for one label.
    pub fn names(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.ip_addresses.contains(&address);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        self.dns_names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => name.eq_ignore_ascii_case(host),
        })
    }

    /// Whether it is valid at `now`.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

/// Reads every certificate of `pem`, in order; text and other blocks are passed over.
///
/// # Errors
/// [`CertificateError`] of the first block that cannot be read: were it passed over, what it says would be lost.
pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    let blocks = pem_blocks::blocks(pem)?;
    blocks.iter().filter(|block| block.is_certificate()).map(Certificate::from_block).collect()
}

fn why_unreadable(der: &[u8]) -> CertificateError {
    let mut refusals = docker_rules::refusals(der);
    refusals.sort_by_key(DockerRefusal::is_cured_by_renewal);
    refusals.into_iter().next().map_or(CertificateError::Malformed, CertificateError::Refused)
}

fn read(der: &[u8]) -> Option<Certificate> {
    let signed = SignedCertificate::from_der(der).ok()?;
    let tbs_der = signed.tbs.to_der().ok()?;
    let tbs = Tbs::from_der(&tbs_der).ok()?;
    if tbs.signature != signed.signature_algorithm {
        return None; // RFC 5280, 4.1.1.2
    }
    let public_key = tbs.public_key.to_der().ok()?;
    let subject = tbs.subject.to_der().ok()?;
    let extensions = tbs.extensions.clone().unwrap_or_default();
    let basic = extension::<BasicConstraints>(&extensions)?;
    let AlternativeNames { dns_names, ip_addresses, uris } = alternative_names(&extensions)?;
    Some(Certificate {
        der: der.to_vec(),
        serial: hex(tbs.serial_number.as_bytes()),
        issuer: tbs.issuer.to_der().ok()?,
        common_name: name::common_name(&subject),
        subject,
        not_before: instant(tbs.validity.not_before)?,
        not_after: instant(tbs.validity.not_after)?,
        algorithm: PublicKeyInfo::from_der(&public_key).ok().and_then(|info| public_algorithm(&info)),
        public_key,
        digest: signature_digest(signed.signature_algorithm.oid),
        is_ca: basic.as_ref().is_some_and(|basic| basic.ca),
        has_critical_basic_constraints: is_critical::<BasicConstraints>(&extensions),
        path_length: basic.and_then(|basic| basic.path_len_constraint),
        may_sign: extension::<KeyUsage>(&extensions)?.map(|usage| usage.key_cert_sign()),
        extended_usage: extension::<ExtendedKeyUsage>(&extensions)?.map(|usage| usage.0),
        dns_names,
        ip_addresses,
        uris,
        name_constraints: extension::<NameConstraints>(&extensions)?.map(Arc::new),
        subject_key_id: extension::<SubjectKeyIdentifier>(&extensions)?.map(|id| id.0.as_bytes().to_vec()),
        authority_key_id: extension::<AuthorityKeyIdentifier>(&extensions)?
            .and_then(|id| id.key_identifier)
            .map(|id| id.as_bytes().to_vec()),
    })
}

/// `None` where the extension is there and cannot be read.
fn extension<E>(extensions: &Extensions) -> Option<Option<E>>
where
    E: for<'a> Decode<'a> + x509_cert::der::oid::AssociatedOid,
{
    let mut found = extensions.iter().filter(|extension| extension.extn_id == E::OID);
    match (found.next(), found.next()) {
        (None, _) => Some(None),
        (Some(extension), None) => E::from_der(extension.extn_value.as_bytes()).ok().map(Some),
        (Some(_), Some(_)) => None, // RFC 5280, 4.2: no extension stands twice
    }
}

fn is_critical<E: x509_cert::der::oid::AssociatedOid>(extensions: &Extensions) -> bool {
    extensions.iter().any(|extension| extension.extn_id == E::OID && extension.critical)
}

#[derive(Default)]
struct AlternativeNames {
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    uris: Vec<String>,
}

fn alternative_names(extensions: &Extensions) -> Option<AlternativeNames> {
    let mut found = AlternativeNames::default();
    for name in extension::<SubjectAltName>(extensions)?.map(|names| names.0).unwrap_or_default() {
        match name {
            GeneralName::DnsName(name) => found.dns_names.push(name.as_str().to_owned()),
            GeneralName::IpAddress(bytes) => found.ip_addresses.push(address(bytes.as_bytes())?),
            GeneralName::UniformResourceIdentifier(uri) => found.uris.push(uri.as_str().to_owned()),
            _ => {}
        }
    }
    Some(found)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The end of 9999, which says that there is none (RFC 5280, 4.1.2.5), is a little beyond the last instant here.
fn instant(time: x509_cert::time::Time) -> Option<Timestamp> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
    Timestamp::from_second(seconds.min(Timestamp::MAX.as_second())).ok()
}

const SHA256_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const SHA1_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const SHA1_ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const SHA256_ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const SHA384_ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const SHA512_ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

fn signature_digest(oid: ObjectIdentifier) -> SignatureDigest {
    match oid {
        SHA1_RSA | SHA1_ECDSA => SignatureDigest::Sha1,
        SHA256_RSA | SHA384_RSA | SHA512_RSA | SHA256_ECDSA | SHA384_ECDSA | SHA512_ECDSA | ED25519 => {
            SignatureDigest::Sound
        }
        _ => SignatureDigest::Unsupported,
    }
}

/// Whether the key `public_key` (SubjectPublicKeyInfo, DER) made the signature of the certificate `der`.
fn signed_by(der: &[u8], public_key: &[u8]) -> Option<bool> {
    let signed = SignedCertificate::from_der(der).ok()?;
    let info = PublicKeyInfo::from_der(public_key).ok()?;
    let algorithm = verification(public_algorithm(&info)?, signed.signature_algorithm.oid)?;
    let key = UnparsedPublicKey::new(algorithm, info.subject_public_key.as_bytes()?);
    Some(key.verify(&signed.tbs.to_der().ok()?, signed.signature.as_bytes()?).is_ok())
}

fn verification(key: KeyAlgorithm, signature: ObjectIdentifier) -> Option<&'static dyn VerificationAlgorithm> {
    use KeyAlgorithm::{EcdsaP256, EcdsaP384, EcdsaP521, Ed25519, Rsa};
    Some(match (key, signature) {
        (Rsa(_), SHA256_RSA) => &sig::RSA_PKCS1_2048_8192_SHA256,
        (Rsa(_), SHA384_RSA) => &sig::RSA_PKCS1_2048_8192_SHA384,
        (Rsa(_), SHA512_RSA) => &sig::RSA_PKCS1_2048_8192_SHA512,
        (EcdsaP256, SHA256_ECDSA) => &sig::ECDSA_P256_SHA256_ASN1,
        (EcdsaP256, SHA384_ECDSA) => &sig::ECDSA_P256_SHA384_ASN1,
        (EcdsaP256, SHA512_ECDSA) => &sig::ECDSA_P256_SHA512_ASN1,
        (EcdsaP384, SHA256_ECDSA) => &sig::ECDSA_P384_SHA256_ASN1,
        (EcdsaP384, SHA384_ECDSA) => &sig::ECDSA_P384_SHA384_ASN1,
        (EcdsaP384, SHA512_ECDSA) => &sig::ECDSA_P384_SHA512_ASN1,
        (EcdsaP521, SHA256_ECDSA) => &sig::ECDSA_P521_SHA256_ASN1,
        (EcdsaP521, SHA384_ECDSA) => &sig::ECDSA_P521_SHA384_ASN1,
        (EcdsaP521, SHA512_ECDSA) => &sig::ECDSA_P521_SHA512_ASN1,
        (Ed25519, ED25519) => &sig::ED25519,
        _ => return None,
    })
}
