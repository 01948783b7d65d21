//! A leaf's Secret that anybody may have written: the certificate that it is said to hold is one, and its key fits.
#![no_main]

use dockseal::pki::material::{bundle_digest, leaf, read_anything, read_leaf, written_leaf};
use dockseal::pki::{Certificate, PrivateKey};
use dockseal_fuzz::{assert_sound, parts, secret};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let data = secret(&parts(input), &["tls.crt", "tls.key", "ca.crt", "cert.pem", "key.pem", "ca.pem", "more"]);
    let facts = read_leaf(&data);
    assert_eq!(facts.bundle_digest, bundle_digest(data.get("ca.crt").unwrap_or_default()));
    let Some(der) = facts.certificate.as_deref() else { return };

    let certificate = Certificate::from_der(der).expect("a sound certificate is read again");
    let key = PrivateKey::from_pem(data.get("tls.key").expect("its key"), None).expect("its key is read again");
    assert_eq!(key.public_der(), certificate.public_key, "the key fits");
    assert_sound(&key);
    assert!(read_anything(&data, None).certificates.contains(&certificate), "an adoption finds it, too");

    let bundle = String::from_utf8_lossy(data.get("ca.crt").unwrap_or_default()).into_owned();
    let ours = leaf(&certificate, &key.to_pem(), &bundle);
    let read = read_leaf(&ours);
    assert_eq!(read.certificate.as_deref(), Some(der));
    assert!(read.copies_match);
    assert_eq!(read, written_leaf(&ours), "what we wrote reads as we say that it does");
});
