//! `dockseal context`.

use super::args::ContextArgs;
use super::source::{Source, block_on};
use std::process::ExitCode;

/// Not yet.
pub fn run(args: &ContextArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        Source::open(&args.source).await?;
        anyhow::bail!("context comes later")
    })
}
