//! `dockseal crds`.

use super::args::CrdsArgs;
use super::output::print_bytes;
use crate::adapters::disk::atomic_files::print_file;
use crate::api;
use anyhow::Context;
use std::process::ExitCode;

/// Prints the definitions, or writes a file for each.
pub fn run(args: &CrdsArgs) -> anyhow::Result<ExitCode> {
    if args.fields {
        print_bytes(super::field_docs::page()?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let files = if args.templates { templates()? } else { files()? };
    for (file, text) in files {
        match &args.dir {
            Some(dir) => print_file(&dir.join(file), text.as_bytes())?,
            None => print_bytes(format!("---\n{text}").as_bytes())?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// File names and their text, as `crds/` has them.
pub fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    let definitions = api::definitions().into_iter();
    definitions.map(|(file, definition)| Ok((file, serde_saphyr::to_string(&definition)?))).collect()
}

/// File names and their text, as the chart has them among its templates: Helm upgrades nothing in a `crds/` folder.
pub fn templates() -> anyhow::Result<Vec<(&'static str, String)>> {
    files()?.into_iter().map(|(file, text)| Ok((file, template(&text)?))).collect()
}

fn template(definition: &str) -> anyhow::Result<String> {
    let escaped = definition.replace("{{", "{{ \"{{\" }}");
    let (head, rest) = escaped.split_once("\nmetadata:\n").context("a definition has metadata")?;
    Ok(format!(
        "{{{{- if .Values.crds.enabled }}}}\n{head}\nmetadata:\n  {{{{- if .Values.crds.keep }}}}\n  annotations:\n    \
         helm.sh/resource-policy: keep\n  {{{{- end }}}}\n  labels:\n    \
         {{{{- include \"dockseal.labels\" . | nindent 4 }}}}\n{rest}{{{{- end }}}}\n"
    ))
}
