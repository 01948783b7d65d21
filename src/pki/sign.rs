//! Signing: a profile, a key, dates and a serial number in, a certificate out. It checks no policy.

use super::asn1::{SignedCertificate, Tbs};
use super::certificate::Certificate;
use super::key::{KeyAlgorithm, PrivateKey};
use super::name::{self, DistinguishedName, NameError};
use super::profile::{self, Usage};
use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Encode};
use k8s_openapi::jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use x509_cert::certificate::{Raw, Version};
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierRef;
use x509_cert::time::{Time, Validity};

/// From when until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    /// Start of validity, to the second.
    pub not_before: Timestamp,
    /// End of validity, to the second.
    pub not_after: Timestamp,
}

/// A serial number: 16 bytes of the caller's entropy, the top bit cleared here (RFC 5280, 4.1.2.2).
#[derive(Clone, Copy, Debug)]
pub struct Serial(pub [u8; 16]);

/// An authority: a key and the certificate under which it signs.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The newest certificate of the key.
    pub certificate: Certificate,
    /// The authority's private key.
    pub key: Arc<PrivateKey>,
}

/// What a leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafProfile {
    /// CN, 1 to 64 bytes.
    pub common_name: String,
    /// DNS names in ASCII, for subjectAltName.
    pub dns_names: Vec<String>,
    /// IP addresses, for subjectAltName.
    pub ip_addresses: Vec<IpAddr>,
    /// What it is for.
    pub usage: Usage,
}

/// Signs the first certificate of a new authority.
///
/// # Errors
/// [`NameError`].
pub fn new_authority(
    subject: &DistinguishedName,
    constraints: Option<&NameConstraints>,
    key: PrivateKey,
    dates: Dates,
    serial: Serial,
) -> Result<Authority, NameError> {
    let subject = subject.to_der()?;
    let key_id = profile::key_id(&key.public_der());
    let emails = name::email_addresses(&subject);
    let extensions = profile::authority(&key_id, Some(profile::PATH_LENGTH), &emails, constraints);
    let certificate = build(
        &CertificateBody {
            issuer: &subject,
            subject: &subject,
            public_key: &key.public_der(),
            dates,
            serial,
            extensions,
        },
        &key,
    );
    Ok(Authority { certificate, key: Arc::new(key) })
}

/// Signs a client's certificate with the client's own key: who trusts it trusts this one client.
///
/// # Errors
/// [`NameError`].
pub fn self_signed_client(
    name: &str,
    key: &PrivateKey,
    dates: Dates,
    serial: Serial,
) -> Result<Certificate, NameError> {
    let subject = DistinguishedName::of(name).to_der()?;
    let public_key = key.public_der();
    let key_id = profile::key_id(&public_key);
    let rsa = matches!(key.algorithm(), KeyAlgorithm::Rsa(_));
    let extensions = profile::leaf(Usage::Client, Vec::new(), &key_id, &key_id, rsa);
    Ok(build(
        &CertificateBody { issuer: &subject, subject: &subject, public_key: &public_key, dates, serial, extensions },
        key,
    ))
}

impl Authority {
    /// Signs a further certificate for the same key: same subject, same SKI, same name constraints, that path length,
    /// the rest by our profile.
    pub fn renew(&self, path_length: Option<u8>, dates: Dates, serial: Serial) -> Certificate {
        let old = &self.certificate;
        let emails = name::email_addresses(&old.subject);
        let extensions = profile::authority(&self.key_id(), path_length, &emails, old.name_constraints.as_deref());
        let public_key = &old.public_key;
        build(
            &CertificateBody { issuer: &old.subject, subject: &old.subject, public_key, dates, serial, extensions },
            &self.key,
        )
    }

