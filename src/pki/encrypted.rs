//! Encrypted private keys: PKCS#8 (RFC 8018, PBES2) read and written, OpenSSL's traditional PEM read.

use super::encode_pem;
use super::key_error::KeyError;
use super::pem_blocks::PemBlock;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use der::Decode;
use md5::{Digest, Md5};
use pkcs8::pkcs5::{EncryptionScheme, pbes2};
use zeroize::Zeroizing;

/// PBKDF2 rounds of what is written; OWASP's figure for HMAC-SHA-256.
const ROUNDS: u32 = 600_000;
/// PBKDF2 rounds of what is read at most: OpenSSL writes 2048, we 600,000. Half a second of a core, more of a small one.
const MAX_ROUNDS: u32 = 1_000_000;
/// scrypt memory of what is read at most, in bytes: 128 * N * r. OpenSSL neither writes nor reads more.
const MAX_SCRYPT_BYTES: u64 = 32 << 20;
/// scrypt work of what is read at most: the memory, filled p times. About a second of a core.
const MAX_SCRYPT_WORK: u64 = 256 << 20;

/// Salt and initialisation vector of an encryption, from the caller's entropy.
pub struct Salt {
    /// Salt of PBKDF2 (RFC 8018).
    pub salt: [u8; 16],
    /// Initialisation vector of AES-256-CBC.
    pub iv: [u8; 16],
}

/// Encrypts a key's PKCS#8 DER as PKCS#8 PEM: PBES2, PBKDF2 with HMAC-SHA-256, AES-256-CBC. `openssl pkey -passin` reads it.
pub fn seal(der: &[u8], passphrase: &[u8], salt: &Salt) -> String {
    let invariant = "PBES2 with fixed parameters";
    let info = pkcs8::PrivateKeyInfoRef::from_der(der).expect("PKCS#8 that we wrote");
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt.salt, salt.iv).expect(invariant);
    let sealed = info.encrypt_with_params(parameters, passphrase).expect(invariant);
    encode_pem(&pem::Pem::new("ENCRYPTED PRIVATE KEY", sealed.as_bytes()))
}

/// Decrypts a private key block to the DER within.
///
/// # Errors
/// [`KeyError::PassphraseWrong`] or [`KeyError::EncryptionUnsupported`].
pub fn open(block: &PemBlock, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let contents = block.contents.as_ref().map_err(|_| KeyError::Malformed)?;
    match block.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => open_pkcs8(contents, passphrase),
        _ => open_traditional(block.headers.get("DEK-Info"), contents, passphrase),
    }
}

fn open_pkcs8(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let info = pkcs8::EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::EncryptionUnsupported)?;
    if !affordable(&info.encryption_algorithm) {
        return Err(KeyError::EncryptionUnsupported);
    }
    let opened = info.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => {
            KeyError::EncryptionUnsupported
        }
        _ => KeyError::PassphraseWrong,
    })?;
    Ok(opened.to_bytes())
}

/// Whether a stranger's parameters cost no more than a user would wait for.
fn affordable(scheme: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        pbes2::Kdf::Pbkdf2(kdf) => kdf.iteration_count <= MAX_ROUNDS,
        pbes2::Kdf::Scrypt(kdf) => {
            let bytes = 128u64.saturating_mul(kdf.cost_parameter).saturating_mul(u64::from(kdf.block_size));
            let work = bytes.saturating_mul(u64::from(kdf.parallelization));
            // pkcs5 0.8 panics at a cost of 0, which has no logarithm
            kdf.cost_parameter.is_power_of_two() && bytes <= MAX_SCRYPT_BYTES && work <= MAX_SCRYPT_WORK
        }
        _ => false,
    }
}

/// OpenSSL's PEM encryption: one MD5 round over passphrase and salt, CBC (openssl-format-options(1), EVP_BytesToKey).
fn open_traditional(info: Option<&String>, data: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (cipher, iv) =
        info.ok_or(KeyError::EncryptionUnsupported)?.split_once(',').ok_or(KeyError::EncryptionUnsupported)?;
    let iv = unhex(iv.trim()).ok_or(KeyError::EncryptionUnsupported)?;
    match cipher.trim() {
        "AES-128-CBC" => decrypt::<cbc::Decryptor<aes::Aes128>>(passphrase, &iv, data),
        "AES-192-CBC" => decrypt::<cbc::Decryptor<aes::Aes192>>(passphrase, &iv, data),
        "AES-256-CBC" => decrypt::<cbc::Decryptor<aes::Aes256>>(passphrase, &iv, data),
        "DES-EDE3-CBC" => decrypt::<cbc::Decryptor<des::TdesEde3>>(passphrase, &iv, data),
        _ => Err(KeyError::EncryptionUnsupported),
    }
}

fn decrypt<C: KeyIvInit + BlockModeDecrypt>(
    passphrase: &[u8],
    iv: &[u8],
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let salt = iv.get(..8).ok_or(KeyError::EncryptionUnsupported)?;
    let key = bytes_to_key(passphrase, salt, C::key_size());
    let cipher = C::new_from_slices(&key, iv).map_err(|_| KeyError::EncryptionUnsupported)?;
    cipher.decrypt_padded_vec::<Pkcs7>(data).map(Zeroizing::new).map_err(|_| KeyError::PassphraseWrong)
}

fn bytes_to_key(passphrase: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut previous = Zeroizing::new(Vec::new());
    while key.len() < length {
        let mut digest = Md5::new();
        digest.update(&*previous);
        digest.update(passphrase);
        digest.update(salt);
        previous = Zeroizing::new(digest.finalize().to_vec());
        key.extend_from_slice(&previous);
    }
    key.truncate(length);
    key
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::Encode;

    /// A key that is said to be sealed with scrypt of that N, r and p.
    fn scrypt(cost: u64, block_size: u16, parallelization: u16) -> KeyError {
        let salt = [1; 8].as_slice().try_into().expect("a salt");
        let kdf = pbes2::ScryptParams { salt, cost_parameter: cost, block_size, parallelization, key_length: None };
        let parameters = pbes2::Parameters {
            kdf: pbes2::Kdf::Scrypt(kdf),
            encryption: pbes2::EncryptionScheme::Aes256Cbc { iv: [2; 16] },
        };
        let info = pkcs8::EncryptedPrivateKeyInfoRef {
            encryption_algorithm: EncryptionScheme::Pbes2(parameters),
            encrypted_data: der::asn1::OctetStringRef::new(&[3; 32]).expect("bytes"),
        };
        open_pkcs8(&info.to_der().expect("it encodes"), b"secret").expect_err("nothing is in there")
    }

    /// N = 0 panicked in pkcs5, and with it a controller that was shown such a key.
    #[test]
    fn a_strangers_parameters_neither_panic_nor_take_long() {
        assert_eq!(scrypt(1024, 8, 1), KeyError::PassphraseWrong);
        for (cost, block_size, parallelization) in
            [(0, 8, 1), (3, 8, 1), (u64::MAX, 8, 1), (1 << 63, u16::MAX, 1), (1 << 16, 8, 1), (1 << 14, 8, 17)]
        {
            let refused = scrypt(cost, block_size, parallelization);
            assert_eq!(refused, KeyError::EncryptionUnsupported, "{cost}, {block_size}, {parallelization}");
        }
    }
}
