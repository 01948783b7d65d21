//! Keys that openssl wrote, read by us; keys and certificates that we wrote, judged by openssl and webpki.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::disallowed_methods, reason = "openssl is a program, writes files and knows the time")]

mod go_judge;
#[path = "x509/odd_authorities.rs"]
mod odd_authorities;
mod openssl;
#[path = "x509/pem.rs"]
mod pem_files;
#[path = "x509/strangers.rs"]
mod strangers;

use dockseal::adapters::random::{make_key, salt, serial};
use dockseal::pki::KeyError;
use dockseal::pki::certificate::all_from_pem;
use dockseal::pki::constraints::{Subnet, permit};
use dockseal::pki::encrypted::{Salt, seal};
use dockseal::pki::lifecycle;
use dockseal::pki::material::{self, Data};
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Dates, LeafProfile, new_authority};
use dockseal::pki::{Authority, Certificate, KeyAlgorithm, PrivateKey};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use openssl::OpensslDir;
use std::sync::Arc;

const FAST: [KeyAlgorithm; 3] = [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519];

fn key(algorithm: KeyAlgorithm) -> PrivateKey {
    make_key(algorithm)
}

fn dates() -> Dates {
    lifecycle::dates(Timestamp::now(), SignedDuration::from_hours(8760), None)
}

fn host(dns: &[&str], ip: &[&str]) -> LeafProfile {
    LeafProfile {
        common_name: dns.iter().chain(ip).next().unwrap().to_string(),
        dns_names: dns.iter().map(|name| name.to_string()).collect(),
        ip_addresses: ip.iter().map(|address| address.parse().unwrap()).collect(),
        usage: Usage::Server,
    }
}

/// Ways of openssl to write a private key; `X` is the key, `-passout` makes it an encrypted one.
const FORMS: [(&str, &str); 16] = [
    ("genrsa -out X 2048", "PKCS#8, RSA"),
    ("genrsa -traditional -out X 2048", "PKCS#1"),
    ("ecparam -genkey -noout -name prime256v1 -out X", "SEC 1"),
    ("ecparam -genkey -name secp384r1 -out X", "SEC 1 after its parameters"),
    ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out X", "PKCS#8, P-521"),
    ("genpkey -algorithm ed25519 -out X", "PKCS#8, Ed25519"),
    ("genrsa -aes256 -passout pass:secret -out X 2048", "PBES2, AES-256"),
    ("genpkey -algorithm ed25519 -aes-256-cbc -pass pass:secret -out X", "PBES2, Ed25519"),
    ("genrsa -aes128 -traditional -passout pass:secret -out X 2048", "traditional, AES-128"),
    ("genrsa -aes256 -traditional -passout pass:secret -out X 2048", "traditional, AES-256"),
    ("genrsa -des3 -traditional -passout pass:secret -out X 2048", "traditional, DES3"),
    ("ec -in plain -aes256 -passout pass:secret -out X", "traditional, EC"),
    ("pkcs8 -topk8 -in plain -scrypt -passout pass:secret -out X", "PBES2, scrypt"),
    ("pkcs8 -topk8 -in plain -v2 des3 -passout pass:secret -out X", "PBES2, DES3"),
    ("pkcs8 -topk8 -in plain -v2 aes-128-cbc -v2prf hmacWithSHA1 -passout pass:secret -out X", "PBES2, HMAC-SHA-1"),
    ("pkcs8 -topk8 -in plain -v2prf hmacWithSHA512 -passout pass:secret -out X", "PBES2, HMAC-SHA-512"),
];