    /// Signs a leaf for the public key of `leaf_key`.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn sign_leaf(
        &self,
        leaf: &LeafProfile,
        leaf_key: &PrivateKey,
        dates: Dates,
        serial: Serial,
    ) -> Result<Certificate, NameError> {
        self.sign_named(leaf, profile::server_names(&leaf.dns_names, &leaf.ip_addresses), leaf_key, dates, serial)
    }

    /// Signs a client's leaf whose one alternative name is `uri`, which says who it is.
    ///
    /// The URI is no part of [`LeafProfile`], so no comparison of a profile with a certificate sees it.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn sign_client(
        &self,
        leaf: &LeafProfile,
        uri: &str,
        leaf_key: &PrivateKey,
        dates: Dates,
        serial: Serial,
    ) -> Result<Certificate, NameError> {
        self.sign_named(leaf, profile::client_name(uri)?, leaf_key, dates, serial)
    }

    fn sign_named(
        &self,
        leaf: &LeafProfile,
        names: Vec<GeneralName>,
        leaf_key: &PrivateKey,
        dates: Dates,
        serial: Serial,
    ) -> Result<Certificate, NameError> {
        let subject = DistinguishedName::of(&leaf.common_name).to_der()?;
        let public_key = leaf_key.public_der();
        let rsa = matches!(leaf_key.algorithm(), KeyAlgorithm::Rsa(_));
        let key_id = profile::key_id(&public_key);
        let extensions = profile::leaf(leaf.usage, names, &key_id, &self.key_id(), rsa);
        let issuer = &self.certificate.subject;
        Ok(build(
            &CertificateBody { issuer, subject: &subject, public_key: &public_key, dates, serial, extensions },
            &self.key,
        ))
    }

    fn key_id(&self) -> Vec<u8> {
        self.certificate.subject_key_id.clone().unwrap_or_else(|| profile::key_id(&self.certificate.public_key))
    }
}

struct CertificateBody<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
    dates: Dates,
    serial: Serial,
    extensions: Extensions,
}

fn build(body: &CertificateBody<'_>, signer: &PrivateKey) -> Certificate {
    let invariant = "a certificate of bounded parts encodes";
    let algorithm = signature_algorithm(signer.algorithm());
    let mut serial = body.serial.0;
    serial[0] = (serial[0] & 0x7f) | 0x40; // never zero in front, so that all have the same length
    let tbs = Tbs {
        version: Version::V3,
        serial_number: SerialNumber::<Raw>::new(&serial).expect(invariant),
        signature: algorithm,
        issuer: AnyRef::from_der(body.issuer).expect(invariant),
        validity: Validity::<Raw>::new(time(body.dates.not_before), time(body.dates.not_after)),
        subject: AnyRef::from_der(body.subject).expect(invariant),
        public_key: AnyRef::from_der(body.public_key).expect(invariant),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(body.extensions.clone()),
    };
    let tbs = tbs.to_der().expect(invariant);
    let signature = signer.sign(&tbs);
    let signed = SignedCertificate {
        tbs: AnyRef::from_der(&tbs).expect(invariant),
        signature_algorithm: algorithm,
        signature: BitStringRef::from_bytes(&signature).expect(invariant),
    };
    Certificate::from_der(&signed.to_der().expect(invariant)).expect("a certificate that we wrote can be read")
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5).
fn time(instant: Timestamp) -> Time {
    let since_1970 = Duration::from_secs(u64::try_from(instant.as_second()).unwrap_or_default());
    match UtcTime::from_unix_duration(since_1970) {
        Ok(time) => Time::UtcTime(time),
        Err(_) => Time::GeneralTime(GeneralizedTime::from_unix_duration(since_1970).expect("a year below 9999")),
    }
}

const NULL: AnyRef<'static> = AnyRef::NULL;

fn signature_algorithm(key: KeyAlgorithm) -> AlgorithmIdentifierRef<'static> {
    let (oid, parameters) = match key {
        KeyAlgorithm::EcdsaP256 => ("1.2.840.10045.4.3.2", None),
        KeyAlgorithm::EcdsaP384 => ("1.2.840.10045.4.3.3", None),
        KeyAlgorithm::EcdsaP521 => ("1.2.840.10045.4.3.4", None),
        KeyAlgorithm::Rsa(_) => ("1.2.840.113549.1.1.11", Some(NULL)),
        KeyAlgorithm::Ed25519 => ("1.3.101.112", None),
    };
    AlgorithmIdentifierRef { oid: ObjectIdentifier::new_unwrap(oid), parameters }
}
