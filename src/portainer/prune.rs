//! JSON of any length in, piece by piece; the few fields that are read of it out. What a server sends is never held whole:
//! snapshots of hosts, which nobody reads, pass by, and what is kept is bounded in size, count and depth.

/// Which fields of a JSON object are read, those of the objects in them included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    fields: &'static [&'static str],
    is_list: bool,
    most_entries: usize,
    most_bytes: usize,
}

impl Shape {
    /// One object: at most 64 KiB of its fields are kept.
    pub const fn object(fields: &'static [&'static str]) -> Shape {
        Shape { fields, is_list: false, most_entries: 1, most_bytes: 64 << 10 }
    }

    /// A list of objects: at most 10,000 of them, and 4 MiB of their fields.
    pub const fn list(fields: &'static [&'static str]) -> Shape {
        Shape { fields, is_list: true, most_entries: 10_000, most_bytes: 4 << 20 }
    }
}

/// What is over a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// More entries than any list should have.
    #[error("it lists more than {0} entries, which is too many")]
    Entries(usize),
    /// More text in the fields that are read.
    #[error("it is too large: what is needed of it is more than {} KiB", .0 >> 10)]
    Bytes(usize),
    /// More lists in lists.
    #[error("it is nested more than {MAX_DEPTH} levels deep")]
    Depth,
}

/// Lists and objects in each other.
const MAX_DEPTH: usize = 64;
/// Bytes of the longest name of a field that is read.
const MAX_FIELD: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    Escaped,
}

/// Where the scan is in an object whose fields are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    /// Before a name, or in it.
    Name,
    /// In a value that is read.
    Kept,
    /// In a value that is not.
    Skipped,
}

/// Takes JSON piece by piece. What is no JSON comes out as no JSON.
pub struct Pruner {
    shape: Shape,
    depth: usize,
    text: Text,
    field: Field,
    /// The value at the level of chosen fields is an object.
    in_object: bool,
    is_first: bool,
    name: Vec<u8>,
    entries: usize,
    kept: Vec<u8>,
}

