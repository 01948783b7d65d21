//! Go's own TLS server, which dockerd is built with: what it refuses, and what its alerts tell.

use crate::go_judge::GoJudge;
use crate::{FAST, dates, host, key};
use dockseal::adapters::docker::authority_proof::authority_proof;
use dockseal::adapters::docker::exposure::exposure;
use dockseal::adapters::random::{quick_key, serial};
use dockseal::docker::authority_proof::AuthorityProof;
use dockseal::docker::exposure::Exposure;
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Dates, LeafProfile, new_authority};
use dockseal::pki::{Authority, Certificate, KeyAlgorithm};
use k8s_openapi::jiff::SignedDuration;

/// TLS 1.2 and 1.3.
const VERSIONS: [u16; 2] = [0x0303, 0x0304];

fn authority(algorithm: KeyAlgorithm, dates: Dates) -> Authority {
    new_authority(&DistinguishedName::of("Docker CA"), None, key(algorithm), dates, serial()).unwrap()
}

/// A client certificate without a key.
fn proof(by: &Authority, usage: Usage, dates: Dates) -> Certificate {
    let profile = LeafProfile { usage, ..host(&["a.proof"], &[]) };
    by.sign_leaf(&profile, &quick_key(), dates, serial()).unwrap()
}

#[test]
fn alerts_of_go_tell_whose_clients_it_admits() {
    let mut go = GoJudge::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let hours = SignedDuration::from_hours;
    let valid = dates();
    let past = Dates { not_before: valid.not_before - hours(48), not_after: valid.not_before - hours(24) };
    for (algorithm, newest) in FAST.into_iter().flat_map(|algorithm| VERSIONS.map(|newest| (algorithm, newest))) {
        let [ours, others, ended] = [valid, valid, past].map(|dates| authority(algorithm, dates));
        let server = quick_key();
        let leaf = ours.sign_leaf(&host(&["localhost"], &[]), &server, valid, serial()).unwrap();
        let clients = ours.certificate.to_pem() + &ended.certificate.to_pem();
        let pem = [leaf.to_pem(), server.to_pem().to_string(), clients];
        let port = go.serve([pem[0].as_bytes(), pem[1].as_bytes(), pem[2].as_bytes()], newest);
        let at = ([127, 0, 0, 1], port).into();
        assert_eq!(runtime.block_on(exposure("localhost", at)), Exposure::Closed, "{algorithm:?} {newest:x}");
        for (name, leaf, expected) in [
            ("ours", proof(&ours, Usage::Client, valid), "trusted"),
            ("others'", proof(&others, Usage::Client, valid), "not trusted"),
            ("a server's", proof(&ours, Usage::Server, valid), "not trusted"),
            ("of an authority that has ended", proof(&ended, Usage::Client, valid), "unknown"),
            ("one that has ended", proof(&ours, Usage::Client, past), "unknown"),
        ] {
            let found = runtime.block_on(authority_proof(at, &leaf));
            let verdict = match found {
                AuthorityProof::Trusted => "trusted",
                AuthorityProof::NotTrusted(_) => "not trusted",
                AuthorityProof::Unknown(_) => "unknown",
            };
            assert_eq!(verdict, expected, "{name} by {algorithm:?} in {newest:x}: {found:?}");
        }
    }
}
