//! `dockseal status`.

use super::args::StatusArgs;
use super::source::{Source, block_on};
use std::process::ExitCode;

/// Not yet.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        Source::open(&args.source).await?;
        anyhow::bail!("status comes later")
    })
}
