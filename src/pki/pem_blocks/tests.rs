//! Ways to write a PEM file: what is read of it, and what is said of the rest. tests/x509.rs asks Go the same.

use super::*;
use crate::pki::file_kind::{FileKind, unreadable};
use BlockFault::*;

const BODY: &str = "AAECAwQFBgcICQ==";
const BYTES: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

fn block(label: &str) -> String {
    format!("-----BEGIN {label}-----\n{BODY}\n-----END {label}-----\n")
}

/// Each block as its label and `Ok` or its fault.
fn read(bytes: &[u8]) -> Vec<(String, Result<(), BlockFault>)> {
    let blocks = blocks(bytes).expect("it is small");
    let numbered = blocks.iter().enumerate().all(|(at, block)| block.number == at + 1);
    assert!(numbered, "{blocks:?}");
    blocks
        .into_iter()
        .map(|block| {
            let contents = block.contents.map(|bytes| assert_eq!(*bytes, BYTES, "{}", block.label));
            (block.label, contents)
        })
        .collect()
}

#[test]
fn every_block_is_read_or_named() {
    let (a, b) = (block("A"), block("B"));
    let good = |labels: &[&str]| labels.iter().map(|label| ((*label).to_owned(), Ok(()))).collect::<Vec<_>>();
    let latin1 = [b"CN=M\xfcller\n".as_slice(), a.as_bytes(), b"\xe4\xf6\xfc\xff\xfe\n", b.as_bytes()].concat();
    for (name, bytes) in [
        ("two", [a.as_bytes(), b.as_bytes()].concat()),
        ("with Windows' line ends", (a.clone() + &b).replace('\n', "\r\n").into_bytes()),
        ("after a byte order mark", format!("\u{feff}{a}{b}").into_bytes()),
        ("with text before and between", format!("subject=CN = a\n{a}\nissuer\n{b}the end").into_bytes()),
        ("with Latin-1 before and between", latin1),
        ("with spaces at the ends of lines", (a.clone() + &b).replace('\n', " \t\n").into_bytes()),
        ("with spaces in the base64", (a.clone() + &b).replace("AAEC", " AA EC\t").into_bytes()),
        ("without a last line end", (a.clone() + b.trim_end()).into_bytes()),
        ("with empty lines in the base64", (a.clone() + &b).replace("AAEC", "\n\nAA\nEC").into_bytes()),
        (
            "with headers",
            (a.clone() + &b).replace(BODY, &format!("Proc-Type: 4\nDEK-Info: x,y\n\n{BODY}")).into_bytes(),
        ),
    ] {
        assert_eq!(read(&bytes), good(&["A", "B"]), "{name}");
    }
    let faults = |fault| vec![("A".to_owned(), Err(fault)), ("B".to_owned(), Ok(()))];
    for (name, text, expected) in [
        ("a letter lost", a.replace("AAEC", "AAE") + &b, faults(NotBase64)),
        ("a letter wrong", a.replace("AAEC", "AA!C") + &b, faults(NotBase64)),
        ("padding lost", a.replace("==", "") + &b, faults(NotBase64)),
        ("no END", a.replace("-----END A-----\n", "") + &b, faults(NoEnd)),
        ("another END", a.replace("END A", "END C") + &b, faults(OtherEnd)),
        ("END cut", a.replace("END A-----", "END A---") + &b, faults(OtherEnd)),
        ("text behind END", a.replace("END A-----", "END A-----x") + &b, faults(OtherEnd)),
        ("BEGIN cut", a.replace("BEGIN A-----", "BEGIN A") + &b, faults(BeginCut)),
        ("indented", a.replace("-----B", "  -----B") + &b, faults(NotAtLineStart)),
        ("commented out", format!("# {}", a.replace('\n', "\n# ")) + "\n" + &b, faults(NotAtLineStart)),
        ("in one line", a.replace('\n', " ") + "\n" + &b, faults(LineBreaksLost)),
        ("with \\n written out", a.replace('\n', "\\n") + "\n" + &b, faults(LineBreaksLost)),
    ] {
        assert_eq!(read(text.as_bytes()), expected, "{name}");
    }
    let cut = format!("{a}-----BEGIN B-----\nAAEC");
    assert_eq!(read(cut.as_bytes()), [("A".to_owned(), Ok(())), ("B".to_owned(), Err(NoEnd))], "the rest is lost");
    let marked = exactly(format!("\u{feff}{a}{b}").as_bytes()).expect("it is small");
    assert_eq!(marked[0].contents, Err(NotAtLineStart), "to Go a byte order mark damages the first block");
    assert!(read(b"").is_empty() && read(b"words").is_empty());
}

