//! Names of Kubernetes objects, checked (RFC 1123, subdomain): nothing in one has a meaning in a path, a query or a URI.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::ops::Deref;
use std::sync::Arc;

/// What the schemas take for a name.
pub const PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Bytes of the longest name.
pub const MAX_BYTES: usize = 253;

/// A text that is no name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be lower case letters, digits, - and ., with a letter or digit at both ends of each part, at most 253")]
pub struct InvalidName;

/// The name of an object or of a namespace. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidName`] where it is none that Kubernetes takes.
    pub fn parse(text: &str) -> Result<ObjectName, InvalidName> {
        let fits = text.len() <= MAX_BYTES && is_subdomain(text);
        if fits { Ok(ObjectName(text.into())) } else { Err(InvalidName) }
    }

    /// A name that the program puts together of names. The API server refuses one that is too long.
    ///
    /// # Panics
    /// Where a part of it is none, or the dots and dashes between them make none.
    pub fn joined(text: &str) -> ObjectName {
        assert!(is_subdomain(text), "names are put together to a name");
        ObjectName(text.into())
    }

    /// Its text, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

fn is_subdomain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    text.split('.').all(|label| {
        label.bytes().all(|byte| plain(byte) || byte == b'-')
            && label.bytes().next().is_some_and(plain)
            && label.bytes().last().is_some_and(plain)
    })
}

/// For names that stand in the program's text.
///
/// # Panics
/// Where it is no name.
impl From<&'static str> for ObjectName {
    fn from(text: &'static str) -> ObjectName {
        ObjectName::joined(text)
    }
}

impl From<&ObjectName> for ObjectName {
    fn from(name: &ObjectName) -> ObjectName {
        name.clone()
    }
}

/// Stands in objects that nothing is known of yet.
impl Default for ObjectName {
    fn default() -> ObjectName {
        ObjectName::from("unnamed")
    }
}

/// For arguments of the command line.
impl std::str::FromStr for ObjectName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<ObjectName, InvalidName> {
        ObjectName::parse(text)
    }
}

impl Deref for ObjectName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ObjectName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ObjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for ObjectName {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for ObjectName {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<String> for ObjectName {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ObjectName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ObjectName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ObjectName, D::Error> {
        ObjectName::parse(&Cow::<str>::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ObjectName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ObjectName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_BYTES, "pattern": PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_names_are_taken_and_nothing_else() {
        for good in ["a", "0", "homelab", "a-b.c", "a--b", "1.2.3.4", &"n".repeat(253)] {
            assert_eq!(ObjectName::parse(good).as_deref(), Ok(good));
        }
        let wrong = ["", ".", "..", "a/b", "../a", "a%2fb", "a?b", "?watch=true", "a#b", "A", "ä", "a b", "a.", ".a"];
        let longer = "n".repeat(254);
        for wrong in wrong.into_iter().chain(["-a", "a-", "a..b", "a.-b", "a@b", "a:b", "a\n", "a\\b", "a;b", &longer])
        {
            assert_eq!(ObjectName::parse(wrong), Err(InvalidName), "{wrong:?}");
            let json = serde_json::Value::from(wrong);
            let error = serde_json::from_value::<ObjectName>(json).expect_err("it is refused").to_string();
            assert!(error.starts_with("must be lower case"), "{error}");
        }
    }
}