#[test]
fn every_form_of_private_key_that_openssl_writes_is_read() {
    let dir = OpensslDir::new();
    dir.openssl("ecparam -genkey -noout -name prime256v1 -out plain");
    for (words, form) in FORMS {
        dir.openssl(&words.replace('X', "key"));
        let encrypted = words.contains("secret");
        let pem = dir.read("key");
        let passphrase = encrypted.then_some(b"secret".as_slice());
        let key = PrivateKey::from_pem(&pem, passphrase).unwrap_or_else(|error| panic!("{form}: {error}"));
        dir.openssl("pkey -in key -passin pass:secret -pubout -outform DER -out public");
        assert_eq!(key.public_der(), dir.read("public"), "{form}");
        dir.write("again", key.to_pem().as_bytes());
        dir.openssl("pkey -in again -noout");
        if encrypted {
            assert_eq!(PrivateKey::from_pem(&pem, None).unwrap_err(), KeyError::PassphraseNeeded, "{form}");
            for wrong in ["", "Secret", "secret\n"] {
                let error = PrivateKey::from_pem(&pem, Some(wrong.as_bytes())).unwrap_err();
                assert_eq!(error, KeyError::PassphraseWrong, "{form}, {wrong:?}");
            }
        }
        let crlf = String::from_utf8(pem).unwrap().replace('\n', "\r\n");
        assert!(PrivateKey::from_pem(crlf.as_bytes(), passphrase).is_ok(), "{form} with Windows' line ends");
    }
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let dir = OpensslDir::new();
    dir.openssl("ecparam -genkey -noout -name prime256v1 -out plain");
    dir.openssl("pkcs8 -topk8 -in plain -v1 PBE-SHA1-3DES -passout pass:secret -out pkcs12");
    dir.openssl("genrsa -out small 1024");
    dir.openssl("ecparam -genkey -noout -name secp256k1 -out koblitz");
    dir.openssl("genpkey -algorithm x25519 -out exchange");
    dir.openssl("pkcs8 -topk8 -in plain -iter 20000000 -passout pass:secret -out slow");
    dir.write("rubbish", "rubbish");
    for (name, expected) in [
        ("pkcs12", KeyError::EncryptionUnsupported),
        ("slow", KeyError::EncryptionUnsupported),
        ("small", KeyError::AlgorithmUnsupported),
        ("koblitz", KeyError::AlgorithmUnsupported), // SEC 1 of an unknown curve
        ("exchange", KeyError::AlgorithmUnsupported),
        ("rubbish", KeyError::Malformed),
    ] {
        assert_eq!(PrivateKey::from_pem(&dir.read(name), Some(b"secret")).unwrap_err(), expected, "{name}");
    }
}

#[test]
fn a_sealed_key_is_read_by_openssl_and_by_us_and_by_nobody_without_the_passphrase() {
    let dir = OpensslDir::new();
    for algorithm in FAST {
        let key = key(algorithm);
        let sealed = seal(&key.to_pkcs8_der(), "geheim, ü".as_bytes(), &salt());
        dir.write("sealed", &sealed);
        assert!(dir.openssl("pkey -in sealed -passin pass:geheim,~ü -text -noout").contains("Private-Key"));
        let asn1 = dir.openssl("asn1parse -in sealed");
        assert!(asn1.contains("aes-256-cbc") && asn1.contains("hmacWithSHA256") && asn1.contains("PBKDF2"));
        let opened = PrivateKey::from_pem(sealed.as_bytes(), Some("geheim, ü".as_bytes())).unwrap();
        assert_eq!(opened.public_der(), key.public_der());
        assert_eq!(PrivateKey::from_pem(sealed.as_bytes(), Some(b"geheim")).unwrap_err(), KeyError::PassphraseWrong);
    }
    let fixed = || Salt { salt: [7; 16], iv: [9; 16] };
    let key = key(KeyAlgorithm::Ed25519);
    assert_eq!(
        seal(&key.to_pkcs8_der(), b"x", &fixed()),
        seal(&key.to_pkcs8_der(), b"x", &fixed()),
        "all chance comes from the caller"
    );
}

#[test]
fn ed25519_is_written_as_pkcs8_version_1() {
    assert_eq!(key(KeyAlgorithm::Ed25519).to_pkcs8_der().len(), 48);
}

fn made(algorithm: KeyAlgorithm) -> Authority {
    let subject = DistinguishedName {
        country: "DE".into(),
        organization: "Bodky & Söhne".into(),
        ..DistinguishedName::of("Docker CA")
    };
    let networks = ["192.168.0.0/16", "127.0.0.0/8"].map(|network| Subnet::parse(network).unwrap());
    new_authority(&subject, Some(&permit(&["bodkys.house".into()], &networks)), key(algorithm), dates(), serial())
        .unwrap()
}

