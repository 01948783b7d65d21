//! Randomness: serial numbers, salts and private keys.

use crate::api::AuthorityIdentity;
use crate::api::marker::STATE_PREFIX;
use crate::pki::encrypted::Salt;
use crate::pki::sign::Serial;
use crate::pki::{KeyAlgorithm, PrivateKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use zeroize::Zeroizing;

const FAILED: &str = "the system's random source answers";

/// A fresh serial number.
pub fn serial() -> Serial {
    Serial(random())
}

/// A line that no text holds by chance: the boundary of a form's parts.
pub fn boundary() -> String {
    format!("dockseal-{}", crate::pki::hex(&random()))
}

/// A fresh identity of an authority.
pub fn authority_identity() -> AuthorityIdentity {
    AuthorityIdentity::new(random())
}

/// A fresh id of a state directory.
pub fn state_id() -> String {
    format!("{STATE_PREFIX}{}", crate::pki::hex(&random()))
}

/// A fresh salt.
pub fn salt() -> Salt {
    Salt { salt: random(), iv: random() }
}

#[expect(clippy::disallowed_methods, reason = "this is the source of randomness")]
pub(super) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect(FAILED);
    bytes
}

/// A fresh ECDSA P-256 key, which takes no time.
pub fn quick_key() -> PrivateKey {
    make_key(KeyAlgorithm::EcdsaP256)
}

/// Whether making a key of that algorithm takes more than a moment.
pub fn is_slow(algorithm: KeyAlgorithm) -> bool {
    matches!(algorithm, KeyAlgorithm::Rsa(_))
}

/// Makes a private key: an RSA one takes up to seconds of a core, so it is [`SlowWork`](super::slow_work::SlowWork).
pub fn make_key(algorithm: KeyAlgorithm) -> PrivateKey {
    PrivateKey::from_der(&der(algorithm)).expect("a key that was just made can be read")
}

#[expect(clippy::disallowed_methods, reason = "this is the source of randomness")]
fn der(algorithm: KeyAlgorithm) -> Zeroizing<Vec<u8>> {
    let ecdsa = |curve| {
        let pair = EcdsaKeyPair::generate(curve).expect(FAILED);
        Zeroizing::new(pair.to_pkcs8v1().expect(FAILED).as_ref().to_vec())
    };
    match algorithm {
        KeyAlgorithm::EcdsaP256 => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyAlgorithm::EcdsaP384 => ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyAlgorithm::EcdsaP521 => ecdsa(&signature::ECDSA_P521_SHA512_ASN1_SIGNING),
        KeyAlgorithm::Ed25519 => {
            let pair = Ed25519KeyPair::generate().expect(FAILED);
            Zeroizing::new(pair.to_pkcs8v1().expect(FAILED).as_ref().to_vec())
        }
        KeyAlgorithm::Rsa(bits) => {
            let size = match bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                _ => KeySize::Rsa4096,
            };
            let pair = RsaKeyPair::generate(size).expect(FAILED);
            let der: Pkcs8V1Der<'_> = pair.as_der().expect(FAILED);
            Zeroizing::new(der.as_ref().to_vec())
        }
    }
}

/// A name that no other process has: the host's and a random number.
pub fn identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", crate::pki::hex(&random()[..4]))
}
