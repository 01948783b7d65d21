//! One certificate in DER: what is read says the same when it is read again, and every question about it has an answer.
#![no_main]

use dockseal::pki::constraints::{permits_dns, permits_ip};
use dockseal::pki::{Certificate, TrustBundle, lifecycle, name};
use dockseal_fuzz::{known_authority, now, pem_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = Certificate::from_pem(&pem_of(input));
    let Ok(certificate) = Certificate::from_der(input) else { return };
    assert_eq!(certificate.der, input);
    let bundle = TrustBundle::from_pem(certificate.to_pem().as_bytes()).expect("PEM that was written is read");
    assert_eq!(bundle.certificates(), std::slice::from_ref(&certificate), "it says the same again");

    for name in [&certificate.issuer, &certificate.subject] {
        assert!(!name::display(name).chars().any(|c| c == '\n' || c == '\u{1b}'), "a name is one plain line");
    }
    assert_eq!(certificate.common_name, name::common_name(&certificate.subject));
    if let Some(constraints) = &certificate.name_constraints {
        for name in certificate.dns_names.iter().map(String::as_str).chain(["pandora.bodkys.house"]) {
            permits_dns(constraints, name);
        }
        for address in certificate.ip_addresses.iter().copied().chain(["192.168.1.7".parse().expect("an address")]) {
            permits_ip(constraints, address);
        }
    }
    assert!(!certificate.is_issued_by(&known_authority().certificate), "nobody signs with the known key here");
    certificate.is_issued_by(&certificate);
    certificate.is_valid_at(now());
    let dates = dockseal::pki::sign::Dates { not_before: certificate.not_before, not_after: certificate.not_after };
    lifecycle::renew_at(dates, None, lifecycle::jitter("default", "pandora"));
});
