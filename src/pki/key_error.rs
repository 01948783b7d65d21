//! Why a private key could not be read, in words for its owner.

/// Why a private key could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// Encrypted, and no passphrase was given.
    #[error("the private key is encrypted and no passphrase is given")]
    PassphraseNeeded,
    /// Encrypted with another passphrase.
    #[error("the passphrase does not open the private key")]
    PassphraseWrong,
    /// Encrypted in a way that is not read here.
    #[error("the private key is encrypted in a way that is not supported; `openssl pkcs8 -topk8` makes it one that is")]
    EncryptionUnsupported,
    /// One of more encrypted keys in one place than are opened.
    #[error("there are too many encrypted private keys in one place: leave the one that is needed")]
    TooMany,
    /// Of an algorithm that is not supported here.
    #[error(
        "the private key is of an unsupported algorithm: ECDSA (P-256, P-384, P-521), RSA (2048 to 8192 bits) and Ed25519 are"
    )]
    AlgorithmUnsupported,
    /// No private key at all.
    #[error("the private key cannot be read")]
    Malformed,
}
