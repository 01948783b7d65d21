//! The files of `dockseal up`: no fault repeats what is in a Secret, and what loads and is accepted can be signed.
#![no_main]

use base64::{Engine, prelude::BASE64_STANDARD};
use dockseal::api::{Object, ObjectRef, NamespacedName, Spec};
use dockseal::decide::authority::desired::{Origin, desired as authority};
use dockseal::decide::leaf::desired as leaf;
use dockseal::local::manifests::{Text, load};
use dockseal::pki::lifecycle;
use dockseal::pki::sign::{Serial, new_authority};
use dockseal_fuzz::{known_authority, known_key, now, parts};
use libfuzzer_sys::fuzz_target;

/// Short enough to be a number, too.
const CANARY: &str = "7417703199851337062";

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(loaded) = load(&[Text { file: "up.yaml".into(), text: text.to_owned().into() }]) {
        for found in &loaded.objects {
            object(&found.object);
        }
    }
    let parts = parts(input);
    let [how, before, after] = [0, 1, 2].map(|at| parts.get(at).and_then(|part| str::from_utf8(part).ok()));
    beside_a_secret(how.unwrap_or_default(), before.unwrap_or_default(), after.unwrap_or_default());
});

fn beside_a_secret(how: &str, before: &str, after: &str) {
    let plain = "{name: canary}\nstringData:\n";
    let secret = match how.bytes().next().unwrap_or_default() % 6 {
        0 => format!("{plain}  passphrase: fuzz-{CANARY}\n"),
        1 => format!("{plain}  passphrase: {CANARY}\n"),
        2 => format!("{plain}  passphrase: 'fuzz {CANARY}'\n"),
        3 => format!("{plain}  passphrase: |\n    fuzz\n    {CANARY}\n"),
        4 => format!("{{name: canary}}\ndata:\n  passphrase: fuzz-{CANARY}\n"),
        _ => format!("{{name: canary}}\ndata:\n  passphrase: {}\n", BASE64_STANDARD.encode(CANARY)),
    };
    let text = format!("{before}\n---\napiVersion: v1\nkind: Secret\nmetadata: {secret}{after}");
    let texts = [Text { file: "up.yaml".into(), text: text.into() }];
    match load(&texts) {
        Err(fault) => {
            let said = fault.to_string();
            assert!(!said.contains(CANARY) && !said.contains(&BASE64_STANDARD.encode(CANARY)), "{said}");
        }
        Ok(loaded) => {
            let at = NamespacedName { namespace: "default".into(), name: "canary".into() };
            assert!(loaded.inputs.contains_key(&at) || after.trim() != "", "the Secret is there");
            assert!(!format!("{loaded:?}").contains(CANARY), "nor is it in what may be logged");
        }
    }
}

fn object(object: &Object) {
    assert_eq!(ObjectRef::parse(&object.at.to_string()).as_ref(), Some(&object.at));
    let (now, serial) = (now(), Serial([4; 16]));
    if let Spec::Authority(_) = &object.spec {
        let Ok(desired) = authority(object) else { return };
        let Origin::New { subject, constraints, duration, .. } = desired.origin else { return };
        let dates = lifecycle::dates(now, duration, None);
        let made = new_authority(&subject, constraints.as_ref(), known_key(), dates, serial).expect("it is signed");
        assert_eq!(made.certificate.common_name.as_deref(), Some(subject.common_name.as_str()));
        assert_eq!(made.certificate.name_constraints.as_deref(), constraints.as_ref());
        assert!(made.certificate.is_issued_by(&made.certificate));
    } else {
        let Ok(desired) = leaf(object) else { return };
        let dates = lifecycle::dates(now, desired.duration, None);
        assert!(desired.renew_before.is_none_or(|before| before < desired.duration));
        let signed = known_authority().sign_leaf(&desired.profile, &known_key(), dates, serial).expect("it is signed");
        assert_eq!(signed.common_name.as_ref(), Some(&desired.profile.common_name));
        assert_eq!(signed.dns_names, desired.profile.dns_names);
        assert_eq!(signed.ip_addresses, desired.profile.ip_addresses);
    }
}
