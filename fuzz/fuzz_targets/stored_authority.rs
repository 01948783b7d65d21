//! An authority's Secret, ours or one to adopt: what is taken is a self-signed authority with its own key, that signs.
#![no_main]

use dockseal::api::NamespacedName;
use dockseal::decide::authority::adopt::adopt;
use dockseal::pki::certificate::SignatureDigest;
use dockseal::pki::material::{self, Data, read_anything, read_authority};
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Dates, LeafProfile, Serial};
use dockseal::pki::{Authority, Certificate, PrivateKey, lifecycle};
use dockseal_fuzz::{known_key, now, parts, quick, secret};
use k8s_openapi::jiff::SignedDuration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let former = format!("authority-{}.crt", &dockseal::pki::sha256_hex(&known_key().public_der())[..8]);
    let mut parts = parts(input);
    let passphrase = parts.remove(0);
    let data = secret(&parts, &["tls.crt", "tls.key", "ca.crt", &former, "more"]);
    if !data.iter().all(|(_, bytes)| quick(bytes)) {
        return;
    }
    for passphrase in [None, Some(passphrase)] {
        stored(&data, passphrase);
        let from = NamespacedName { namespace: "default".into(), name: "old".into() };
        match adopt(&from, &read_anything(&data, passphrase), now()) {
            Ok(authority) => adopted(&authority),
            Err(refusal) => assert!(refusal.message.contains("default/old"), "{}", refusal.message),
        }
    }
});

fn stored(data: &Data, passphrase: Option<&[u8]>) {
    let Ok(stored) = read_authority(data, passphrase) else { return };
    let authority = &stored.authority;
    assert_eq!(authority.key.public_der(), authority.certificate.public_key);
    assert!(stored.former.iter().all(|former| former.public_key == authority.certificate.public_key));
    assert_eq!(Some(stored.bundle.as_slice()), Some(data.get("ca.crt").unwrap_or_default()));

    let ours = material::authority(&authority.certificate, &stored.key_pem, &stored.former, "");
    let again = read_authority(&ours, passphrase).expect("what was read is written and read");
    assert_eq!(again.authority.certificate, authority.certificate);
    assert_eq!(again.former, stored.former);
    signs(authority);
}

fn adopted(authority: &Authority) {
    let certificate = &authority.certificate;
    assert_eq!(authority.key.public_der(), certificate.public_key);
    assert!(certificate.is_ca && certificate.may_sign != Some(false));
    assert!(certificate.is_issued_by(certificate), "it is self-signed");
    assert_eq!(certificate.digest, SignatureDigest::Sound);
    assert!(now() < certificate.not_after);
    signs(authority);
}

/// Whatever an authority's certificate says, it signs a leaf and renews itself.
fn signs(authority: &Authority) {
    let dates = lifecycle::dates(now(), SignedDuration::from_hours(1), Some(authority.certificate.not_after));
    let renewed = authority.renew(Some(1), dates, Serial([2; 16]));
    assert!(renewed.is_issued_by(&authority.certificate) && renewed.is_issued_by(&renewed));
    assert_eq!(renewed.name_constraints, authority.certificate.name_constraints);
    assert!(renewed.is_ca);
    assert_eq!(ends(&renewed), ends_of(&dates));
    let profile = LeafProfile {
        common_name: "pandora".into(),
        dns_names: vec!["pandora".into()],
        ip_addresses: Vec::new(),
        usage: Usage::Server,
    };
    let key: PrivateKey = known_key();
    let leaf = authority.sign_leaf(&profile, &key, dates, Serial([3; 16])).expect("a leaf of plain names");
    assert!(leaf.is_issued_by(&authority.certificate) && leaf.is_issued_by(&renewed) && !leaf.is_ca);
    assert_eq!(leaf.authority_key_id, renewed.subject_key_id);
}

fn ends(certificate: &Certificate) -> i64 {
    certificate.not_after.as_second()
}

/// Nothing that we sign is from before 1970.
fn ends_of(dates: &Dates) -> i64 {
    dates.not_after.as_second().max(0)
}
