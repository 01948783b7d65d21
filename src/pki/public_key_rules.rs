//! Public keys that Docker cannot use: SubjectPublicKeyInfo in DER in, what is wrong with it out.

use super::der_reader::{DerReader, NULL, OID, SEQUENCE, dotted};

/// Why Docker cannot use a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyFault {
    /// The DER is damaged.
    #[error("its public key cannot be read")]
    Malformed,
    /// A curve that is spelled out.
    #[error("its EC key has explicit parameters instead of the name of a curve, which Docker refuses")]
    ExplicitParameters,
    /// A curve of another name.
    #[error("its EC key is on the curve {0}, which is not supported: P-256, P-384 and P-521 are")]
    Curve(String),
    /// A point in the short form.
    #[error("its EC key is written as a compressed point, which Docker refuses")]
    CompressedPoint,
    /// Not RSA, ECDSA or Ed25519.
    #[error("its key is {0}, which is not supported: RSA, ECDSA and Ed25519 are")]
    Algorithm(String),
    /// Parameters that the algorithm does not have.
    #[error("its key has parameters that {0} does not have, which Docker refuses")]
    Parameters(&'static str),
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Why Docker cannot use the key; none where it can.
pub fn fault(info: &[u8]) -> Option<PublicKeyFault> {
    checked(info).err()
}

fn checked(info: &[u8]) -> Result<(), PublicKeyFault> {
    use PublicKeyFault::{Algorithm, Malformed, Parameters};
    let mut info = DerReader(info).inside(SEQUENCE).ok_or(Malformed)?;
    let mut algorithm = info.inside(SEQUENCE).ok_or(Malformed)?;
    let oid = algorithm.of(OID).ok_or(Malformed)?;
    let parameters = algorithm.0;
    let key = info.bits().ok_or(Malformed)?;
    match oid {
        RSA if parameters != NULL => Err(Parameters("RSA")),
        RSA => rsa(key).ok_or(Malformed),
        EC => elliptic(parameters, key),
        ED25519 if !parameters.is_empty() => Err(Parameters("Ed25519")),
        ED25519 if key.len() == 32 => Ok(()),
        ED25519 => Err(Malformed),
        _ => Err(Algorithm(algorithm_name(oid))),
    }
}

/// Modulus and exponent: positive, the exponent odd and of 31 bits at most, as Go has it.
fn rsa(key: &[u8]) -> Option<()> {
    let mut numbers = DerReader(key).inside(SEQUENCE)?;
    let (modulus, exponent) = (numbers.integer()?, numbers.integer()?);
    let positive = |number: &[u8]| number[0] & 0x80 == 0 && number.iter().any(|byte| *byte != 0);
    let small = exponent.len() <= 4 && exponent.last().is_some_and(|last| last & 1 == 1) && exponent != [1];
    (positive(modulus) && positive(exponent) && small).then_some(())
}

fn elliptic(parameters: &[u8], key: &[u8]) -> Result<(), PublicKeyFault> {
    let mut parameters = DerReader(parameters);
    if parameters.next_is(SEQUENCE) {
        return Err(PublicKeyFault::ExplicitParameters);
    }
    let curve = parameters.of(OID).ok_or(PublicKeyFault::Malformed)?;
    let bytes = match dotted(curve).as_str() {
        "1.2.840.10045.3.1.7" => 32,
        "1.3.132.0.34" => 48,
        "1.3.132.0.35" => 66,
        other => return Err(PublicKeyFault::Curve(curve_name(other))),
    };
    match key.first() {
        Some(2 | 3) if key.len() == 1 + bytes => Err(PublicKeyFault::CompressedPoint),
        Some(4) if key.len() == 1 + 2 * bytes => Ok(()),
        _ => Err(PublicKeyFault::Malformed),
    }
}

fn curve_name(oid: &str) -> String {
    match oid {
        "1.3.132.0.10" => "secp256k1".to_owned(),
        "1.3.132.0.33" => "secp224r1 (P-224)".to_owned(),
        "1.2.840.10045.3.1.1" => "prime192v1 (P-192)".to_owned(),
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1".to_owned(),
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1".to_owned(),
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1".to_owned(),
        "1.2.156.10197.1.301" => "SM2".to_owned(),
        other => other.to_owned(),
    }
}

fn algorithm_name(oid: &[u8]) -> String {
    match dotted(oid).as_str() {
        "1.2.840.113549.1.1.10" => "RSA for PSS alone".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        "1.3.101.110" | "1.3.101.111" => "X25519 or X448, which cannot sign".to_owned(),
        other => format!("of the algorithm {other}"),
    }
}
