//! Authorities that a user made with openssl: which are adopted, and why the others are not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::disallowed_methods, reason = "openssl is a program, writes files and knows the time")]

mod openssl;

use dockseal::api::NamespacedName;
use dockseal::api::condition::Reason;
use dockseal::decide::authority::adopt::adopt;
use dockseal::pki::Authority;
use dockseal::pki::KeyError;
use dockseal::pki::material::Contents;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use openssl::OpensslDir;

fn adopted(contents: &Contents) -> Result<Authority, Reason> {
    let from = NamespacedName { namespace: "home".into(), name: "old-ca".into() };
    adopt(&from, contents, Timestamp::now()).map_err(|refusal| {
        assert!(refusal.message.contains("home/old-ca"), "{}", refusal.message);
        refusal.reason
    })
}

fn reason(contents: &Contents) -> Reason {
    adopted(contents).expect_err("a refusal")
}

#[test]
fn an_authority_of_openssl_req_is_adopted_under_any_file_names_and_beside_others() {
    let dir = OpensslDir::new();
    dir.authority("ca-docker_api", "");
    dir.openssl("ecparam -genkey -name prime256v1 -out host.key");
    dir.openssl("req -new -key host.key -subj /CN=pandora -out host.csr");
    dir.openssl("x509 -req -in host.csr -CA ca-docker_api.pem -CAkey ca-docker_api.key -CAcreateserial -out host.pem");
    dir.write("README", "made in 2019");
    let alone = dir.contents(&["ca-docker_api.key", "ca-docker_api.pem"], None);
    let crowded = dir.contents(&["host.key", "host.pem", "ca-docker_api.key", "ca-docker_api.pem", "README"], None);
    for contents in [alone, crowded] {
        assert_eq!(adopted(&contents).unwrap().certificate, dir.certificate("ca-docker_api.pem"));
    }
}

#[test]
fn key_usage_and_path_length_may_be_missing_and_the_how_tos_variants_are_adopted() {
    let variants = [
        "-sha256 -days 3650",
        "-addext keyUsage=critical,keyCertSign,cRLSign",
        "-addext keyUsage=digitalSignature,keyCertSign",
        "-addext extendedKeyUsage=serverAuth,clientAuth",
        "-addext nameConstraints=critical,permitted;DNS:bodkys.house",
        "-sha384",
        "-sha512",
    ];
    for words in variants {
        let dir = OpensslDir::new();
        dir.authority("ca", words);
        assert!(adopted(&dir.contents(&["ca.key", "ca.pem"], None)).is_ok(), "{words}");
    }
}

#[test]
fn every_key_algorithm_is_adopted() {
    for words in [
        "genrsa -out ca.key 2048",
        "genpkey -algorithm ed25519 -out ca.key",
        "ecparam -genkey -name secp384r1 -out ca.key",
        "ecparam -genkey -name secp521r1 -out ca.key",
    ] {
        let dir = OpensslDir::new();
        dir.openssl(words);
        dir.openssl("req -x509 -new -key ca.key -subj /CN=ca -days 30 -out ca.pem");
        assert!(adopted(&dir.contents(&["ca.key", "ca.pem"], None)).is_ok(), "{words}");
    }
}

#[test]
fn what_cannot_sign_or_is_weak_is_refused_with_its_reason() {
    let table = [
        ("-sha1", Reason::WeakSignature),
        ("-addext keyUsage=digitalSignature", Reason::SigningNotAllowed),
        ("-addext keyUsage=critical,cRLSign", Reason::SigningNotAllowed),
        ("-addext extendedKeyUsage=serverAuth", Reason::SigningNotAllowed),
        ("-addext extendedKeyUsage=clientAuth", Reason::SigningNotAllowed),
        ("-addext basicConstraints=critical,CA:FALSE", Reason::NotAnAuthority),
    ];
    for (words, expected) in table {
        let dir = OpensslDir::new();
        dir.authority("ca", words);
        assert_eq!(reason(&dir.contents(&["ca.key", "ca.pem"], None)), expected, "{words}");
    }
}

#[test]
fn a_version_1_certificate_is_no_authority() {
    let dir = OpensslDir::new();
    dir.openssl("ecparam -genkey -name prime256v1 -out ca.key");
    dir.openssl("req -new -key ca.key -subj /CN=ca -out ca.csr");
    dir.openssl("x509 -req -in ca.csr -signkey ca.key -days 30 -out ca.pem");
    assert!(dir.openssl("x509 -in ca.pem -noout -text").contains("Version: 1"));
    assert_eq!(reason(&dir.contents(&["ca.key", "ca.pem"], None)), Reason::NotAnAuthority);
}

