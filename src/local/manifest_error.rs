//! What is wrong in a file, in words that a user can act on: errors of the YAML and JSON libraries in, sentences out. No
//! message about a Secret repeats a value.

use serde_saphyr::UserMessageFormatter;

/// What is wrong in a file, and where.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {message}")]
pub struct ManifestError {
    /// As the user named it.
    pub file: String,
    /// Line, from 1: of the document, or of the error itself where the parser knows it.
    pub line: u64,
    /// Names the object and the field.
    pub message: String,
}

impl ManifestError {
    /// A file that is not YAML. Where it names a Secret, its text is not repeated.
    pub fn not_yaml(file: &str, text: &str, error: &serde_saphyr::Error) -> ManifestError {
        let place = error.location();
        let message = if text.contains("Secret") {
            let column = place.map_or(1, |place| place.column());
            format!("not valid YAML at column {column}; the file names a Secret, so its text is not shown here")
        } else {
            format!("not valid YAML: {}", yaml_message(error.without_snippet()))
        };
        ManifestError { file: file.to_owned(), line: place.map_or(1, |place| place.line()), message }
    }
}

fn yaml_message(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return format!("the key {key} is there twice: keep one of the two");
    }
    let text = error.render_with_formatter(&UserMessageFormatter);
    let text = text.split(" at line ").next().unwrap_or_default();
    match text {
        _ if text.contains("tabs disallowed") => "lines are indented with spaces, not with tabs".to_owned(),
        _ if text.contains("unknown anchor") => "an alias (*NAME) has no anchor (&NAME) before it".to_owned(),
        _ => text.to_owned(),
    }
}

/// The field at `path` and what is wrong with its value, from serde's error.
pub fn field_message(path: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    if let Some(name) = quoted(&text, "missing field `") {
        let path = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
        return format!("{path}: this field is required");
    }
    let message = match text.split_once(", expected ") {
        Some((found, expected)) => wrong_value(found, expected),
        None => text,
    };
    format!("{path}: {message}")
}

fn wrong_value(found: &str, expected: &str) -> String {
    if let Some(value) = quoted(found, "unknown variant `") {
        let values = expected.trim_start_matches("one of ").replace('`', "");
        return format!("{value:?} is not a value of this field: write one of {values}");
    }
    if let Some(value) = found.strip_prefix("invalid value: ") {
        return format!("must be {}, and {} is outside of its bounds", kind_of(expected), value_of(value));
    }
    let found = value_of(found.strip_prefix("invalid type: ").unwrap_or(found));
    let hint = if expected == "a string" { ": put it in quotes" } else { "" };
    format!("must be {}, not {found}{hint}", kind_of(expected))
}

/// What a field takes, by the name that serde has for it.
fn kind_of(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "i32" | "i64" | "u16" | "u32" | "u64" => "a whole number",
        _ if expected.starts_with("struct ") => "a map of fields",
        other => other,
    }
}

fn value_of(found: &str) -> String {
    let number = ["integer `", "floating point `", "boolean `"].iter().find_map(|kind| quoted(found, kind));
    match (found, number) {
        (_, Some(value)) => value.to_owned(),
        ("map", _) => "a map".to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("null", _) => "nothing".to_owned(),
        _ => match found.strip_prefix("string ") {
            Some(text) => format!("the text {text}"),
            None => found.to_owned(),
        },
    }
}

/// What stands between `start` and the next backquote.
fn quoted<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DockerHostCertSpec;

    #[test]
    fn no_word_of_a_library_is_shown() {
        let spec = |field: &str| format!("{{\"caRef\": {{\"name\": \"homelab\"}}, {field}}}");
        for (json, expected) in [
            ("{\"caRef\": \"homelab\"}".to_owned(), "caRef: must be a map of fields, not the text \"homelab\""),
            ("{}".to_owned(), "caRef: this field is required"),
            (spec("\"ipAddresses\": {}"), "ipAddresses: must be a list, not a map"),
            (spec("\"includeLoopback\": \"yes\""), "includeLoopback: must be true or false, not the text \"yes\""),
            (spec("\"hostname\": 7"), "hostname: must be a string, not 7: put it in quotes"),
            (spec("\"address\": {\"port\": \"x\"}"), "address.port: must be a whole number, not the text \"x\""),
            (
                spec("\"address\": {\"port\": 99999999999}"),
                "address.port: must be a whole number, and 99999999999 is outside of its bounds",
            ),
            (
                spec("\"privateKey\": {\"algorithm\": \"DSA\"}"),
                "privateKey.algorithm: \"DSA\" is not a value of this field: write one of ECDSA, RSA, Ed25519",
            ),
        ] {
            let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
            let error = serde_path_to_error::deserialize::<_, DockerHostCertSpec>(value).expect_err(&json);
            assert_eq!(field_message(&error.path().to_string(), error.inner()), expected);
        }
    }

    #[test]
    fn what_is_not_yaml_is_said_in_words() {
        for (text, expected) in [
            ("a: 1\na: 2\n", "x:2: not valid YAML: the key a is there twice: keep one of the two"),
            ("a:\n\tb: c\n", "x:2: not valid YAML: lines are indented with spaces, not with tabs"),
            ("a: *b\n", "x:1: not valid YAML: an alias (*NAME) has no anchor (&NAME) before it"),
        ] {
            let error = serde_saphyr::from_str::<serde_json::Value>(text).expect_err(text);
            assert_eq!(ManifestError::not_yaml("x", text, &error).to_string(), expected);
        }
    }
}
