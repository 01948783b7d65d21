//! Private keys: PEM of any make in, PKCS#8 PEM out. Their bytes appear in no Debug and are zeroed after use.

use super::key_error::KeyError;
use super::pem_blocks::{self, PemBlock};
use super::{encode_pem, encrypted};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair};
use der::Decode;
use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Algorithm and size of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521: only in adopted authorities.
    EcdsaP521,
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// Ed25519 (RFC 8032, in X.509 RFC 8410).
    Ed25519,
}

impl std::fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyAlgorithm::EcdsaP256 => f.write_str("ECDSA 256"),
            KeyAlgorithm::EcdsaP384 => f.write_str("ECDSA 384"),
            KeyAlgorithm::EcdsaP521 => f.write_str("ECDSA 521"),
            KeyAlgorithm::Rsa(bits) => write!(f, "RSA {bits}"),
            KeyAlgorithm::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key that can sign.
pub struct PrivateKey {
    pair: Pair,
    algorithm: KeyAlgorithm,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({}, redacted)", self.algorithm)
    }
}

impl PrivateKey {
    /// Reads DER: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) or SEC 1 (RFC 5915).
    ///
    /// # Errors
    /// [`KeyError::AlgorithmUnsupported`] or [`KeyError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<PrivateKey, KeyError> {
        match pkcs8::PrivateKeyInfoRef::from_der(der) {
            Ok(info) => Self::from_pkcs8(&info, der),
            Err(_) => Self::from_traditional(der),
        }
    }

    fn from_pkcs8(info: &pkcs8::PrivateKeyInfoRef<'_>, der: &[u8]) -> Result<PrivateKey, KeyError> {
        let malformed = |_| KeyError::Malformed;
        match info.algorithm.oid {
            RSA => Self::rsa(RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::AlgorithmUnsupported)?),
            ED25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(malformed)?;
                Ok(PrivateKey { pair: Pair::Ed25519(pair), algorithm: KeyAlgorithm::Ed25519 })
            }
            EC => {
                let curve = info.algorithm.parameters_oid().map_err(|_| KeyError::AlgorithmUnsupported)?;
                let (algorithm, signing) = ec_curve(curve).ok_or(KeyError::AlgorithmUnsupported)?;
                let pair = EcdsaKeyPair::from_pkcs8(signing, der).map_err(malformed)?;
                Ok(PrivateKey { pair: Pair::Ecdsa(pair), algorithm })
            }
            _ => Err(KeyError::AlgorithmUnsupported),
        }
    }

    fn from_traditional(der: &[u8]) -> Result<PrivateKey, KeyError> {
        if let Ok(pair) = RsaKeyPair::from_der(der) {
            return Self::rsa(pair);
        }
        for curve in [P256, P384, P521] {
            let (algorithm, signing) = ec_curve(curve).ok_or(KeyError::Malformed)?;
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(signing, der) {
                return Ok(PrivateKey { pair: Pair::Ecdsa(pair), algorithm });
            }
        }
        // RFC 5915: version 1, and then a key on a curve that is none of these.
        let elsewhere = der.get(..1) == Some(b"\x30") && der.windows(4).take(8).any(|part| part == b"\x02\x01\x01\x04");
        Err(if elsewhere { KeyError::AlgorithmUnsupported } else { KeyError::Malformed })
    }

    fn rsa(pair: RsaKeyPair) -> Result<PrivateKey, KeyError> {
        let algorithm = KeyAlgorithm::Rsa(pair.public_modulus_len() * 8);
        Ok(PrivateKey { pair: Pair::Rsa(pair), algorithm })
    }

    /// Reads the first private key of `pem`, opened with `passphrase` where it is encrypted.
    ///
    /// # Errors
    /// [`KeyError`]; a passphrase that only seems to fit counts as [`KeyError::PassphraseWrong`].
    pub fn from_pem(pem: &[u8], passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
        let blocks = pem_blocks::blocks(pem).map_err(|_| KeyError::Malformed)?;
        let block = blocks.iter().find(|block| block.is_private_key()).ok_or(KeyError::Malformed)?;
        Self::from_block(block, passphrase)
    }

    /// Reads one PEM block, opened with `passphrase` where it is encrypted.
    ///
    /// # Errors
    /// As [`PrivateKey::from_pem`].
    pub fn from_block(block: &PemBlock, passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
        let contents = block.contents.as_ref().map_err(|_| KeyError::Malformed)?;
        if !block.is_encrypted() {
            return Self::from_der(contents);
        }
        let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
        let der = encrypted::open(block, passphrase)?;
        Self::from_der(&der).map_err(|error| match error {
            KeyError::Malformed => KeyError::PassphraseWrong,
            other => other,
        })
    }

    /// The key's algorithm and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// PKCS#8 version 1 in DER, which OpenSSL 3.0 reads for every algorithm.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let invariant = "a key pair that was read can be written";
        match &self.pair {
            Pair::Ecdsa(pair) => Zeroizing::new(pair.to_pkcs8v1().expect(invariant).as_ref().to_vec()),
            Pair::Ed25519(pair) => Zeroizing::new(pair.to_pkcs8v1().expect(invariant).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().expect(invariant);
                Zeroizing::new(der.as_ref().to_vec())
            }
        }
    }

    /// PKCS#8 in PEM, unencrypted.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let block = pem::Pem::new("PRIVATE KEY", self.to_pkcs8_der().to_vec());
        let text = encode_pem(&block);
        drop(Zeroizing::new(block.into_contents()));
        Zeroizing::new(text)
    }

    /// SubjectPublicKeyInfo in DER (RFC 5280, 4.1).
    pub fn public_der(&self) -> Vec<u8> {
        let invariant = "a key pair that was read has a public key";
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der().expect(invariant),
            Pair::Ed25519(pair) => pair.public_key().as_der().expect(invariant),
            Pair::Rsa(pair) => pair.public_key().as_der().expect(invariant),
        };
        der.as_ref().to_vec()
    }

    /// Signature of `message`: ECDSA in ASN.1 with the curve's own digest, RSA PKCS#1 v1.5 with SHA-256, or Ed25519.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let invariant = "signing with a key that was read";
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).expect(invariant).as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out).expect(invariant);
                out
            }
        }
    }
}

/// Algorithm of a public key.
pub(super) fn public_algorithm(spki: &super::asn1::PublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    match spki.algorithm.oid {
        ED25519 => Some(KeyAlgorithm::Ed25519),
        EC => ec_curve(spki.algorithm.parameters_oid().ok()?).map(|(algorithm, _)| algorithm),
        RSA => {
            let key = super::asn1::RsaPublicKey::from_der(spki.subject_public_key.as_bytes()?).ok()?;
            Some(KeyAlgorithm::Rsa(key.modulus.as_bytes().len() * 8))
        }
        _ => None,
    }
}

fn ec_curve(curve: ObjectIdentifier) -> Option<(KeyAlgorithm, &'static EcdsaSigningAlgorithm)> {
    match curve {
        P256 => Some((KeyAlgorithm::EcdsaP256, &signature::ECDSA_P256_SHA256_ASN1_SIGNING)),
        P384 => Some((KeyAlgorithm::EcdsaP384, &signature::ECDSA_P384_SHA384_ASN1_SIGNING)),
        P521 => Some((KeyAlgorithm::EcdsaP521, &signature::ECDSA_P521_SHA512_ASN1_SIGNING)),
        _ => None,
    }
}
