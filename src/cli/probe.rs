//! `dockseal probe`, which `helm test` runs: the image has no other program that could ask.

use super::args::ProbeArgs;
use super::source::block_on;
use crate::adapters::net::http_probe;
use anyhow::bail;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Asks until the answer is good, or the time is over.
pub fn run(args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let end = Instant::now() + args.timeout;
        loop {
            let why = match http_probe::ask(&args.url).await {
                Ok((200, said)) => {
                    println!("{}: {said}", args.url);
                    return Ok(ExitCode::SUCCESS);
                }
                Ok((status, said)) => format!("{} answers {status}: {said}", args.url),
                Err(why) => why,
            };
            if Instant::now() + RETRY_INTERVAL > end {
                bail!("{why}");
            }
            sleep(RETRY_INTERVAL).await;
        }
    })
}
