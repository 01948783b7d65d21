//! The kinds' schemas to `docs/fields.md`: every field with its path, type, default and text. It reads no other source.

use crate::api;
use crate::cli::object_arg;
use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = "# All fields

Made by `make generate` from the code. `kubectl explain dockerhostcert.spec.delivery` prints the same in a cluster.
`[]` is each item of a list. \"required\" counts where the field around it is given. Durations are hours or days: 8760h,
365d.
";

pub fn page() -> anyhow::Result<String> {
    let mut page = HEAD.to_owned();
    for (_, definition) in api::definitions() {
        let definition = serde_json::to_value(definition)?;
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let short = api::Kind::parse(kind).map(object_arg::short).unwrap_or_default();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        writeln!(page, "\n## {kind} ({short})\n\n{}", text(schema))?;
        for part in ["spec", "status"] {
            writeln!(page, "\n| {kind} | type | default | |\n|---|---|---|---|")?;
            rows(&mut page, part, &schema["properties"][part])?;
        }
    }
    Ok(page)
}

/// A row for each field below.
fn rows(page: &mut String, path: &str, schema: &Value) -> anyhow::Result<()> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let below = format!("{path}.{name}");
        let default = match &field["default"] {
            Value::Null if required.iter().any(|one| one == name) => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(), // an object's defaults stand with its fields
            Value::String(text) => format!("`{text}`"),
            value => format!("`{value}`"),
        };
        writeln!(page, "| `{below}` | {} | {default} | {} |", kind_of(field), text(field))?;
        if below == "spec.hostSelector" {
            continue; // Kubernetes' own
        }
        rows(page, &below, field)?;
        rows(page, &format!("{below}[]"), &field["items"])?;
    }
    Ok(())
}

fn kind_of(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<_> = values.iter().filter(|value| !value.is_null()).map(plain).collect();
        return values.join(", ");
    }
    match field["type"].as_str() {
        Some("array") => format!("list of {}", kind_of(&field["items"])),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The description in one line, as a cell of a table takes it.
fn text(field: &Value) -> String {
    let words: Vec<&str> = field["description"].as_str().unwrap_or_default().split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
