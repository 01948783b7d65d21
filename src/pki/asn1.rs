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
    /// `tbsCertificate`, the bytes that are signed.
    pub tbs: AnyRef<'a>,
    /// `signatureAlgorithm`, outside of what is signed.
    pub signature_algorithm: AlgorithmIdentifierRef<'a>,
    /// `signature`: of the authority, over `tbsCertificate`.
    pub signature: BitStringRef<'a>,
}

/// `TBSCertificate` (RFC 5280, 4.1).
#[derive(Sequence)]
pub struct Tbs<'a> {
    /// Version 3 wherever there are extensions.
    #[asn1(context_specific = "0", default = "Default::default")]
    pub version: Version,
    /// `serialNumber`, positive, at most 20 bytes.
    pub serial_number: SerialNumber<Raw>,
    /// `signature`: the algorithm, as in the outer field.
    pub signature: AlgorithmIdentifierRef<'a>,
    /// `issuer`, as it was.
    pub issuer: AnyRef<'a>,
    /// `validity`, both ends included.
    pub validity: Validity<Raw>,
    /// `subject`, as it was.
    pub subject: AnyRef<'a>,
    /// `subjectPublicKeyInfo`, as it was.
    pub public_key: AnyRef<'a>,
    /// `issuerUniqueID` (RFC 5280 forbids it in new certificates).
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub issuer_unique_id: Option<BitStringRef<'a>>,
    /// `subjectUniqueID` (RFC 5280 forbids it in new certificates).
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub subject_unique_id: Option<BitStringRef<'a>>,
    /// `extensions`, in version 3 alone.
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub extensions: Option<Extensions>,
}

/// `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
#[derive(Sequence, ValueOrd)]
pub struct PublicKeyInfo<'a> {
    /// `algorithm`: its OID and parameters.
    pub algorithm: AlgorithmIdentifierRef<'a>,
    /// `subjectPublicKey`, encoded as the algorithm has it.
    pub subject_public_key: BitStringRef<'a>,
}

/// `RSAPublicKey` (RFC 8017, A.1.1).
#[derive(Sequence)]
pub struct RsaPublicKey<'a> {
    /// `modulus`, n, of RFC 8017.
    pub modulus: UintRef<'a>,
    /// `publicExponent`, e, of RFC 8017.
    pub public_exponent: UintRef<'a>,
}
