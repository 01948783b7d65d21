//! What was asked: a hyper request in; path, query, JSON fields and form parts out, as forgiving as Portainer's own code.

use super::answer::Answer;
use http::{HeaderMap, Method};
use hyper::body::Bytes;
use serde_json::Value;
use std::net::IpAddr;

/// A whole request.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub from: IpAddr,
}

/// A part of a form.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    /// It had a `filename=`.
    pub is_file: bool,
    pub bytes: Bytes,
}

impl ApiRequest {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).into_iter().next().filter(|value| !value.is_empty())
    }

    /// All values of a query parameter.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value)).collect()
    }

    /// The JSON body.
    pub fn json(&self) -> Result<Fields, Answer> {
        // Go's decoder stops behind the first value, whatever follows.
        let first = serde_json::Deserializer::from_slice(&self.body).into_iter::<Value>().next();
        match first {
            Some(Ok(value @ Value::Object(_))) => Ok(Fields(value)),
            Some(Ok(_)) => Err(invalid("json: cannot unmarshal into Go value")),
            Some(Err(error)) => Err(invalid(&error.to_string())),
            None => Err(invalid("EOF")),
        }
    }

    /// The parts of a multipart form; none where the body is anything else.
    pub fn form(&self) -> Vec<Part> {
        let Some(kind) = self.header("content-type") else { return vec![] };
        let Some((_, boundary)) =
            kind.strip_prefix("multipart/form-data").and_then(|rest| rest.split_once("boundary="))
        else {
            return vec![];
        };
        let boundary = boundary.split(';').next().unwrap_or_default().trim_matches('"');
        parts(&self.body, boundary)
    }
}

/// The fields of a JSON object, by name whatever its case.
#[derive(Debug)]
pub struct Fields(Value);

impl Fields {
    /// A field that is there and not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let fields = self.0.as_object()?;
        fields.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null()).map(|(_, value)| value)
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<String>, Answer> {
        self.typed(name, |value| value.as_str().map(str::to_owned))
    }

    /// A truth.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, Answer> {
        self.typed(name, Value::as_bool)
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Answer> {
        self.typed(name, Value::as_u64)
    }

    /// Numbers.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<u64>>, Answer> {
        self.typed(name, |value| value.as_array()?.iter().map(Value::as_u64).collect())
    }

    fn typed<T>(&self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Answer> {
        let wrong = || invalid(&format!("json: cannot unmarshal a value into Go struct field .{name}"));
        self.get(name).map(|value| read(value).ok_or_else(wrong)).transpose()
    }
}

/// The body is not what the call wants.
pub fn invalid(details: &str) -> Answer {
    Answer::refusal(400, "Invalid request payload", details)
}

/// A query's text without its escapes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok())).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parts(body: &Bytes, boundary: &str) -> Vec<Part> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut found = vec![];
    let mut at = find(body, &delimiter, 0);
    while let Some(start) = at.map(|at| at + delimiter.len()) {
        at = find(body, &delimiter, start);
        let Some(end) = at else { break };
        // A line break follows the delimiter, and another one stands before the next.
        let Some(section) = (start + 2 <= end.saturating_sub(2)).then(|| body.slice(start + 2..end - 2)) else { break };
        found.extend(part(&section));
    }
    found
}

fn part(section: &Bytes) -> Option<Part> {
    let gap = find(section, b"\r\n\r\n", 0)?;
    let head = String::from_utf8_lossy(&section[..gap]).into_owned();
    let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let attribute = |name: &str| {
        let wanted = format!("{name}=");
        let text = disposition.split(';').map(str::trim).find_map(|field| field.strip_prefix(&wanted))?;
        Some(text.trim_matches('"').to_owned())
    };
    let is_file = attribute("filename").is_some_and(|name| !name.is_empty());
    Some(Part { name: attribute("name")?, is_file, bytes: section.slice(gap + 4..) })
}

fn find(within: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let rest = within.get(from..)?;
    rest.windows(what.len()).position(|window| window == what).map(|position| from + position)
}