#[test]
fn what_we_sign_passes_openssl_s_strict_check_and_webpki_under_every_algorithm() {
    let dir = OpensslDir::new();
    for algorithm in FAST.into_iter().chain([KeyAlgorithm::Rsa(2048)]) {
        let authority = made(algorithm);
        dir.write("ca.pem", authority.certificate.to_pem());
        dir.write("new.pem", authority.renew(Some(1), dates(), serial()).to_pem());
        let client = LeafProfile {
            common_name: "portainer.bodkys.house".into(),
            dns_names: vec![],
            ip_addresses: vec![],
            usage: Usage::Client,
        };
        let leaves = [
            (host(&["pandora.bodkys.house", "*.bodkys.house"], &["192.168.1.7", "127.0.0.1"]), "sslserver"),
            (client, "sslclient"),
        ];
        for (profile, purpose) in leaves {
            let leaf = authority.sign_leaf(&profile, &key(KeyAlgorithm::EcdsaP256), dates(), serial()).unwrap();
            dir.write("leaf.pem", leaf.to_pem());
            for issuer in ["ca.pem", "new.pem"] {
                dir.openssl(&format!("verify -x509_strict -purpose {purpose} -CAfile {issuer} leaf.pem"));
            }
            let other = if purpose == "sslserver" { "sslclient" } else { "sslserver" };
            assert!(!dir.openssl_says(&format!("verify -purpose {other} -CAfile ca.pem leaf.pem")).0, "one usage each");
            assert!(webpki_accepts(&authority.certificate, &leaf, profile.usage));
        }
        let outside = authority
            .sign_leaf(&host(&["pandora.example"], &[]), &key(KeyAlgorithm::EcdsaP256), dates(), serial())
            .unwrap();
        assert!(!webpki_accepts(&authority.certificate, &outside, Usage::Server), "name constraints hold");
    }
}

fn webpki_accepts(issuer: &Certificate, leaf: &Certificate, usage: Usage) -> bool {
    let (anchor, leaf) = (issuer.der.as_slice().into(), leaf.der.as_slice().into());
    let anchor = webpki::anchor_from_trusted_cert(&anchor).unwrap();
    let leaf = webpki::EndEntityCert::try_from(&leaf).unwrap();
    let usage = match usage {
        Usage::Server => webpki::KeyUsage::server_auth(),
        Usage::Client => webpki::KeyUsage::client_auth(),
    };
    let now = rustls::pki_types::UnixTime::now();
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[anchor], &[], now, usage, None, None).is_ok()
}

/// No constraint of ours is on URIs, so none refuses the one name of a client.
#[test]
fn a_client_with_a_uri_passes_under_every_kind_of_name_constraints() {
    const URI: &str = "dockseal://0123456789abcdef0123456789abcdef/dcc/home/ci";
    let dir = OpensslDir::new();
    let networks = ["192.168.0.0/16", "fd00::/8"].map(|network| Subnet::parse(network).unwrap());
    let domains = ["bodkys.house".to_owned()];
    let constraints =
        [None, Some(permit(&domains, &[])), Some(permit(&[], &networks)), Some(permit(&domains, &networks))];
    for constraints in constraints {
        let subject = DistinguishedName::of("Docker CA");
        let ca_key = key(KeyAlgorithm::EcdsaP256);
        let authority = new_authority(&subject, constraints.as_ref(), ca_key, dates(), serial()).unwrap();
        let ci =
            LeafProfile { common_name: "ci".into(), dns_names: vec![], ip_addresses: vec![], usage: Usage::Client };
        let leaf_key = key(KeyAlgorithm::EcdsaP256);
        let leaf = authority.sign_client(&ci, URI, &leaf_key, dates(), serial()).unwrap();
        assert_eq!((leaf.uris.as_slice(), leaf.dns_names.len()), (&[URI.to_owned()][..], 0));
        dir.write("ca.pem", authority.certificate.to_pem());
        dir.write("leaf.pem", leaf.to_pem());
        dir.openssl("verify -x509_strict -purpose sslclient -CAfile ca.pem leaf.pem");
        let text = dir.openssl("x509 -in leaf.pem -noout -text");
        let only = format!("X509v3 Subject Alternative Name: \n                URI:{URI}\n");
        assert!(text.contains(&only), "not critical, and the only name: {text}");
        assert!(webpki_accepts(&authority.certificate, &leaf, Usage::Client));
        assert!(authority.sign_client(&ci, "dockseal://ü", &leaf_key, dates(), serial()).is_err());
    }
}

