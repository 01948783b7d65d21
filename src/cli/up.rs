//! `dockseal up`.

use super::args::UpArgs;
use crate::local::{self, UpResult, UpSettings};
use std::process::ExitCode;

/// Exit code where not everything is Ready in time.
const NOT_READY: u8 = 4;

/// Runs until everything is Ready (`--once`) or a signal stops it.
pub fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    let settings =
        UpSettings { files: args.files, state: args.state, once: args.once, timeout: args.timeout, host: args.host };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(match runtime.block_on(local::run(settings))? {
        UpResult::Ready | UpResult::Stopped => ExitCode::SUCCESS,
        UpResult::NotReady => ExitCode::from(NOT_READY),
    })
}
