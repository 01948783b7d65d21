//! `crds/` is what the code generates, and every field of it can be explained.
#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn crds_and_the_charts_are_what_the_code_generates() -> anyhow::Result<()> {
    for (directory, generated) in
        [("crds", dockseal::cli::crds::files()?), ("charts/dockseal/templates/crds", dockseal::cli::crds::templates()?)]
    {
        let at = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        for (file, text) in &generated {
            assert_eq!(std::fs::read_to_string(at.join(file))?, *text, "{directory}/{file} is old: make generate");
        }
        let names: BTreeSet<_> = generated.iter().map(|(file, _)| (*file).to_owned()).collect();
        let there = std::fs::read_dir(&at)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        assert_eq!(there.collect::<anyhow::Result<BTreeSet<_>>>()?, names, "{directory}");
    }
    Ok(())
}

#[test]
fn every_field_has_a_text_and_every_list_map_and_text_a_bound() -> anyhow::Result<()> {
    for (file, definition) in dockseal::api::definitions() {
        let schema = serde_json::to_value(definition)?["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
        let mut faults = Vec::new();
        for part in ["spec", "status"] {
            walk(part, &schema["properties"][part], &mut faults);
        }
        assert!(faults.is_empty(), "{file}: {faults:#?}");
    }
    Ok(())
}

fn walk(path: &str, schema: &Value, faults: &mut Vec<String>) {
    if schema["description"].as_str().is_none_or(str::is_empty) && !path.ends_with("[]") {
        faults.push(format!("{path} has no description"));
    }
    let bounded = !schema["maxLength"].is_null() || !schema["enum"].is_null();
    if schema["type"] == "string" && !bounded {
        faults.push(format!("{path} has no maxLength"));
    }
    if schema["type"] == "array" {
        if schema["maxItems"].is_null() {
            faults.push(format!("{path} has no maxItems"));
        }
        walk(&format!("{path}[]"), &schema["items"], faults);
    }
    if !schema["additionalProperties"].is_null() {
        if schema["maxProperties"].is_null() {
            faults.push(format!("{path} has no maxProperties"));
        }
        walk(&format!("{path}[]"), &schema["additionalProperties"], faults);
    }
    let typed = schema["type"].as_str().is_some_and(|type_| {
        type_ != "object" || !schema["properties"].is_null() || !schema["additionalProperties"].is_null()
    });
    if !typed || !schema["x-kubernetes-preserve-unknown-fields"].is_null() {
        faults.push(format!("{path} takes anything"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, faults);
    }
}

#[test]
fn examples_can_all_be_applied_to_one_namespace() -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))? {
        let path = file?.path();
        for document in std::fs::read_to_string(&path)?.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document)?;
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            assert!(seen.insert(name.clone()), "{}: {name} is in another example, too", path.display());
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
    Ok(())
}

#[test]
fn every_annotation_of_an_object_is_among_those_that_are_read() -> anyhow::Result<()> {
    let on_what_we_write = ["dockseal.dev/owner", "dockseal.dev/account"];
    let mut found = BTreeSet::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path)?;
            let constants = text.lines().filter(|line| line.contains("_ANNOTATION: &str = "));
            found.extend(constants.filter_map(|line| line.split('"').nth(1)).map(str::to_owned));
        }
    }
    found.retain(|name| !on_what_we_write.contains(&name.as_str()));
    let read: BTreeSet<_> = dockseal::api::READ_ANNOTATIONS.into_iter().map(str::to_owned).collect();
    assert_eq!(found, read, "no other annotation is kept: READ_ANNOTATIONS in src/api/mod.rs");
    Ok(())
}
