//! Logs, to standard error.

use super::args::{LogArgs, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Starts logging. Libraries are heard from warnings on: what they say below that is not for users.
pub fn start(args: &LogArgs) {
    let libraries = tracing_subscriber::filter::LevelFilter::WARN;
    let levels =
        tracing_subscriber::filter::Targets::new().with_default(libraries).with_target("dockseal", args.log_level);
    let registry = tracing_subscriber::registry().with(levels);
    match args.log_format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
        LogFormat::Text => {
            let colour =
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour)).init();
        }
    }
}
