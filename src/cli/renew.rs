//! `dockseal renew`.

use super::args::RenewArgs;
use super::source::{Source, block_on};
use std::process::ExitCode;

/// Not yet.
pub fn run(args: &RenewArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        Source::open(&args.source).await?;
        anyhow::bail!("renew comes later")
    })
}
