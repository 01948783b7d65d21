//! Private keys in PEM, open and encrypted, PKCS#8 and traditional: what is read is a whole key that can be written.
#![no_main]

use dockseal::pki::encrypted::{Salt, open, seal};
use dockseal::pki::{KeyError, PrivateKey, pem_blocks};
use dockseal_fuzz::{assert_sound, parts, pem_of, quick};
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::{AtomicU32, Ordering};

/// Sealing takes 600,000 rounds: one key in so many is.
const SEALED: u32 = 5_000;
static READ: AtomicU32 = AtomicU32::new(0);

fuzz_target!(|input: &[u8]| {
    let mut parts = parts(input);
    let passphrase = parts.remove(0);
    let pem: Vec<u8> = parts.iter().flat_map(|part| [pem_of(part), b"\n".to_vec()].concat()).collect();
    if !quick(&pem) {
        return;
    }
    let blocks = pem_blocks::blocks(&pem).unwrap_or_default();
    for block in blocks.iter().filter(|block| block.is_encrypted() && block.contents.is_ok()) {
        let _ = open(block, passphrase);
        let closed = PrivateKey::from_block(block, None);
        assert_eq!(closed.err(), Some(KeyError::PassphraseNeeded));
    }
    let _ = PrivateKey::from_der(parts.first().copied().unwrap_or_default());
    let Ok(key) = PrivateKey::from_pem(&pem, Some(passphrase)) else { return };
    assert_sound(&key);
    if READ.fetch_add(1, Ordering::Relaxed).is_multiple_of(SEALED) {
        let enforces_client_auth = seal(&key.to_pkcs8_der(), passphrase, &Salt { salt: [1; 16], iv: [2; 16] });
        let opened = PrivateKey::from_pem(enforces_client_auth.as_bytes(), Some(passphrase)).expect("what was sealed opens");
        assert_eq!(opened.to_pkcs8_der(), key.to_pkcs8_der());
    }
});
