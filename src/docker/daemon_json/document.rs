//! A JSON object as it was written: bytes in, its members in order with the space around them out, and back.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A daemon.json as it was written, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonJson {
    /// The text up to the opening brace, with it.
    pub(super) opening: String,
    pub(super) members: Vec<Member>,
    /// The text after the last value.
    pub(super) closing: String,
}

/// A member of the object; `key` and `value` are JSON as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) lead: String,
    pub(super) key: String,
    /// The name that dockerd reads, see [`folded`].
    pub(super) name: String,
    pub(super) colon: String,
    pub(super) value: String,
    pub(super) trail: String,
}

/// Why a daemon.json cannot be edited.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DaemonJsonError {
    /// A byte order mark, as Notepad and PowerShell write it.
    #[error("failed to read daemon.json: it begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark,
    /// Bytes that are not UTF-8.
    #[error("failed to read daemon.json: it is not UTF-8 at line {line} column {column}")]
    NotUtf8 {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("failed to read daemon.json: it must be one JSON object, {{ ... }}: {0}")]
    NotAnObject(String),
    /// Not JSON; the message says where.
    #[error("failed to read daemon.json: it is not JSON: {0}")]
    Malformed(String),
}

impl Default for DaemonJson {
    /// An object without members.
    fn default() -> DaemonJson {
        DaemonJson { opening: "{".into(), members: Vec::new(), closing: "}\n".into() }
    }
}

impl DaemonJson {
    /// Reads a daemon.json. No bytes and space alone are an object without members: dockerd 20.10 does not start with
    /// such a file, later ones do.
    ///
    /// # Errors
    /// [`DaemonJsonError`]: the file is not UTF-8, not JSON or not an object.
    pub fn parse(bytes: &[u8]) -> Result<DaemonJson, DaemonJsonError> {
        let text = text_of(bytes)?;
        if text.chars().all(is_space) {
            return Ok(DaemonJson::default());
        }
        let Tokens(tokens) = serde_json::from_str(text).map_err(error)?;
        Ok(from_tokens(text, &tokens))
    }

    /// The text.
    pub fn render(&self) -> Vec<u8> {
        let mut text = self.opening.clone();
        for (index, member) in self.members.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            for part in [comma, &member.lead, &member.key, &member.colon, &member.value, &member.trail] {
                text.push_str(part);
            }
        }
        text.push_str(&self.closing);
        text.into_bytes()
    }

    /// Whether there is a member that dockerd takes for `key`.
    pub fn mentions(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.is(key))
    }

    /// What dockerd reads for `key`: the last member that is not null. None where it is of another type.
    pub(super) fn value<'a, T: Deserialize<'a>>(&'a self, key: &str) -> Option<T> {
        let last = self.members.iter().rfind(|member| member.is(key) && member.value != "null")?;
        serde_json::from_str(&last.value).ok()
    }
}

impl Member {
    /// Whether Go's encoding/json takes this member for the field `key`.
    pub(super) fn is(&self, key: &str) -> bool {
        self.name == key
    }

    /// Whether it is written as `key`, without escapes and in lower case.
    pub(super) fn is_plainly(&self, key: &str) -> bool {
        self.key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(key)
    }
}

/// The name that a JSON string holds, folded as encoding/json folds the names of fields: case is ignored, and so are
/// the two letters outside ASCII whose simple folding is inside, U+017F and U+212A. A name that is not Unicode is
/// no field of a struct.
pub(super) fn folded(key: &str) -> String {
    let name: String = serde_json::from_str(key).unwrap_or_default();
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).collect()
}

/// The members of an object, key and value as they are written.
pub(super) struct Tokens<'a>(pub(super) Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Tokens<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members).map(Tokens)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, DaemonJsonError> {
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| bytes.starts_with(mark)) {
        return Err(DaemonJsonError::ByteOrderMark);
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        DaemonJsonError::NotUtf8 { line, column }
    })
}

fn error(error: serde_json::Error) -> DaemonJsonError {
    match error.classify() {
        serde_json::error::Category::Data => DaemonJsonError::NotAnObject(error.to_string()),
        _ => DaemonJsonError::Malformed(error.to_string()),
    }
}

/// JSON's white space (RFC 8259, section 2).
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

/// The text around its tokens, which were read from it in this order.
fn from_tokens(text: &str, tokens: &[(&RawValue, &RawValue)]) -> DaemonJson {
    let (opening, mut rest) = text.split_at(text.find('{').map_or(0, |at| at + 1));
    let mut members = Vec::new();
    for (key, value) in tokens {
        let lead = space(&mut rest);
        let name = folded(key.get());
        let key = take(&mut rest, key.get().len());
        let colon_length = rest.find(|letter| letter != ':' && !is_space(letter)).unwrap_or(0);
        let colon = take(&mut rest, colon_length);
        let value = take(&mut rest, value.get().len());
        let comma = rest.trim_start_matches(is_space).starts_with(',');
        let trail = if comma { space(&mut rest) } else { String::new() };
        take(&mut rest, usize::from(comma));
        members.push(Member { lead, key, name, colon, value, trail });
    }
    DaemonJson { opening: opening.to_owned(), members, closing: rest.to_owned() }
}

fn space(rest: &mut &str) -> String {
    let length = rest.len() - rest.trim_start_matches(is_space).len();
    take(rest, length)
}

fn take(rest: &mut &str, length: usize) -> String {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken.to_owned()
}