#[test]
fn blocks_and_bytes_have_a_limit() {
    assert_eq!(blocks(block("A").repeat(MAX_BLOCKS).as_bytes()).expect("as many").len(), MAX_BLOCKS);
    assert_eq!(blocks(block("A").repeat(MAX_BLOCKS + 1).as_bytes()).err(), Some(PemLimit::Blocks));
    assert_eq!(blocks(&vec![b'x'; MAX_PEM_BYTES + 1]).err(), Some(PemLimit::Bytes));
    let broken = "-----BEGIN ".repeat(MAX_PEM_BYTES / 11);
    assert_eq!(blocks(broken.as_bytes()).err(), Some(PemLimit::Blocks), "unfinished ones count, too");
    let ends = "\n-----END ".repeat(MAX_PEM_BYTES / 10);
    assert!(read(ends.as_bytes()).is_empty());
}

#[test]
fn no_debug_shows_a_blocks_bytes() {
    assert_eq!(format!("{:?}", blocks(block("PRIVATE KEY").as_bytes()).expect("it is small")).matches("9").count(), 0);
}

#[test]
fn what_is_no_pem_is_called_what_it_is_with_the_command_that_makes_pem_of_it() {
    use base64::prelude::BASE64_STANDARD;
    let utf16 = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
        [mark.to_vec(), block("CERTIFICATE").encode_utf16().flat_map(bytes).collect()].concat()
    };
    let once_more = BASE64_STANDARD.encode(block("CERTIFICATE"));
    let pgp = block("PGP PUBLIC KEY BLOCK");
    for (bytes, kind, words) in [
        (b"".to_vec(), Some(FileKind::Empty), "an empty file"),
        (b" \r\n\t".to_vec(), Some(FileKind::Empty), "an empty file"),
        (utf16(b"\xff\xfe", u16::to_le_bytes), Some(FileKind::Utf16), "iconv -f UTF-16"),
        (utf16(b"\xfe\xff", u16::to_be_bytes), Some(FileKind::Utf16), "iconv -f UTF-16"),
        (utf16(b"", u16::to_le_bytes), Some(FileKind::Utf16), "iconv -f UTF-16"),
        (b"<!DOCTYPE html><html>".to_vec(), Some(FileKind::Html), "a web page"),
        (b"\n<HTML>404".to_vec(), Some(FileKind::Html), "a web page"),
        (b"\xfe\xed\xfe\xed\0\0".to_vec(), Some(FileKind::JavaKeystore), "keytool"),
        (b"PK\x03\x04rest".to_vec(), Some(FileKind::Archive), "an archive"),
        (once_more.into_bytes(), Some(FileKind::Base64OfPem), "base64 -d ca.txt >ca.pem"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519".to_vec(), Some(FileKind::OpenSshKey), "a key of SSH"),
        (b"\x30\x80\x02\x01\x03\x30\x80".to_vec(), Some(FileKind::Pkcs12), "openssl pkcs12 -in ca.txt -out ca.pem"),
        (b"made in 2019".to_vec(), None, ""),
        (b"AAAA".to_vec(), None, ""),
        (b"01".to_vec(), None, ""),
        (b"\x30".to_vec(), None, ""),
        (b"\x30\x84".to_vec(), None, ""),
    ] {
        assert_eq!(FileKind::of(&bytes), kind, "{}", String::from_utf8_lossy(&bytes));
        let said = unreadable("ca.txt", &bytes);
        assert!(said.len() == usize::from(kind.is_some()) && said.iter().all(|said| said.contains(words)), "{said:?}");
    }
    for (label, words) in [
        ("TRUSTED CERTIFICATE", "openssl x509 -in ca.txt -out ca.pem"),
        ("PKCS7", "openssl pkcs7 -print_certs -in ca.txt -out ca.pem"),
        ("OPENSSH PRIVATE KEY", "a key of SSH"),
        ("PGP MESSAGE", "a file of PGP"),
        ("CERTIFICATE", "block 1: the certificate cannot be read"),
    ] {
        let said = unreadable("ca.txt", block(label).as_bytes());
        assert!(said.len() == 1 && said[0].contains(words), "{label}: {said:?}");
    }
    for label in ["CERTIFICATE REQUEST", "EC PARAMETERS", "PUBLIC KEY", "X509 CRL"] {
        assert!(unreadable("ca.txt", block(label).as_bytes()).is_empty(), "{label}");
    }
    assert_eq!(unreadable("a.pem", pgp.replace("AAEC", "!").as_bytes()).len(), 1, "KEY is in its label");
    assert_eq!(
        FileKind::DerCertificate.command("ca.pem").as_deref(),
        Some("openssl x509 -inform DER -in ca.pem -out ca-new.pem")
    );
    let odd = FileKind::DerCertificate.command("-my ca's").expect("a command");
    assert_eq!(odd, r"openssl x509 -inform DER -in '-my ca'\''s' -out '-my ca'\''s.pem'");
}
