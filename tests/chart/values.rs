//! The one commented values.yaml, and the schema and the table that are made of it.

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Begins a line of a comment that says what the type of the default does not.
const ANNOTATION: &str = "schema:";
const MARKS: [&str; 2] = ["<!-- values: made by `make generate` -->\n", "<!-- end of values -->\n"];

/// A key of the file, in its order.
struct Key {
    path: Vec<String>,
    about: String,
    annotation: Option<Value>,
    default: Value,
}

impl Key {
    fn is_section(&self) -> bool {
        self.annotation.is_none() && self.default.as_object().is_some_and(|fields| !fields.is_empty())
    }

    /// Whether the templates cannot do without it: lists, objects and what may be null are emptied so.
    fn is_needed(&self) -> bool {
        let empties = matches!(self.default, Value::Null | Value::Array(_) | Value::Object(_));
        let may_be_null = self.schema()["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
        self.is_section() || !(empties || may_be_null)
    }

    fn schema(&self) -> Value {
        let mut schema = match &self.default {
            _ if self.is_section() => json!({"type": "object", "additionalProperties": false, "properties": {}}),
            Value::Bool(_) => json!({"type": "boolean"}),
            Value::Number(_) => json!({"type": "integer"}),
            Value::String(_) => json!({"type": "string"}),
            Value::Array(_) => json!({"type": "array"}),
            Value::Object(_) => json!({"type": "object"}),
            Value::Null => json!({}),
        };
        let fields = schema.as_object_mut().expect("it is an object");
        fields.extend(self.annotation.as_ref().and_then(Value::as_object).cloned().unwrap_or_default());
        fields.insert("description".into(), json!(self.about));
        schema
    }
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/dockseal")
}

/// The files that are made, with their text.
pub fn made() -> anyhow::Result<[(PathBuf, String); 2]> {
    let text = std::fs::read_to_string(chart().join("values.yaml"))?;
    let keys = keys(&text)?;
    let (schema, readme) = (chart().join("values.schema.json"), chart().join("README.md"));
    let page = std::fs::read_to_string(&readme)?;
    let (before, rest) = page.split_once(MARKS[0]).context("README.md has no place for the table")?;
    let (_, after) = rest.split_once(MARKS[1]).context("README.md's place for the table does not end")?;
    let page = format!("{before}{}{}{}{after}", MARKS[0], table(&keys), MARKS[1]);
    Ok([(schema, serde_json::to_string_pretty(&self::schema(&keys)?)? + "\n"), (readme, page)])
}

fn keys(text: &str) -> anyhow::Result<Vec<Key>> {
    let values: Value = serde_saphyr::from_str(text)?;
    let (mut keys, mut path, mut about, mut annotation) = (Vec::<Key>::new(), Vec::new(), Vec::new(), None);
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(comment) = trimmed.strip_prefix("# ") {
            match comment.strip_prefix(ANNOTATION) {
                Some(json) => annotation = Some(serde_json::from_str(json).with_context(|| line.to_owned())?),
                None => about.push(comment),
            }
            continue;
        }
        let Some((key, _)) = trimmed.split_once(':') else {
            about.clear(); // an empty line
            continue;
        };
        path.truncate((line.len() - trimmed.len()) / 2);
        path.push(key.to_owned());
        // What is below a key that is a leaf belongs to its default.
        if keys.iter().any(|above: &Key| !above.is_section() && path.starts_with(&above.path)) {
            continue;
        }
        let default = values.pointer(&format!("/{}", path.join("/"))).with_context(|| line.to_owned())?.clone();
        let key = Key { path: path.clone(), about: about.join(" "), annotation: annotation.take(), default };
        ensure!(key.is_section() || !key.about.is_empty(), "{}: no comment explains it", path.join("."));
        about.clear();
        keys.push(key);
    }
    Ok(keys)
}

/// Strict, but for `global` and a root `enabled`: charts around this one say those to it without its knowledge.
fn schema(keys: &[Key]) -> anyhow::Result<Value> {
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
        "properties": {"enabled": {"description": "For the charts around this one; unused here."}},
    });
    for key in keys {
        let (name, above) = key.path.split_last().context("a key has a name")?;
        let mut place = &mut root;
        for section in above {
            place = &mut place["properties"][section];
        }
        let properties: &mut Map<_, _> = place["properties"].as_object_mut().context("a section has properties")?;
        properties.insert(name.clone(), key.schema());
        // null takes a key away before the schema is asked.
        if key.is_needed() {
            let required = place.as_object_mut().context("a section is an object")?.entry("required");
            required.or_insert_with(|| json!([])).as_array_mut().context("it is a list")?.push(json!(name));
        }
    }
    Ok(root)
}

fn table(keys: &[Key]) -> String {
    let row = |key: &Key| {
        let default = if key.is_section() { String::new() } else { format!("`{}`", key.default) };
        format!("| `{}` | {default} | {} |\n", key.path.join("."), key.about.replace('|', "\\|"))
    };
    let rows = keys.iter().filter(|key| !key.about.is_empty()).map(row);
    format!("| value | default | what |\n|---|---|---|\n{}", rows.collect::<String>())
}