impl Pruner {
    /// Nothing was taken yet.
    pub fn new(shape: Shape) -> Pruner {
        let (text, field, name, kept) = (Text::Outside, Field::Name, Vec::new(), Vec::new());
        Pruner { shape, depth: 0, text, field, in_object: false, is_first: true, name, entries: 1, kept }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`TooMuch`] where a bound is passed; nothing more should be read then.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), TooMuch> {
        for byte in piece {
            match self.text {
                Text::Outside => self.structure(*byte)?,
                text => self.letter(*byte, text),
            }
            if self.kept.len() > self.shape.most_bytes {
                return Err(TooMuch::Bytes(self.shape.most_bytes));
            }
        }
        Ok(())
    }

    /// JSON with the chosen fields.
    pub fn finish(self) -> Vec<u8> {
        self.kept
    }

    /// The depth inside the objects whose fields are chosen.
    fn chosen_depth(&self) -> usize {
        if self.shape.is_list { 2 } else { 1 }
    }

    fn names_a_field(&self) -> bool {
        self.in_object && self.depth == self.chosen_depth() && self.field == Field::Name
    }

    fn letter(&mut self, byte: u8, text: Text) {
        self.text = match (text, byte) {
            (Text::Escaped, _) => Text::Inside,
            (_, b'\\') => Text::Escaped,
            (_, b'"') => Text::Outside,
            _ => Text::Inside,
        };
        self.put(byte);
    }

    /// Keeps a byte of a value, or of the name of a field.
    fn put(&mut self, byte: u8) {
        if self.names_a_field() {
            if self.name.len() < MAX_FIELD {
                self.name.push(byte);
            }
        } else if self.field != Field::Skipped {
            self.kept.push(byte);
        }
    }

    fn structure(&mut self, byte: u8) -> Result<(), TooMuch> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' | b'[' => self.open(byte)?,
            b'}' | b']' => self.close(byte),
            b',' => self.comma()?,
            b':' if self.names_a_field() => self.begin_value(),
            byte => {
                if byte == b'"' {
                    self.text = Text::Inside;
                }
                self.put(byte);
            }
        }
        Ok(())
    }

    fn open(&mut self, byte: u8) -> Result<(), TooMuch> {
        self.put(byte);
        self.depth += 1;
        if self.depth == self.chosen_depth() {
            (self.in_object, self.is_first) = (byte == b'{', true);
            self.field = if self.in_object { Field::Name } else { Field::Kept };
            self.name.clear();
        }
        if self.depth > MAX_DEPTH { Err(TooMuch::Depth) } else { Ok(()) }
    }

    fn close(&mut self, byte: u8) {
        if self.depth <= self.chosen_depth() {
            self.field = Field::Kept;
        }
        self.put(byte);
        self.depth = self.depth.saturating_sub(1);
    }

    fn comma(&mut self) -> Result<(), TooMuch> {
        if self.in_object && self.depth == self.chosen_depth() {
            self.field = Field::Name;
            self.name.clear();
            return Ok(());
        }
        if self.shape.is_list && self.depth == 1 {
            self.entries += 1;
        }
        self.put(b',');
        if self.entries > self.shape.most_entries { Err(TooMuch::Entries(self.shape.most_entries)) } else { Ok(()) }
    }

    /// After the name of a field: `"Name"`, with its quotes.
    fn begin_value(&mut self) {
        let name = self.name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
        let chosen = name.is_some_and(|name| self.shape.fields.iter().any(|field| field.as_bytes() == name));
        if !chosen {
            self.field = Field::Skipped;
            return;
        }
        self.field = Field::Kept;
        if !std::mem::replace(&mut self.is_first, false) {
            self.kept.push(b',');
        }
        self.kept.extend_from_slice(&self.name);
        self.kept.push(b':');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    const FIELDS: &[&str] = &["Id", "Name", "TLSConfig", "TagIds"];

    fn prune(shape: Shape, text: &str, piece: usize) -> Result<String, TooMuch> {
        let mut pruner = Pruner::new(shape);
        text.as_bytes().chunks(piece).try_for_each(|piece| pruner.take(piece))?;
        Ok(String::from_utf8(pruner.finish()).expect("pieces of text"))
    }

    #[test]
    fn only_the_fields_that_are_read_are_kept() {
        let (object, list) = (Shape::object(FIELDS), Shape::list(FIELDS));
        for (shape, text, kept) in [
            (object, "{}", "{}"),
            (
                object,
                r#" { "Id" : 3 , "X" : {"Id": [1, {"Name": "x"}]} , "Name" : "a\"}b" } "#,
                r#"{"Id":3,"Name":"a\"}b"}"#,
            ),
            (object, r#"{"X":"\\","TLSConfig":{"X":1,"TLS":true},"Y":[]}"#, r#"{"TLSConfig":{"X":1,"TLS":true}}"#),
            (object, r#"{"X":1,"Y":2}"#, "{}"),
            (list, "[]", "[]"),
            (list, r#"[{"Id":1,"S":[{"Id":9}]},{"S":{},"TagIds":[1,2]}]"#, r#"[{"Id":1},{"TagIds":[1,2]}]"#),
            (list, "[1,[2,3],null,\"a,b\"]", "[1,[2,3],null,\"a,b\"]"),
            (list, "null", "null"),
            (object, "<html>", "<html>"),
            (object, "{\"Id\":1", "{\"Id\":1"),
            (object, "]]}}", "]]}}"),
        ] {
            for piece in [1, 3, 1000] {
                assert_eq!(prune(shape, text, piece).as_deref(), Ok(kept), "{text}");
            }
        }
    }

    #[test]
    fn what_is_over_a_bound_is_refused_as_soon_as_it_is_seen() {
        let (object, list) = (Shape::object(FIELDS), Shape::list(FIELDS));
        let long = "x".repeat(70 << 10);
        for (shape, begin, again, expected) in [
            (list, "[{}", ",{}".to_owned(), TooMuch::Entries(10_000)),
            (list, "[", "1,".to_owned(), TooMuch::Entries(10_000)),
            (list, "[", "[".to_owned(), TooMuch::Depth),
            (object, "{\"X\":", "{\"a\":".to_owned(), TooMuch::Depth),
            (object, "{\"Name\":\"", long.clone(), TooMuch::Bytes(64 << 10)),
            (list, "[{\"Name\":\"", long.clone(), TooMuch::Bytes(4 << 20)),
            (object, "{\"TagIds\":[1", ",1".to_owned(), TooMuch::Bytes(64 << 10)),
            (list, "", "7".to_owned(), TooMuch::Bytes(4 << 20)),
        ] {
            let mut pruner = Pruner::new(shape);
            let begun = pruner.take(begin.as_bytes());
            let found = begun.and_then(|()| (0..(5 << 20)).try_for_each(|_| pruner.take(again.as_bytes())));
            assert_eq!(found, Err(expected), "{begin}{}", &again[..again.len().min(9)]);
            assert!(pruner.kept.capacity() <= 9 << 20, "{}", pruner.kept.capacity());
        }
        // What is not read may be as long as it wants, and is not kept.
        let mut pruner = Pruner::new(object);
        pruner.take(b"{\"Snapshots\":[\"").expect("it begins");
        (0..1000).for_each(|_| pruner.take(long.as_bytes()).expect("it passes by"));
        pruner.take(b"\"],\"Id\":4}").expect("it ends");
        assert_eq!(pruner.finish(), b"{\"Id\":4}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let names = prop_oneof![
                Just("Id".to_owned()),
                Just("Name".to_owned()),
                Just("TLSConfig".to_owned()),
                any::<String>()
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(names, inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    fn chosen(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.iter().filter(|(name, _)| FIELDS.contains(&name.as_str()));
                Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            other => other.clone(),
        }
    }

    proptest! {
        /// A pruned answer says of the chosen fields what the whole one says, however it is cut into pieces.
        #[test]
        fn nothing_that_is_read_is_lost(value in any_json(), piece in 1_usize..40, pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("it is JSON");
            let pruned = prune(Shape::object(FIELDS), &text, piece).expect("it is short");
            prop_assert_eq!(serde_json::from_str::<Value>(&pruned).expect("it is JSON"), chosen(&value));
            let list = json!([value, value]);
            let pruned = prune(Shape::list(FIELDS), &list.to_string(), piece).expect("it is short");
            prop_assert_eq!(serde_json::from_str::<Value>(&pruned).expect("it is JSON"), json!([chosen(&value), chosen(&value)]));
        }
    }
}
