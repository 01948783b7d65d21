//! `dockseal crds`.

use super::args::CrdsArgs;
use crate::api;
use crate::world::synced_files::print_file;
use std::io::Write;
use std::process::ExitCode;

/// Prints the definitions, or writes a file for each.
pub fn run(args: &CrdsArgs) -> anyhow::Result<ExitCode> {
    for (file, text) in files()? {
        match &args.dir {
            Some(dir) => print_file(&dir.join(file), text.as_bytes())?,
            None => std::io::stdout().write_all(format!("---\n{text}").as_bytes())?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// File names and their text, as `crds/` has them.
pub fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    let definitions = api::definitions().into_iter();
    definitions.map(|(file, definition)| Ok((file, serde_saphyr::to_string(&definition)?))).collect()
}
