//! What the targets share: the fuzzer's bytes as a Secret, an authority to sign with, and what must hold of a key.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Encode};
use dockseal::pki::material::Data;
use dockseal::pki::name::Subject;
use dockseal::pki::sign::{Authority, Dates, Serial, new_authority};
use dockseal::pki::asn1::{PublicKeyInfo, SignedCertificate};
use dockseal::pki::{KeyAlgorithm, PrivateKey};
use k8s_openapi::jiff::Timestamp;
use pkcs8::pkcs5::{EncryptionScheme, pbes2};
use x509_cert::spki::AlgorithmIdentifierRef;

/// Between two parts of an input; no DER has it by chance.
const BETWEEN: &[u8] = b"\n\n==\n";
/// What an encrypted key may cost here, a small part of what is affordable: a fuzzer opens many of them.
const ROUNDS: u32 = 5_000;
const SCRYPT_BYTES: u64 = 4 << 20;

/// 2026-01-01, near the seeds' validity.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("an instant")
}

/// A key that everybody knows: Ed25519 of 32 bytes 7. `seeds.sh` makes certificates of it.
pub fn known_key() -> PrivateKey {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend_from_slice(&[7; 32]);
    PrivateKey::from_der(&der).expect("a key")
}

/// An authority of that key.
pub fn known_authority() -> Authority {
    let dates = Dates { not_before: now(), not_after: Timestamp::from_second(4_000_000_000).expect("an instant") };
    new_authority(&Subject::of("fuzz"), None, known_key(), dates, Serial([1; 16])).expect("an authority")
}

/// The parts of an input.
pub fn parts(input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// A part as text with PEM in it. Its first byte says how: as it is, as DER of some kind, or to be signed first.
pub fn pem_of(part: &[u8]) -> Vec<u8> {
    let Some((how, body)) = part.split_first() else { return Vec::new() };
    let tag = match how {
        b'C' => "CERTIFICATE",
        b'K' => "PRIVATE KEY",
        b'E' => "ENCRYPTED PRIVATE KEY",
        b'R' => "RSA PRIVATE KEY",
        b'S' => "EC PRIVATE KEY",
        b'D' => return traditional(body),
        b'F' => return known_key().to_pem().as_bytes().to_vec(),
        b'T' => return block("CERTIFICATE", signed(body)),
        _ => return body.to_vec(),
    };
    block(tag, body.to_vec())
}

fn block(tag: &str, der: Vec<u8>) -> Vec<u8> {
    pem::encode(&pem::Pem::new(tag, der)).into_bytes()
}

/// OpenSSL's traditional encryption: `DEK-Info` in the first line, then the encrypted bytes.
fn traditional(body: &[u8]) -> Vec<u8> {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let info = String::from_utf8_lossy(&body[..end]).replace(['\r', '\n'], " ");
    let text = block("RSA PRIVATE KEY", body.get(end + 1..).unwrap_or_default().to_vec());
    let text = String::from_utf8(text).expect("PEM is ASCII");
    let headers = format!("-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {info}\n\n");
    text.replacen("-----\r\n", &headers, 1).into_bytes()
}

/// A certificate around a signed part of the fuzzer's making, signed with the known key.
fn signed(tbs: &[u8]) -> Vec<u8> {
    let Ok(any) = AnyRef::from_der(tbs) else { return tbs.to_vec() };
    let signature = known_key().sign(tbs);
    let algorithm = AlgorithmIdentifierRef { oid: ObjectIdentifier::new_unwrap("1.3.101.112"), parameters: None };
    let signature = BitStringRef::from_bytes(&signature).expect("64 bytes");
    let signed = SignedCertificate { tbs: any, signature_algorithm: algorithm, signature };
    signed.to_der().expect("DER around DER")
}

/// A Secret of the parts, under those keys in their order.
pub fn secret(parts: &[&[u8]], keys: &[&str]) -> Data {
    keys.iter().zip(parts).map(|(key, part)| ((*key).to_owned(), pem_of(part))).collect()
}

/// Whether no key in `pem` takes long to open.
pub fn quick(pem: &[u8]) -> bool {
    let blocks = pem::parse_many(pem).unwrap_or_default();
    blocks.iter().all(|block| {
        let Ok(info) = pkcs8::EncryptedPrivateKeyInfoRef::from_der(block.contents()) else { return true };
        let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else { return true };
        match &parameters.kdf {
            pbes2::Kdf::Pbkdf2(kdf) => kdf.iteration_count <= ROUNDS || kdf.iteration_count > 2_000_000,
            pbes2::Kdf::Scrypt(kdf) => {
                let bytes = 128u64.saturating_mul(kdf.cost_parameter).saturating_mul(u64::from(kdf.block_size));
                let bytes = bytes.saturating_mul(u64::from(kdf.parallelization));
                bytes <= SCRYPT_BYTES || bytes > 256 << 20 || kdf.cost_parameter == 0
            }
            _ => true,
        }
    })
}

/// What holds of every key that was read: it writes PKCS#8 that is the same key, signs for its public key, and keeps
/// its bytes to itself.
pub fn assert_sound(key: &PrivateKey) {
    let der = key.to_pkcs8_der();
    let again = PrivateKey::from_der(&der).expect("what was written is read");
    assert_eq!(again.public_der(), key.public_der(), "it is the same key");
    assert_eq!(again.algorithm(), key.algorithm());
    let again = PrivateKey::from_pem(key.to_pem().as_bytes(), None).expect("PEM that was written is read");
    assert_eq!(again.to_pkcs8_der(), der);
    assert!(format!("{key:?}").ends_with(", redacted)"));
    assert_signs(key);
}

fn assert_signs(key: &PrivateKey) {
    let public = key.public_der();
    let info = PublicKeyInfo::from_der(&public).expect("a public key");
    let algorithm: &dyn VerificationAlgorithm = match key.algorithm() {
        KeyAlgorithm::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::EcdsaP384 => &signature::ECDSA_P384_SHA384_ASN1,
        KeyAlgorithm::EcdsaP521 => &signature::ECDSA_P521_SHA512_ASN1,
        KeyAlgorithm::Rsa(_) => &signature::RSA_PKCS1_2048_8192_SHA256,
        KeyAlgorithm::Ed25519 => &signature::ED25519,
    };
    let key_bytes = info.subject_public_key.as_bytes().expect("whole bytes");
    let verified = UnparsedPublicKey::new(algorithm, key_bytes).verify(b"words", &key.sign(b"words"));
    assert!(verified.is_ok(), "{:?} signs for its public key", key.algorithm());
}
