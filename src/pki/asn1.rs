//! ASN.1 of certificates (RFC 5280, 4.1). Issuer, subject and key stay as the bytes that they were: an authority's
//! name must appear in its leaves byte for byte.

use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Sequence, ValueOrd};
use x509_cert::certificate::{Raw, Version};
use x509_cert::ext::Extensions;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierRef;
use x509_cert::time::Validity;

/// `Certificate`, signed part still closed.
#[derive(Sequence)]
pub struct SignedCertificate<'a> {
    /// `tbsCertificate`.
    pub tbs: AnyRef<'a>,
    /// `signatureAlgorithm`.
    pub signature_algorithm: AlgorithmIdentifierRef<'a>,
    /// `signature`.
    pub signature: BitStringRef<'a>,
}

/// `TBSCertificate`.
#[derive(Sequence)]
pub struct Tbs<'a> {
    /// Version 3 wherever there are extensions.
    #[asn1(context_specific = "0", default = "Default::default")]
    pub version: Version,
    /// `serialNumber`.
    pub serial_number: SerialNumber<Raw>,
    /// `signature`.
    pub signature: AlgorithmIdentifierRef<'a>,
    /// `issuer`, as it was.
    pub issuer: AnyRef<'a>,
    /// `validity`.
    pub validity: Validity<Raw>,
    /// `subject`, as it was.
    pub subject: AnyRef<'a>,
    /// `subjectPublicKeyInfo`, as it was.
    pub public_key: AnyRef<'a>,
    /// `issuerUniqueID`.
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub issuer_unique_id: Option<BitStringRef<'a>>,
    /// `subjectUniqueID`.
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub subject_unique_id: Option<BitStringRef<'a>>,
    /// `extensions`.
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub extensions: Option<Extensions>,
}

/// `SubjectPublicKeyInfo`.
#[derive(Sequence, ValueOrd)]
pub struct PublicKeyInfo<'a> {
    /// `algorithm`.
    pub algorithm: AlgorithmIdentifierRef<'a>,
    /// `subjectPublicKey`.
    pub subject_public_key: BitStringRef<'a>,
}

/// `RSAPublicKey` (RFC 8017, A.1.1).
#[derive(Sequence)]
pub struct RsaPublicKey<'a> {
    /// `modulus`.
    pub modulus: UintRef<'a>,
    /// `publicExponent`.
    pub public_exponent: UintRef<'a>,
}