#[test]
fn a_leaf_is_no_authority_and_an_intermediate_no_root() {
    let dir = OpensslDir::new();
    dir.authority("ca", "");
    dir.openssl("ecparam -genkey -name prime256v1 -out sub.key");
    dir.openssl("req -new -key sub.key -subj /CN=sub -out sub.csr");
    for (extensions, expected) in [
        ("basicConstraints=CA:FALSE", Reason::NotAnAuthority),
        ("basicConstraints=critical,CA:TRUE", Reason::IntermediateAuthority),
    ] {
        dir.write("ext", extensions);
        dir.openssl(
            "x509 -req -in sub.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -days 30 -out sub.pem",
        );
        assert_eq!(reason(&dir.contents(&["sub.key", "sub.pem"], None)), expected);
        assert_eq!(reason(&dir.contents(&["sub.key", "sub.pem", "ca.pem"], None)), expected, "with its root beside it");
    }
}

#[test]
fn an_expired_authority_is_refused_from_its_last_instant_on() {
    let dir = OpensslDir::new();
    dir.authority("ca", "-days 30");
    let contents = dir.contents(&["ca.key", "ca.pem"], None);
    let from = NamespacedName { namespace: "home".into(), name: "old-ca".into() };
    let end = contents.certificates[0].not_after;
    assert!(adopt(&from, &contents, end - SignedDuration::from_secs(1)).is_ok());
    assert_eq!(adopt(&from, &contents, end).unwrap_err().reason, Reason::AuthorityExpired);
}

#[test]
fn an_rsa_key_below_2048_bits_is_weak() {
    let dir = OpensslDir::new();
    dir.openssl("req -x509 -newkey rsa:1024 -nodes -keyout ca.key -subj /CN=ca -days 30 -out ca.pem");
    assert_eq!(reason(&dir.contents(&["ca.key", "ca.pem"], None)), Reason::WeakKey);
}

#[test]
fn keys_that_are_missing_foreign_locked_or_several_are_named() {
    let dir = OpensslDir::new();
    dir.authority("ca", "");
    dir.authority("other", "");
    dir.openssl("ec -in ca.key -aes256 -passout pass:secret -out locked.key");
    dir.write("rubbish", "not PEM");
    let table: [(&[&str], Option<&str>, Reason); 7] = [
        (&["ca.pem"], None, Reason::ExistingUnusable),
        (&["ca.key"], None, Reason::ExistingUnusable),
        (&["rubbish"], None, Reason::ExistingUnusable),
        (&["ca.pem", "other.key"], None, Reason::KeyMismatch),
        (&["ca.pem", "locked.key"], None, Reason::PassphraseNeeded),
        (&["ca.pem", "locked.key"], Some("wrong"), Reason::PassphraseWrong),
        (&["ca.pem", "ca.key", "other.pem", "other.key"], None, Reason::ExistingAmbiguous),
    ];
    for (names, passphrase, expected) in table {
        assert_eq!(reason(&dir.contents(names, passphrase)), expected, "{names:?} {passphrase:?}");
    }
    assert!(adopted(&dir.contents(&["ca.pem", "locked.key"], Some("secret"))).is_ok());
    assert!(
        adopted(&dir.contents(&["ca.pem", "ca.key", "other.pem"], None)).is_ok(),
        "a certificate without key confuses nobody"
    );
}

/// Each takes up to seconds to open: a Secret full of them kept a controller busy for hours.
#[test]
fn of_many_encrypted_keys_one_is_opened() {
    let dir = OpensslDir::new();
    dir.authority("ca", "");
    dir.openssl("pkcs8 -topk8 -in ca.key -passout pass:secret -out locked.key");
    dir.write("many.key", dir.read("locked.key").repeat(100));
    dir.write("last.key", dir.read("ca.key"));
    let contents = dir.contents(&["ca.pem", "last.key", "many.key"], Some("secret"));
    let opened = contents.keys.iter().filter(|key| key.is_ok()).count();
    let refused = contents.keys.iter().filter(|key| matches!(key, Err(KeyError::TooMany))).count();
    assert_eq!((opened, refused), (1 + 1, 100 - 1), "an open one costs nothing");
}

#[test]
fn of_an_authoritys_own_renewals_the_one_that_ends_last_is_adopted() {
    let dir = OpensslDir::new();
    dir.authority("ca", "-days 30");
    dir.openssl("req -x509 -new -key ca.key -subj /CN=docker~ca -days 3650 -out renewed.pem");
    let adopted = adopted(&dir.contents(&["ca.key", "ca.pem", "renewed.pem"], None)).unwrap();
    assert_eq!(adopted.certificate, dir.certificate("renewed.pem"));
}
