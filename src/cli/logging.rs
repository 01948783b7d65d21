//! Logs, to standard error.

use super::args::{LogArgs, LogFormat};
use crate::adapters::terminal;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Starts logging. Libraries are heard from warnings on: what they say below that is not for users. kube's client warns
/// of an answer that it cannot read with the whole of it, which may be a Secret: it is heard from errors on.
pub fn start(args: &LogArgs) {
    let levels = levels(args.log_level);
    let registry = tracing_subscriber::registry().with(levels);
    match args.log_format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && terminal::allows_colour();
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour)).init();
        }
    }
}

fn levels(ours: Level) -> Targets {
    let libraries = Targets::new().with_default(LevelFilter::WARN).with_target("kube_client", LevelFilter::ERROR);
    libraries.with_target("dockseal", ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_level_lets_an_answer_that_cannot_be_read_into_the_log() {
        let levels = levels(Level::TRACE);
        assert!(!levels.would_enable("kube_client::client", &Level::WARN), "it holds the whole answer");
        assert!(levels.would_enable("kube_client::client::builder", &Level::ERROR));
        assert!(levels.would_enable("kube_runtime::watcher", &Level::WARN));
        assert!(levels.would_enable("dockseal::controller::work", &Level::TRACE));
    }
}
