//! What a file is in which certificates or keys were expected: bytes in; its kind, and the command that makes PEM of it, out.

use super::certificate::Certificate;
use super::pem_blocks::{self, PemBlock};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What a file is that holds no certificate or key that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing, or blanks.
    Empty,
    /// One certificate in DER.
    DerCertificate,
    /// A private key in DER.
    DerKey,
    /// An encrypted private key in DER.
    DerEncryptedKey,
    /// PKCS#12: `.p12`, `.pfx`.
    Pkcs12,
    /// PKCS#7 in DER: `.p7b`.
    DerPkcs7,
    /// PKCS#7 in PEM.
    PemPkcs7,
    /// OpenSSL's `TRUSTED CERTIFICATE`.
    TrustedCertificate,
    /// A private key of OpenSSH.
    OpenSshKey,
    /// A key or message of PGP.
    Pgp,
    /// Text in UTF-16.
    Utf16,
    /// Base64 of PEM: encoded once too often.
    Base64OfPem,
    /// Base64 of DER: PEM without its BEGIN and END lines.
    BareBase64,
    /// A web page.
    Html,
    /// A keystore of Java.
    JavaKeystore,
    /// A ZIP, gzip or tar archive.
    Archive,
}

const UTF16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
/// `1.2.840.113549.1.7.2`, signedData, in DER.
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// `1.2.840.113549.1.5`, PKCS #5, and `1.2.840.113549.1.12.1`, those of PKCS #12, without their last part.
const ENCRYPTIONS: [&[u8]; 2] = [b"\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01"];

impl FileKind {
    /// The kind of a file without PEM; none where it is other text or unknown.
    pub fn of(bytes: &[u8]) -> Option<FileKind> {
        if bytes.trim_ascii().is_empty() {
            return Some(FileKind::Empty);
        }
        Self::of_binary(bytes).or_else(|| Self::of_text(bytes.trim_ascii()))
    }

    fn of_binary(bytes: &[u8]) -> Option<FileKind> {
        let marked = UTF16_MARKS.iter().any(|mark| bytes.starts_with(mark));
        let halves = [b"-\0-\0-\0", b"\0-\0-\0-"].iter().any(|dashes| bytes.starts_with(*dashes));
        let archives: [&[u8]; 3] = [b"PK\x03\x04", b"\x1f\x8b", b"BZh"];
        if marked || halves {
            Some(FileKind::Utf16)
        } else if bytes.starts_with(b"\xfe\xed\xfe\xed") {
            Some(FileKind::JavaKeystore)
        } else if archives.iter().any(|magic| bytes.starts_with(magic)) || bytes.get(257..262) == Some(b"ustar") {
            Some(FileKind::Archive)
        } else {
            Self::of_der(bytes)
        }
    }

    fn of_der(bytes: &[u8]) -> Option<FileKind> {
        let outer = sequence(bytes)?;
        let inner = sequence(outer).unwrap_or_default();
        let encrypted = inner.get(..1) == Some(b"\x06")
            && ENCRYPTIONS.iter().any(|oid| inner.get(2..).is_some_and(|rest| rest.starts_with(oid)));
        if outer.starts_with(b"\x02\x01\x03") {
            Some(FileKind::Pkcs12)
        } else if outer.starts_with(SIGNED_DATA) {
            Some(FileKind::DerPkcs7)
        } else if encrypted {
            Some(FileKind::DerEncryptedKey)
        } else if outer.starts_with(b"\x02\x01\x00") || outer.starts_with(b"\x02\x01\x01") {
            Some(FileKind::DerKey)
        } else {
            let certificate = inner.starts_with(b"\xa0\x03\x02\x01") || Certificate::from_der(bytes).is_ok();
            certificate.then_some(FileKind::DerCertificate)
        }
    }

