//! Odd authorities, made by rcgen and openssl and changed part by part: what Go says of each, and what we do with it. The
//! law: what is adopted is accepted by Go, at once or after the renewal that adoption brings.

use crate::go_judge::GoJudge;
use crate::openssl::OpensslDir;
use crate::{dates, host, key};
use dockseal::adapters::random::serial;
use dockseal::api::NamespacedName;
use dockseal::decide::authority::adopt::{self, adopt};
use dockseal::pki::material::{Contents, Data, read_anything};
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::LeafProfile;
use dockseal::pki::{Authority, KeyAlgorithm};
use k8s_openapi::jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SigningKey};
use std::sync::Arc;

/// The parts of an authority's certificate, each in DER.
struct Parts {
    version: Vec<u8>,
    serial: Vec<u8>,
    algorithm: Vec<u8>,
    outer_algorithm: Vec<u8>,
    issuer: Vec<u8>,
    validity: Vec<u8>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    /// Each whole; none where the field itself is left out.
    extensions: Option<Vec<Vec<u8>>>,
    /// Bytes behind the certificate.
    trailing: Vec<u8>,
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..=0x7f => vec![short as u8],
        middle @ 0x80..=0xff => vec![0x81, middle as u8],
        long => vec![0x82, (long >> 8) as u8, long as u8],
    };
    [&[tag], length.as_slice(), content].concat()
}

fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// The elements of a constructed one.
fn elements(der: &[u8]) -> Vec<Vec<u8>> {
    let whole = |bytes: &[u8]| match bytes[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(bytes[2])),
        _ => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
    };
    let mut rest = &der[whole(der).0..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (header, length) = whole(rest);
        found.push(rest[..header + length].to_vec());
        rest = &rest[header + length..];
    }
    found
}

const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 32];
const KEY_ID: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const CRL_POINTS: &[u8] = &[0x55, 0x1d, 31];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
const EXTENDED_USAGE: &[u8] = &[0x55, 0x1d, 37];
const AUTHORITY_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const CERT_TYPE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1];
const COMMENT: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 13];
const OWN: &[u8] = &[0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 1];
const TRUE: &[u8] = &[1, 1, 0xff];

fn extension(oid: &[u8], critical: &[u8], value: &[u8]) -> Vec<u8> {
    seq(&[&tlv(6, oid), critical, &tlv(4, value)])
}

impl Parts {
    /// What rcgen makes: with keyUsage, SKI and AKI, sound in every part.
    fn sound(key: &KeyPair) -> Parts {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2036, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "Docker CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(vec![7, 7, 7].into());
        let made = params.self_signed(key).unwrap();
        let outer = elements(made.der());
        let [version, serial, algorithm, issuer, validity, subject, public_key, extensions] =
            elements(&outer[0]).try_into().unwrap();
        let extensions = Some(elements(&elements(&extensions)[0]));
        let (outer_algorithm, trailing) = (outer[1].clone(), Vec::new());
        Parts {
            version,
            serial,
            algorithm,
            outer_algorithm,
            issuer,
            validity,
            subject,
            public_key,
            extensions,
            trailing,
        }
    }

    /// Signed by its key, in DER.
    fn signed(&self, key: &KeyPair) -> Vec<u8> {
        let extensions = self.extensions.as_ref().map(|list| tlv(0xa3, &tlv(0x30, &list.concat())));
        let tbs = seq(&[
            &self.version,
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.public_key,
            &extensions.unwrap_or_default(),
        ]);
        let signature = [vec![0], key.sign(&tbs).unwrap()].concat();
        [seq(&[&tbs, &self.outer_algorithm, &tlv(3, &signature)]), self.trailing.clone()].concat()
    }

    fn list(&mut self) -> &mut Vec<Vec<u8>> {
        self.extensions.as_mut().unwrap()
    }

    fn add(&mut self, oid: &[u8], critical: &[u8], value: &[u8]) {
        self.list().push(extension(oid, critical, value));
    }

    fn remove(&mut self, oid: &[u8]) -> Vec<u8> {
        let at = self.list().iter().position(|found| elements(found)[0] == tlv(6, oid)).unwrap();
        self.list().remove(at)
    }

    /// The same value, with that said of its being critical.
    fn mark(&mut self, oid: &[u8], critical: &[u8]) {
        let found = self.remove(oid);
        let value = elements(&found).pop().unwrap();
        self.list().push(seq(&[&tlv(6, oid), critical, &value]));
    }

