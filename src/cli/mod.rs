//! The command line: what was said, what it means, and the commands.

pub mod args;
pub mod controller;
pub mod crds;
pub mod export;
pub mod logging;
pub mod up;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;

/// Runs the command that the arguments name.
///
/// # Errors
/// Whatever the command could not do, as a sentence: exit code 1.
pub fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody installed a provider before");
    match args.command {
        Command::Up(args) => up::run(args),
        Command::Export(args) => export::run(&args),
        Command::Controller(args) => controller::run(args),
        Command::Crds(args) => crds::run(&args),
    }
}