/// A rollover's cross certificate: the new authority's name and key, signed by the old one.
#[test]
fn the_path_length_leaves_room_for_one_cross_certificate() {
    let dir = OpensslDir::new();
    let old = new_authority(&DistinguishedName::of("old"), None, key(KeyAlgorithm::EcdsaP256), dates(), serial());
    let old = old.unwrap();
    let kept = old.renew(Some(0), dates(), serial());
    assert_eq!((old.certificate.path_length, kept.path_length), (Some(1), Some(0)));
    assert_eq!(old.renew(None, dates(), serial()).path_length, None);
    dir.write("old.pem", old.certificate.to_pem());
    dir.write("kept.pem", kept.to_pem());
    dir.write("old.key", old.key.to_pem());
    dir.authority("new", "-subj /CN=new");
    dir.openssl("x509 -x509toreq -in new.pem -signkey new.key -out new.csr");
    dir.write("cross.ext", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n");
    dir.openssl("x509 -req -in new.csr -CA old.pem -CAkey old.key -extfile cross.ext -days 30 -out cross.pem");
    let new_key = PrivateKey::from_pem(&dir.read("new.key"), None).unwrap();
    let new = Authority { certificate: dir.certificate("new.pem"), key: Arc::new(new_key) };
    let leaf = new.sign_leaf(&host(&["pandora"], &[]), &key(KeyAlgorithm::EcdsaP256), dates(), serial()).unwrap();
    dir.write("leaf.pem", leaf.to_pem());
    dir.openssl("verify -CAfile old.pem -untrusted cross.pem leaf.pem");
    assert!(!dir.openssl_says("verify -CAfile kept.pem -untrusted cross.pem leaf.pem").0, "pathlen 0 refuses it");
}

#[test]
fn the_e_mail_address_of_an_authority_is_an_rfc822_name_too() {
    let dir = OpensslDir::new();
    for (address, expected) in [("admin@bodkys.house", true), ("", false), ("admin", false)] {
        let subject = DistinguishedName { email_address: address.into(), ..DistinguishedName::of("Docker CA") };
        let authority = new_authority(&subject, None, key(KeyAlgorithm::EcdsaP256), dates(), serial()).unwrap();
        let renewed = authority.renew(Some(1), dates(), serial());
        let leaf =
            authority.sign_leaf(&host(&["pandora"], &[]), &key(KeyAlgorithm::EcdsaP256), dates(), serial()).unwrap();
        dir.write("leaf.pem", leaf.to_pem());
        for certificate in [&authority.certificate, &renewed] {
            dir.write("ca.pem", certificate.to_pem());
            let text = dir.openssl("x509 -in ca.pem -noout -text");
            let name = "X509v3 Subject Alternative Name: \n                email:admin@bodkys.house\n";
            assert_eq!(text.contains(name), expected, "{address:?}: {text}");
            assert!(expected || !text.contains("Subject Alternative Name"), "{address:?}: {text}");
            dir.openssl("verify -x509_strict -CAfile ca.pem leaf.pem");
            assert!(webpki_accepts(certificate, &leaf, Usage::Server));
        }
    }
}

#[test]
fn an_authority_says_what_it_is() {
    let dir = OpensslDir::new();
    dir.write("ca.pem", made(KeyAlgorithm::EcdsaP256).certificate.to_pem());
    let text = dir.openssl("x509 -in ca.pem -noout -text");
    let critical =
        |name: &str, value: &str| text.contains(&format!("X509v3 {name}: critical\n                {value}"));
    assert!(
        critical("Basic Constraints", "CA:TRUE, pathlen:1") && critical("Key Usage", "Certificate Sign, CRL Sign"),
        "{text}"
    );
    assert!(text.contains("X509v3 Name Constraints: critical"), "{text}");
}

#[test]
fn leaves_verify_under_adopted_authorities_of_any_name() {
    let names = [
        "/DC=house/DC=bodkys/CN=ca",
        "/O=Bodky/OU=one/OU=two/CN=ca",
        "/CN=ca+serialNumber=7/O=Bodky",
        "/O=Bodky/CN=first/CN=second",
        "/C=de/ST=Saarland/O=Bodky~&~Söhne/CN=ca/emailAddress=a@b.example",
        "/O=only~an~organization",
    ];
    for (number, subject) in names.into_iter().enumerate() {
        let dir = OpensslDir::new();
        let encoding = if number % 2 == 0 { "-utf8" } else { "" };
        dir.authority("ca", &format!("-multivalue-rdn {encoding} -subj {subject}"));
        let key = PrivateKey::from_pem(&dir.read("ca.key"), None).unwrap();
        let authority = Authority { certificate: dir.certificate("ca.pem"), key: Arc::new(key) };
        let renewed = authority.renew(Some(1), dates(), serial());
        assert_eq!(renewed.subject, authority.certificate.subject, "{subject}");
        let leaf_key = self::key(KeyAlgorithm::EcdsaP256);
        let leaf = authority.sign_leaf(&host(&["pandora"], &[]), &leaf_key, dates(), serial()).unwrap();
        dir.write("new.pem", renewed.to_pem());
        dir.write("leaf.pem", leaf.to_pem());
        for issuer in ["ca.pem", "new.pem"] {
            dir.openssl(&format!("verify -purpose sslserver -CAfile {issuer} leaf.pem"));
        }
        assert!(webpki_accepts(&renewed, &leaf, Usage::Server), "{subject}");
        assert!(leaf.is_issued_by(&renewed) && leaf.is_issued_by(&authority.certificate));
    }
}

#[test]
fn dates_from_1970_to_the_end_of_time_are_written_and_read() {
    let key = key(KeyAlgorithm::EcdsaP256);
    let authority = Authority { certificate: made(KeyAlgorithm::EcdsaP256).certificate, key: Arc::new(key) };
    for (now, hours) in [
        ("1970-01-01T00:00:00Z", 1),
        ("2049-12-31T23:59:30Z", 1),
        ("2050-01-01T00:00:00.9Z", 24),
        ("2026-11-22T10:00:00Z", 876_600),
        ("9998-01-01T00:00:00Z", 876_600),
    ] {
        let wanted = lifecycle::dates(now.parse().unwrap(), SignedDuration::from_hours(hours), None);
        let read = authority.renew(Some(1), wanted, serial());
        assert_eq!(read.not_after.as_second(), wanted.not_after.as_second(), "{now}");
        assert_eq!(read.not_before.as_second(), wanted.not_before.as_second().max(0), "{now}");
    }
}

/// openssl cannot write that end itself before 3.4, but many an authority has it.
#[test]
fn an_authority_without_an_end_can_be_read() {
    let dir = OpensslDir::new();
    dir.authority("ca", "-days 10000");
    let mut der = dir.certificate("ca.pem").der;
    let at = der.windows(2).position(|pair| pair == [0x18, 0x0f]);
    let at = at.expect("an end after 2049 is a GeneralizedTime");
    der[at + 2..at + 17].copy_from_slice(b"99991231235959Z");
    assert_eq!(Certificate::from_der(&der).unwrap().not_after.to_string(), "9999-12-30T22:00:00Z");
}

#[test]
fn no_debug_shows_key_bytes() {
    let authority = made(KeyAlgorithm::EcdsaP256);
    let pem = authority.key.to_pem();
    let data = material::authority(&authority.certificate, pem.as_bytes(), &[], &authority.certificate.to_pem());
    let stored = material::read_authority(&data, None).unwrap();
    let der = authority.key.to_pkcs8_der();
    let secret = &der[36..60]; // within the private scalar
    let shapes = [
        format!("{authority:?}"),
        format!("{:?}", authority.key),
        format!("{data:?}"),
        format!("{stored:?}"),
        format!("{:#?}", data.clone()),
    ];
    let decimal = format!("{:?}", secret);
    let decimal = decimal.trim_matches(['[', ']']);
    for shape in shapes {
        let shape = shape.replace('\n', " ");
        assert!(
            !shape.contains(decimal) && !shape.contains(&dockseal::pki::hex(secret)) && !shape.contains("PRIVATE"),
            "{shape}"
        );
        assert!(!pem.lines().filter(|line| line.len() > 20).any(|line| shape.contains(line)), "{shape}");
    }
}

#[test]
fn certificates_among_other_text_are_found() {
    let dir = OpensslDir::new();
    dir.authority("ca", "");
    dir.openssl("x509 -in ca.pem -text -out ca.txt");
    dir.openssl("pkcs12 -export -in ca.pem -inkey ca.key -passout pass:x -out ca.p12");
    dir.openssl("pkcs12 -in ca.p12 -passin pass:x -nodes -out ca.bag");
    for name in ["ca.txt", "ca.bag"] {
        assert_eq!(all_from_pem(&dir.read(name)).unwrap(), [dir.certificate("ca.pem")], "{name}");
    }
    let mut data = Data::default();
    data.insert("everything", dir.read("ca.bag"));
    let contents = material::read_anything(&data, None);
    assert_eq!((contents.certificates.len(), contents.keys.len()), (1, 1));
}