    fn replace(&mut self, oid: &[u8], critical: &[u8], value: &[u8]) {
        self.remove(oid);
        self.add(oid, critical, value);
    }

    /// Issuer and subject of one attribute, a common name.
    fn named(&mut self, tag: u8, text: &[u8]) {
        let name = seq(&[&tlv(0x31, &seq(&[&tlv(6, &[0x55, 4, 3]), &tlv(tag, text)]))]);
        (self.issuer, self.subject) = (name.clone(), name);
    }

    /// Permitted subtrees of those bases, or excluded ones.
    fn constrain(&mut self, list: u8, critical: &[u8], bases: &[Vec<u8>]) {
        let subtrees: Vec<u8> = bases.iter().flat_map(|base| seq(&[base])).collect();
        self.add(NAME_CONSTRAINTS, critical, &seq(&[&tlv(list, &subtrees)]));
    }
}

const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;

#[derive(Debug, PartialEq)]
enum Verdict {
    AsItIs,
    Renewed,
    Refused,
}
use Verdict::{AsItIs, Refused, Renewed};

/// The change, whether Go accepts chains by the changed root, what we do, and our words.
type Row = (&'static str, fn(&mut Parts), bool, Verdict, &'static str);

const ROWS: &[Row] = &[
    ("as rcgen makes it", |_| {}, true, AsItIs, ""),
    ("no keyUsage", |p| drop(p.remove(KEY_USAGE)), true, Renewed, "no keyUsage"),
    ("a keyUsage without keyCertSign", |p| p.replace(KEY_USAGE, TRUE, &[3, 2, 7, 0x80]), false, Refused, "keyCertSign"),
    ("no subject key identifier", |p| drop(p.remove(KEY_ID)), true, Renewed, "no subject key identifier"),
    ("no authority key identifier", |p| drop(p.remove(AUTHORITY_KEY_ID)), true, AsItIs, ""),
    ("basicConstraints not critical", |p| p.mark(BASIC_CONSTRAINTS, &[]), true, Renewed, "not critical"),
    ("path length 0", |p| p.replace(BASIC_CONSTRAINTS, TRUE, &seq(&[TRUE, &[2, 1, 0]])), true, AsItIs, ""),
    ("a negative serial number", |p| p.serial = vec![2, 1, 0x87], false, Renewed, "negative"),
    ("a long negative one", |p| p.serial = tlv(2, &[0x87; 20]), false, Renewed, "negative"),
    ("serial number 0", |p| p.serial = vec![2, 1, 0], true, Renewed, "0 or longer"),
    ("a serial number of 25 bytes", |p| p.serial = tlv(2, &[7; 25]), true, Renewed, "0 or longer"),
    ("a serial number with a zero in front", |p| p.serial = vec![2, 2, 0, 7], false, Refused, "serial number"),
    ("an empty serial number", |p| p.serial = vec![2, 0], false, Refused, "serial number"),
    ("a critical extension of one's own", |p| p.add(OWN, TRUE, &[5, 0]), false, Renewed, "1.3.6.1.4.1.99999.1"),
    ("the same, not critical", |p| p.add(OWN, &[], &[5, 0]), true, AsItIs, ""),
    ("critical nsCertType", |p| p.add(CERT_TYPE, TRUE, &[3, 2, 0, 7]), false, Renewed, "nsCertType"),
    ("critical nsComment", |p| p.add(COMMENT, TRUE, &tlv(0x16, b"made by hand")), false, Renewed, "nsComment"),
    ("nsComment", |p| p.add(COMMENT, &[], &tlv(0x16, b"made by hand")), true, AsItIs, ""),
    ("a critical subject key identifier", |p| p.mark(KEY_ID, TRUE), false, Renewed, "marked critical"),
    ("a critical authority key identifier", |p| p.mark(AUTHORITY_KEY_ID, TRUE), false, Renewed, "marked critical"),
    ("critical authority information", |p| p.add(AUTHORITY_INFO, TRUE, &seq(&[])), false, Renewed, "marked critical"),
    ("damaged authority information", |p| p.add(AUTHORITY_INFO, &[], &[0x30, 9]), false, Renewed, "information access"),
    ("damaged CRL points", |p| p.add(CRL_POINTS, &[], &[5, 0]), false, Renewed, "CRL distribution points"),
    (
        "a policy said twice",
        |p| {
            let policy = seq(&[&tlv(6, OWN)]);
            p.add(CERTIFICATE_POLICIES, &[], &seq(&[&policy, &policy]));
        },
        false,
        Renewed,
        "policies",
    ),
    ("a policy", |p| p.add(CERTIFICATE_POLICIES, &[], &seq(&[&seq(&[&tlv(6, OWN)])])), true, AsItIs, ""),
    (
        "an identifier twice",
        |p| {
            let again = p.remove(KEY_ID);
            p.list().extend([again.clone(), again]);
        },
        false,
        Refused,
        "twice",
    ),
    (
        "an extension of one's own twice",
        |p| {
            p.add(OWN, &[], &[5, 0]);
            p.add(OWN, &[], &[5, 0]);
        },
        false,
        Refused,
        "twice",
    ),
    ("version 4", |p| p.version = tlv(0xa0, &[2, 1, 3]), false, Refused, "version"),
    ("a negative version", |p| p.version = tlv(0xa0, &[2, 1, 0xff]), false, Refused, "version"),
    ("version 1", |p| (p.version, p.extensions) = (Vec::new(), None), true, Refused, "no CA:TRUE"),
    ("bytes behind it", |p| p.trailing = vec![5, 0], false, Refused, "follows the certificate"),
    ("a TRUE that is 1", |p| p.mark(BASIC_CONSTRAINTS, &[1, 1, 1]), false, Refused, "extensions"),
    (
        "a CA:TRUE that is 1",
        |p| {
            p.replace(BASIC_CONSTRAINTS, TRUE, &seq(&[&[1, 1, 1]]));
        },
        false,
        Refused,
        "basic constraints",
    ),
    (
        "two algorithms",
        |p| {
            p.outer_algorithm = seq(&[&tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3])]);
        },
        false,
        Refused,
        "two different signature algorithms",
    ),
    ("a name in text that it is not", |p| p.named(0x13, b"docker@ca"), false, Refused, "issuer"),
    ("a name in broken UTF-8", |p| p.named(0x0c, b"\xff"), false, Refused, "issuer"),
    ("a name in Latin-1", |p| p.named(0x14, b"M\xfcller"), true, AsItIs, ""),
    ("a name in UCS-2", |p| p.named(0x1e, b"\0C\0A"), true, AsItIs, ""),
    ("half a letter of UCS-2", |p| p.named(0x1e, b"\0C\0"), false, Refused, "issuer"),
    ("no name", |p| (p.issuer, p.subject) = (seq(&[]), seq(&[])), true, Refused, "subject is empty"),
    (
        "dates with fractions",
        |p| {
            let date = tlv(0x18, b"20360101000000.5Z");
            p.validity = seq(&[&tlv(0x17, b"260101000000Z"), &date]);
        },
        false,
        Refused,
        "validity",
    ),
    (
        "both usages",
        |p| {
            let usages: [&[u8]; 2] = [&tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 1]), &tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 2])];
            p.add(EXTENDED_USAGE, &[], &seq(&usages));
        },
        true,
        AsItIs,
        "",
    ),
    (
        "any usage alone",
        |p| {
            p.add(EXTENDED_USAGE, &[], &seq(&[&tlv(6, &[0x55, 0x1d, 37, 0])]));
        },
        true,
        Refused,
        "extKeyUsage",
    ),
    ("an e-mail address", |p| p.add(ALTERNATIVE_NAMES, &[], &seq(&[&tlv(0x81, b"a@b.example")])), true, AsItIs, ""),
    (
        "a URI that is none",
        |p| p.add(ALTERNATIVE_NAMES, &[], &seq(&[&tlv(0x86, b"http://%zz")])),
        false,
        Renewed,
        "alternative",
    ),
    (
        "an address of 3 bytes",
        |p| p.add(ALTERNATIVE_NAMES, &[], &seq(&[&tlv(0x87, &[1, 2, 3])])),
        false,
        Refused,
        "alternative",
    ),
    (
        "a critical name of another kind",
        |p| {
            p.add(ALTERNATIVE_NAMES, TRUE, &seq(&[&tlv(0x88, &[0x2a, 3])]));
        },
        false,
        Renewed,
        "subjectAltName",
    ),
    ("constrained to a domain", |p| p.constrain(PERMITTED, TRUE, &[tlv(0x82, b"bodkys.house")]), true, AsItIs, ""),
    (
        "a domain with a dot in front",
        |p| p.constrain(PERMITTED, TRUE, &[tlv(0x82, b".bodkys.house")]),
        true,
        AsItIs,
        "",
    ),
    (
        "a domain with a dot at its end",
        |p| {
            p.constrain(PERMITTED, TRUE, &[tlv(0x82, b"bodkys.house.")]);
        },
        false,
        Refused,
        "DNS name that is none",
    ),
    (
        "a mask with gaps",
        |p| {
            p.constrain(EXCLUDED, TRUE, &[tlv(0x87, &[10, 0, 0, 0, 255, 0, 255, 0])]);
        },
        false,
        Refused,
        "mask has gaps",
    ),
    ("a sound mask", |p| p.constrain(EXCLUDED, TRUE, &[tlv(0x87, &[10, 0, 0, 0, 255, 128, 0, 0])]), true, AsItIs, ""),
    (
        "a network of 6 bytes",
        |p| p.constrain(EXCLUDED, TRUE, &[tlv(0x87, &[10, 0, 0, 255, 0, 0])]),
        false,
        Refused,
        "network",
    ),
    ("an excluded mailbox", |p| p.constrain(EXCLUDED, TRUE, &[tlv(0x81, b"a.b@x.example")]), true, AsItIs, ""),
    (
        "a mailbox that is none",
        |p| p.constrain(EXCLUDED, TRUE, &[tlv(0x81, b"a..b@x.example")]),
        false,
        Refused,
        "e-mail",
    ),
    ("an excluded URI", |p| p.constrain(EXCLUDED, TRUE, &[tlv(0x86, b"x.example")]), true, AsItIs, ""),
    (
        "a permitted URI",
        |p| p.constrain(PERMITTED, TRUE, &[tlv(0x86, b"x.example")]),
        false,
        Refused,
        "permit certain URIs",
    ),
    (
        "critical directory names",
        |p| {
            p.constrain(PERMITTED, TRUE, &[tlv(0xa4, &seq(&[]))]);
        },
        false,
        Refused,
        "something else than names",
    ),
    (
        "directory names",
        |p| p.constrain(PERMITTED, &[], &[tlv(0xa4, &seq(&[]))]),
        true,
        Refused,
        "something else than names",
    ),
    ("constraints on nothing", |p| p.add(NAME_CONSTRAINTS, TRUE, &seq(&[])), false, Refused, "name nothing"),
    (
        "a minimum",
        |p| {
            let subtree = seq(&[&tlv(0x82, b"bodkys.house"), &[0x80, 1, 1]]);
            p.add(NAME_CONSTRAINTS, TRUE, &seq(&[&tlv(PERMITTED, &subtree)]));
        },
        true,
        Refused,
        "minimum or maximum",
    ),
    (
        "300 domains",
        |p| {
            let domains: Vec<_> = (0..300).map(|at| tlv(0x82, format!("{at}.example").as_bytes())).collect();
            p.constrain(EXCLUDED, TRUE, &domains);
        },
        true,
        Refused,
        "300 names or name constraints, and 256",
    ),
    ("20 KiB", |p| p.add(OWN, &[], &[0; 20 << 10]), true, Refused, "bytes, and 16384 are read at most"),
    ("13 KiB", |p| p.add(OWN, &[], &[0; 13 << 10]), true, Refused, "too many to travel"),
];

