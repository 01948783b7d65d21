//! PEM (RFC 7468) as Go's encoding/pem reads it, so as Docker does: bytes in, every block out, damaged ones with the
//! reason. Text before, between and behind, in any encoding, is passed over.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Bytes of one input at most: as much as a Secret can hold.
pub const MAX_PEM_BYTES: usize = 1 << 20;
/// Blocks of one input at most: more than the smallest certificates make in a bundle of 384 KiB, which hosts get at most.
pub const MAX_BLOCKS: usize = 1024;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Go's `base64.StdEncoding`: padded, trailing bits ignored.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// One block of a PEM file.
#[derive(Clone)]
pub struct PemBlock {
    /// Its place in the file, from 1.
    pub number: usize,
    /// What its BEGIN line says: `CERTIFICATE`.
    pub label: String,
    /// Its headers, such as `Proc-Type`.
    pub headers: BTreeMap<String, String>,
    /// The decoded bytes, or why there are none.
    pub contents: Result<Zeroizing<Vec<u8>>, BlockFault>,
}

impl std::fmt::Debug for PemBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PemBlock({}, {}, {:?})", self.number, self.label, self.contents.as_ref().map(|_| "redacted"))
    }
}

/// Why a block cannot be decoded. Docker passes over such a block without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// Something precedes BEGIN in its line.
    #[error("its BEGIN line does not start at the beginning of a line")]
    NotAtLineStart,
    /// `\n` is written out, or the lines were joined.
    #[error("its line breaks are lost: BEGIN, the text and END must stand in lines of their own")]
    LineBreaksLost,
    /// The BEGIN line is cut off.
    #[error("its BEGIN line does not end with five dashes")]
    BeginCut,
    /// The block is not finished.
    #[error("it has no END line: the rest of it is missing")]
    NoEnd,
    /// BEGIN and END are of two blocks.
    #[error("its END line does not match its BEGIN line")]
    OtherEnd,
    /// The text between is damaged.
    #[error("the text between BEGIN and END is damaged (it is not base64)")]
    NotBase64,
}

/// More than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemLimit {
    /// More than [`MAX_PEM_BYTES`].
    #[error("it is larger than 1 MiB, more than certificates take")]
    Bytes,
    /// More than [`MAX_BLOCKS`].
    #[error("it holds more than {MAX_BLOCKS} PEM blocks: keep those that are needed")]
    Blocks,
}

impl PemBlock {
    /// A certificate's block, by its label: Docker reads `CERTIFICATE` alone, OpenSSL its old name as well.
    pub fn is_certificate(&self) -> bool {
        matches!(self.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE")
    }

    /// A private key's block, by its label.
    pub fn is_private_key(&self) -> bool {
        matches!(self.label.as_str(), "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY")
    }

    /// A private key that is encrypted, by its label or by `Proc-Type`.
    pub fn is_encrypted(&self) -> bool {
        let by_header = self.headers.get("Proc-Type").is_some_and(|value| value.contains("ENCRYPTED"));
        self.label == "ENCRYPTED PRIVATE KEY" || by_header
    }
}

/// Every block of `bytes`, in order; a byte order mark of UTF-8 in front is passed over.
///
/// # Errors
/// [`PemLimit`].
pub fn blocks(bytes: &[u8]) -> Result<Vec<PemBlock>, PemLimit> {
    exactly(bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes))
}

/// Every block of `bytes` as Go reads it, to which a byte order mark damages the first block.
///
/// # Errors
/// [`PemLimit`].
pub fn exactly(bytes: &[u8]) -> Result<Vec<PemBlock>, PemLimit> {
    if bytes.len() > MAX_PEM_BYTES {
        return Err(PemLimit::Bytes);
    }
    let begins: Vec<usize> = all(bytes, BEGIN).take(MAX_BLOCKS + 1).collect();
    if begins.len() > MAX_BLOCKS {
        return Err(PemLimit::Blocks);
    }
    let mut whole = whole_blocks(bytes);
    let found = begins.iter().enumerate().map(|(at, begin)| {
        let number = at + 1;
        match whole.remove(begin) {
            Some(block) => PemBlock { number, ..block },
            None => damaged(bytes, number, *begin, begins.get(at + 1).copied()),
        }
    });
    Ok(found.collect())
}

