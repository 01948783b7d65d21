//! Private keys in the forms in which people have them.

use crate::support::scratch::Scratch;
use dockseal::adapters::random::make_key;
use dockseal::pki::{KeyAlgorithm, PrivateKey};

/// A key and one way to write it.
pub struct Kind {
    pub name: &'static str,
    pub key: PrivateKey,
    pub pem: String,
}

/// EC in PKCS#8 and SEC 1, RSA in PKCS#8 and PKCS#1, Ed25519.
pub async fn kinds() -> anyhow::Result<Vec<Kind>> {
    let scratch = Scratch::new("keys")?;
    let wanted = [
        ("EC PKCS#8", KeyAlgorithm::EcdsaP256, false),
        ("EC SEC 1", KeyAlgorithm::EcdsaP256, true),
        ("RSA PKCS#8", KeyAlgorithm::Rsa(2048), false),
        ("RSA PKCS#1", KeyAlgorithm::Rsa(2048), true),
        ("Ed25519", KeyAlgorithm::Ed25519, false),
    ];
    let mut kinds = vec![];
    for (name, algorithm, traditional) in wanted {
        let key = make_key(algorithm);
        let mut pem = key.to_pem().to_string();
        if traditional {
            scratch.write("key.pem", &pem)?;
            pem = scratch.run("openssl pkey -in key.pem -traditional")?;
            assert!(pem.contains("EC PRIVATE") || pem.contains("RSA PRIVATE"), "{name}");
        }
        kinds.push(Kind { name, key, pem });
    }
    Ok(kinds)
}
