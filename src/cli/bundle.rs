//! `dockseal bundle`.

use super::args::BundleArgs;
use super::source::{Source, block_on};
use std::process::ExitCode;

/// Not yet.
pub fn run(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        Source::open(&args.source).await?;
        anyhow::bail!("bundle comes later")
    })
}