/// The blocks that Go's `pem.Decode` yields, by where BEGIN stands.
fn whole_blocks(bytes: &[u8]) -> BTreeMap<usize, PemBlock> {
    let mut found = BTreeMap::new();
    let mut from = 0;
    while let Some(end) = all(&bytes[from..], END).next().map(|at| from + at) {
        let begin = last(&bytes[from..end], BEGIN).map(|at| from + at);
        let begin = begin.filter(|at| *at == from || bytes[at - 1] == b'\n');
        let decoded = begin.map(|begin| (begin, decode(bytes, begin, end)));
        from = end + END.len();
        match decoded {
            Some((begin, Decoded::Whole(block, rest))) => {
                found.insert(begin, block);
                from = rest;
            }
            Some((_, Decoded::Stop)) => break,
            Some((_, Decoded::Skip)) | None => {}
        }
    }
    found
}

/// What becomes of a BEGIN and the END line behind it.
enum Decoded {
    /// A block, and where the rest begins.
    Whole(PemBlock, usize),
    /// Go passes over it.
    Skip,
    /// Go reads no further: the headers run beyond the END line.
    Stop,
}

fn decode(bytes: &[u8], begin: usize, end: usize) -> Decoded {
    let (first, at) = line(bytes, begin + BEGIN.len());
    let Some(label) = first.strip_suffix(DASHES) else { return Decoded::Skip };
    let (headers, at) = headers(bytes, at);
    if at >= bytes.len() || at > end + END.len() {
        return Decoded::Stop;
    }
    if !headers.is_empty() && at > end || !ends(bytes, end, label) {
        return Decoded::Skip;
    }
    let text = bytes.get(at..end).unwrap_or_default();
    let text: Vec<u8> = text.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect();
    let Ok(contents) = BASE64.decode(&*Zeroizing::new(text)) else { return Decoded::Skip };
    let block = PemBlock { number: 0, label: short(label), headers, contents: Ok(Zeroizing::new(contents)) };
    Decoded::Whole(block, line(bytes, end + 1).1)
}

/// The headers from `at`, and where they end. Any line with a colon is one.
fn headers(bytes: &[u8], mut at: usize) -> (BTreeMap<String, String>, usize) {
    let mut found = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
    while at < bytes.len() {
        let (header, next) = line(bytes, at);
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { break };
        found.insert(text(&header[..colon]), text(&header[colon + 1..]));
        at = next;
    }
    (found, at)
}

/// Whether the END line at `end` closes a block of that label, and nothing follows in it.
fn ends(bytes: &[u8], end: usize, label: &[u8]) -> bool {
    let label = bytes[end + END.len()..].strip_prefix(label);
    label.and_then(|rest| rest.strip_prefix(DASHES)).is_some_and(|rest| line(rest, 0).0.is_empty())
}

fn short(label: &[u8]) -> String {
    String::from_utf8_lossy(&label[..label.len().min(64)]).into_owned()
}

/// A block that is not whole: its label as far as there is one, and what is wrong with it.
fn damaged(bytes: &[u8], number: usize, begin: usize, next: Option<usize>) -> PemBlock {
    let (first, _) = line(bytes, begin + BEGIN.len());
    let dashes = first.windows(DASHES.len()).position(|part| part == DASHES);
    let label = &first[..dashes.unwrap_or(first.len())];
    let block = &bytes[begin..next.unwrap_or(bytes.len())];
    let end = all(block, &END[1..]).next().map(|at| line(block, at).0);
    let fault = if dashes.is_some_and(|at| at + DASHES.len() < first.len()) {
        BlockFault::LineBreaksLost
    } else if begin > 0 && bytes[begin - 1] != b'\n' {
        BlockFault::NotAtLineStart
    } else if dashes.is_none() {
        BlockFault::BeginCut
    } else {
        match end {
            None => BlockFault::NoEnd,
            Some(end) if end != [&END[1..], label, DASHES].concat() => BlockFault::OtherEnd,
            Some(_) => BlockFault::NotBase64,
        }
    };
    PemBlock { number, label: short(label), headers: BTreeMap::new(), contents: Err(fault) }
}

/// The line from `at` without the spaces at its end, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &bytes[at.min(bytes.len())..];
    let length = rest.iter().position(|byte| *byte == b'\n');
    let text = &rest[..length.unwrap_or(rest.len())];
    let text = text.strip_suffix(b"\r").filter(|_| length.is_some()).unwrap_or(text);
    let kept = text.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |last| last + 1);
    (&text[..kept], at + length.map_or(rest.len(), |length| length + 1))
}

fn all<'a>(bytes: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(part.len()).enumerate().filter(move |(_, window)| *window == part).map(|(at, _)| at)
}

fn last(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).rposition(|window| window == part)
}

#[cfg(test)]
mod tests;
