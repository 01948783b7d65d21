//! `dockseal export`.

use super::args::ExportArgs;
use crate::local;
use std::process::ExitCode;

/// Prints a state directory as manifests.
pub fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    local::export(&args.state, &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
