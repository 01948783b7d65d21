//! docs/schema is what the code says, and what verbs print with `-o json` fits it. The check knows the words
//! that are in the file, and fails at others.

use serde_json::{Value, json};

/// A file.
fn schema(file: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Everything in what `status` prints that does not fit.
pub fn faults(value: &Value) -> Vec<String> {
    faults_by("status.json", value)
}

/// Everything in `value` that does not fit that file.
pub fn faults_by(file: &str, value: &Value) -> Vec<String> {
    let root = schema(file);
    check(&root, &root, value, "$")
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let words = schema.as_object().unwrap().iter();
    words.flat_map(|(word, said)| check_word(root, (word, said), value, at)).collect()
}

fn check_word(root: &Value, (word, said): (&str, &Value), value: &Value, at: &str) -> Vec<String> {
    let unless = |fits: bool, what: &str| if fits { Vec::new() } else { vec![format!("{at}: {what}: {value}")] };
    match word {
        "$schema" | "title" | "description" | "$defs" => Vec::new(),
        "format" => match said.as_str().unwrap() {
            "uint" | "int64" => Vec::new(),
            "date-time" => unless(value.as_str().is_some_and(is_instant), "no instant"),
            other => panic!("this check does not know the format {other}"),
        },
        "const" => unless(value == said, "another value"),
        "enum" => unless(said.as_array().unwrap().contains(value), "none of the values"),
        "minimum" => unless(value.as_i64() >= said.as_i64(), "too small"),
        "type" => {
            let is = json!(type_of(value));
            unless(*said == is || said.as_array().is_some_and(|types| types.contains(&is)), "another type")
        }
        "required" => {
            let names = said.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            names.flat_map(|name| unless(value.get(name).is_some(), &format!("no {name}"))).collect()
        }
        "properties" => {
            let below = value.as_object().into_iter().flatten();
            let check = |(name, below): (&String, &Value)| match said.get(name) {
                Some(schema) => check(root, schema, below, &format!("{at}.{name}")),
                None => vec![format!("{at}.{name}: it is in no schema")],
            };
            below.flat_map(check).collect()
        }
        "items" => {
            let below = value.as_array().into_iter().flatten().enumerate();
            below.flat_map(|(index, below)| check(root, said, below, &format!("{at}[{index}]"))).collect()
        }
        "$ref" => check(root, root.pointer(said.as_str().unwrap().trim_start_matches('#')).unwrap(), value, at),
        "oneOf" | "anyOf" => {
            let mut choices = said.as_array().unwrap().iter();
            unless(choices.any(|choice| check(root, choice, value, at).is_empty()), "none of the choices")
        }
        other => panic!("this check does not know the word {other}"),
    }
}

fn is_instant(text: &str) -> bool {
    text.parse::<k8s_openapi::jiff::Timestamp>().is_ok()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn the_schema_is_what_the_code_says() {
    let code = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(schema("status.json"), code(&dockseal::cli::status::report::schema()), "run: make generate");
    assert_eq!(schema("verify.json"), code(&dockseal::decide::verify::report::schema()), "run: make generate");
}

#[test]
fn the_check_finds_what_does_not_fit() {
    let object = json!({
        "kind": "DockerHostCert", "namespace": "home", "name": "pandora", "ready": false, "issued": "Yes",
        "delivered": "No", "served": "NotWanted", "registered": "No", "overdue": false, "secretName": "x",
        "expires": "2027-11-22T08:13:32Z", "daysLeft": -3,
        "environments": [{"portainerClient": "portainer", "registered": true, "id": 3, "reason": "Registered"}]
    });
    let good = json!({"version": "v1", "ready": 0, "total": 1, "objects": [object]});
    assert_eq!(faults(&good), Vec::<String>::new());
    for (pointer, wrong) in [
        ("/version", json!("v2")),
        ("/ready", json!(-1)),
        ("/total", json!("1")),
        ("/objects/0", json!({})),
        ("/objects/0/issued", json!("yes")),
        ("/objects/0/expires", json!("tomorrow")),
        ("/objects/0/environments/0", json!({"portainerClient": "portainer"})),
        ("/objects/0/environments/0", json!([])),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = wrong.clone();
        assert!(!faults(&bad).is_empty(), "{pointer}: {wrong}");
    }
    let mut more = good;
    more["objects"][0]["colour"] = json!("red");
    assert_eq!(faults(&more).len(), 1);
}
