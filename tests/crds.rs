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
fn every_field_of_a_spec_has_a_text_and_every_list_and_text_a_bound() -> anyhow::Result<()> {
    for (file, definition) in dockseal::api::definitions() {
        let schema = serde_json::to_value(definition)?["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
        let mut faults = Vec::new();
        walk("spec", &schema["properties"]["spec"], &mut faults);
        assert!(faults.is_empty(), "{file}: {faults:#?}");
    }
    Ok(())
}

/// A label selector is Kubernetes' own and has texts and no bounds.
fn walk(path: &str, schema: &Value, faults: &mut Vec<String>) {
    if path.ends_with("hostSelector") {
        return;
    }
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