fn contents(der: &[u8], key_pem: &str) -> Contents {
    let mut data = Data::default();
    data.insert("ca.pem", pem_of(der));
    data.insert("ca.key", key_pem);
    read_anything(&data, None)
}

fn pem_of(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

fn client() -> LeafProfile {
    LeafProfile { common_name: "ci".into(), dns_names: vec![], ip_addresses: vec![], usage: Usage::Client }
}

/// What Go says of a host and a client signed by the authority, verified by those roots.
fn go_accepts(go: &mut GoJudge, roots: &str, authority: &Authority) -> Result<(), String> {
    const URI: &str = "dockseal://0123456789abcdef0123456789abcdef/dcc/home/ci";
    let leaf_key = key(KeyAlgorithm::EcdsaP256);
    let server = host(&["pandora.bodkys.house"], &["192.168.1.7", "127.0.0.1"]);
    let server = authority.sign_leaf(&server, &leaf_key, dates(), serial()).unwrap();
    let client = authority.sign_client(&client(), URI, &leaf_key, dates(), serial()).unwrap();
    go.verify(roots.as_bytes(), &[&server], "server", Timestamp::now())?;
    go.verify(roots.as_bytes(), &[&client], "client", Timestamp::now())
}

/// What we do with the authority, and why; where it is adopted, Go accepts it.
fn ours(go: &mut GoJudge, name: &str, contents: &Contents) -> (Verdict, String) {
    let from = NamespacedName { namespace: "home".into(), name: "old".into() };
    let authority = match adopt(&from, contents, Timestamp::now()) {
        Ok(authority) => authority,
        Err(problem) => return (Refused, problem.message),
    };
    let cures = adopt::cures(&authority.certificate);
    let old = authority.certificate.to_pem();
    if cures.is_empty() {
        assert_eq!(go_accepts(go, &old, &authority), Ok(()), "{name} is adopted as it is");
        return (AsItIs, String::new());
    }
    let renewed = authority.renew(authority.certificate.path_length, dates(), serial());
    assert!(adopt::cures(&renewed).is_empty(), "{name}: a renewal cures for good: {:?}", adopt::cures(&renewed));
    assert_eq!(
        (&renewed.subject, &renewed.public_key),
        (&authority.certificate.subject, &authority.certificate.public_key)
    );
    let authority = Authority { certificate: renewed, ..authority };
    for roots in
        [authority.certificate.to_pem(), authority.certificate.to_pem() + &old, old + &authority.certificate.to_pem()]
    {
        assert_eq!(go_accepts(go, &roots, &authority), Ok(()), "{name} is adopted and renewed");
    }
    (Renewed, cures.join("; "))
}

#[test]
fn what_is_adopted_is_what_go_accepts_and_the_rest_says_why() {
    let (mut go, ca_key) = (GoJudge::start(), KeyPair::generate().unwrap());
    let key_pem = ca_key.serialize_pem();
    let sound = contents(&Parts::sound(&ca_key).signed(&ca_key), &key_pem);
    let signer =
        Authority { certificate: sound.certificates[0].clone(), key: Arc::clone(sound.keys[0].as_ref().unwrap()) };
    let mut wrong = Vec::new();
    for (name, change, go_accepts_it, verdict, words) in ROWS {
        let mut parts = Parts::sound(&ca_key);
        change(&mut parts);
        let der = parts.signed(&ca_key);
        // Its leaves have its subject and not its faults.
        let mut signer = signer.clone();
        signer.certificate.subject = parts.subject.clone();
        let said_by_go = go_accepts(&mut go, &pem_of(&der), &signer);
        let (done, why) = ours(&mut go, name, &contents(&der, &key_pem));
        if said_by_go.is_ok() != *go_accepts_it || done != *verdict || !why.contains(words) {
            wrong.push(format!("{name}: Go {said_by_go:?}; {done:?}, {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ROWS.len() >= 60);
}

/// Keys that rcgen does not make.
#[test]
fn a_key_that_docker_cannot_use_is_called_what_it_is() {
    let mut go = GoJudge::start();
    for (make, words) in [
        ("ecparam -genkey -noout -name secp256k1 -out ca.key", "secp256k1"),
        ("ecparam -genkey -noout -name prime256v1 -param_enc explicit -out ca.key", "explicit parameters"),
        ("ecparam -genkey -noout -name secp224r1 -out ca.key", "P-224"),
        ("ecparam -genkey -noout -name brainpoolP256r1 -out ca.key", "brainpoolP256r1"),
        ("ec -in plain -conv_form compressed -out ca.key", "compressed point"),
        ("genpkey -algorithm ed448 -out ca.key", "Ed448"),
        ("genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -out ca.key", "RSA for PSS alone"),
    ] {
        let dir = OpensslDir::new();
        dir.openssl("ecparam -genkey -noout -name prime256v1 -out plain");
        dir.openssl(make);
        dir.openssl("req -x509 -new -key ca.key -subj /CN=ca -days 30 -out ca.pem");
        let (done, why) = ours(&mut go, make, &dir.contents(&["ca.pem", "ca.key"], None));
        assert_eq!(done, Refused, "{make}");
        assert!(why.contains(words), "{make}: {why}");
        assert!(!why.contains("another certificate") && !why.contains("intermediate"), "{make}: {why}");
    }
}

/// An intermediate that rcgen made is no root, with its root beside it and without.
#[test]
fn an_intermediate_of_rcgen_is_not_adopted() {
    let mut go = GoJudge::start();
    let [root_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    let root = rcgen::CertifiedIssuer::self_signed(params.clone(), root_key).unwrap();
    params.distinguished_name.push(DnType::CommonName, "between");
    let between = params.signed_by(&key, &root).unwrap();
    let (done, why) = ours(&mut go, "between", &contents(between.der(), &key.serialize_pem()));
    assert_eq!(done, Refused, "{why}");
    assert!(why.contains("it is an intermediate"), "{why}");
}
