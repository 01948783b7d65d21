//! JSON schemas of what verbs print with `-o json`, as docs/schema has them.

use super::args::SchemasArgs;
use crate::decide::verify::Report;
use crate::world::synced_files::print_file;
use std::process::ExitCode;

/// Writes a file for each into the directory.
pub fn run(args: &SchemasArgs) -> anyhow::Result<ExitCode> {
    for (file, text) in files() {
        print_file(&args.dir.join(file), text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// File names and their text.
pub fn files() -> Vec<(&'static str, String)> {
    let text = |schema| serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
    vec![("verify.json", text(schemars::schema_for!(Report)))]
}
