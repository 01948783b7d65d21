//! What a certificate is: keys, names, profiles, signing, reading and lifetimes. No I/O, no clock, no policy.
#![warn(missing_docs)]

pub mod asn1;
pub mod bundle;
pub mod certificate;
mod constraint_rules;
pub mod constraints;
mod der_reader;
pub mod docker_rules;
pub mod encrypted;
pub mod file_kind;
pub mod import;
pub mod key;
pub mod key_error;
pub mod lifecycle;
pub mod material;
pub mod name;
pub mod pem_blocks;
pub mod profile;
pub mod public_key_rules;
pub mod sign;

pub use bundle::{DockerTrust, TrustBundle};
pub use certificate::Certificate;
pub use key::{KeyAlgorithm, PrivateKey};
pub use key_error::KeyError;
pub use sign::Authority;

use aws_lc_rs::digest;

/// SHA-256 of `bytes`, 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// PEM with lines that end in LF.
fn encode_pem(block: &pem::Pem) -> String {
    pem::encode_config(block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}
