//! Go reads PEM as we do: the same blocks, and the same certificates that Docker trusts, of files damaged in every place.

use crate::go_judge::GoJudge;
use crate::openssl::OpensslDir;
use dockseal::pki::file_kind::unreadable;
use dockseal::pki::{DockerTrust, TrustBundle, pem_blocks};

/// The same blocks, and nothing that Docker trusts is missed: it is read, or said to be unknown.
fn agree(go: &mut GoJudge, bytes: &[u8], name: &str) {
    let judged = go.pem(bytes);
    let ours = pem_blocks::exactly(bytes).unwrap();
    let whole: Vec<_> =
        ours.iter().filter_map(|block| Some((&block.label, &**block.contents.as_ref().ok()?))).collect();
    let theirs: Vec<_> = judged.blocks.iter().map(|(label, bytes)| (label, bytes)).collect();
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(whole, theirs, "{name}: {text}");
    let trust = DockerTrust::read("ca.pem", bytes);
    let read: Vec<_> = trust.certificates.iter().map(|certificate| &certificate.der).collect();
    if trust.unknown.is_empty() {
        let mut trusted: Vec<_> = judged.trusted.iter().collect();
        trusted.dedup();
        assert_eq!(read, trusted, "{name}: {text}");
    }
}

#[test]
fn go_reads_the_same_blocks_of_files_damaged_in_every_place() {
    let (dir, mut go) = (OpensslDir::new(), GoJudge::start());
    dir.authority("one", "");
    dir.authority("two", "");
    dir.openssl("ec -in one.key -aes256 -passout pass:x -out locked.key");
    let [one, two, locked] = ["one.pem", "two.pem", "locked.key"].map(|name| dir.read(name));
    let file = [b"M\xfcller\n", one.as_slice(), b"text: more\n", &locked, &two, b"the end"].concat();
    agree(&mut go, &file, "as it is");
    let crlf = String::from_utf8(one.clone()).unwrap().replace('\n', "\r\n").into_bytes();
    agree(&mut go, &[b"\xef\xbb\xbf", crlf.as_slice(), &two].concat(), "a byte order mark and CRLF");
    let places = (0..file.len()).filter(|at| at % 7 == 0 || file[*at] == b'-' || file[*at] == b'\n');
    for at in places.collect::<Vec<_>>() {
        for byte in [b"".as_slice(), b"\n", b"-", b":", b" ", b"\xff", b"=", b"\r"] {
            let changed = [&file[..at], byte, &file[at + 1..]].concat();
            agree(&mut go, &changed, &format!("byte {at} replaced by {byte:?}"));
        }
        agree(&mut go, &file[..at], &format!("cut at {at}"));
        agree(&mut go, &[&file[..at], b"\n-----END ", &file[at..]].concat(), &format!("an END at {at}"));
        agree(&mut go, &[&file[..at], b"\n-----BEGIN ", &file[at..]].concat(), &format!("a BEGIN at {at}"));
    }
}

#[test]
fn what_openssl_writes_besides_pem_is_called_what_it_is_and_its_command_makes_pem_of_it() {
    let dir = OpensslDir::new();
    dir.authority("ca", "");
    dir.openssl("x509 -in ca.pem -outform DER -out cert.der");
    dir.openssl("pkey -in ca.key -outform DER -out open.der");
    dir.openssl("ec -in ca.key -outform DER -out sec1.der");
    dir.openssl("pkcs8 -topk8 -in ca.key -passout pass:x -outform DER -out locked.der");
    dir.openssl("pkcs8 -topk8 -in ca.key -v1 PBE-SHA1-3DES -passout pass:x -outform DER -out old.der");
    dir.openssl("pkcs12 -export -in ca.pem -inkey ca.key -passout pass:x -out ca.p12");
    dir.openssl("crl2pkcs7 -nocrl -certfile ca.pem -out ca.p7b");
    dir.openssl("crl2pkcs7 -nocrl -certfile ca.pem -outform DER -out der.p7b");
    dir.openssl("x509 -in ca.pem -trustout -addtrust serverAuth -out trusted.crt");
    for (file, words, makes) in [
        ("cert.der", "a certificate in DER", Some("cert.pem")),
        ("open.der", "a private key in DER", Some("open.key")),
        ("sec1.der", "a private key in DER", Some("sec1.key")),
        ("locked.der", "an encrypted private key in DER", Some("locked.key")),
        ("old.der", "an encrypted private key in DER", Some("old.key")),
        ("ca.p12", "a PKCS#12 file", None),
        ("ca.p7b", "a PKCS#7 file", None),
        ("der.p7b", "a PKCS#7 file (.p7b) in DER", Some("der.pem")),
        ("trusted.crt", "a TRUSTED CERTIFICATE", Some("trusted.pem")),
    ] {
        let said = unreadable(file, &dir.read(file));
        assert!(said.len() == 1 && said[0].contains(words), "{file}: {said:?}");
        let command = said[0].split_once("openssl ").unwrap_or_else(|| panic!("{file}: {said:?}")).1;
        let Some(made) = makes else { continue };
        let passwords = match file.contains(".p12") || file == "locked.der" || file == "old.der" {
            true => " -passin pass:x -passout pass:y",
            false => "",
        };
        dir.openssl(&format!("{command}{passwords}"));
        assert!(unreadable(made, &dir.read(made)).is_empty(), "{file}");
        if made.ends_with(".pem") {
            let made = TrustBundle::from_pem(&dir.read(made)).unwrap();
            assert_eq!(made.certificates(), [dir.certificate("ca.pem")], "{file}");
        }
    }
    dir.openssl("pkcs12 -in ca.p12 -passin pass:x -passout pass:y -out made.pem");
    assert_eq!(dir.contents(&["made.pem"], Some("y")).keys.iter().filter(|key| key.is_ok()).count(), 1);
}