    fn of_text(text: &[u8]) -> Option<FileKind> {
        let start = text[..text.len().min(64)].to_ascii_lowercase();
        if start.starts_with(b"<!doctype html") || start.starts_with(b"<html") {
            return Some(FileKind::Html);
        }
        if start.starts_with(b"putty-user-key-file") {
            return Some(FileKind::OpenSshKey);
        }
        let packed: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let decoded = BASE64_STANDARD.decode(&packed).ok()?;
        if decoded.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Some(FileKind::Base64OfPem);
        }
        Self::of_der(&decoded).map(|_| FileKind::BareBase64)
    }

    /// The kind of a PEM block of that label; none where it is a certificate, a key, or of no interest.
    pub fn of_label(label: &str) -> Option<FileKind> {
        match label {
            "TRUSTED CERTIFICATE" => Some(FileKind::TrustedCertificate),
            "PKCS7" | "CMS" => Some(FileKind::PemPkcs7),
            "OPENSSH PRIVATE KEY" | "SSH2 ENCRYPTED PRIVATE KEY" => Some(FileKind::OpenSshKey),
            _ if label.starts_with("PGP ") => Some(FileKind::Pgp),
            _ => None,
        }
    }

    /// What it is, in words.
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::Empty => "an empty file",
            FileKind::DerCertificate => "a certificate in DER, and PEM is needed",
            FileKind::DerKey => "a private key in DER, and PEM is needed",
            FileKind::DerEncryptedKey => "an encrypted private key in DER, and PEM is needed",
            FileKind::Pkcs12 => "a PKCS#12 file (.p12, .pfx), and PEM is needed",
            FileKind::DerPkcs7 => "a PKCS#7 file (.p7b) in DER, and certificates in PEM are needed",
            FileKind::PemPkcs7 => "a PKCS#7 file (.p7b), and certificates in PEM are needed",
            FileKind::TrustedCertificate => "a TRUSTED CERTIFICATE, OpenSSL's own form, which Docker passes over",
            FileKind::OpenSshKey => "a key of SSH, which is no use here",
            FileKind::Pgp => "a file of PGP, which is no use here",
            FileKind::Utf16 => "text in UTF-16, as Windows writes it, and Docker reads plain text alone",
            FileKind::Base64OfPem => "PEM that was encoded as base64 once too often",
            FileKind::BareBase64 => "base64 without the BEGIN and END lines of PEM",
            FileKind::Html => "a web page: fetch the file itself again",
            FileKind::JavaKeystore => "a keystore of Java, and PEM is needed",
            FileKind::Archive => "an archive: unpack it",
        }
    }

    /// The command that makes PEM of the file.
    pub fn command(self, file: &str) -> Option<String> {
        let (from, pem, key) = (quoted(file), quoted(&beside(file, "pem")), quoted(&beside(file, "key")));
        Some(match self {
            FileKind::DerCertificate => format!("openssl x509 -inform DER -in {from} -out {pem}"),
            FileKind::DerKey => format!("openssl pkey -inform DER -in {from} -out {key}"),
            FileKind::DerEncryptedKey => format!("openssl pkey -inform DER -in {from} -aes256 -out {key}"),
            FileKind::Pkcs12 => format!("openssl pkcs12 -in {from} -out {pem}"),
            FileKind::DerPkcs7 => format!("openssl pkcs7 -inform DER -print_certs -in {from} -out {pem}"),
            FileKind::PemPkcs7 => format!("openssl pkcs7 -print_certs -in {from} -out {pem}"),
            FileKind::TrustedCertificate => format!("openssl x509 -in {from} -out {pem}"),
            FileKind::Utf16 => format!("iconv -f UTF-16 -t UTF-8 {from} >{pem}"),
            FileKind::Base64OfPem => format!("base64 -d {from} >{pem}"),
            FileKind::BareBase64 => format!("base64 -d {from} | openssl x509 -inform DER -out {pem}"),
            FileKind::JavaKeystore => format!("keytool -importkeystore -srckeystore {from} -destkeystore {pem}.p12"),
            FileKind::Empty | FileKind::OpenSshKey | FileKind::Pgp | FileKind::Html | FileKind::Archive => return None,
        })
    }

    /// What the file is, and the command.
    pub fn sentence(self, file: &str) -> String {
        match self.command(file) {
            Some(command) => format!("it is {}: {command}", self.as_str()),
            None => format!("it is {}", self.as_str()),
        }
    }
}

/// What of the file cannot be read, a sentence each: damaged blocks, certificates that are none, other kinds of files.
/// What has nothing to do with certificates is no news.
pub fn unreadable(file: &str, bytes: &[u8]) -> Vec<String> {
    read_certificates(file, bytes).1
}

/// The certificates of the file, and what of it cannot be read, as [`unreadable`] says it.
pub fn read_certificates(file: &str, bytes: &[u8]) -> (Vec<Certificate>, Vec<String>) {
    let blocks = match pem_blocks::blocks(bytes) {
        Ok(blocks) => blocks,
        Err(limit) => return (Vec::new(), vec![limit.to_string()]),
    };
    if blocks.is_empty() {
        return (Vec::new(), FileKind::of(bytes).map(|kind| kind.sentence(file)).into_iter().collect());
    }
    let (mut certificates, mut unreadable) = (Vec::new(), Vec::new());
    for block in &blocks {
        if block.is_certificate() && block.contents.is_ok() {
            match Certificate::from_block(block) {
                Ok(certificate) => certificates.push(certificate),
                Err(error) => unreadable.push(error.to_string()),
            }
        } else {
            unreadable.extend(unreadable_block(file, block));
        }
    }
    (certificates, unreadable)
}

/// Of a block that is no certificate, or damaged.
fn unreadable_block(file: &str, block: &PemBlock) -> Option<String> {
    let (number, label) = (block.number, &block.label);
    if let Err(fault) = &block.contents {
        let concerned = label.contains("CERT") || label.contains("KEY");
        return concerned.then(|| format!("block {number} ({label}) is damaged: {fault}"));
    }
    FileKind::of_label(label).map(|kind| kind.sentence(file))
}

/// The content of a SEQUENCE, definite or not, as far as it is there.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.strip_prefix(b"\x30")?.split_first()?;
    match length {
        0..=0x80 => Some(rest),
        _ => rest.get(usize::from(length & 0x7f)..),
    }
}

/// The file's name with that ending, and never the same file.
fn beside(file: &str, ending: &str) -> String {
    let (stem, had) = match file.rsplit_once('.') {
        Some((stem, had)) if !stem.is_empty() && !had.contains('/') => (stem, had),
        _ => (file, ""),
    };
    if had == ending { format!("{stem}-new.{ending}") } else { format!("{stem}.{ending}") }
}

/// A file name as a shell takes it.
fn quoted(file: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    match file.chars().all(plain) && !file.starts_with('-') {
        true => file.to_owned(),
        false => format!("'{}'", file.replace('\'', r"'\''")),
    }
}
